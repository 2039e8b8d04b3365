package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// kubectlAs runs kubectl as a user with a certificate.
func kubectlAs(t *testing.T, name, group string, args ...string) (string, error) {
	t.Helper()
	config, err := e.User(name, group)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig(name+"-"+group+"-"+strings.ReplaceAll(t.Name(), "/", "-"), config)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Kubectl(kubeconfig, args...).CombinedOutput()
	return string(out), err
}

// A requester who applies files is told what happened, with either kind of apply.
func TestRequesterApplies(t *testing.T) {
	e.NeedsStamps(t)
	t.Parallel()
	for name, flags := range map[string][]string{"client-side": {"apply"}, "server-side": {"apply", "--server-side"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, nil)
			file := filepath.Join(t.TempDir(), "request.yaml")
			apply := func(labels, spec string) (string, error) {
				t.Helper()
				text := fmt.Sprintf("apiVersion: jit.accessbroker.dev/v1alpha1\nkind: AccessRequest\nmetadata: {name: fix, namespace: %s, labels: {%s}}\nspec: {roleRef: {kind: ClusterRole, name: edit}, reason: INC-42%s}\n", ns, labels, spec)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return kubectlAs(t, "alice", "dev", append(flags, "-f", file)...)
			}
			must := func(out string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "fix"}}
			must(apply("", ""))
			must(apply("", ""))
			e.WaitMatched(t, request)
			must(apply("team: payments", ""))
			kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
			active := e.WaitFor(t, request, v1alpha1.RequestActive)
			must(apply("team: payments", ""))
			if out, err := apply("team: payments", ", duration: 2h"); err == nil || !strings.Contains(out, "spec is immutable: create another request") {
				t.Errorf("a changed file is answered with %v: %s", err, out)
			}
			must(apply("", "")) // the label goes again
			after := e.WaitFor(t, request, v1alpha1.RequestActive)
			if after.UID != active.UID || after.Labels["team"] != "" || after.Spec.Requester.Username != "alice" {
				t.Errorf("the request is %+v", after)
			}
			if !kit.Can(t, alice, ns) {
				t.Error("alice has lost the access")
			}
		})
	}
}

// Whoever migrates storage versions, or replaces an object by itself, changes
// nothing and is let through, and what was given stays given.
func TestWritesThatChangeNothing(t *testing.T) {
	t.Parallel()
	migrator := e.Somebody(t, rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:storage-version-migrator-controller", Groups: []string{"system:masters"}})
	for _, cluster := range []bool{false, true} {
		t.Run(fmt.Sprintf("cluster=%t", cluster), func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
				s.Approvals[0].Count, s.ClusterScope = ptr.To[int32](0), v1alpha1.ClusterScopeAllowed
			})
			request := e.WaitFor(t, e.Ask(t, dave, ns, func(s *v1alpha1.AccessRequestSpec) {
				s.PolicyName = p.Name
				if cluster {
					s.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
				}
			}), v1alpha1.RequestActive)
			g := e.GrantOf(t, request)
			var binding client.Object = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
			if cluster {
				binding = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
			}
			for _, o := range []client.Object{request, g, binding} {
				if err := migrator.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
					t.Fatal(err)
				}
				gvk, err := migrator.GroupVersionKindFor(o)
				if err != nil {
					t.Fatal(err)
				}
				if err := migrator.Update(t.Context(), o.DeepCopyObject().(client.Object)); err != nil {
					t.Errorf("%s replaced by itself: %v", gvk.Kind, err)
				}
				apply := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"uid":%q,"resourceVersion":%q}}`,
					gvk.GroupVersion(), gvk.Kind, o.GetName(), o.GetUID(), o.GetResourceVersion())
				if err := migrator.Patch(t.Context(), o.DeepCopyObject().(client.Object), client.RawPatch(types.ApplyPatchType, []byte(apply)), client.FieldOwner("migrator")); err != nil {
					t.Errorf("%s migrated: %v", gvk.Kind, err)
				}
			}
			if err := migrator.Status().Update(t.Context(), g.DeepCopy()); err != nil {
				t.Errorf("a grant's status replaced by itself: %v", err)
			}
			kit.MustDecide(t, bob, request, v1alpha1.VerdictRevoke)
			e.WaitEnded(t, g.Name, v1alpha1.EndRevoked) // and not because a binding was touched
		})
	}
}
