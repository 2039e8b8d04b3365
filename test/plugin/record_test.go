package plugin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// reader is somebody who has opened the page, without a browser.
type reader struct {
	cookie string
	root   *url.URL
}

// opens starts the page of a person, and enters.
func (p person) opens(t *testing.T) *reader {
	t.Helper()
	page, err := e.OpenPage(p.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := page.Close(); err != nil {
			t.Error(err)
		}
	})
	enter, err := url.Parse(page.Address)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(enter.String())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	cookie, _, _ := strings.Cut(answer.Header.Get("Set-Cookie"), ";")
	if answer.StatusCode != http.StatusOK || cookie == "" {
		t.Fatalf("%s, and no cookie", answer.Status)
	}
	return &reader{cookie, enter.ResolveReference(&url.URL{Path: "."})}
}

// got is an answer whose body is read.
type got struct {
	status int
	http.Header
}

func (r *reader) get(t *testing.T, page string) (string, got) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.root.String()+page, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Cookie", r.cookie)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), got{answer.StatusCode, answer.Header}
}

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
	page := vera.opens(t)
	var body string
	kit.Eventually(t, "the record", func(context.Context) (bool, error) {
		body, _ = page.get(t, "record"+of)
		return strings.Contains(body, "1–2 of 2, picked of ") && strings.Contains(body, "(Released)"), nil
	})
	for _, want := range []string{"held now", "done (Released) by alice", "grants/" + held.Status.GrantName, `value="` + ns + `"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q:\n%s", want, body)
		}
	}
	list, answer := page.get(t, "record.csv"+of)
	audit := vera.run(t, "audit", "-o", "csv", "-n", ns, "--policy", policy.Name, "--since", "1d").ok(t).out
	if list != audit || strings.Count(list, "\n") != 3 {
		t.Errorf("the page has\n%s\nand audit\n%s", list, audit)
	}
	if of, how := answer.Get("Content-Type"), answer.Get("Content-Disposition"); !strings.HasPrefix(of, "text/csv") ||
		how != fmt.Sprintf(`attachment; filename="access-%s.csv"`, time.Now().UTC().Format(time.DateOnly)) {
		t.Error(of, how)
	}
	if list, _ := page.get(t, "record.csv"+of+"&ended=done"); strings.Count(list, "\n") != 2 || !strings.Contains(list, ",Released,") {
		t.Error(list)
	}
	for _, wrong := range []string{"record?since=monday", "record.csv?since=monday"} {
		if body, answer := page.get(t, wrong); answer.status/100 != 4 || !strings.Contains(body, "24h or 7d") {
			t.Errorf("%s: %d\n%s", wrong, answer.status, body)
		}
	}

	// A grant as show has it.
	body, _ = page.get(t, "grants/"+released.Status.GrantName)
	for _, want := range []string{"INC-42: stuck consumers", "Released, by alice", "Approve by bob", `requests/` + ns + `/released"`, policy.Name} {
		if !strings.Contains(body, want) {
			t.Errorf("the page of a grant does not say %q:\n%s", want, body)
		}
	}
	if body, answer := page.get(t, "grants/nosuch"); answer.status != http.StatusNotFound || !strings.Contains(body, "not found") {
		t.Errorf("%d\n%s", answer.status, body)
	}

	// Who may not list grants hears which role they need.
	page = alice.opens(t)
	for _, of := range []string{"record", "record.csv", "grants/" + held.Status.GrantName} {
		body, answer := page.get(t, of)
		if answer.status != http.StatusForbidden || !strings.Contains(body, "access-auditor") || strings.Contains(body, held.Status.GrantName+"<") {
			t.Errorf("%s: %d\n%s", of, answer.status, body)
		}
	}
}
