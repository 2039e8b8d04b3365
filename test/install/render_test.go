// Package install checks how Access Broker gets into a cluster and out of it:
// the manifests in config/, the Helm chart, the release files, the upgrade and
// the end.
package install

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/accessbroker/accessbroker/internal/check"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// objects by kind, namespace and name.
type objects map[string]*unstructured.Unstructured

// The chart with some values is a kustomization, object by object.
func TestChartIsKustomization(t *testing.T) {
	for name, test := range map[string]struct {
		kustomization string
		values        []string
	}{
		"default values":        {"config/default", nil},
		"before 1.36":           {"config/variants/no-mutating-admission", []string{"--set", "admission.mutating=false"}},
		"network policy":        {withComponents(t, "network-policy"), []string{"--set", "networkPolicy.enabled=true"}},
		"OpenShift":             {withComponents(t, "openshift"), []string{"--set", "runAsUser=null"}},
		"observer":              {withComponents(t, "observer"), []string{"--set", "observer.enabled=true"}},
		"observer of log files": {withComponents(t, "observer", "observer-logs"), []string{"--set", "observer.enabled=true,observer.mode=logs"}},
		"observer, confined": {
			withComponents(t, "network-policy", "observer", "observer-network-policy", "openshift"),
			[]string{"--set", "observer.enabled=true,networkPolicy.enabled=true,runAsUser=null"},
		},
		"checks": {withComponents(t, "checks"), []string{"--set", "checks.enabled=true"}},
		"checks, confined": {
			withComponents(t, "network-policy", "checks", "checks-network-policy", "openshift"),
			[]string{"--set", "checks.enabled=true,networkPolicy.enabled=true,runAsUser=null"},
		},
		"look back":              {withComponents(t, "look-back"), []string{"--set", "lookBack.enabled=true"}},
		"eviction of sessions":   {withComponents(t, "look-back", "evict-sessions"), []string{"--set", "lookBack.enabled=true", "--set", "evictSessions.enabled=true"}},
		"four eyes":              {withComponents(t, "four-eyes"), []string{"--set", "fourEyes.enabled=true"}},
		"four eyes before 1.36":  {withComponents(t, "four-eyes", "no-mutating-admission"), []string{"--set", "fourEyes.enabled=true,admission.mutating=false"}},
		"CRDs that do not stay":  {"config/default", []string{"--set", "crds.keep=false"}},
		"whatever the namespace": {"config/default", []string{"--namespace", "elsewhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			want, got := kustomize(t, test.kustomization), chart(t, test.values...)
			maps.DeleteFunc(got, func(_ string, o *unstructured.Unstructured) bool {
				return o.GetAnnotations()["helm.sh/hook"] != "" // no part of what is installed
			})
			for _, o := range got {
				unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "helm.sh/resource-policy")
			}
			for _, key := range slices.Sorted(maps.Keys(want)) {
				if got[key] == nil {
					t.Errorf("%s is missing in the chart", key)
				} else if diff := cmp.Diff(want[key].Object, got[key].Object); diff != "" {
					t.Errorf("%s differs (-%s +chart):\n%s", key, test.kustomization, diff)
				}
			}
			for _, key := range slices.Sorted(maps.Keys(got)) {
				if want[key] == nil {
					t.Errorf("%s is in the chart alone", key)
				}
			}
		})
	}
}

func TestChartValues(t *testing.T) {
	o := chart(t, "--set", "image.repository=example/broker,image.tag=v2,replicas=3,namespace.create=false,crds.install=false,uninstallJob.enabled=false",
		"--set", "extraArgs={--grant-retention=24h},grantableRoles.roles={deployer}", "--set-json", "grantableRoles.clusterRoles=[]",
		"--set", "extraVolumes[0].name=sinks,extraVolumes[0].configMap.name=sinks,extraVolumeMounts[0].name=sinks,extraVolumeMounts[0].mountPath=/etc/sinks",
		"--set", "imagePullSecrets[0].name=pull,nodeSelector.disk=ssd,priorityClassName=system-cluster-critical,tolerations[0].operator=Exists")
	for _, gone := range []string{
		"Namespace /access-broker-system", "Job access-broker-system/access-broker-uninstall",
		"CustomResourceDefinition /accessgrants.jit.accessbroker.dev",
	} {
		if o[gone] != nil {
			t.Errorf("%s is there", gone)
		}
	}
	deployment := o["Deployment access-broker-system/access-broker"].Object
	pod, _, _ := unstructured.NestedMap(deployment, "spec", "template", "spec")
	container := pod["containers"].([]any)[0].(map[string]any)
	for what, pair := range map[string][2]any{
		"replicas":     {deployment["spec"].(map[string]any)["replicas"], float64(3)},
		"image":        {container["image"], "example/broker:v2"},
		"last flag":    {container["args"].([]any)[3], "--grant-retention=24h"},
		"volumes":      {pod["volumes"], []any{map[string]any{"name": "sinks", "configMap": map[string]any{"name": "sinks"}}}},
		"mounts":       {container["volumeMounts"], []any{map[string]any{"name": "sinks", "mountPath": "/etc/sinks"}}},
		"pull secrets": {pod["imagePullSecrets"], []any{map[string]any{"name": "pull"}}},
		"nodes":        {pod["nodeSelector"], map[string]any{"disk": "ssd"}},
		"priority":     {pod["priorityClassName"], "system-cluster-critical"},
		"tolerations":  {pod["tolerations"], []any{map[string]any{"operator": "Exists"}}},
		// An empty list of names would be every name: there must be no such rule.
		"grantable roles": {o["ClusterRole /access-broker-grantable-roles"].Object["rules"], []any{map[string]any{
			"apiGroups": []any{"rbac.authorization.k8s.io"}, "resources": []any{"roles"}, "verbs": []any{"bind"}, "resourceNames": []any{"deployer"},
		}}},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestChartObserver(t *testing.T) {
	const deployment, daemonSet = "Deployment access-broker-system/access-observer", "DaemonSet access-broker-system/access-observer"
	pod := func(o *unstructured.Unstructured) (template *corev1.PodTemplateSpec, args []string) {
		template = podOf(t, o)
		return template, template.Spec.Containers[0].Args
	}
	o := chart(t, "--set", "observer.enabled=true,observer.tlsSecret=mine,observer.clientCASecret=senders,observer.streams=3,observer.replicas=4,observer.extraArgs={--log-level=debug}",
		"--set", "observer.nodeSelector.disk=ssd,observer.tolerations[0].operator=Exists,observer.resources.limits.memory=1Gi,image.tag=v2,imagePullSecrets[0].name=pull")
	template, args := pod(o[deployment])
	if o[daemonSet] != nil || o["PersistentVolume /access-observer-log"] != nil {
		t.Error("it reads files as well")
	}
	for _, want := range []string{"--streams=3", "--client-ca-file=/etc/access-observer/client-ca/ca.crt", "--log-level=debug"} {
		if !slices.Contains(args, want) {
			t.Errorf("there is no %s in %q", want, args)
		}
	}
	spec := template.Spec
	if v := spec.Volumes; len(v) != 2 || v[0].Secret.SecretName != "mine" || v[1].Secret.SecretName != "senders" {
		t.Errorf("the Secrets are %+v", v)
	}
	if c := spec.Containers[0]; c.Image != "access-broker:v2" || c.Resources.Limits.Memory().String() != "1Gi" || spec.NodeSelector["disk"] != "ssd" || len(spec.Tolerations) != 1 || len(spec.ImagePullSecrets) != 1 {
		t.Errorf("the Pods are %+v", spec)
	}

	o = chart(t, "--set", "observer.enabled=true,observer.mode=logs,observer.logPath=/var/log/apiserver/audit.json,observer.checkpointFolder=/srv/observer,observer.tolerations[0].operator=Exists")
	template, args = pod(o[daemonSet])
	if !slices.Contains(args, "--audit-log=/var/log/apiserver/audit.json") || template.Spec.Containers[0].VolumeMounts[0].MountPath != "/var/log/apiserver" || len(template.Spec.Tolerations) != 4 {
		t.Errorf("it reads %q: %+v", args, template.Spec)
	}
	for name, path := range map[string]string{"log": "/var/log/apiserver", "checkpoint": "/srv/observer"} {
		if got, _, _ := unstructured.NestedString(o["PersistentVolume /access-observer-"+name].Object, "spec", "hostPath", "path"); got != path {
			t.Errorf("the volume %s is %s", name, got)
		}
	}
	for _, gone := range []string{deployment, "Service access-broker-system/access-observer", "ClusterRole /access-audit-sender", "PodDisruptionBudget access-broker-system/access-observer"} {
		if o[gone] != nil {
			t.Errorf("%s is there, and nothing is posted to it", gone)
		}
	}
}

// Without its values there is no observer.
func TestChartWithoutObserver(t *testing.T) {
	for key := range chart(t, "--set", "networkPolicy.enabled=true") {
		if strings.Contains(key, "observer") || strings.Contains(key, "audit-sender") {
			t.Errorf("%s is there", key)
		}
	}
}

// What the chart makes of checks in its values, the program can read. Without its values
// there is no checker.
func TestChartChecks(t *testing.T) {
	const configMap = "ConfigMap access-broker-system/access-checker"
	o := chart(t, "--set", "checks.enabled=true,checks.secret=mine,checks.replicas=2,checks.extraArgs={--log-level=debug},checks.env[0].name=HTTPS_PROXY,checks.env[0].value=http://proxy:3128")
	template := podOf(t, o["Deployment access-broker-system/access-checker"])
	if o[configMap] != nil || !slices.Contains(template.Spec.Containers[0].Args, "--log-level=debug") || template.Spec.Volumes[1].Secret.SecretName != "mine" || template.Spec.Containers[0].Env[0].Name != "HTTPS_PROXY" {
		t.Errorf("%v, %+v", o[configMap], template.Spec)
	}
	examples, err := filepath.Glob(filepath.Join(root(t), "config", "components", "checks", "examples", "*.yaml"))
	if err != nil || len(examples) == 0 {
		t.Fatal(err, "there are no examples")
	}
	for _, example := range examples {
		content, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		values := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(values, []byte("checks:\n  enabled: true\n  config:\n    "+strings.ReplaceAll(string(content), "\n", "\n    ")), 0o600); err != nil {
			t.Fatal(err)
		}
		config, _, err := unstructured.NestedString(chart(t, "--values", values)[configMap].Object, "data", "config.yaml")
		if err != nil {
			t.Fatal(err)
		}
		got, err := check.Parse([]byte(config))
		want, wrong := check.Parse(content)
		if err != nil || wrong != nil {
			t.Fatal(example, err, wrong)
		}
		if diff := cmp.Diff(want[0].Check, got[0].Check); diff != "" {
			t.Errorf("%s is another one in the chart:\n%s", example, diff)
		}
	}
	for key := range chart(t, "--set", "networkPolicy.enabled=true") {
		if strings.Contains(key, "checker") {
			t.Errorf("%s is there", key)
		}
	}
}

// The keys of extra that are kept are the same in the stamp and in the check.
func TestChartKeptExtra(t *testing.T) {
	o := chart(t, "--set", "admission.keptExtra={oid,example.com/team}")
	for _, key := range []string{"ValidatingAdmissionPolicy /access-broker-requests", "MutatingAdmissionPolicy /access-broker-stamp-requester"} {
		variables, _, err := unstructured.NestedSlice(o[key].Object, "spec", "variables")
		if err != nil || len(variables) < 5 {
			t.Fatalf("%s: %v, %v", key, variables, err)
		}
		if first := variables[0].(map[string]any); first["name"] != "keptExtra" || first["expression"] != `["oid","example.com/team"]` {
			t.Errorf("%s: %v", key, first)
		}
	}
}

// The patch of docs/install.md, as it is printed there, does the same.
func TestPagePatchesKeptExtra(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "# in your kustomization.yaml\n")
	patch, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("the page has no such patch")
	}
	o := kustomize(t, overlay(t, "resources: [../default]\n"+patch))
	for _, key := range []string{"ValidatingAdmissionPolicy /access-broker-requests", "MutatingAdmissionPolicy /access-broker-stamp-requester"} {
		variables, _, err := unstructured.NestedSlice(o[key].Object, "spec", "variables")
		if err != nil || variables[0].(map[string]any)["expression"] != `["example.com/team", "oid"]` {
			t.Errorf("%s: %v, %v", key, variables[0], err)
		}
	}
}

func TestChartRefusesValues(t *testing.T) {
	for _, values := range []string{
		"replicas=0", "runAsUser=0", "no.such=value", "image.repository=", "grantableRoles.clusterRoles={*}", "extraArgs={positional}", "extraVolumeMounts[0].name=a,extraVolumeMounts[0].mountPath=relative",
		"admission.keptExtra={OID}", `admission.keptExtra={a"b}`,
		"observer.mode=files", "observer.logPath=audit.log", "observer.logPath=/audit.log", "observer.streams=0", "observer.enabled=yes-please", "observer.tlsSecret=",
		"checks.config.cheks[0].name=jira", "checks.config.checks[0].name=jira", "checks.secret=", "checks.replicas=0",
		"taskKinds[0].apiGroups={batch},taskKinds[0].resources={jobs},taskKinds[0].verbs={delete}",
	} {
		if out, err := helm(t, "template", "access-broker", "charts/access-broker", "--set", values); err == nil || !strings.Contains(out, "schema") {
			t.Errorf("%s: the schema does not refuse it: %v\n%s", values, err, out)
		}
	}
}

// helm package puts the files themselves into the archive, in place of the
// links into config/, and none that is not the chart's.
func TestChartPackage(t *testing.T) {
	folder := t.TempDir()
	run(t, helmCommand(t, "package", "charts/access-broker", "--destination", folder))
	archives, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("%v: %v", archives, err)
	}
	packed := run(t, helmCommand(t, "template", "access-broker", archives[0]))
	if diff := cmp.Diff(chart(t), byKey(t, parse(t, packed))); diff != "" {
		t.Errorf("the archive differs (-folder +archive):\n%s", diff)
	}
	compressed, err := os.Open(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	defer compressed.Close()
	content, err := gzip.NewReader(compressed)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !header.FileInfo().Mode().IsRegular() || slices.Contains([]string{".go", ".sh"}, filepath.Ext(header.Name)) {
			t.Errorf("%s %s is in the archive", header.FileInfo().Mode(), header.Name)
		}
	}
}

// Where Git makes no symbolic links, the chart installs nothing rather than a
// broker without its guards.
func TestChartWithoutLinks(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "access-broker")
	run(t, exec.CommandContext(t.Context(), "cp", "-rL", filepath.Join(root(t), "charts", "access-broker"), folder))
	link := filepath.Join(folder, "files", "admission")
	if err := errors.Join(os.RemoveAll(link), os.WriteFile(link, []byte("../../../config/admission"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := helm(t, "template", "access-broker", folder); err == nil || !strings.Contains(out, "files/admission, a symbolic link into config/, leads nowhere") {
		t.Errorf("it is not refused: %v\n%s", err, out)
	}
}

func TestChartLint(t *testing.T) {
	if out, err := helm(t, "lint", "--strict", "charts/access-broker"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The rules stand before the broker starts.
func TestDeploymentComesLast(t *testing.T) {
	for _, folder := range []string{"config/default", "config/variants/no-mutating-admission"} {
		list := parse(t, run(t, kubectl(t, "kustomize", folder)))
		if last := list[len(list)-1]; last.GetKind() != "Deployment" {
			t.Errorf("%s ends with %s", folder, keyOf(last))
		}
	}
}

func kustomize(t *testing.T, folder string) objects {
	t.Helper()
	return byKey(t, parse(t, run(t, kubectl(t, "kustomize", folder))))
}

func chart(t *testing.T, values ...string) objects {
	t.Helper()
	return byKey(t, parse(t, run(t, helmCommand(t, append([]string{"template", "access-broker", "charts/access-broker"}, values...)...))))
}

// withComponents is the folder of a kustomization of config/default with components.
func withComponents(t *testing.T, names ...string) string {
	t.Helper()
	return overlay(t, textOfComponents(names...))
}

func textOfComponents(names ...string) string {
	text := "resources: [../default]\ncomponents:\n"
	for _, name := range names {
		text += "  - ../components/" + name + "\n"
	}
	return text
}

// overlay is the folder of a kustomization that is written as if it lay beside
// config/default: kustomize takes no absolute path as a base.
func overlay(t *testing.T, text string) string {
	t.Helper()
	temporary := filepath.Join(root(t), "tmp")
	if err := os.MkdirAll(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(temporary, "overlay-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	text = strings.ReplaceAll(text, "../", "../../config/")
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

func parse(t *testing.T, content []byte) []*unstructured.Unstructured {
	t.Helper()
	var list []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("parse: %v", err)
		}
		if len(o.Object) > 0 {
			list = append(list, o)
		}
	}
}

func keyOf(o *unstructured.Unstructured) string {
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

func byKey(t *testing.T, list []*unstructured.Unstructured) objects {
	t.Helper()
	out := objects{}
	for _, o := range list {
		if out[keyOf(o)] != nil {
			t.Errorf("%s is there twice", keyOf(o))
		}
		out[keyOf(o)] = o
	}
	return out
}

func root(t *testing.T) string {
	t.Helper()
	folder, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func kubectl(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "bin", "kubectl"), args...)
	cmd.Dir = root(t)
	return cmd
}

// helmCommand is Helm itself, at the version of its own module. It tells on
// stderr of the links in the chart.
func helmCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=hack/helm/go.mod", "helm"}, args...)...)
	cmd.Dir = root(t)
	return cmd
}

func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := helmCommand(t, args...).CombinedOutput()
	return string(out), err
}

func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return out
}
