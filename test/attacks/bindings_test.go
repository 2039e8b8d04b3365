package attacks

import (
	"context"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const writtenByBroker = "objects of an AccessGrant are written by the broker alone"

// gone waits until somebody's access is gone, and tells how long that took.
func gone(t *testing.T, c client.Client, ns string) time.Duration {
	t.Helper()
	begin := time.Now()
	kit.Eventually(t, "the end of the access", func(context.Context) (bool, error) { return !kit.Can(t, c, ns), nil })
	return time.Since(begin)
}

func TestBindings(t *testing.T) {
	t.Parallel()
	// One binding for the attacks that are refused on the spot, by an
	// administrator of the namespace, which RBAC lets do all of this.
	ns, _, g := held(t)
	administers(t, ns)
	t.Cleanup(func() {
		b := bindingOf(g, ns)
		if err := e.Admin.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(b), b); err != nil {
			t.Error(err)
			return
		}
		if len(b.Finalizers) != 0 || len(b.Subjects) != 1 || b.Subjects[0] != user("alice") || len(b.OwnerReferences) != 1 || b.Labels[v1alpha1.LabelGrant] != g.Name {
			t.Errorf("the binding was changed: %+v", b)
		}
	})
	patched := func(c client.Client, patch string) func(*testing.T) error {
		return func(t *testing.T) error { return merge(t, c, bindingOf(g, ns), patch) }
	}
	refused(t, "finalizer put on a binding", writtenByBroker, patched(nora, `{"metadata":{"finalizers":["example.com/stay"]}}`))
	refused(t, "owner taken off a binding", writtenByBroker, patched(nora, `{"metadata":{"ownerReferences":null}}`))
	refused(t, "owner of a binding exchanged", writtenByBroker, patched(nora, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"default","uid":"0"}]}}`))
	refused(t, "subject added to a binding", writtenByBroker, patched(nora, `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"alice"},{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"nora"}]}`))
	refused(t, "label of a binding changed", writtenByBroker, patched(nora, `{"metadata":{"labels":{"jit.accessbroker.dev/grant":"another"}}}`))
	refused(t, "label taken off a binding", writtenByBroker, patched(nora, `{"metadata":{"labels":null}}`))
	refused(t, "owner and label taken off a binding", writtenByBroker, patched(nora, `{"metadata":{"labels":null,"ownerReferences":null}}`))
	refused(t, "binding changed by a cluster administrator", writtenByBroker, patched(e.Admin, `{"metadata":{"annotations":{"a":"b"}}}`))

	stranger := func(name string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, RoleRef: clusterRole("view"), Subjects: []rbacv1.Subject{user("dave")}}
	}
	refused(t, "stranger's binding labelled for the broker to delete", writtenByBroker, func(t *testing.T) error {
		b := stranger("victim")
		kit.Create(t, e.Admin, b)
		return merge(t, nora, b, `{"metadata":{"labels":{"jit.accessbroker.dev/grant":"`+g.Name+`"}}}`)
	})
	refused(t, "binding of one's own passed off as a grant's", writtenByBroker, func(t *testing.T) error {
		b := stranger("mine")
		b.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID}}
		return nora.Create(t.Context(), b)
	})
	refused(t, "role of one's own passed off as a grant's", writtenByBroker, func(t *testing.T) error {
		return nora.Create(t.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "mine", Labels: map[string]string{v1alpha1.LabelGrant: g.Name}}})
	})

	// The grant itself.
	const (
		noRight      = "is forbidden: User \"nora\" cannot"
		brokerGrants = "grants are written by the broker alone"
	)
	refused(t, "grant edited by a namespace administrator", noRight, func(t *testing.T) error {
		return merge(t, nora, g.DeepCopy(), `{"metadata":{"finalizers":null}}`)
	})
	refused(t, "grant deleted by a namespace administrator", noRight, func(t *testing.T) error { return nora.Delete(t.Context(), g.DeepCopy()) })
	refused(t, "grant orphaned by a cluster administrator", brokerGrants, func(t *testing.T) error {
		return e.Admin.Delete(t.Context(), g.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationOrphan))
	})
	refused(t, "all grants deleted by a cluster administrator", brokerGrants, func(t *testing.T) error {
		return e.Admin.DeleteAllOf(t.Context(), &v1alpha1.AccessGrant{}, client.DryRunAll)
	})
	refused(t, "finalizer taken off a grant", brokerGrants, func(t *testing.T) error {
		return merge(t, e.Admin, g.DeepCopy(), `{"metadata":{"finalizers":null}}`)
	})
	refused(t, "grant prolonged", "spec is immutable", func(t *testing.T) error {
		later := g.DeepCopy()
		later.Spec.ExpirationTime = metav1.NewTime(g.Spec.ExpirationTime.Add(time.Hour))
		return e.Admin.Update(t.Context(), later)
	})
	refused(t, "grant's end forged", brokerGrants, func(t *testing.T) error {
		return e.Admin.Status().Patch(t.Context(), g.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Ended"}}`)))
	})
	refused(t, "grant written by hand", brokerGrants, func(t *testing.T) error {
		_, pending := matched(t, nil)
		return e.Admin.Create(t.Context(), grantByHand(pending, time.Hour))
	})

	// Names are known as soon as the request has its UID.
	attack(t, "binding made beforehand under the grant's name", func(t *testing.T) {
		ns, request := matched(t, nil)
		administers(t, ns)
		mine := stranger(grant.Name(request.Name, request.UID))
		mine.Namespace = ns
		kit.Create(t, nora, mine)
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		mustEnd(t, request, v1alpha1.RequestFailed, "does not belong to the grant")
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(mine), mine); err != nil || len(mine.Subjects) != 1 {
			t.Errorf("nora's own binding was touched: %v", err)
		}
		mustNot(t, alice, ns)
	})
	attack(t, "Role made beforehand under the grant's name", func(t *testing.T) {
		asked := rule("", list("pods"), list("get"))
		ns, request := askForRules(t, []v1alpha1.PolicyRule{asked}, asked)
		e.WaitMatched(t, request)
		kit.Create(t, e.Admin, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: grant.Name(request.Name, request.UID)}, Rules: may("get", "delete")})
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		mustEnd(t, request, v1alpha1.RequestFailed, "does not belong to the grant")
		mustNot(t, alice, ns)
	})
	attack(t, "Role of a grant widened", func(t *testing.T) {
		asked := rule("", list("pods"), list("get"))
		ns, request := askForRules(t, []v1alpha1.PolicyRule{asked}, asked)
		kit.MustDecide(t, bob, e.WaitMatched(t, request), v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: e.GrantOf(t, request).Name}}
		mustRefuse(t, writtenByBroker, merge(t, e.Admin, role, `{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`))
		mustNot(t, alice, ns)
	})

	// Access everywhere, by rules of one's own.
	_, _, everywhere := heldEverywhere(t)
	clusterWide := metav1.ObjectMeta{Name: everywhere.Name}
	refused(t, "subject added to a ClusterRoleBinding", writtenByBroker, func(t *testing.T) error {
		return merge(t, e.Admin, &rbacv1.ClusterRoleBinding{ObjectMeta: clusterWide}, `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"nora"}]}`)
	})
	refused(t, "ClusterRole of a grant widened", writtenByBroker, func(t *testing.T) error {
		return merge(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: clusterWide}, `{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}`)
	})
	attack(t, "ClusterRoleBinding deleted", func(t *testing.T) {
		paula, _, g := heldEverywhere(t)
		kit.Delete(t, e.Admin, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: g.Name}})
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		mustNot(t, paula, "default")
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: g.Name}, &rbacv1.ClusterRole{}); !apierrors.IsNotFound(err) {
			t.Errorf("the ClusterRole is left: %v", err)
		}
	})

	// Anybody whom RBAC lets may delete a binding; it must not come back, nor
	// stay half-deleted: a Terminating binding authorizes.
	deleted := func(t *testing.T, how metav1.DeletionPropagation) {
		ns, _, g := held(t)
		administers(t, ns)
		if err := nora.Delete(t.Context(), bindingOf(g, ns), client.PropagationPolicy(how)); err != nil {
			t.Fatal(err)
		}
		gone(t, alice, ns)
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		mustNot(t, alice, ns)
	}
	attack(t, "binding deleted", func(t *testing.T) { deleted(t, metav1.DeletePropagationBackground) })
	attack(t, "binding deleted in the foreground, to linger", func(t *testing.T) { deleted(t, metav1.DeletePropagationForeground) })
	attack(t, "binding deleted as an orphan, to linger", func(t *testing.T) { deleted(t, metav1.DeletePropagationOrphan) })
	attack(t, "binding deleted and recreated", func(t *testing.T) {
		ns, _, g := held(t)
		administers(t, ns)
		kit.Delete(t, nora, bindingOf(g, ns))
		again := bindingOf(g, ns)
		again.RoleRef, again.Subjects = clusterRole("edit"), []rbacv1.Subject{user("alice")}
		again.Labels = map[string]string{v1alpha1.LabelGrant: g.Name}
		mustRefuse(t, writtenByBroker, nora.Create(t.Context(), again))
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		mustNot(t, alice, ns)
	})
	attack(t, "binding deleted and another put in its place", func(t *testing.T) {
		ns, _, g := held(t)
		administers(t, ns)
		kit.Delete(t, nora, bindingOf(g, ns))
		mine := bindingOf(g, ns) // for the broker to delete, or to take for its own
		mine.RoleRef, mine.Subjects = clusterRole("view"), []rbacv1.Subject{user("dave")}
		kit.Create(t, nora, mine)
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(mine), mine); err != nil {
			t.Errorf("nora's own binding was touched: %v", err)
		}
		mustNot(t, alice, ns)
	})
}

// heldEverywhere is access to the whole cluster by rules of one's own, of a
// user of its own, so that it does not show in other tests.
func heldEverywhere(t *testing.T) (holder client.Client, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	name := "paula-" + ns
	holder = e.Person(t, name, "dev")
	asked := rule("", list("pods"), list("delete"))
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters, s.Approvals[0].Count = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: name}), new(int32)
		s.Roles, s.Rules, s.Namespaces, s.ClusterScope = nil, []v1alpha1.PolicyRule{asked}, nil, v1alpha1.ClusterScopeAllowed
	})
	request = e.Ask(t, holder, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.RoleRef, s.Rules, s.Scope = nil, []v1alpha1.PolicyRule{asked}, &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
	})
	e.WaitFor(t, request, v1alpha1.RequestActive)
	must(t, holder, "default")
	return holder, request, e.GrantOf(t, request)
}

// heldElsewhere is access of alice to another namespace than the request's,
// which does not go with it.
func heldElsewhere(t *testing.T) (ns string, g *v1alpha1.AccessGrant) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
	request := e.Ask(t, alice, e.NewNamespace(t, nil), func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: list(ns)} })
	e.WaitFor(t, request, v1alpha1.RequestActive)
	must(t, alice, ns)
	return ns, e.GrantOf(t, request)
}

func recreateNamespace(t *testing.T, name string) {
	t.Helper()
	kit.Delete(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	kit.CreateSoon(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func TestSameName(t *testing.T) {
	t.Parallel()
	attack(t, "ServiceAccount recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
		kit.Create(t, e.Admin, account.DeepCopy())
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = new(int32), v1alpha1.SubjectsServiceAccounts
		})
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "worker"}}
		})
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.Delete(t, e.Admin, account.DeepCopy())
		kit.Create(t, e.Admin, account.DeepCopy())
		heir, err := e.AsServiceAccount(t.Context(), ns, "worker")
		if err != nil {
			t.Fatal(err)
		}
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndSubjectGone)
		mustNot(t, heir, ns)
	})
	attack(t, "namespace recreated", func(t *testing.T) {
		ns, g := heldElsewhere(t)
		recreateNamespace(t, ns)
		e.WaitEnded(t, g.Name, v1alpha1.EndNamespaceGone)
		mustNot(t, alice, ns)
	})
	attack(t, "Job recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
		})
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.Delete(t, e.Admin, kit.NewJob(ns, "migrate"))
		kit.CreateSoon(t, e.Admin, kit.NewJob(ns, "migrate"))
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndTaskGone)
		mustNot(t, alice, ns)
	})
	recreated := func(t *testing.T, kind string) {
		ns, g, recreate := heldRole(t, kind, "again")
		recreate()
		e.WaitEnded(t, g.Name, v1alpha1.EndRoleGone)
		mustNot(t, alice, ns)
	}
	attack(t, "ClusterRole recreated", func(t *testing.T) { recreated(t, "ClusterRole") })
	attack(t, "Role recreated", func(t *testing.T) { recreated(t, "Role") })
	attack(t, "policy recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		request := e.Ask(t, alice, ns, nil)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.Delete(t, e.Admin, p.DeepCopy())
		again := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Spec: p.Spec}
		kit.Create(t, e.Admin, again)
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndPolicyGone)
		mustNot(t, alice, ns)
	})
}

// Whoever has the broker's token is held by RBAC and by the admission policies.
func TestStolenToken(t *testing.T) {
	t.Parallel()
	const (
		ownedOnly  = "the broker creates only bindings and roles that carry the label of an AccessGrant"
		takesAway  = "only by taking"
		notHeld    = "attempting to grant RBAC permissions not currently held"
		ofOthers   = "the broker changes and deletes only what belongs to an AccessGrant"
		noSuchVerb = "is forbidden: User \"system:serviceaccount:access-broker-system:access-broker\" cannot"
	)
	ns, _, g := held(t)
	rolling := rule("", list("pods"), list("get"))
	_, asked := askForRules(t, []v1alpha1.PolicyRule{rolling}, rolling)
	kit.MustDecide(t, bob, e.WaitMatched(t, asked), v1alpha1.VerdictApprove)
	e.WaitFor(t, asked, v1alpha1.RequestActive)
	others := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "others"}, RoleRef: clusterRole("view"), Subjects: []rbacv1.Subject{user("dave")}}
	kit.Create(t, e.Admin, others)

	owned := func(role string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: ns, Name: "stolen", Labels: map[string]string{v1alpha1.LabelGrant: g.Name},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID}},
			},
			RoleRef: clusterRole(role), Subjects: []rbacv1.Subject{user("mallory")},
		}
	}
	creates := func(o client.Object) func(*testing.T) error {
		return func(t *testing.T) error { return stolen.Create(t.Context(), o) }
	}
	unlabelled, unowned, mismatched := owned("view"), owned("view"), owned("view")
	unlabelled.Labels, unowned.OwnerReferences = nil, nil
	mismatched.Labels = map[string]string{v1alpha1.LabelGrant: "another"}
	twice, double, pods := owned("view"), owned("view"), owned("view")
	double.OwnerReferences = append(double.OwnerReferences, *double.OwnerReferences[0].DeepCopy())
	double.OwnerReferences[1].UID = "another"
	twice.OwnerReferences = append(twice.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: "any", UID: "any"})
	pods.OwnerReferences[0].APIVersion, pods.OwnerReferences[0].Kind = "v1", "Pod"
	refused(t, "binding owned by something else as well", ownedOnly, creates(twice))
	refused(t, "binding owned by two grants of one name", ownedOnly, creates(double))
	refused(t, "binding owned by something else of the grant's name", ownedOnly, creates(pods))
	refused(t, "unlabelled binding", ownedOnly, creates(unlabelled))
	refused(t, "unowned binding", ownedOnly, creates(unowned))
	refused(t, "binding owned by one grant and labelled with another", ownedOnly, creates(mismatched))
	refused(t, "unowned ClusterRoleBinding", ownedOnly, creates(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "stolen"}, RoleRef: clusterRole("view")}))
	refused(t, "unowned Role", ownedOnly, creates(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stolen"}}))
	refused(t, "unowned ClusterRole", ownedOnly, creates(&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "stolen"}}))
	refused(t, "binding to cluster-admin", notHeld, creates(owned("cluster-admin")))
	refused(t, "Role above the ceiling", notHeld, func(t *testing.T) error {
		return stolen.Create(t.Context(), &rbacv1.Role{ObjectMeta: owned("view").ObjectMeta, Rules: []rbacv1.PolicyRule{{APIGroups: list(""), Resources: list("secrets"), Verbs: list("get")}}})
	})
	refused(t, "ClusterRole that gathers others", "must have cluster-admin privileges to use the aggregationRule", func(t *testing.T) error {
		meta := owned("view").ObjectMeta
		meta.Namespace = ""
		return stolen.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, AggregationRule: &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{}}}})
	})
	refused(t, "subjects of a grant's binding changed", takesAway, func(t *testing.T) error {
		return merge(t, stolen, bindingOf(g, ns), `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"mallory"}]}`)
	})
	refused(t, "rules of a grant's Role changed", takesAway, func(t *testing.T) error {
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: asked.Namespace, Name: e.GrantOf(t, asked).Name}}
		if err := stolen.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil {
			return err
		}
		role.Rules = may("get", "delete")
		return stolen.Update(t.Context(), role)
	})
	refused(t, "another's binding changed", ofOthers, func(t *testing.T) error { return merge(t, stolen, others.DeepCopy(), `{"subjects":null}`) })
	refused(t, "another's binding deleted", ofOthers, func(t *testing.T) error { return stolen.Delete(t.Context(), others.DeepCopy()) })
	othersEverywhere := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "others-" + ns}, RoleRef: clusterRole("view"), Subjects: []rbacv1.Subject{user("dave-" + ns)}}
	kit.Create(t, e.Admin, othersEverywhere)
	othersRole := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "others"}, Rules: may("get")}
	kit.Create(t, e.Admin, othersRole)
	othersClusterRole := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "others-" + ns}, Rules: may("get")}
	kit.Create(t, e.Admin, othersClusterRole)
	refused(t, "another's ClusterRoleBinding deleted", ofOthers, func(t *testing.T) error { return stolen.Delete(t.Context(), othersEverywhere.DeepCopy()) })
	refused(t, "another's Role deleted", ofOthers, func(t *testing.T) error { return stolen.Delete(t.Context(), othersRole.DeepCopy()) })
	refused(t, "another's ClusterRole deleted", ofOthers, func(t *testing.T) error { return stolen.Delete(t.Context(), othersClusterRole.DeepCopy()) })
	refused(t, "Secret read", noSuchVerb, func(t *testing.T) error {
		return stolen.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "any"}, &corev1.Secret{})
	})
	refused(t, "Secrets read everywhere", noSuchVerb, func(t *testing.T) error { return stolen.List(t.Context(), &corev1.SecretList{}) })
	refused(t, "Pod run", noSuchVerb, creates(kit.NewPod(ns, "stolen")))
	refused(t, "request made", noSuchVerb, creates(lab.NewRequest(ns, nil)))
	refused(t, "policy written", noSuchVerb, func(t *testing.T) error {
		return stolen.Create(t.Context(), &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "stolen"}})
	})
	refused(t, "admission policies deleted", noSuchVerb, func(t *testing.T) error {
		return stolen.Delete(t.Context(), admissionBinding("access-broker-itself"))
	})
	refused(t, "admission policies changed", noSuchVerb, func(t *testing.T) error {
		return merge(t, stolen, admissionBinding("access-broker-itself"), `{"spec":{"validationActions":["Audit"]}}`)
	})
	refused(t, "impersonation", noSuchVerb, func(t *testing.T) error {
		config, err := e.BrokerConfig(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		config.Impersonate.UserName = "alice"
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = clientset.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
		return err
	})
	attack(t, "escalate and bind at will", func(t *testing.T) {
		for _, what := range []authorizationv1.ResourceAttributes{
			{Group: rbacv1.GroupName, Resource: "clusterroles", Verb: "escalate"},
			{Group: rbacv1.GroupName, Resource: "roles", Verb: "escalate"},
			{Group: rbacv1.GroupName, Resource: "clusterroles", Verb: "bind"},
			{Group: rbacv1.GroupName, Resource: "clusterroles", Name: "cluster-admin", Verb: "bind"},
			{Resource: "users", Verb: "impersonate"},
			{Resource: "serviceaccounts", Subresource: "token", Verb: "create"},
		} {
			if kit.CanDo(t, stolen, what) {
				t.Errorf("the broker may %s %s %s", what.Verb, what.Resource, what.Name)
			}
		}
	})
}

// settled waits until a grant is over, whatever the reason, or never was.
func settled(t *testing.T, name string) {
	t.Helper()
	kit.Eventually(t, "the end of grant "+name, func(ctx context.Context) (bool, error) {
		g := &v1alpha1.AccessGrant{}
		err := e.Admin.Get(ctx, client.ObjectKey{Name: name}, g)
		return apierrors.IsNotFound(err) || g.Status.Phase == v1alpha1.GrantEnded, client.IgnoreNotFound(err)
	})
}
