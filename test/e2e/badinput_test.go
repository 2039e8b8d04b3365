package e2e

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What cannot be granted ends, by a message that a person can act on.
func TestWhatCannotBeGranted(t *testing.T) {
	t.Parallel()
	ns, outside := e.NewNamespace(t, nil), e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	kit.Create(t, e.Admin, kit.NewJob(ns, "running"))
	for _, tc := range []struct {
		name    string
		edit    func(*v1alpha1.AccessRequestSpec)
		phase   v1alpha1.RequestPhase
		message string
	}{
		{"role in no policy", func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "cluster-admin"; s.PolicyName = p.Name }, v1alpha1.RequestDenied, "does not let alice (group dev) request ClusterRole cluster-admin in " + ns + ": it allows view, edit"},
		{"unknown role", func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "nosuch" }, v1alpha1.RequestFailed, "ClusterRole nosuch does not exist"},
		{"unknown Role", func(s *v1alpha1.AccessRequestSpec) { s.RoleRef = &v1alpha1.RoleRef{Kind: "Role", Name: "nosuch"} }, v1alpha1.RequestFailed, "Role " + ns + "/nosuch does not exist"},
		{"unknown namespace", func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: []string{"nosuch"}} }, v1alpha1.RequestFailed, "namespace nosuch does not exist"},
		{"namespace outside", func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{Namespaces: []string{ns, outside}}
			s.PolicyName = p.Name
		}, v1alpha1.RequestDenied, "does not cover namespace " + outside},
		{"whole cluster", func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
			s.PolicyName = p.Name
		}, v1alpha1.RequestDenied, "forbids cluster-wide access"},
		{"selects nothing", func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"no": "such"}}}
		}, v1alpha1.RequestFailed, "selects no namespace"},
		{"unknown ServiceAccount", func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "nosuch"}}
		}, v1alpha1.RequestFailed, "ServiceAccount " + ns + "/nosuch does not exist"},
		{"for somebody else", func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "dave"}}
			s.PolicyName = p.Name
		}, v1alpha1.RequestDenied, "for the requester only, not for dave"},
		{"too long", func(s *v1alpha1.AccessRequestSpec) {
			s.Duration = &metav1.Duration{Duration: 2 * time.Hour}
			s.PolicyName = p.Name
		}, v1alpha1.RequestDenied, "allows at most 1h"},
		{"unknown policy", func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = "nosuch" }, v1alpha1.RequestDenied, `there is no policy "nosuch"`},
		{"rules", func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef = nil
			s.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
			s.PolicyName = p.Name
		}, v1alpha1.RequestDenied, "does not cover all of the rules"},
		{"unknown kind of task", func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "example.com/v1", Kind: "Nosuch", Name: "x"}
		}, v1alpha1.RequestFailed, "knows no kind Nosuch of example.com/v1"},
		{"task that the broker may not read", func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Secret", Name: "x"}
		}, v1alpha1.RequestFailed, "access-broker-task-kinds"},
		{"starts too far ahead", func(s *v1alpha1.AccessRequestSpec) {
			s.StartTime = &metav1.Time{Time: time.Now().Add(60 * 24 * time.Hour)}
		}, v1alpha1.RequestFailed, "startTime is more than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			request := e.Ask(t, alice, ns, tc.edit)
			ended := e.WaitFor(t, request, tc.phase)
			if !kit.HasMessage(ended.Status.Conditions, tc.message) {
				t.Errorf("want %q in: %s", tc.message, kit.Describe(ended.Status.Conditions))
			}
		})
	}
}

// Rules of one's own are off unless config/components/adhoc-rules is installed.
func TestRulesAreOff(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	rules := []v1alpha1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Rules = rules })
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef, s.Rules = nil, rules })
	ended := e.WaitFor(t, request, v1alpha1.RequestFailed)
	if !kit.HasMessage(ended.Status.Conditions, "ask for an existing role") {
		t.Errorf("nobody can tell what to do: %s", kit.Describe(ended.Status.Conditions))
	}
}

// completeWhen that does not compile fails the request before anybody waits
// for it.
func TestBadCompleteWhen(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	kit.Create(t, e.Admin, kit.NewJob(ns, "running"))
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "running", CompleteWhen: "object.status ="}
	})
	ended := e.WaitFor(t, request, v1alpha1.RequestFailed)
	if !kit.HasMessage(ended.Status.Conditions, "task.completeWhen") {
		t.Errorf("nobody can tell why: %s", kit.Describe(ended.Status.Conditions))
	}
}

// A role that a policy allows but that the administrator did not list for the
// broker: told before anybody is asked to approve.
func TestRoleThatTheBrokerMayNotBind(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles = []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "system:node"}}
	})
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "system:node" })
	ended := e.WaitFor(t, request, v1alpha1.RequestFailed)
	if !kit.HasMessage(ended.Status.Conditions, "access-broker-grantable-roles") {
		t.Errorf("nobody can tell what to do: %s", kit.Describe(ended.Status.Conditions))
	}
}

// No more requests may wait than the policy allows; other people's are served.
func TestTooManyPending(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { two := int32(2); s.MaxPendingPerRequester = &two })
	for range 2 {
		e.WaitMatched(t, e.Ask(t, dave, ns, nil))
	}
	third := e.Ask(t, dave, ns, nil)
	e.WaitFor(t, third, v1alpha1.RequestDenied)
	e.WaitMatched(t, e.Ask(t, alice, ns, nil))
}

// A 253-character name works from the request to the binding.
func TestLongestName(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	request := lab.NewRequest(ns, nil)
	request.GenerateName, request.Name = "", strings.Repeat("a.b-", 63)+"z"
	kit.Create(t, alice, request)
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
}
