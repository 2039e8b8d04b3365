package e2e

import (
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// automatic grants without approvals, for tests about what is given.
func automatic(edit func(*v1alpha1.AccessPolicySpec)) func(*v1alpha1.AccessPolicySpec) {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.RequiredApprovals = new(int32)
		if edit != nil {
			edit(s)
		}
	}
}

func TestNoApprovalNeeded(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Approvers = nil }))
	request := ask(t, alice, ns, nil)
	waitFor(t, request, v1alpha1.RequestActive)
	if !can(t, alice, ns) {
		t.Error("alice has no access")
	}
}

func TestSeveralNamespaces(t *testing.T) {
	t.Parallel()
	one, two, other := newNamespace(t, nil), newNamespace(t, nil), newNamespace(t, nil)
	newPolicy(t, one, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Namespaces.Names = []string{one, two, other} }))
	request := ask(t, alice, one, func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: []string{two, one}} })
	active := waitFor(t, request, v1alpha1.RequestActive)
	if !can(t, alice, one) || !can(t, alice, two) || can(t, alice, other) {
		t.Error("alice's access is not exactly the two namespaces")
	}
	mustDecide(t, alice, request, v1alpha1.VerdictRelease)
	waitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	if can(t, alice, one) || can(t, alice, two) {
		t.Error("alice still has access")
	}
}

func TestNamespaceSelectorIsResolvedOnce(t *testing.T) {
	t.Parallel()
	home := newNamespace(t, nil)
	team := map[string]string{"team": home}
	one, two := newNamespace(t, team), newNamespace(t, team)
	newPolicy(t, home, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(home)}}}
	}))
	request := ask(t, alice, home, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: "team", Operator: "In", Values: []v1alpha1.LabelValue{v1alpha1.LabelValue(home)}}}}}
	})
	waitFor(t, request, v1alpha1.RequestActive)
	late := newNamespace(t, team)
	if !can(t, alice, one) || !can(t, alice, two) || can(t, alice, home) {
		t.Error("alice's access is not exactly the selected namespaces")
	}
	if can(t, alice, late) {
		t.Error("a namespace that came later is in the grant")
	}
}

func TestWholeCluster(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	// A group of its own keeps this access away from the other tests' users.
	paula, err := e.As("paula", "platform", "dev")
	if err != nil {
		t.Fatal(err)
	}
	newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = []v1alpha1.Subject{{Kind: "Group", Name: "platform"}}
		s.Namespaces, s.ClusterScope = nil, v1alpha1.ClusterScopeAllowed
	}))
	nodes := authorizationv1.ResourceAttributes{Verb: "delete", Resource: "pods"}
	if canDo(t, paula, nodes) {
		t.Fatal("paula has standing access")
	}
	request := ask(t, paula, ns, func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}} })
	active := waitFor(t, request, v1alpha1.RequestActive)
	if !canDo(t, paula, nodes) || !can(t, paula, ns) {
		t.Error("paula has no access to the whole cluster")
	}
	remove(t, e.Admin, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: active.Status.GrantName}})
	waitEnded(t, active.Status.GrantName, v1alpha1.EndBindingTouched)
	if canDo(t, paula, nodes) {
		t.Error("paula still has access")
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	create(t, e.Admin, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "restart"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"delete"}}},
	})
	// The administrator lists the Role among those that the broker may bind.
	name := "grantable-" + ns
	create(t, e.Admin, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: []string{"restart"}, Verbs: []string{"bind"}}},
	})
	create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "access-broker-system", Name: "access-broker"}},
	})
	newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Roles = []v1alpha1.RoleRef{{Kind: "Role", Name: "restart"}} }))
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef = &v1alpha1.RoleRef{Kind: "Role", Name: "restart"} })
	active := waitFor(t, request, v1alpha1.RequestActive)
	if !can(t, alice, ns) {
		t.Error("alice has no access")
	}
	remove(t, e.Admin, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "restart"}})
	waitEnded(t, active.Status.GrantName, v1alpha1.EndRoleGone)
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}})
	newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny }))
	worker, err := e.AsServiceAccount(t.Context(), ns, "worker")
	if err != nil {
		t.Fatal(err)
	}
	frank, err := e.As("frank", "guests-"+ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		subject v1alpha1.Subject
		holder  client.Client
	}{
		{"user", v1alpha1.Subject{Kind: "User", Name: "dave"}, dave},
		{"group", v1alpha1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "guests-" + ns}, frank},
		{"service account", v1alpha1.Subject{Kind: "ServiceAccount", Namespace: ns, Name: "worker"}, worker},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if can(t, tc.holder, ns) {
				t.Fatal("the subject has standing access")
			}
			request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{tc.subject} })
			active := waitFor(t, request, v1alpha1.RequestActive)
			if !can(t, tc.holder, ns) {
				t.Error("the subject has no access")
			}
			if can(t, alice, ns) {
				t.Error("the requester, who is no subject, has access")
			}
			// A subject may give back what was asked for him.
			if tc.subject.Kind == "User" {
				mustDecide(t, tc.holder, request, v1alpha1.VerdictRelease)
			} else {
				mustDecide(t, alice, request, v1alpha1.VerdictRelease)
			}
			waitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
			if can(t, tc.holder, ns) {
				t.Error("the subject still has access")
			}
		})
	}
}

func TestServiceAccountAsksForItself(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}})
	create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci-requester"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-requester"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "ci"}},
	})
	newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "ci"}}
	}))
	ci, err := e.AsServiceAccount(t.Context(), ns, "ci")
	if err != nil {
		t.Fatal(err)
	}
	request := ask(t, ci, ns, nil)
	active := waitFor(t, request, v1alpha1.RequestActive)
	if g := grantOf(t, request); g.Spec.Subjects[0].Kind != "ServiceAccount" || g.Spec.Subjects[0].UID == "" {
		t.Errorf("the subject is %+v, want the ServiceAccount pinned by its UID", g.Spec.Subjects[0])
	}
	if !can(t, ci, ns) {
		t.Error("the ServiceAccount has no access")
	}
	// One that is made anew must not inherit the access of its predecessor.
	remove(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}})
	waitEnded(t, active.Status.GrantName, v1alpha1.EndSubjectGone)
}

// Duration counts from the grant, startTime holds it back.
func TestStartTime(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	newPolicy(t, ns, nil)
	start := metav1.NewTime(time.Now().Add(4 * time.Second).Truncate(time.Second))
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.StartTime = &start
		s.Duration = &metav1.Duration{Duration: 10 * time.Minute}
	})
	waitMatched(t, request)
	mustDecide(t, bob, request, v1alpha1.VerdictApprove)
	waitFor(t, request, v1alpha1.RequestApproved)
	if can(t, alice, ns) {
		t.Fatal("alice has access before the start")
	}
	waitFor(t, request, v1alpha1.RequestActive)
	if !can(t, alice, ns) {
		t.Error("alice has no access")
	}
	g := grantOf(t, request)
	if g.Spec.NotBefore.Before(&start) {
		t.Errorf("granted at %s, before %s", g.Spec.NotBefore, start)
	}
	if d := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); d < 10*time.Minute-time.Second || d > 10*time.Minute+time.Second {
		t.Errorf("the access lasts %s, want 10m", d)
	}
}

// An approver who was taken out of the policy after he approved does not count
// when the time has come.
func TestDecisionsAreWeighedAnewAtTheStart(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	p := newPolicy(t, ns, nil)
	start := metav1.NewTime(time.Now().Add(4 * time.Second).Truncate(time.Second))
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.StartTime = &start })
	waitMatched(t, request)
	mustDecide(t, bob, request, v1alpha1.VerdictApprove)
	waitFor(t, request, v1alpha1.RequestApproved)
	patch(t, p, `{"spec":{"approvers":[{"kind":"User","name":"carol"}]}}`)
	waitFor(t, request, v1alpha1.RequestPending)
	if can(t, alice, ns) {
		t.Error("alice has access")
	}
	mustDecide(t, carol, request, v1alpha1.VerdictApprove)
	waitFor(t, request, v1alpha1.RequestActive)
}

func TestLapses(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: 2 * time.Second} })
	undecided := ask(t, alice, ns, nil)
	waitFor(t, undecided, v1alpha1.RequestLapsed)

	taskless := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "never"}
	})
	waitMatched(t, taskless)
	mustDecide(t, bob, taskless, v1alpha1.VerdictApprove)
	waitFor(t, taskless, v1alpha1.RequestLapsed)
	if can(t, alice, ns) {
		t.Error("alice has access")
	}
}

// A request waits for a task that does not exist yet.
func TestTaskAppearsLater(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	newPolicy(t, ns, automatic(nil))
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "later"}
	})
	waitUntil(t, request, "waiting for the task", func(r *v1alpha1.AccessRequest) bool {
		return hasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForTask)
	})
	if can(t, alice, ns) {
		t.Fatal("access without the task")
	}
	create(t, e.Admin, newJob(ns, "later"))
	waitFor(t, request, v1alpha1.RequestActive)
}

func hasReason(conditions []metav1.Condition, reason string) bool {
	for _, c := range conditions {
		if c.Reason == reason {
			return true
		}
	}
	return false
}

// Working hours in a time zone, as the policies cookbook writes them.
func TestConditions(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, map[string]string{"tier": "gold"})
	hours := "now.getHours('Europe/Berlin') >= 0 && now.getDayOfWeek('Europe/Berlin') in [0, 1, 2, 3, 4, 5, 6]"
	newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = []v1alpha1.PolicyCondition{
			{Name: "working-hours", Expression: hours, Message: "only in working hours"},
			{Name: "ticket", Expression: "request.spec.?ticket.orValue('').startsWith('INC-')", Message: "a ticket INC-... is required"},
			{Name: "gold", Expression: "namespaceObject.metadata.labels.tier == 'gold'"},
		}
	}))
	without := ask(t, alice, ns, nil)
	denied := waitFor(t, without, v1alpha1.RequestDenied)
	if !hasMessage(denied.Status.Conditions, "a ticket INC-... is required") {
		t.Errorf("nobody can tell why: %s", conditions(denied.Status.Conditions))
	}
	with := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Ticket = "INC-42" })
	waitFor(t, with, v1alpha1.RequestActive)
}

// A policy that cannot be used neither grants nor denies.
func TestPolicyThatDoesNotCompile(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	p := newPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = []v1alpha1.PolicyCondition{{Name: "broken", Expression: "now.getHours("}}
	}))
	request := ask(t, alice, ns, nil)
	waitUntil(t, request, "an unready policy", func(r *v1alpha1.AccessRequest) bool {
		return hasReason(r.Status.Conditions, v1alpha1.ReasonPolicyNotReady)
	})
	ready := &v1alpha1.AccessPolicy{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), ready); err != nil {
		t.Fatal(err)
	}
	if !hasMessage(ready.Status.Conditions, "broken") {
		t.Errorf("the policy does not say what is wrong: %s", conditions(ready.Status.Conditions))
	}
	patch(t, p, `{"spec":{"conditions":null}}`)
	waitFor(t, request, v1alpha1.RequestActive)
}
