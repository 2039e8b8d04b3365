package attacks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// numbered are so many groups behind those that matter, and last what is cut off.
func numbered(n int, last string, first ...string) []string {
	for i := range n {
		first = append(first, fmt.Sprintf("team-%d", i))
	}
	return append(first, last)
}

func cel(expression string) []v1alpha1.PolicyCondition {
	return []v1alpha1.PolicyCondition{{Name: "no-contractors", Expression: expression}}
}

// What is stored of an identity is a copy with bounds. Nobody hides in what is
// left out of it.
func TestStoredIdentities(t *testing.T) {
	t.Parallel()
	const ownName = "must be the authenticated user, judy"
	judy := e.Somebody(t, rest.ImpersonationConfig{UserName: "judy", Groups: numbered(1200, "contractors", "dev", "sre"), Extra: map[string][]string{
		"iam.gke.io/user-assertion": {"a-credential"}, "example.com/contractor": {"yes"}, "oid": {"11111111-2222-3333-4444-555555555555"},
	}})
	// Everything but one thing is as the API server itself would stamp it.
	forge := func(lie func(*v1alpha1.UserInfo)) func(*testing.T) error {
		return func(t *testing.T) error {
			stamped := lab.NewRequest("default", nil)
			if err := judy.Create(t.Context(), stamped, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			if who := stamped.Spec.Requester; len(who.Groups) != 1024 || who.OmittedGroups != 180 || len(who.Extra) != 1 || len(who.OmittedExtra) != 2 {
				t.Fatalf("the copy is not cut: %+v", who)
			}
			lie(&stamped.Spec.Requester)
			return judy.Create(t.Context(), lab.NewRequest("default", func(s *v1alpha1.AccessRequestSpec) { s.Requester = stamped.Spec.Requester }))
		}
	}
	refused(t, "more groups left out than do not fit", ownName, forge(func(u *v1alpha1.UserInfo) { u.Groups, u.OmittedGroups = u.Groups[:1000], u.OmittedGroups+24 }))
	refused(t, "other groups left out than those that do not fit", ownName, forge(func(u *v1alpha1.UserInfo) { u.Groups[1023] = "contractors" }))
	refused(t, "groups left out and not counted", ownName, forge(func(u *v1alpha1.UserInfo) { u.OmittedGroups = 0 }))
	refused(t, "more groups counted than there are", ownName, forge(func(u *v1alpha1.UserInfo) { u.OmittedGroups++ }))
	refused(t, "kept key of extra left out", ownName, forge(func(u *v1alpha1.UserInfo) { u.Extra, u.OmittedExtra = nil, append(u.OmittedExtra, "oid") }))
	refused(t, "kept key of extra with another value", ownName, forge(func(u *v1alpha1.UserInfo) { u.Extra["oid"] = v1alpha1.ExtraValue{"0"} }))
	refused(t, "key of extra stored that is not kept", ownName, forge(func(u *v1alpha1.UserInfo) { u.Extra["example.com/contractor"] = v1alpha1.ExtraValue{"no"} }))
	refused(t, "key of extra left out and not named", ownName, forge(func(u *v1alpha1.UserInfo) { u.OmittedExtra = u.OmittedExtra[:1] }))
	refused(t, "key of extra named that is not there", ownName, forge(func(u *v1alpha1.UserInfo) { u.OmittedExtra[0] = "example.com/employee" }))

	// The copy itself is honest, and leaves out what a condition asks for.
	denied := func(t *testing.T, condition, why string) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count, s.Conditions = new(int32), cel(condition) })
		mustEnd(t, e.Ask(t, judy, ns, nil), v1alpha1.RequestDenied, why)
		mustNot(t, judy, ns)
	}
	attack(t, "condition passed by a group that is left out", func(t *testing.T) {
		denied(t, "!('contractors' in request.spec.requester.groups)", "which reads the requester's groups, of which a request does not keep 180")
	})
	attack(t, "condition passed by a key of extra that is left out", func(t *testing.T) {
		denied(t, `request.spec.requester.?extra[?"example.com/contractor"].orValue(["no"])[0] == "no"`, `which reads "example.com/contractor" of the requester's extra`)
	})
	attack(t, "group that a policy asks for, among those left out", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Requesters[0].Name = "contractors" })
		mustEnd(t, e.Ask(t, judy, ns, nil), v1alpha1.RequestDenied, "judy is in none of these groups, as far as is known (a request keeps 1024 of their 1204 groups)")
	})

	// Who decides is compared by what the API server knows, not by a copy.
	group := func(name string) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "Group", Name: name}}
		}
	}
	forAny := func(t *testing.T, of string) *v1alpha1.AccessRequest {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny })
		return e.WaitMatched(t, e.Ask(t, alice, ns, group(of)))
	}
	refused(t, "member of a subject group approves, with the group beyond the bound", "judy would benefit", func(t *testing.T) error {
		return kit.Decide(t, judy, forAny(t, "contractors"), v1alpha1.VerdictApprove)
	})
	attack(t, "credential looked up in a request", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		request := e.WaitFor(t, e.Ask(t, judy, ns, nil), v1alpha1.RequestActive)
		text := fmt.Sprintf("%+v %+v", request, e.GrantOf(t, request))
		if strings.Contains(text, "a-credential") || !strings.Contains(text, "iam.gke.io/user-assertion") {
			t.Errorf("its value is stored, or it is not told that it was left out: %s", text)
		}
	})
	refused(t, "room for a Revoke taken up by approvals", "no room for a Deny or a Revoke", func(t *testing.T) error {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.StartTime = &metav1.Time{Time: time.Now().Add(time.Hour)} }))
		for i := range 32 {
			kit.MustDecide(t, e.Somebody(t, rest.ImpersonationConfig{UserName: fmt.Sprintf("crony-%d", i), Groups: []string{"sre"}}), request, v1alpha1.VerdictApprove)
		}
		err := kit.Decide(t, erin, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestApproved)
		kit.MustDecide(t, erin, request, v1alpha1.VerdictRevoke)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
		return err
	})
}

// The spec of a request is immutable; its metadata is not.
func TestMetadata(t *testing.T) {
	t.Parallel()
	ns, request := matched(t, nil)
	const (
		theirs = "nobody else changes its metadata"
		owners = "only the requester adds an owner to a request"
		label  = "begin with jit.accessbroker.dev/ are the broker's"
		owner  = `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"00000000-0000-0000-0000-000000000000"}]}}`
	)
	patched := func(c client.Client, body string) func(*testing.T) error {
		return func(t *testing.T) error { return merge(t, c, request.DeepCopy(), body) }
	}
	refused(t, "label put on another's request", theirs, patched(mallory, `{"metadata":{"labels":{"approved":"yes"}}}`))
	refused(t, "annotation put on another's request", theirs, patched(mallory, `{"metadata":{"annotations":{"approved":"yes"}}}`))
	refused(t, "finalizer put on another's request", theirs, patched(mallory, `{"metadata":{"finalizers":["example.com/keep"]}}`))
	refused(t, "finalizer put on a request that is to be deleted", "adds none", patched(alice, `{"metadata":{"finalizers":["example.com/keep"]}}`))
	refused(t, "request deleted through an owner that does not exist", owners, patched(mallory, owner))
	refused(t, "request deleted through an owner, by an administrator", owners, patched(e.Admin, owner))
	refused(t, "owner taken off a request", "nobody takes an owner away", func(t *testing.T) error {
		job := kit.NewJob(ns, "owner")
		kit.Create(t, e.Admin, job)
		owned := lab.NewRequest(ns, nil)
		owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job.Name, UID: job.UID}}
		kit.Create(t, alice, owned)
		return merge(t, alice, owned, `{"metadata":{"ownerReferences":null}}`)
	})
	refused(t, "broker's label put on one's own request", label, patched(alice, `{"metadata":{"labels":{"jit.accessbroker.dev/grant":"another"}}}`))
	refused(t, "broker's annotation put on a new request", label, func(t *testing.T) error {
		forged := lab.NewRequest(ns, nil)
		forged.Annotations = map[string]string{"jit.accessbroker.dev/approved": "yes"}
		return alice.Create(t.Context(), forged)
	})
	refused(t, "spec changed by its requester", "spec is immutable", patched(alice, `{"spec":{"roleRef":{"name":"admin"}}}`))

	// No attack: what a tool writes on one's own request, or an administrator.
	t.Run("labels and owners of one's own are let through", func(t *testing.T) {
		t.Parallel()
		mine := e.Ask(t, alice, ns, nil)
		for _, body := range []string{`{"metadata":{"labels":{"team":"payments"}}}`, `{"metadata":{"annotations":{"ticket":"INC-42"}}}`, `{"metadata":{"labels":null}}`} {
			if err := merge(t, alice, mine, body); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
		if err := merge(t, e.Admin, mine, `{"metadata":{"labels":{"audited":"yes"}}}`); err != nil {
			t.Error(err)
		}
	})
}

// The controllers of Kubernetes are let through for their work, and no further.
func TestExempted(t *testing.T) {
	t.Parallel()
	controller := func(name string) client.Client {
		return e.Somebody(t, rest.ImpersonationConfig{UserName: name, Groups: []string{"system:masters"}})
	}
	collector, namespaces := controller("system:serviceaccount:kube-system:generic-garbage-collector"), controller("system:serviceaccount:kube-system:namespace-controller")
	manager, migrator := controller("system:kube-controller-manager"), controller("system:serviceaccount:kube-system:storage-version-migrator-controller")
	ns, request, g := held(t)
	_, _, everywhere := heldEverywhere(t)
	const (
		brokerOnly = "written by the broker alone"
		subject    = `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"nora"}]}`
	)
	patched := func(c client.Client, o client.Object, body string) func(*testing.T) error {
		return func(t *testing.T) error { return merge(t, c, o.DeepCopyObject().(client.Object), body) }
	}
	clusterWide := metav1.ObjectMeta{Name: everywhere.Name}
	refused(t, "garbage collector changes the subjects of a binding", brokerOnly, patched(collector, bindingOf(g, ns), subject))
	refused(t, "garbage collector changes the subjects of a ClusterRoleBinding", brokerOnly, patched(collector, &rbacv1.ClusterRoleBinding{ObjectMeta: clusterWide}, subject))
	refused(t, "garbage collector widens the ClusterRole of a grant", brokerOnly, patched(collector, &rbacv1.ClusterRole{ObjectMeta: clusterWide}, `{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`))
	refused(t, "garbage collector takes the label off a binding", brokerOnly, patched(collector, bindingOf(g, ns), `{"metadata":{"labels":null}}`))
	refused(t, "garbage collector puts a finalizer on a binding", brokerOnly, patched(collector, bindingOf(g, ns), `{"metadata":{"finalizers":["example.com/keep"]}}`))
	refused(t, "garbage collector exchanges the owner of a binding", brokerOnly, patched(collector, bindingOf(g, ns), `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"1"}]}}`))
	refused(t, "garbage collector takes the broker's finalizer off a grant", brokerOnly, patched(collector, g, `{"metadata":{"finalizers":null}}`))
	refused(t, "garbage collector forges a grant's end", brokerOnly, func(t *testing.T) error {
		return collector.Status().Patch(t.Context(), g.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Ended"}}`)))
	})
	refused(t, "garbage collector writes a grant", brokerOnly, func(t *testing.T) error {
		forged := grantByHand(request, time.Hour)
		forged.Name = "forged"
		return collector.Create(t.Context(), forged)
	})
	refused(t, "namespace controller makes a binding of a grant", brokerOnly, func(t *testing.T) error {
		forged := bindingOf(g, "default")
		forged.Labels, forged.RoleRef = map[string]string{v1alpha1.LabelGrant: g.Name}, clusterRole("view")
		return namespaces.Create(t.Context(), forged)
	})
	refused(t, "kube-controller-manager changes the subjects of a binding", brokerOnly, patched(manager, bindingOf(g, ns), subject))
	refused(t, "kube-controller-manager takes the broker's finalizer off a grant", brokerOnly, patched(manager, g, `{"metadata":{"finalizers":null}}`))
	refused(t, "kube-controller-manager changes the spec of a request", "spec is immutable", patched(manager, request, `{"spec":{"duration":"2h"}}`))
	refused(t, "kube-controller-manager gives a request an owner", "only the requester adds an owner to a request", patched(manager, request, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"none","uid":"00000000-0000-0000-0000-000000000000"}]}}`))
	refused(t, "migration that slips an annotation in", brokerOnly, patched(migrator, bindingOf(g, ns), `{"metadata":{"annotations":{"a":"b"}}}`))
	refused(t, "migration that slips a subject in", brokerOnly, patched(migrator, bindingOf(g, ns), subject))
	refused(t, "migration that slips a label into a grant", brokerOnly, patched(migrator, g, `{"metadata":{"labels":{"a":"b"}}}`))
	refused(t, "migration that slips a finalizer into a grant", brokerOnly, patched(migrator, g, `{"metadata":{"finalizers":["jit.accessbroker.dev/revoke","example.com/keep"]}}`))
	refused(t, "migration that slips a status into a grant", brokerOnly, func(t *testing.T) error {
		return migrator.Status().Patch(t.Context(), g.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"expires":null,"endReason":"Expired"}}`)))
	})
	refused(t, "migration that takes the label off a binding", brokerOnly, patched(migrator, bindingOf(g, ns), `{"metadata":{"labels":{"jit.accessbroker.dev/grant":null}}}`))

	// No attack: a grant's roles are migrated like its bindings.
	t.Run("roles of a grant replaced by themselves are let through", func(t *testing.T) {
		t.Parallel()
		for _, o := range []client.Object{&rbacv1.ClusterRole{ObjectMeta: clusterWide}, &rbacv1.ClusterRoleBinding{ObjectMeta: clusterWide}} {
			if err := migrator.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				t.Fatal(err)
			}
			if err := migrator.Update(t.Context(), o); err != nil {
				t.Error(err)
			}
		}
	})
}
