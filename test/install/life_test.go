package install

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// cluster is a control plane on which Access Broker comes and goes.
type cluster struct {
	*kit.Cluster
	kubeconfig string
	alice      client.Client
	namespace  string
}

// One life: installed from nothing, used, upgraded while access is given,
// uninstalled, installed anew with Helm, and uninstalled with no broker running;
// at last what others left behind is taken.
func TestLife(t *testing.T) {
	c := &cluster{Cluster: kit.Start(t)} // kubectl apply -k config/default
	c.kubeconfig = c.KubeconfigOf(lab.AdminName)
	c.alice = c.Person(t, "alice", "dev")
	c.bind(t, "access-requester", "dev")
	c.namespace = c.NewNamespace(t, nil)

	c.podsAreAdmitted(t)
	c.componentsAreTaken(t)
	c.observerIsOnControlPlanes(t)
	t.Run("user roles", c.userRoles)
	broker := c.upgrade(t, c.start(t, "broker"))
	c.uninstall(t, broker)
	c.helm(t)
	c.leftovers(t)
}

// podsAreAdmitted: the API server itself lets the Pods into a namespace that
// enforces the restricted standard.
func (c *cluster) podsAreAdmitted(t *testing.T) {
	t.Helper()
	pods := &corev1.PodList{}
	kit.Eventually(t, "the Deployment's Pods", func(ctx context.Context) (bool, error) {
		err := c.Admin.List(ctx, pods, client.InNamespace(lab.BrokerNamespace), client.MatchingLabels{"app.kubernetes.io/name": "access-broker"})
		return len(pods.Items) == 2, err
	})
}

// componentsAreTaken: the API server takes every component, and warns of nothing.
func (c *cluster) componentsAreTaken(t *testing.T) {
	t.Helper()
	out := c.kubectl(t, "apply --dry-run=server -k "+c.overlay(t, textOfComponents(components(t)...)))
	for _, want := range []string{"networkpolicy.networking.k8s.io/access-broker created", "cronjob.batch/access-broker-sweep created", "daemonset.apps/access-observer created", "deployment.apps/access-checker created", "networkpolicy.networking.k8s.io/access-checker created", "persistentvolume/access-observer-log created", "clusterrole.rbac.authorization.k8s.io/access-broker-adhoc-rules created", "configmap/access-broker-notifications-"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %s", want)
		}
	}
	out += c.kubectl(t, "apply --dry-run=server -k "+c.overlay(t, textOfComponents("observer")))
	if !strings.Contains(out, "deployment.apps/access-observer created") {
		t.Error("there is no Deployment of the observer")
	}
	if strings.Contains(out, "Warning") {
		t.Errorf("the API server warns:\n%s", out)
	}
}

// observerIsOnControlPlanes: the DaemonSet that reads log files has a Pod on each node
// of the control plane, whatever the value of its label, and on no other. The
// namespace lets these Pods in, and their volumes are bound.
func (c *cluster) observerIsOnControlPlanes(t *testing.T) {
	t.Helper()
	const role = "node-role.kubernetes.io/control-plane"
	for name, labels := range map[string]map[string]string{"kubeadm": {role: ""}, "k3s": {role: "true"}, "worker": nil} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
		if labels != nil {
			node.Spec.Taints = []corev1.Taint{{Key: role, Effect: corev1.TaintEffectNoSchedule}}
		}
		kit.Create(t, c.Admin, node)
		t.Cleanup(func() { _ = c.Admin.Delete(context.WithoutCancel(t.Context()), node) })
	}
	folder := overlay(t, "components: [../components/observer, ../components/observer-logs]\n")
	c.kubectl(t, "apply -k "+folder)
	kit.Eventually(t, "a Pod on each node of the control plane", func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		err := c.Admin.List(ctx, pods, client.InNamespace(lab.BrokerNamespace), client.MatchingLabels{"app.kubernetes.io/name": "access-observer"})
		nodes := map[string]bool{}
		for _, pod := range pods.Items {
			// The DaemonSet's controller names the node; there is no scheduler here.
			for _, term := range pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
				nodes[term.MatchFields[0].Values[0]] = true
			}
		}
		if err == nil && !maps.Equal(nodes, map[string]bool{"kubeadm": true, "k3s": true}) {
			err = fmt.Errorf("the nodes are %v", nodes)
		}
		return err == nil, err
	})
	kit.Eventually(t, "its volumes", func(ctx context.Context) (bool, error) {
		claims := &corev1.PersistentVolumeClaimList{}
		err := c.Admin.List(ctx, claims, client.InNamespace(lab.BrokerNamespace))
		return len(claims.Items) == 2 && !slices.ContainsFunc(claims.Items, func(claim corev1.PersistentVolumeClaim) bool { return claim.Status.Phase != corev1.ClaimBound }), err
	})
	// No kubelet ends a Pod here, and a claim stays while a Pod has it.
	c.kubectl(t, "delete daemonset -n "+lab.BrokerNamespace+" access-observer --timeout=60s")
	c.kubectl(t, "delete pods -n "+lab.BrokerNamespace+" -l app.kubernetes.io/name=access-observer --force --timeout=60s")
	c.kubectl(t, "delete --ignore-not-found --timeout=60s -k "+folder)
}

// overlay is a kustomization of the installation that fits the cluster.
func (c *cluster) overlay(t *testing.T, text string) string {
	t.Helper()
	return overlay(t, strings.ReplaceAll(text, "../default", "../"+strings.TrimPrefix(c.Installation(), "config/")))
}

// upgrade applies another version over the one that runs: another image, other
// flags, other CRDs. What is given lives on and ends when it would have.
func (c *cluster) upgrade(t *testing.T, old *lab.Process) *lab.Process {
	t.Helper()
	c.policy(t)
	short, long := c.give(t, 20*time.Second), c.give(t, time.Hour)

	folder := c.overlay(t, `resources: [../default]
images:
  - {name: access-broker, newTag: v2}
patches:
  - target: {kind: Deployment}
    patch: |-
      - {op: add, path: /spec/template/spec/containers/0/args/-, value: --grant-retention=24h}
  - target: {kind: CustomResourceDefinition}
    patch: |-
      - {op: add, path: /metadata/labels, value: {version: v2}}
`)
	c.kubectl(t, "apply -k "+folder)
	deployment := &appsv1.Deployment{}
	if err := c.Admin.Get(t.Context(), client.ObjectKey{Namespace: lab.BrokerNamespace, Name: "access-broker"}, deployment); err != nil {
		t.Fatal(err)
	}
	if image := deployment.Spec.Template.Spec.Containers[0].Image; image != "access-broker:v2" {
		t.Errorf("the image is %s", image)
	}
	// As the Deployment does it: the new one is ready before the old one goes.
	upgraded := c.start(t, "broker-v2", "--grant-retention=24h")
	old.Stop()

	c.sameDeadline(t, short)
	c.sameDeadline(t, long)
	kit.WaitPast(t, short.Spec.ExpirationTime.Time)
	ended := c.WaitEnded(t, short.Name, v1alpha1.EndExpired)
	if late := ended.Status.EndedTime.Sub(short.Spec.ExpirationTime.Time); late < 0 || late > 10*time.Second {
		t.Errorf("it ended %s after its deadline", late)
	}
	if g := c.sameDeadline(t, long); g.Status.Phase != v1alpha1.GrantActive {
		t.Errorf("the other grant is %s", g.Status.Phase)
	}
	if !kit.Can(t, c.alice, c.namespace) {
		t.Error("alice lost the access that goes on")
	}
	return upgraded
}

// uninstall does what the page says, with a broker that runs and a grant that
// is active.
func (c *cluster) uninstall(t *testing.T, broker *lab.Process) {
	t.Helper()
	out, err := c.sh(t, "access-broker --kubeconfig "+c.BrokerKubeconfig(t, "uninstall")+" uninstall")
	if status := (*exec.ExitError)(nil); !errors.As(err, &status) || status.ExitCode() != 4 || !strings.Contains(out, "kubectl delete accesspolicies") {
		t.Errorf("it does not refuse to begin while there is a policy: %v\n%s", err, out)
	}
	if !kit.Can(t, c.alice, c.namespace) {
		t.Error("it took access away although it refused")
	}
	commands := kit.CommandsOf(t, "install.md", "## Uninstall", "With Helm")
	end := slices.IndexFunc(commands, func(line string) bool { return strings.HasPrefix(line, "kubectl exec ") })
	if end < 0 {
		t.Fatal("the page does not run the uninstall command")
	}
	for _, line := range commands[:end] {
		c.mustRun(t, line)
	}
	if kit.Can(t, c.alice, c.namespace) {
		t.Error("alice has access although the policies are gone")
	}
	request := c.Ask(t, c.alice, c.namespace, nil)
	c.WaitFor(t, request, v1alpha1.RequestDenied)

	// There is no node to exec on: the same program, as the same ServiceAccount.
	c.mustRun(t, "access-broker --kubeconfig "+c.BrokerKubeconfig(t, "uninstall")+" uninstall")
	for _, line := range commands[end+1:] {
		c.mustRun(t, line+" --timeout=60s")
	}
	broker.Stop()
	c.nothingLeft(t)
}

// helm installs the chart, and does what the page says for when no broker runs.
func (c *cluster) helm(t *testing.T) {
	t.Helper()
	// The end of the old Namespace is the namespace controller's.
	c.WaitGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: lab.BrokerNamespace}})
	c.mustHelm(t, "install", "access-broker", "charts/access-broker")
	c.waitReady(t)
	broker := c.start(t, "broker-v3")
	c.policy(t)
	g := c.give(t, time.Hour)
	c.mustHelm(t, "upgrade", "access-broker", "charts/access-broker", "--set", "image.tag=v4")
	c.sameDeadline(t, g)
	broker.Stop()
	stranger := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "of-a-stranger", Labels: map[string]string{"example.com/grant": g.Name}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}
	kit.Create(t, c.Admin, stranger)

	var out string
	for _, line := range kit.CommandsOf(t, "install.md", "### When no broker runs", "The same commands") {
		if strings.HasPrefix(line, "access-broker ") && !kit.Can(t, c.alice, c.namespace) {
			t.Error("the access is gone although nobody has taken it: this proves nothing")
		}
		out = c.mustRun(t, line)
	}
	if !strings.Contains(out, "ended "+g.Name+": ClusterRole/edit in "+c.namespace+" for alice") {
		t.Errorf("it does not tell what it ended:\n%s", out)
	}
	if kit.Can(t, c.alice, c.namespace) {
		t.Error("alice still has access")
	}
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(stranger), stranger); err != nil {
		t.Errorf("the stranger's binding: %v", err)
	}

	// No node runs the Job before the deletion; what it does was done above.
	c.mustHelm(t, "uninstall", "access-broker", "--no-hooks")
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
		t.Errorf("Helm did not keep the record: %v", err)
	}
	if s := g.Status; s.Phase != v1alpha1.GrantEnded || s.EndReason != v1alpha1.EndPolicyGone || s.EndedTime == nil ||
		!meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionAccessRemoved) || !meta.IsStatusConditionFalse(s.Conditions, v1alpha1.ConditionAccessGiven) {
		t.Errorf("the record does not say that the access is gone: %+v", s)
	}
	request := &v1alpha1.AccessRequest{}
	if err := c.Admin.Get(t.Context(), client.ObjectKey{Namespace: g.Spec.RequestRef.Namespace, Name: g.Spec.RequestRef.Name}, request); err != nil {
		t.Error(err)
	}
	if request.Status.Phase != v1alpha1.RequestRevoked || !meta.IsStatusConditionTrue(request.Status.Conditions, v1alpha1.ConditionEnded) {
		t.Errorf("the request is %s: %s", request.Status.Phase, kit.Describe(request.Status.Conditions))
	}
	for _, line := range kit.CommandsOf(t, "install.md", "unless the chart was installed with", "### When no broker runs") {
		c.mustRun(t, line+" --timeout=60s")
	}
	c.nothingLeft(t)
}

// leftovers: what no grant accounts for is taken, even when the kinds are gone,
// and what merely looks like it is left alone.
func (c *cluster) leftovers(t *testing.T) {
	t.Helper()
	// The end of the old Namespace is the namespace controller's.
	c.WaitGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: lab.BrokerNamespace}})
	c.kubectl(t, "apply -k config/default")
	c.waitReady(t)
	broker := c.start(t, "broker-v5")
	c.policy(t)
	active, over := c.give(t, time.Hour), c.give(t, time.Hour)
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: over.Spec.RequestRef.Name}}
	kit.MustDecide(t, c.alice, request, v1alpha1.VerdictRelease)
	c.WaitEnded(t, over.Name, v1alpha1.EndReleased)
	broker.Stop()
	c.kubectl(t, "delete accesspolicies --all")

	alice := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}}
	binding := func(name, grant, role string) *rbacv1.RoleBinding {
		b := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelGrant: grant}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: alice,
		}
		c.CreateAsBefore(t, b)
		return b
	}
	binding(over.Name, over.Name, "edit")
	binding("orphan", "orphan", "edit")
	stranger := binding("old-friends", "orphan", "view")

	// Who is not the broker takes the access, and may not touch the record.
	if out, err := c.sh(t, "access-broker --kubeconfig "+c.kubeconfig+" uninstall"); err == nil || !strings.Contains(out, "let grant "+active.Name+" be deleted") {
		t.Errorf("an administrator could do it: %v\n%s", err, out)
	}
	if kit.Can(t, c.alice, c.namespace) {
		t.Error("alice still has access")
	}
	binding("orphan", "orphan", "edit")
	kubeconfig := c.BrokerKubeconfig(t, "uninstall")
	out := c.mustRun(t, "access-broker --kubeconfig "+kubeconfig+" uninstall")
	for _, want := range []string{"ended " + active.Name, "removed what was left over: RoleBinding " + c.namespace + "/orphan", "left alone, because it has a grant's label but is not a grant's: RoleBinding " + c.namespace + "/old-friends"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if kit.Can(t, c.alice, c.namespace) {
		t.Error("alice still has access")
	}

	// Nothing keeps the kinds any more; without them it does its work as well.
	c.kubectl(t, "delete --timeout=60s -k config/crd")
	binding("orphan", "orphan", "edit")
	if !kit.Can(t, c.alice, c.namespace) {
		t.Error("the forged binding gives nothing: this shows nothing")
	}
	out = c.mustRun(t, "access-broker --kubeconfig "+kubeconfig+" uninstall")
	if !strings.Contains(out, "removed what was left over: RoleBinding "+c.namespace+"/orphan") || kit.Can(t, c.alice, c.namespace) {
		t.Errorf("alice has access: %v\n%s", kit.Can(t, c.alice, c.namespace), out)
	}
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(stranger), stranger); err != nil {
		t.Errorf("the stranger's binding: %v", err)
	}
	kit.Delete(t, c.Admin, stranger)
	c.kubectl(t, "delete --timeout=60s --ignore-not-found -k config/default")
	c.nothingLeft(t)
}

// waitReady waits until the API server knows the kinds and the policies.
func (c *cluster) waitReady(t *testing.T) {
	t.Helper()
	kit.Eventually(t, "the API server to know the kinds and the policies", func(ctx context.Context) (bool, error) {
		err := c.alice.Create(ctx, lab.NewRequest(c.namespace, nil), client.DryRunAll)
		return err == nil, err
	})
}

// nothingLeft: no kind, no policy, no role and no access.
func (c *cluster) nothingLeft(t *testing.T) {
	t.Helper()
	kinds := "crd,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings"
	if c.Stamps {
		kinds += ",mutatingadmissionpolicies,mutatingadmissionpolicybindings"
	}
	out := c.kubectl(t, "get "+kinds+" -o name")
	for line := range strings.Lines(out) {
		if strings.Contains(line, "access-broker") || strings.Contains(line, "accessbroker") {
			t.Errorf("%s is left", strings.TrimSpace(line))
		}
	}
	if out := c.kubectl(t, "get rolebindings,clusterrolebindings,roles,clusterroles -A -o name -l "+v1alpha1.LabelGrant); strings.TrimSpace(out) != "" {
		t.Errorf("left of grants: %s", out)
	}
	if kit.Can(t, c.alice, c.namespace) {
		t.Error("alice still has access")
	}
}

// policy lets alice have edit at once.
func (c *cluster) policy(t *testing.T) {
	t.Helper()
	p := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "automatic"}, Spec: v1alpha1.AccessPolicySpec{
		Approvals:   []v1alpha1.ApprovalStage{},
		Requesters:  v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}),
		Roles:       []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}},
		Namespaces:  &v1alpha1.PolicyNamespaces{Names: []string{c.namespace}},
		MaxDuration: metav1.Duration{Duration: time.Hour},
	}}
	kit.Create(t, c.Admin, p)
}

// give gives alice edit, with identities that the API server has verified.
func (c *cluster) give(t *testing.T, d time.Duration) *v1alpha1.AccessGrant {
	t.Helper()
	request := c.Ask(t, c.alice, c.namespace, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} })
	c.WaitFor(t, request, v1alpha1.RequestActive)
	g := c.GrantOf(t, request)
	if !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAdmissionEnforced) {
		t.Errorf("what is installed is not what the broker knows: %s", kit.Describe(g.Status.Conditions))
	}
	return g
}

func (c *cluster) sameDeadline(t *testing.T, g *v1alpha1.AccessGrant) *v1alpha1.AccessGrant {
	t.Helper()
	now := &v1alpha1.AccessGrant{}
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), now); err != nil {
		t.Fatal(err)
	}
	if now.UID != g.UID || !now.Spec.ExpirationTime.Equal(&g.Spec.ExpirationTime) {
		t.Errorf("the deadline moved from %s to %s", g.Spec.ExpirationTime, now.Spec.ExpirationTime)
	}
	return now
}

// start starts a replica.
func (c *cluster) start(t *testing.T, name string, args ...string) *lab.Process {
	t.Helper()
	return c.StartBroker(t, name, append([]string{"--leader-elect"}, args...)...)
}

// bind gives one of the roles for people to a group, everywhere.
func (c *cluster) bind(t *testing.T, role, group string) {
	t.Helper()
	if err := c.Bind(t.Context(), role, group); err != nil {
		t.Fatal(err)
	}
}

// sh runs a command line as the administrator types it in the folder of this module.
func (c *cluster) sh(t *testing.T, line string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(line, "config/default", c.Installation()))
	cmd.Dir = c.Root
	cmd.Env = c.Kubectl(c.kubeconfig).Env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) mustRun(t *testing.T, line string) string {
	t.Helper()
	// What the page writes into the folder goes elsewhere.
	line = regexp.MustCompile(`\b(policies\.yaml|grants\.yaml|broker\.kubeconfig)`).ReplaceAllString(line, c.Dir()+"/$1")
	out, err := c.sh(t, line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

func (c *cluster) kubectl(t *testing.T, args string) string {
	t.Helper()
	return c.mustRun(t, "kubectl "+args)
}

func (c *cluster) mustHelm(t *testing.T, args ...string) {
	t.Helper()
	if !c.Stamps && args[0] != "uninstall" {
		args = append(args, "--set", "admission.mutating=false")
	}
	if out, err := helm(t, append(args, "--kubeconfig", c.kubeconfig, "--namespace", "default")...); err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
