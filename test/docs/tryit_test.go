package docs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/audit/policy"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

const tryIt = "docs/try-it-on.md"

// TestTryItOn runs every command of the page that any cluster runs, applies its
// policies, and looks after what the commands of other clusters name.
func TestTryItOn(t *testing.T) {
	e := running(t)
	if err := e.Admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "payments"}}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, b := range blocksOf(t, tryIt) {
		switch {
		case b.is("sh") && b.has("elsewhere"):
			namesWhatIs(t, e, b)
		case b.is("sh"):
			out, err := typeIn(t, e.adminAlias(), b.text)
			if b.has("refused") != (err != nil) {
				t.Errorf("%s:%d: to be refused: %v; it was: %v\n%s", tryIt, b.line, b.has("refused"), err, out)
			}
		case b.is("yaml") && b.has("policy"):
			cmd := e.Kubectl(e.KubeconfigOf(lab.AdminName), "apply", "-f", "-")
			cmd.Stdin = strings.NewReader(b.text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", tryIt, b.line, err, out)
			}
		case b.is("yaml") && b.has("kustomization"):
			builds(t, e, b)
		case b.is("yaml"):
			if err := yaml.UnmarshalStrict([]byte(b.text), &map[string]any{}); err != nil {
				t.Errorf("%s:%d: %v", tryIt, b.line, err)
			}
		default:
			t.Errorf("%s:%d: nothing checks this block", tryIt, b.line)
		}
	}
	peopleElsewhere(t, e)
}

// adminAlias is kubectl as the administrator, as a function of a shell.
func (e *installed) adminAlias() string {
	return "kubectl() { " + e.Binary("kubectl") + " --kubeconfig=" + e.KubeconfigOf(lab.AdminName) + ` "$@"; }` + "\n"
}

var (
	ownPath     = regexp.MustCompile(`\b(?:config|charts|docs)/[\w./-]*[\w]`)
	makeTarget  = regexp.MustCompile(`\bmake ([a-z-]+)`)
	makeSetting = regexp.MustCompile(`\b(VERSION|IMAGE|REPO)=`)
	written     = regexp.MustCompile(`\bdist/[\w.-]+`)
)

// namesWhatIs checks a block that only another cluster can run: it is a script,
// and the files, targets, roles and values of ours that it names are there.
func namesWhatIs(t *testing.T, e *installed, b block) {
	t.Helper()
	check := exec.CommandContext(t.Context(), "sh", "-n")
	check.Stdin = strings.NewReader(b.text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%s:%d: %v\n%s", tryIt, b.line, err, out)
	}
	for _, path := range ownPath.FindAllString(b.text, -1) {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			t.Errorf("%s:%d: %s is not there", tryIt, b.line, path)
		}
	}
	makefile := read(t, "Makefile")
	for _, target := range makeTarget.FindAllStringSubmatch(b.text, -1) {
		if !strings.Contains(makefile, "\n"+target[1]+":") {
			t.Errorf("%s:%d: there is no make %s", tryIt, b.line, target[1])
		}
	}
	for _, setting := range makeSetting.FindAllStringSubmatch(b.text, -1) {
		if !strings.Contains(makefile, "\n"+setting[1]+" ?=") {
			t.Errorf("%s:%d: the Makefile knows no %s", tryIt, b.line, setting[1])
		}
	}
	for _, file := range written.FindAllString(b.text, -1) {
		if !strings.Contains(makefile, strings.NewReplacer("dist/", "$(DIST)/", "v0.1.0", "$(VERSION)").Replace(file)) {
			t.Errorf("%s:%d: make writes no %s", tryIt, b.line, file)
		}
	}
	for line := range strings.Lines(b.text) {
		switch {
		case strings.HasPrefix(line, "kubectl create clusterrolebinding "):
			if out, err := typeIn(t, e.adminAlias(), strings.TrimSpace(line)+" --dry-run=server"); err != nil {
				t.Errorf("%s:%d: %v\n%s", tryIt, b.line, err, out)
			}
			for _, role := range regexp.MustCompile(`--clusterrole=(\S+)`).FindAllStringSubmatch(line, -1) {
				if out, err := typeIn(t, e.adminAlias(), "kubectl get clusterrole "+role[1]); err != nil {
					t.Errorf("%s:%d: %v\n%s", tryIt, b.line, err, out)
				}
			}
		case strings.HasPrefix(line, "helm install "):
			arguments := strings.Fields(strings.Replace(line, "install", "template", 1))
			helm := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=hack/helm/go.mod"}, arguments...)...)
			helm.Dir = root
			if out, err := helm.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v\n%s", tryIt, b.line, err, out)
			}
		}
	}
}

// builds a kustomization that lies in a folder beside config, and lets the API
// server look at what comes of it.
func builds(t *testing.T, e *installed, b block) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(filepath.Join(root, "tmp"), "try-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	text := strings.ReplaceAll(b.text, "../config", "../../config")
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e.kubectl(t, "apply", "--dry-run=server", "-k", folder)
	built := e.kubectl(t, "kustomize", folder)
	var image struct {
		Images []struct{ NewName, NewTag string } `json:"images"`
	}
	if err := yaml.Unmarshal([]byte(b.text), &image); err != nil || len(image.Images) != 1 {
		t.Fatalf("%s:%d: %d images, %v", tryIt, b.line, len(image.Images), err)
	}
	if want := "image: " + image.Images[0].NewName + ":" + image.Images[0].NewTag; !strings.Contains(built, want) {
		t.Errorf("%s:%d: nothing has %s", tryIt, b.line, want)
	}
}

// peopleElsewhere plays the policies of the page with requesters and approvers as
// they are named there.
func peopleElsewhere(t *testing.T, e *installed) {
	t.Helper()
	named := func(policy string) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = policy }
	}
	for _, a := range []ask{
		{name: "EKS", who: "person:alice", groups: []string{"developers"}, edit: named("on-eks"), approve: []client.Client{e.Person(t, "person:bob", "leads")}, want: v1alpha1.RequestActive},
		{name: "EKS, an ARN", who: awsRole + "Developer/alice", groups: []string{"developers"}, edit: named("on-eks"), approve: []client.Client{e.Person(t, awsRole+"Lead/bob")}, want: v1alpha1.RequestActive},
		{name: "GKE", who: "alice@example.com", groups: []string{"developers@example.com"}, edit: named("on-gke"), approve: []client.Client{e.Person(t, "bob@example.com", "leads@example.com")}, want: v1alpha1.RequestActive},
		{name: "GKE, a user", who: "alice@example.com", groups: []string{"developers@example.com"}, edit: named("on-gke"), approve: []client.Client{e.Person(t, "carol@example.com")}, want: v1alpha1.RequestActive},
		{name: "AKS", who: "alice@example.com", groups: []string{"8211e035-0bdc-4b0e-a3d9-2f4f0f7c5a11"}, edit: named("on-aks"), approve: []client.Client{e.Person(t, "bob@example.com", "5d1f3c52-7d9e-4c5f-9f3b-0b8a6a1de2c4")}, want: v1alpha1.RequestActive},
		{name: "AKS, a managed identity", who: "alice@example.com", groups: []string{"8211e035-0bdc-4b0e-a3d9-2f4f0f7c5a11"}, edit: named("on-aks"), approve: []client.Client{e.Person(t, "3f6b2a10-55aa-4a8e-8d0c-9c1e2f3a4b5c")}, want: v1alpha1.RequestActive},
		{name: "OpenShift", who: "alice", groups: []string{"payments-developers", "system:authenticated:oauth"}, edit: named("on-openshift"), approve: []client.Client{e.Person(t, "kube:admin", "payments-leads", "system:cluster-admins")}, want: v1alpha1.RequestActive},
		{name: "k3s, its administrator", who: "system:admin", groups: []string{"system:masters"}, edit: named("on-eks"), want: v1alpha1.RequestFailed, says: "belongs to Kubernetes itself"},
	} {
		a.ns = "payments"
		t.Run(a.name, func(t *testing.T) { a.run(t, e) })
	}
}

// The configuration of kind hands the API server the audit policy that lies beside
// it, and that policy is one.
func TestKindHasAnAuditLog(t *testing.T) {
	var kind struct {
		Nodes []struct {
			ExtraMounts          []struct{ HostPath, ContainerPath string }
			KubeadmConfigPatches []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, samples+"/try/kind.yaml")), &kind); err != nil || len(kind.Nodes) != 1 {
		t.Fatalf("%d nodes, %v", len(kind.Nodes), err)
	}
	node := kind.Nodes[0]
	var patch struct {
		APIVersion string
		APIServer  struct {
			ExtraArgs    map[string]string
			ExtraVolumes []struct{ HostPath, MountPath string }
		}
	}
	if err := yaml.Unmarshal([]byte(node.KubeadmConfigPatches[0]), &patch); err != nil || patch.APIVersion != "" {
		t.Fatalf("the patch is of %q, %v", patch.APIVersion, err)
	}
	given := patch.APIServer.ExtraArgs["audit-policy-file"]
	if mount := node.ExtraMounts[0]; mount.ContainerPath != given {
		t.Errorf("the node has the policy at %s, the API server looks for %s", mount.ContainerPath, given)
	}
	for _, file := range []string{given, patch.APIServer.ExtraArgs["audit-log-path"]} {
		if !slices.ContainsFunc(patch.APIServer.ExtraVolumes, func(v struct{ HostPath, MountPath string }) bool {
			return v.HostPath == v.MountPath && filepath.Dir(file) == v.MountPath
		}) {
			t.Errorf("the API server does not see %s", file)
		}
	}
	content := bytes.NewBufferString(read(t, node.ExtraMounts[0].HostPath))
	if _, err := policy.LoadPolicyFromBytes(content.Bytes()); err != nil {
		t.Error(err)
	}
}
