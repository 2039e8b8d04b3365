package plugin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The record on the page is that of audit: the same grants, the same CSV, and nothing for
// those who may not list grants.
func TestRecordPage(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	policy := e.NewPolicy(t, ns, nil)
	held, released := ask(t, ns, "held"), ask(t, ns, "released")
	for _, r := range []string{"held", "released"} {
		bob.run(t, "approve", r, "-n", ns).ok(t)
	}
	held, released = e.WaitFor(t, held, v1alpha1.RequestActive), e.WaitFor(t, released, v1alpha1.RequestActive)
	alice.run(t, "release", "released", "-n", ns).ok(t)
	e.WaitEnded(t, released.Status.GrantName, v1alpha1.EndReleased)

	of := "?namespace=" + ns + "&policy=" + policy.Name + "&since=1d"
	page := e.Visit(t, vera.kubeconfig)
	var body string
	kit.Eventually(t, "the record", func(context.Context) (bool, error) {
		_, body = page.Get("record" + of)
		return strings.Contains(body, "1–2 of 2, picked of ") && strings.Contains(body, "(Released)"), nil
	})
	for _, want := range []string{"held now", "done (Released) by alice", "grants/" + held.Status.GrantName, `value="` + ns + `"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q:\n%s", want, body)
		}
	}
	answer := page.Answer("record.csv" + of)
	list := answer.Body
	audit := vera.run(t, "audit", "-o", "csv", "-n", ns, "--policy", policy.Name, "--since", "1d").ok(t).out
	if list != audit || strings.Count(list, "\n") != 3 {
		t.Errorf("the page has\n%s\nand audit\n%s", list, audit)
	}
	if of, how := answer.Header.Get("Content-Type"), answer.Header.Get("Content-Disposition"); !strings.HasPrefix(of, "text/csv") ||
		how != fmt.Sprintf(`attachment; filename="access-%s.csv"`, time.Now().UTC().Format(time.DateOnly)) {
		t.Error(of, how)
	}
	if _, list := page.Get("record.csv" + of + "&ended=done"); strings.Count(list, "\n") != 2 || !strings.Contains(list, ",Released,") {
		t.Error(list)
	}
	for _, wrong := range []string{"record?since=monday", "record.csv?since=monday"} {
		if status, body := page.Get(wrong); status/100 != 4 || !strings.Contains(body, "24h or 7d") {
			t.Errorf("%s: %d\n%s", wrong, status, body)
		}
	}

	// A grant as show has it.
	_, body = page.Get("grants/" + released.Status.GrantName)
	for _, want := range []string{"INC-42: stuck consumers", "Released, by alice", "Approve by bob", `requests/` + ns + `/released"`, policy.Name} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of a grant does not say %q:\n%s", want, body)
		}
	}
	if status, body := page.Get("grants/nosuch"); status != http.StatusNotFound || !strings.Contains(body, "not found") {
		t.Errorf("%d\n%s", status, body)
	}

	// Who may not list grants hears which role they need.
	page = e.Visit(t, alice.kubeconfig)
	for _, of := range []string{"record", "record.csv", "grants/" + held.Status.GrantName} {
		status, body := page.Get(of)
		if status != http.StatusForbidden || !strings.Contains(body, "access-auditor") || strings.Contains(body, held.Status.GrantName+"<") {
			t.Errorf("%s: %d\n%s", of, status, body)
		}
	}
}
