package attacks

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What somebody holds by other means cannot be taken away by the broker: it
// must come to light.
func TestStandingAccess(t *testing.T) {
	t.Parallel()
	standing := func(t *testing.T, conditions []metav1.Condition, binding string) {
		t.Helper()
		c := meta.FindStatusCondition(conditions, v1alpha1.ConditionStandingAccess)
		if c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, binding) {
			t.Errorf("binding %s does not come to light: %s", binding, kit.Describe(conditions))
		}
	}
	attack(t, "access that the requester holds for good", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "old-habit"}, RoleRef: clusterRole("edit"), Subjects: []rbacv1.Subject{user("alice")}})
		kit.Eventually(t, "alice to hold something", func(context.Context) (bool, error) { return kit.Can(t, alice, ns), nil })
		newPolicy(t, ns, nil)
		request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
		standing(t, request.Status.Conditions, "old-habit") // bob sees it before approving
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
		standing(t, g.Status.Conditions, "old-habit")
	})
	attack(t, "access that a ServiceAccount holds by its group", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}})
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "all-workers"}, RoleRef: clusterRole("edit"),
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts:" + ns}},
		})
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = new(int32), v1alpha1.SubjectsServiceAccounts
		})
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "worker"}}
		})
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
		standing(t, g.Status.Conditions, "all-workers")
	})
	attack(t, "binding that somebody with admin makes for themselves", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Roles = append(s.Roles, v1alpha1.RoleRef{Kind: "ClusterRole", Name: "admin"})
		})
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "admin" }))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.Create(t, alice, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "for-good"}, RoleRef: clusterRole("edit"), Subjects: []rbacv1.Subject{user("alice")}})
		kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
		g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndRevoked)
		standing(t, g.Status.Conditions, "for-good")
	})
	attack(t, "claim of an end that nobody checked", func(t *testing.T) {
		ns, request, g := held(t)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		g = e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
		c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessRemoved)
		if c.Reason != v1alpha1.ReasonVerified || !strings.Contains(c.Message, "the API server was asked") {
			t.Errorf("the end is not verified: %+v", c)
		}
		mustNot(t, alice, ns)
	})
}

// What Kubernetes does not let anybody stop. These attacks succeed; the page
// says so.
func TestNotStopped(t *testing.T) {
	t.Parallel()
	attack(t, "watch that was open at the end", func(t *testing.T) {
		ns, request, g := held(t)
		config, err := e.User("alice", "dev")
		if err != nil {
			t.Fatal(err)
		}
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		open, err := clientset.CoreV1().ConfigMaps(ns).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer open.Stop()
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
		mustNot(t, alice, ns)
		kit.Create(t, e.Admin, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "after-the-end"}})
		timeout := time.After(kit.Patience)
		for {
			select {
			case event := <-open.ResultChan():
				if o, ok := event.Object.(*corev1.ConfigMap); ok && o.Name == "after-the-end" {
					return
				}
			case <-timeout:
				t.Fatal("the watch has ended: mend the page")
			}
		}
	})
	attack(t, "workload left behind", func(t *testing.T) {
		ns, request, g := held(t)
		kit.Create(t, alice, kit.NewPod(ns, "left-behind"))
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
		if err := e.Admin.Get(t.Context(), clientKey(ns, "left-behind"), &corev1.Pod{}); err != nil {
			t.Errorf("the workload is gone: mend the page: %v", err)
		}
	})
	attack(t, "edit in the broker's own namespace", func(t *testing.T) {
		name, who := somebodyNew(t, lab.BrokerNamespace)
		request := e.WaitFor(t, e.Ask(t, who, lab.BrokerNamespace, nil), v1alpha1.RequestActive)
		if !slices.ContainsFunc(request.Status.Risks, func(r v1alpha1.Risk) bool { return r.Kind == "MintTokens" }) {
			t.Errorf("nobody is told: %+v", request.Status.Risks)
		}
		config, err := e.User(name, "dev")
		if err != nil {
			t.Fatal(err)
		}
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = clientset.CoreV1().ServiceAccounts(lab.BrokerNamespace).CreateToken(t.Context(), lab.BrokerServiceAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			t.Errorf("they cannot become the broker: mend the page: %v", err)
		}
		kit.MustDecide(t, who, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
	})
	attack(t, "name that looks alike in another alphabet", func(t *testing.T) {
		ns, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { two := int32(2); s.Approvals[0].Count = &two })
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		kit.MustDecide(t, e.Person(t, "b\u043eb", "sre"), request, v1alpha1.VerdictApprove) // a Cyrillic o
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
	})
	attack(t, "task asked about by somebody who may not read it", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		asked := []v1alpha1.PolicyRule{rule("", list("configmaps"), list("get"))}
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Roles, s.Rules, s.Approvals[0].Count = nil, asked, new(int32) })
		secret := kit.NewPod(ns, "task")
		secret.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PIN", Value: "4711"}}
		kit.Create(t, e.Admin, secret)
		guess := func(pin string) *v1alpha1.AccessRequest {
			return e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
				s.RoleRef, s.Rules = nil, asked
				s.Task = &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "task", CompleteWhen: "object.spec.containers[0].env[0].value == '" + pin + "'"}
			})
		}
		if kit.CanDo(t, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "pods"}) {
			t.Fatal("alice may read it")
		}
		mustEnd(t, guess("4711"), v1alpha1.RequestFailed, "the task is over already")
		// One answer a request, to whom a policy lets ask, and nothing is quoted.
		wrong := e.WaitFor(t, guess("0815"), v1alpha1.RequestActive)
		if kit.HasMessage(wrong.Status.Conditions, "4711") {
			t.Errorf("it is quoted: %s", kit.Describe(wrong.Status.Conditions))
		}
	})
	attack(t, "groups of a subject who is not the requester", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "by-group"}, RoleRef: clusterRole("edit"),
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "dev"}},
		})
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = new(int32), v1alpha1.SubjectsAny
			s.Requesters = append(s.Requesters, v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: "mallory"})...)
		})
		request := e.Ask(t, mallory, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "dave"}} })
		e.WaitFor(t, request, v1alpha1.RequestActive)
		kit.MustDecide(t, mallory, request, v1alpha1.VerdictRelease)
		g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
		if !kit.CanDo(t, dave, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "delete", Resource: "pods"}) {
			t.Fatal("dave holds nothing by group alone")
		}
		if meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionStandingAccess) {
			t.Errorf("it was found out: mend the page: %s", kit.Describe(g.Status.Conditions))
		}
	})
}
