package attacks

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

func TestInput(t *testing.T) {
	t.Parallel()
	ask := func(edit func(*v1alpha1.AccessRequestSpec)) func(*testing.T) error {
		return func(t *testing.T) error { return alice.Create(t.Context(), lab.NewRequest("default", edit)) }
	}
	reason := func(text string) func(*testing.T) error {
		return ask(func(s *v1alpha1.AccessRequestSpec) { s.Reason = text })
	}
	refused(t, "line break in a reason", "spec.reason", reason("fix\n{\"level\":\"info\"}"))
	refused(t, "terminal escape in a reason", "spec.reason", reason("\x1b[2Jfix"))
	refused(t, "bidi override in a reason", "spec.reason", reason("fix \u202egnp.exe"))
	refused(t, "zero-width space in a reason", "spec.reason", reason("fi\u200bx"))
	refused(t, "Unicode line separator in a reason", "spec.reason", reason("fix\u2028more"))
	refused(t, "line break in a ticket", "spec.ticket", ask(func(s *v1alpha1.AccessRequestSpec) { s.Ticket = "INC-1\nINC-2" }))
	refused(t, "zero-width space in a subject", "spec.subjects[0].name", ask(func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "bo\u200bb"}}
	}))
	refused(t, "line break in the name of a role", "spec.roleRef.name", ask(func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "view\nedit" }))
	refused(t, "path in the name of a role", "spec.roleRef.name", ask(func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "../clusterroles/view" }))
	refused(t, "line break in a comment", "status.decisions[0].comment", func(t *testing.T) error {
		_, request := matched(t, nil)
		return kit.PatchDecisions(t, bob, request, map[string]any{"verdict": "Approve", "comment": "fine\nby me"})
	})
	refused(t, "reason without end", "spec.reason", reason(strings.Repeat("x", 1025)))
	refused(t, "subjects without end", "spec.subjects", ask(func(s *v1alpha1.AccessRequestSpec) {
		for range 17 {
			s.Subjects = append(s.Subjects, v1alpha1.Subject{Kind: "User", Name: "dave"})
		}
	}))
	refused(t, "rules without end", "spec.rules", ask(func(s *v1alpha1.AccessRequestSpec) {
		s.RoleRef = nil
		for range 33 {
			s.Rules = append(s.Rules, rule("", list("pods"), list("get")))
		}
	}))
	refused(t, "decision without end", "decisions[0].comment", func(t *testing.T) error {
		_, request := matched(t, nil)
		return kit.PatchDecisions(t, bob, request, map[string]any{"verdict": "Approve", "comment": strings.Repeat("x", 1025)})
	})
	attack(t, "names of 253 characters", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		long := strings.Repeat("a.b-", 63) + "z"
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: long}})
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = new(int32), v1alpha1.SubjectsServiceAccounts
		})
		request := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: long}}
		})
		request.GenerateName, request.Name = "", long
		kit.Create(t, alice, request)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		holder, err := e.AsServiceAccount(t.Context(), ns, long)
		if err != nil {
			t.Fatal(err)
		}
		must(t, holder, ns)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
		mustNot(t, holder, ns)
	})
}

// costly is CEL that would take longer than the world stands.
const costly = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(a, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(b, " +
	"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(c, [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20].all(d, a + b + c + d > 0))))"

func TestCostlyExpressions(t *testing.T) {
	t.Parallel()
	served := func(t *testing.T) {
		t.Helper()
		ns, _, _ := held(t)
		must(t, alice, ns)
	}
	attack(t, "policy condition that costs too much", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count = new(int32)
			s.Conditions = []v1alpha1.PolicyCondition{{Name: "costly", Expression: costly}}
		})
		request := e.Ask(t, alice, ns, nil)
		says(t, request, "costs more than the limit")
		mustNot(t, alice, ns)
		served(t)
	})
	attack(t, "completeWhen that costs too much", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		kit.Create(t, e.Admin, kit.NewPod(ns, "task"))
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "task", CompleteWhen: costly}
		}))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		// It is never true, so the access ends by its deadline or with the task.
		g := e.GrantOf(t, e.WaitFor(t, request, v1alpha1.RequestActive))
		served(t)
		kit.Delete(t, e.Admin, kit.NewPod(ns, "task"))
		e.WaitEnded(t, g.Name, v1alpha1.EndTaskGone)
		mustNot(t, alice, ns)
	})
}

// What is free for users to choose and shown to others: their own groups, the
// rules that they ask for, an expression.
func TestInjection(t *testing.T) {
	t.Parallel()
	const forged = "dev\n{\"level\":\"info\",\"msg\":\"Active\"}\x1b[2J\u202e"
	unseen := func(text string) bool {
		return strings.ContainsFunc(text, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) })
	}
	clean := func(t *testing.T, request *v1alpha1.AccessRequest) {
		t.Helper()
		if d := kit.Describe(request.Status.Conditions); unseen(strings.ReplaceAll(d, "\n", "")) || len(request.Status.Conditions) != strings.Count(d, "\n")+1 {
			t.Errorf("a condition shows it: %q", d)
		}
		kit.Eventually(t, "an event", func(ctx context.Context) (bool, error) {
			events := &eventsv1.EventList{}
			if err := e.Admin.List(ctx, events, client.InNamespace(request.Namespace)); err != nil {
				return false, err
			}
			for _, event := range events.Items {
				if unseen(event.Note) {
					t.Errorf("an event shows it: %q", event.Note)
				}
			}
			return len(events.Items) > 0, nil
		})
		file, err := os.Open(e.Log("broker"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		about := 0
		for lines.Scan() {
			entry := map[string]any{}
			if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
				t.Errorf("a log line is no entry of its own: %q", lines.Text())
			}
			if strings.ContainsFunc(lines.Text(), unicode.IsControl) {
				t.Errorf("a log line has a control character: %q", lines.Text())
			}
			if strings.Contains(lines.Text(), request.Name) {
				about++
			}
		}
		if about == 0 {
			t.Error("the log tells nothing of the request")
		}
	}
	attack(t, "line break and terminal escape in a group", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Requesters[0].Name = "others" })
		request := e.Ask(t, e.Person(t, "eve", "dev", forged), ns, func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = p.Name })
		clean(t, e.WaitFor(t, request, v1alpha1.RequestDenied))
	})
	attack(t, "line break and terminal escape in a rule", func(t *testing.T) {
		rules := []v1alpha1.PolicyRule{rule("", list("pods", forged), list("get", "escalate*\n\x1b[2J"))}
		_, request := askForRules(t, rules, rules...)
		clean(t, e.WaitFor(t, request, v1alpha1.RequestFailed))
	})
	attack(t, "line break and terminal escape in a rule above the ceiling", func(t *testing.T) {
		rules := []v1alpha1.PolicyRule{rule("", list(forged), list("get"))}
		_, request := askForRules(t, rules, rules...)
		clean(t, e.WaitFor(t, request, v1alpha1.RequestFailed))
	})
	attack(t, "line break and terminal escape in an expression", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		kit.Create(t, e.Admin, kit.NewPod(ns, "task"))
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "task", CompleteWhen: "object.x ==\n'" + forged + "'"}
		})
		clean(t, e.WaitFor(t, request, v1alpha1.RequestFailed))
	})
	attack(t, "quotes and braces in a reason", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		text := `fix"}, {"level":"info","msg":"\n\u001b[2J" %s %!d(MISSING) $(id) <script>`
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Reason = text })
		active := e.WaitFor(t, request, v1alpha1.RequestActive)
		clean(t, active)
		if g := e.GrantOf(t, request); g.Spec.Reason != text || !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAccessGiven) {
			t.Errorf("the grant records %q", g.Spec.Reason)
		}
	})
}

// Names that users choose would tell who asks for what to all who may read the
// metrics, and multiply the series.
func TestMetrics(t *testing.T) {
	t.Parallel()
	reader := func(t *testing.T, name string) string {
		account := metav1.ObjectMeta{Namespace: lab.BrokerNamespace, Name: name}
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: account})
		config, err := e.ServiceAccount(t.Context(), account.Namespace, name)
		if err != nil {
			t.Fatal(err)
		}
		return config.BearerToken
	}
	attack(t, "metrics read without the right to", func(t *testing.T) {
		for _, token := range list("", reader(t, "curious")) {
			if code, _ := kit.Scrape(t, metrics, token); code != http.StatusUnauthorized && code != http.StatusForbidden {
				t.Errorf("HTTP %d", code)
			}
		}
	})
	attack(t, "names of users in metric labels", func(t *testing.T) {
		token := reader(t, "monitoring")
		kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "monitoring"}, RoleRef: clusterRole("access-broker-metrics-reader"),
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: lab.BrokerNamespace, Name: "monitoring"}},
		})
		_, request, g := held(t)
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
		var page string
		kit.Eventually(t, "the metrics", func(context.Context) (bool, error) {
			var code int
			code, page = kit.Scrape(t, metrics, token)
			return code == http.StatusOK, nil
		})
		if !strings.Contains(page, "access_broker_") {
			t.Error("there are no metrics")
		}
		for _, name := range list("alice", "bob", "sre", "INC-42", request.Name, request.Namespace, g.Name, g.Spec.PolicyRef.Name) {
			if strings.Contains(page, name) {
				t.Errorf("the metrics name %s", name)
			}
		}
	})
}
