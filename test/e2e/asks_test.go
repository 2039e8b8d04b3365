package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// automatic grants without approvals, for tests about what is given.
func automatic(edit func(*v1alpha1.AccessPolicySpec)) func(*v1alpha1.AccessPolicySpec) {
	return func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count = new(int32)
		if edit != nil {
			edit(s)
		}
	}
}

func TestNoApprovalNeeded(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Approvals = []v1alpha1.ApprovalStage{} }))
	request := e.Ask(t, alice, ns, nil)
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
}

func TestSeveralNamespaces(t *testing.T) {
	t.Parallel()
	one, two, other := e.NewNamespace(t, nil), e.NewNamespace(t, nil), e.NewNamespace(t, nil)
	e.NewPolicy(t, one, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Namespaces.Names = []string{one, two, other} }))
	request := e.Ask(t, alice, one, func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: []string{two, one}} })
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, one) || !kit.Can(t, alice, two) || kit.Can(t, alice, other) {
		t.Error("alice's access is not exactly the two namespaces")
	}
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	if kit.Can(t, alice, one) || kit.Can(t, alice, two) {
		t.Error("alice still has access")
	}
}

func TestNamespaceSelectorIsResolvedOnce(t *testing.T) {
	t.Parallel()
	home := e.NewNamespace(t, nil)
	team := map[string]string{"team": home}
	one, two := e.NewNamespace(t, team), e.NewNamespace(t, team)
	e.NewPolicy(t, home, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": v1alpha1.LabelValue(home)}}}
	}))
	request := e.Ask(t, alice, home, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: "team", Operator: "In", Values: []v1alpha1.LabelValue{v1alpha1.LabelValue(home)}}}}}
	})
	e.WaitFor(t, request, v1alpha1.RequestActive)
	late := e.NewNamespace(t, team)
	if !kit.Can(t, alice, one) || !kit.Can(t, alice, two) || kit.Can(t, alice, home) {
		t.Error("alice's access is not exactly the selected namespaces")
	}
	if kit.Can(t, alice, late) {
		t.Error("a namespace that came later is in the grant")
	}
}

func TestWholeCluster(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	// A group of its own keeps this access away from the other tests' users.
	paula := e.Person(t, "paula", "platform", "dev")
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "platform"})
		s.Namespaces, s.ClusterScope = nil, v1alpha1.ClusterScopeAllowed
	}))
	nodes := authorizationv1.ResourceAttributes{Verb: "delete", Resource: "pods"}
	if kit.CanDo(t, paula, nodes) {
		t.Fatal("paula has standing access")
	}
	request := e.Ask(t, paula, ns, func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}} })
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.CanDo(t, paula, nodes) || !kit.Can(t, paula, ns) {
		t.Error("paula has no access to the whole cluster")
	}
	kit.Delete(t, e.Admin, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: active.Status.GrantName}})
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndBindingTouched)
	if kit.CanDo(t, paula, nodes) {
		t.Error("paula still has access")
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "restart"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"delete"}}},
	})
	// The administrator lists the Role among those that the broker may bind.
	name := "grantable-" + ns
	kit.Create(t, e.Admin, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: []string{"restart"}, Verbs: []string{"bind"}}},
	})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "access-broker-system", Name: "access-broker"}},
	})
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Roles = []v1alpha1.RoleRef{{Kind: "Role", Name: "restart"}} }))
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef = &v1alpha1.RoleRef{Kind: "Role", Name: "restart"} })
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	kit.Delete(t, e.Admin, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "restart"}})
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndRoleGone)
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}})
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny }))
	worker, err := e.AsServiceAccount(t.Context(), ns, "worker")
	if err != nil {
		t.Fatal(err)
	}
	frank := e.Person(t, "frank", "guests-"+ns)
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
			if kit.Can(t, tc.holder, ns) {
				t.Fatal("the subject has standing access")
			}
			request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{tc.subject} })
			active := e.WaitFor(t, request, v1alpha1.RequestActive)
			if !kit.Can(t, tc.holder, ns) {
				t.Error("the subject has no access")
			}
			if kit.Can(t, alice, ns) {
				t.Error("the requester, who is no subject, has access")
			}
			// A subject may give back what was asked for them.
			if tc.subject.Kind == "User" {
				kit.MustDecide(t, tc.holder, request, v1alpha1.VerdictRelease)
			} else {
				kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
			}
			e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
			if kit.Can(t, tc.holder, ns) {
				t.Error("the subject still has access")
			}
		})
	}
}

func TestServiceAccountAsksForItself(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci-requester"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-requester"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "ci"}},
	})
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "ServiceAccount", Namespace: ns, Name: "ci"})
	}))
	ci, err := e.AsServiceAccount(t.Context(), ns, "ci")
	if err != nil {
		t.Fatal(err)
	}
	request := e.Ask(t, ci, ns, nil)
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if g := e.GrantOf(t, request); g.Spec.Subjects[0].Kind != "ServiceAccount" || g.Spec.Subjects[0].UID == "" {
		t.Errorf("the subject is %+v, want the ServiceAccount pinned by its UID", g.Spec.Subjects[0])
	}
	if !kit.Can(t, ci, ns) {
		t.Error("the ServiceAccount has no access")
	}
	// One that is recreated must not inherit the access of its predecessor.
	kit.Delete(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ci"}})
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndSubjectGone)
}

// Duration counts from the grant, startTime holds it back.
func TestStartTime(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	start := metav1.NewTime(time.Now().Add(4 * time.Second).Truncate(time.Second))
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.StartTime = &start
		s.Duration = &metav1.Duration{Duration: 10 * time.Minute}
	})
	e.WaitMatched(t, request)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestApproved)
	if kit.Can(t, alice, ns) {
		t.Fatal("alice has access before the start")
	}
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	g := e.GrantOf(t, request)
	if g.Spec.NotBefore.Before(&start) {
		t.Errorf("granted at %s, before %s", g.Spec.NotBefore, start)
	}
	if d := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); d < 10*time.Minute-time.Second || d > 10*time.Minute+time.Second {
		t.Errorf("the access lasts %s, want 10m", d)
	}
}

// An approver who was taken out of the policy after they approved does not count
// when the time has come.
func TestDecisionsAreWeighedAnewAtTheStart(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	start := metav1.NewTime(time.Now().Add(4 * time.Second).Truncate(time.Second))
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.StartTime = &start })
	e.WaitMatched(t, request)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestApproved)
	e.Patch(t, p, `{"spec":{"approvals":[{"name":"sre","from":[{"kind":"User","name":"carol"}]}]}}`)
	e.WaitFor(t, request, v1alpha1.RequestPending)
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
	kit.MustDecide(t, carol, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)
}

func TestLapses(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: 2 * time.Second} })
	undecided := e.Ask(t, alice, ns, nil)
	e.WaitFor(t, undecided, v1alpha1.RequestLapsed)

	taskless := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "never"}
	})
	e.WaitMatched(t, taskless)
	kit.MustDecide(t, bob, taskless, v1alpha1.VerdictApprove)
	e.WaitFor(t, taskless, v1alpha1.RequestLapsed)
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}

// A request waits for a task that does not exist yet.
func TestTaskAppearsLater(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "later"}
	})
	e.WaitUntil(t, request, "waiting for the task", func(r *v1alpha1.AccessRequest) bool {
		return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForTask)
	})
	if kit.Can(t, alice, ns) {
		t.Fatal("access without the task")
	}
	kit.Create(t, e.Admin, kit.NewJob(ns, "later"))
	e.WaitFor(t, request, v1alpha1.RequestActive)
}

// Working hours in a time zone, as the policies cookbook writes them.
func TestConditions(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, map[string]string{"tier": "gold"})
	hours := "now.getHours('Europe/Berlin') >= 0 && now.getDayOfWeek('Europe/Berlin') in [0, 1, 2, 3, 4, 5, 6]"
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = []v1alpha1.PolicyCondition{
			{Name: "working-hours", Expression: hours, Message: "only in working hours"},
			{Name: "ticket", Expression: "request.spec.?ticket.orValue('').startsWith('INC-')", Message: "a ticket INC-... is required"},
			{Name: "gold", Expression: "namespaceObject.metadata.labels.tier == 'gold'"},
		}
	}))
	without := e.Ask(t, alice, ns, nil)
	denied := e.WaitFor(t, without, v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "a ticket INC-... is required") {
		t.Errorf("nobody can tell why: %s", kit.Describe(denied.Status.Conditions))
	}
	with := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Ticket = "INC-42" })
	e.WaitFor(t, with, v1alpha1.RequestActive)
}

// A condition over the version of the cluster holds on this one, and not on another.
func TestConditionOverTheVersion(t *testing.T) {
	t.Parallel()
	info, err := discovery.NewDiscoveryClientForConfigOrDie(e.AdminConfig()).ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	for expression, want := range map[string]v1alpha1.RequestPhase{
		fmt.Sprintf("cluster.version == %q && cluster.major == %s && cluster.minor == %s", info.GitVersion, info.Major, info.Minor): v1alpha1.RequestActive,
		"cluster.major == 1 && cluster.minor == 29": v1alpha1.RequestDenied,
	} {
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
			s.Conditions = []v1alpha1.PolicyCondition{{Name: "version", Expression: expression, Message: "not on this version"}}
		}))
		e.WaitFor(t, e.Ask(t, alice, ns, nil), want)
	}
}

// A policy that cannot be used neither grants nor denies.
func TestPolicyThatDoesNotCompile(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = []v1alpha1.PolicyCondition{{Name: "broken", Expression: "now.getHours("}}
	}))
	request := e.Ask(t, alice, ns, nil)
	e.WaitUntil(t, request, "an unready policy", func(r *v1alpha1.AccessRequest) bool {
		return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonPolicyNotReady)
	})
	// The policy is looked at by a controller of its own.
	ready := &v1alpha1.AccessPolicy{}
	err := lab.Until(t.Context(), kit.Patience, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), ready)
		return kit.HasMessage(ready.Status.Conditions, "broken"), err
	})
	if err != nil {
		t.Errorf("the policy does not say what is wrong: %v: %s", err, kit.Describe(ready.Status.Conditions))
	}
	e.Patch(t, p, `{"spec":{"conditions":null}}`)
	e.WaitFor(t, request, v1alpha1.RequestActive)
}
