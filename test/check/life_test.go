package check

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// otherChecks are those of the tests besides the ready configurations; SERVER and
// AUTHORITY are filled in.
var otherChecks = rosterCheck("roster", "roster", "") + rosterCheck("second", "both", "") +
	strings.Replace(rosterCheck("first", "both", ""), "/roster/", "/first/", 1) +
	strings.Replace(rosterCheck("slow", "slow", "timeout: 1m"), "/roster/", "/slow/", 1) +
	rosterCheck("of-one-policy", "narrow", "policies: [some-other-policy]") + `
  - name: posted
    stage: posted
    allow: SERVER
    caFile: AUTHORITY
    period: 1s
    method: POST
    url: allow + '/graph'
    headers: [{name: X-Ticket, value: request.spec.ticket}]
    body: |-
      {'query': 'q', 'variables': {'who': request.spec.requester.username, 'ticket': request.spec.ticket, 'seconds': 90, 'cluster': has(request.spec.scope)}}
    approve: answer.body.data.ok && answer.headers['x-request-id'] == 'r-1'
`

func rosterCheck(name, stage, more string) string {
	return fmt.Sprintf(`
  - name: %s
    stage: %s
    %s
    allow: SERVER
    caFile: AUTHORITY
    period: 1s
    url: allow + '/roster/' + segment(request.spec.ticket)
    approve: answer.body.yes
    deny: answer.body.?no.orValue(false)
    notAfter: "has(answer.body.until) ? timestamp(answer.body.until) : now + duration('4h')"
    comment: answer.body.?why.orValue('no reason')
`, name, stage, more)
}

func roster(ticket string) string { return "GET /roster/" + ticket }

func answers(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// A server that is down or fails denies and approves nothing. The request waits and says
// so, the broker grants others as ever, and what the server says later counts.
func TestServerIsDown(t *testing.T) {
	t.Parallel()
	ns := scene(t, "roster")
	down := map[string]struct {
		with http.HandlerFunc
		says string
	}{
		"fails":       {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"yes":true}`, http.StatusBadGateway) }, "the server answered 502"},
		"breaks-off":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the server cannot be asked"},
		"rejects":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"no":true}`, http.StatusUnauthorized) }, "it does not take the credentials"},
		"forbids":     {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"no":true}`, http.StatusForbidden) }, "do not allow this question"},
		"no-json":     {answers("<html>maintenance</html>"), "no JSON"},
		"half-json":   {answers(`{"yes":true`), "no JSON"},
		"two-answers": {answers(`{"yes":true}{"yes":true}`), "no JSON"},
		"other-json":  {answers(`{"result":{"yes":true}}`), "approve: 1:12: no such key: yes"},
		"not-a-bool":  {answers(`{"yes":"true"}`), "approve: 1:1: the result must be true or false"},
		"bad-time":    {answers(`{"yes":true,"until":"tomorrow"}`), "notAfter"},
		"long-ago":    {answers(`{"yes":true,"until":"2001-01-01T00:00:00Z"}`), "the time until which access is allowed is over"},
	}
	requests := map[string]*v1alpha1.AccessRequest{}
	for name, d := range down {
		outside.answer(roster(name), d.with)
		requests[name] = asks(t, "erin-"+name, ns, name) // somebody each: nobody may have more than ten waiting
	}
	other := e.NewNamespace(t, nil)
	e.NewPolicy(t, other, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) })
	e.WaitFor(t, e.Ask(t, alice, other, nil), v1alpha1.RequestActive)
	for name, d := range down {
		reason := "CheckFailed"
		if name == "long-ago" {
			reason = "CheckWaiting"
		}
		waits(t, requests[name], reason, d.says)
		outside.answer(roster(name), answers(`{"yes":true,"why":"back"}`))
	}
	for _, r := range requests {
		active(t, r, "back", decisionOf(t, e.WaitFor(t, r, v1alpha1.RequestActive)).NotAfter.Time)
	}
}

// A person and a machine decide together, in either order, and the machine's word caps
// what the person gave.
func TestWithPeople(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: "roster", From: []v1alpha1.PolicySubject{machine()}, Count: ptr.To[int32](1)})
	})
	end := moment(time.Now().Add(5 * time.Minute))
	outside.answer(roster("together"), answers(fmt.Sprintf(`{"yes":true,"until":%q}`, end.Format(time.RFC3339))))
	r := e.Ask(t, alice, ns, ticket("together"))
	e.WaitUntil(t, r, "the machine's approval", func(r *v1alpha1.AccessRequest) bool {
		return len(r.Status.Approvals) == 2 && len(r.Status.Approvals[1].Approved) == 1
	})
	e.Approved(t, bob, r)
	active(t, r, "no reason", end)
}

// Two checks for one stage must both approve; one is enough to deny.
func TestTwoChecksForOneStage(t *testing.T) {
	t.Parallel()
	ns := scene(t, "both")
	soon := moment(time.Now().Add(3 * time.Minute))
	for name, pair := range map[string][2]string{
		"ok": {`{"yes":true,"why":"one"}`, fmt.Sprintf(`{"yes":true,"why":"two","until":%q}`, soon.Format(time.RFC3339))},
		"no": {`{"yes":true,"why":"one"}`, `{"yes":false,"no":true,"why":"two says no"}`},
		"hm": {`{"yes":false,"why":"one is not sure"}`, `{"yes":true,"why":"two"}`},
	} {
		outside.answer("GET /first/"+name, answers(pair[0]))
		outside.answer(roster(name), answers(pair[1]))
	}
	active(t, e.Ask(t, alice, ns, ticket("ok")), "two; one", soon)
	denied(t, e.Ask(t, alice, ns, ticket("no")), "two says no")
	waits(t, e.Ask(t, alice, ns, ticket("hm")), "CheckWaiting", "one is not sure")
}

// An approval counts in every stage that names the machine: where no check is for one of
// them, nothing is approved. What denies, denies all the same.
func TestUncheckedStage(t *testing.T) {
	t.Parallel()
	outside.answer(roster("unchecked"), answers(`{"yes":true}`))
	outside.answer(roster("unchecked-no"), answers(`{"yes":true,"no":true,"why":"no"}`))
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = []v1alpha1.ApprovalStage{
			{Name: "roster", From: []v1alpha1.PolicySubject{machine()}, Count: ptr.To[int32](1)},
			{Name: "security", From: []v1alpha1.PolicySubject{{Kind: v1alpha1.GroupKind, Name: "sre"}, machine()}, Count: ptr.To[int32](1)},
		}
	})
	waits(t, e.Ask(t, alice, ns, ticket("unchecked")), "NotChecked", `no check is for the stage "security"`)
	denied(t, e.Ask(t, alice, ns, ticket("unchecked-no")), "no")
	waits(t, e.Ask(t, alice, scene(t, "narrow"), ticket("unchecked")), "NotChecked", `no check is for the stage "narrow"`)
}

func TestPost(t *testing.T) {
	t.Parallel()
	const name = `x", "ok": true, "y": "ö`
	outside.answer("POST /graph", func(w http.ResponseWriter, r *http.Request) {
		var got map[string]any
		err := json.NewDecoder(r.Body).Decode(&got)
		variables, _ := got["variables"].(map[string]any)
		ok := err == nil && len(got) == 2 && variables["who"] == "alice" && variables["ticket"] == name && variables["seconds"] == 90.0 && variables["cluster"] == false &&
			r.Header.Get("Content-Type") == "application/json" && r.Header.Get("X-Ticket") == name
		w.Header().Set("X-Request-Id", "r-1")
		fmt.Fprintf(w, `{"data":{"ok":%t}}`, ok)
	})
	active(t, e.Ask(t, alice, scene(t, "posted"), ticket(name)), "posted: the answer approves", time.Time{})
}

// When the role changes, an approval no longer counts, and the machine looks again.
func TestRoleChanges(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "looked-at-twice"}, Rules: []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	kit.Create(t, e.Admin, role)
	bind := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "bind-looked-at-twice"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{role.Name}, Verbs: []string{"bind"},
	}}}
	kit.Create(t, e.Admin, bind)
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: bind.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: bind.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: lab.BrokerNamespace, Name: lab.BrokerServiceAccount}},
	})
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles = []v1alpha1.RoleRef{{Kind: v1alpha1.ClusterRoleKind, Name: role.Name}}
		s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: "roster", From: []v1alpha1.PolicySubject{machine()}, Count: ptr.To[int32](1)})
	})
	outside.answer(roster("role"), answers(`{"yes":true}`))
	r := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Ticket, s.RoleRef.Name = "role", role.Name
	})
	approved := func(r *v1alpha1.AccessRequest) bool {
		return len(r.Status.Approvals) == 2 && len(r.Status.Approvals[1].Approved) == 1
	}
	before := decisionOf(t, e.WaitUntil(t, r, "an approval", approved)).RulesHash
	role.Rules[0].Verbs = []string{"get", "list"}
	if err := e.Admin.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	e.WaitUntil(t, r, "an approval of the other role", func(r *v1alpha1.AccessRequest) bool {
		return approved(r) && decisionOf(t, r).RulesHash != before && decisionOf(t, r).RulesHash == r.Status.RulesHash
	})
}

// Two checkers decide once. One that was stopped decides when it runs again.
func TestTwoCheckers(t *testing.T) {
	second, err := e.NewChecker(t.Context(), "second-checker", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); err != nil {
		t.Fatal(err, second.LogTail())
	}
	ns := scene(t, "roster")
	var requests []*v1alpha1.AccessRequest
	for i := range 10 {
		name := fmt.Sprintf("two-%d", i)
		outside.answer(roster(name), answers(`{"yes":true}`))
		requests = append(requests, e.Ask(t, alice, ns, ticket(name)))
	}
	for _, r := range requests {
		if current := e.WaitFor(t, r, v1alpha1.RequestActive); len(current.Status.Decisions) != 1 {
			t.Errorf("decided by %v", current.Status.Decisions)
		}
	}
	checker.Stop()
	second.Stop()
	outside.answer(roster("meanwhile"), answers(`{"yes":true}`))
	r := e.WaitMatched(t, e.Ask(t, alice, ns, ticket("meanwhile")))
	if n := outside.count(roster("meanwhile")); n != 0 {
		t.Fatalf("somebody asked %d times", n)
	}
	if err := checker.Start(t.Context()); err != nil {
		t.Fatal(err, checker.LogTail())
	}
	active(t, r, "no reason", decisionOf(t, e.WaitFor(t, r, v1alpha1.RequestActive)).NotAfter.Time)
}

// A changed configuration is taken as it is, and one that cannot be used changes nothing.
func TestConfigurationChanges(t *testing.T) {
	ns := scene(t, "added")
	outside.answer(roster("added"), answers(`{"yes":true}`))
	r := e.Ask(t, alice, ns, ticket("added"))
	waits(t, r, "NotChecked", `no check is for the stage "added"`)
	content, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string) {
		if err := os.WriteFile(config, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(content) + "  - {name: broken, stage: added, allow: 'https://x', url: nonsense, approve: 'true'}\n")
	kit.Eventually(t, "a word about the configuration", func(context.Context) (bool, error) {
		return strings.Contains(checker.LogTail(), "the configuration cannot be used; the one before stays in use"), nil
	})
	outside.answer(roster("still"), answers(`{"yes":true}`))
	e.WaitFor(t, e.Ask(t, alice, scene(t, "roster"), ticket("still")), v1alpha1.RequestActive)
	write(strings.Replace(string(content), "stage: roster", "stage: added", 1))
	e.WaitFor(t, r, v1alpha1.RequestActive)
	write(string(content))
	outside.answer(roster("again"), answers(`{"yes":true}`))
	e.WaitFor(t, e.Ask(t, alice, scene(t, "roster"), ticket("again")), v1alpha1.RequestActive)
}

// A server that is slow for many requests keeps no other check waiting.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	slow, quick := scene(t, "slow"), scene(t, "roster")
	const requests = 80 // more than are looked at at a time
	var open, most atomic.Int64
	for i := range requests {
		name := fmt.Sprintf("slow-%d", i)
		outside.answer("GET /slow/"+name, func(_ http.ResponseWriter, r *http.Request) {
			n := open.Add(1)
			defer open.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			select {
			case <-r.Context().Done():
			case <-done:
			}
		})
		e.Ask(t, e.Person(t, fmt.Sprintf("patient-%d", i/8), "dev"), slow, ticket(name))
	}
	kit.Eventually(t, "all slots of the slow check to be taken", func(context.Context) (bool, error) { return open.Load() == 4, nil })
	outside.answer(roster("quick"), answers(`{"yes":true}`))
	begun := time.Now()
	e.WaitFor(t, e.Ask(t, alice, quick, ticket("quick")), v1alpha1.RequestActive)
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	if most.Load() > 4 {
		t.Errorf("%d questions were open at a time", most.Load())
	}
}
