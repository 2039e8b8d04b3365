package plugin

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// look checks that a page was shown with a status, and says all of this.
func look(t *testing.T, want, status int, page string, says ...string) string {
	t.Helper()
	if status != want {
		t.Errorf("status %d, want %d", status, want)
	}
	text := kit.Text(page)
	for _, part := range says {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not say %q:\n%s", part, text)
		}
	}
	return text
}

// until waits until a page says something.
func until(t *testing.T, v *kit.Visitor, path, says string) string {
	t.Helper()
	var page string
	kit.Eventually(t, says+" on "+path, func(context.Context) (bool, error) {
		_, page = v.Get(path)
		return strings.Contains(kit.Text(page), says), nil
	})
	return page
}

// decided tells whether anybody has decided on a request.
func decided(t *testing.T, ns, name string) bool {
	t.Helper()
	is := request(ns, name)
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(is), is); err != nil {
		t.Fatal(err)
	}
	return len(is.Status.Decisions) > 0
}

// The whole story by forms: bob decides on what was shown and on nothing else, what he
// wrote is not lost when it is wrong, and alice extends and releases with one click each.
func TestPageStory(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 })
	asked := ask(t, ns, "fix", "--for", "30m")
	bobs, alices := e.Visit(t, bob.kubeconfig), e.Visit(t, alice.kubeconfig)

	until(t, bobs, "decide", "ClusterRole/edit in namespace "+ns)
	status, page := bobs.Get("decide")
	look(t, 200, status, page, "Who alice", "Why INC-42: stuck consumers", "The holder could", "Look and decide on fix")
	if _, page = alices.Get("decide"); strings.Contains(kit.Text(page), "in namespace "+ns) {
		t.Error("alice is offered to decide on her own")
	}
	until(t, alices, "mine", "Pending: waiting for approval, 0 of 1 approvals")

	at := "requests/" + ns + "/fix"
	status, page = bobs.Get(at)
	look(t, 200, status, page, "It waits for you", "Approve ClusterRole/edit in namespace "+ns, "What it allows", "deployments.apps", "kubectl access approve fix -n "+ns)
	shown := kit.Hidden(page)
	with := func(fields ...string) url.Values {
		form := url.Values{"uid": shown["uid"], "rulesHash": shown["rulesHash"]}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		return form
	}
	for name, tc := range map[string]struct {
		form url.Values
		says string
	}{
		"nothing was shown":       {url.Values{"comment": {"keep me"}}, "It has changed since it was shown to you"},
		"another request":         {with("uid", "another", "comment", "keep me"), "It has changed since it was shown to you"},
		"other rules":             {with("rulesHash", "another", "comment", "keep me"), "It has changed since it was shown to you"},
		"no duration":             {with("atMost", "soon", "comment", "keep me"), `"soon" is not a duration`},
		"a moment that is over":   {with("until", "2020-01-01T00:00:00Z", "comment", "keep me"), "2020-01-01T00:00:00Z is over"},
		"a comment in two lines":  {with("comment", "keep me\nand me"), "line"},
		"a comment that is long":  {with("comment", "keep me"+strings.Repeat("x", 1024)), "at most 1024"},
		"a comment that deceives": {with("comment", "keep me \u202e"), "U+202E"},
	} {
		status, page := bobs.Post(at+"/approve", tc.form)
		look(t, http.StatusUnprocessableEntity, status, page, tc.says, "keep me")
		if decided(t, ns, "fix") {
			t.Fatalf("%s: it was decided", name)
		}
	}
	status, page = bobs.Get(at + "/approve")
	look(t, 200, status, page, "It waits for you")
	status, page = bobs.Post(at+"/approve", with("comment", "go ahead", "atMost", "10m"))
	look(t, 200, status, page, "fix is approved.", "Approve (at most 10m) by bob", "go ahead")
	if d := decisions(t, ns, "fix"); len(d) != 1 || d[0].RequestUID != asked.UID || d[0].RulesHash == "" || d[0].MaxDuration.Duration != 10*time.Minute {
		t.Errorf("decided: %+v", d)
	}
	e.WaitFor(t, asked, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}

	page = until(t, alices, "mine", "fix Active")
	if !strings.Contains(page, `<time datetime="`) || !strings.Contains(page, "data-until") {
		t.Error("there is no clock")
	}
	_, page, _ = strings.Cut(page, "/fix/extend")
	mine := kit.Hidden(page)
	for range 2 { // a double click is one request
		status, page = alices.Post(at+"/extend", mine)
		look(t, 200, status, page, "You asked for more time.", "INC-42: stuck consumers")
	}
	kit.Eventually(t, "one request for more time", func(ctx context.Context) (bool, error) {
		list := &v1alpha1.AccessRequestList{}
		err := e.Admin.List(ctx, list, client.InNamespace(ns))
		return len(list.Items) == 2, err
	})
	status, page = alices.Post(at+"/extend", url.Values{"uid": {string(asked.UID)}, "for": {"a while"}, "more": {"later"}})
	look(t, http.StatusUnprocessableEntity, status, page, `"a while" is not a duration`, "Reason")
	status, page = alices.Post(at+"/release", url.Values{"uid": {string(asked.UID)}, "back": {"mine"}})
	look(t, 200, status, page, "fix is released.", "Mine")
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestCompleted)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	status, page = alices.Post(at+"/release", mine)
	look(t, http.StatusUnprocessableEntity, status, page, "It is over, and nothing was done")
	until(t, alices, "mine", "fix Completed")
}

// Deny, revoke and review, and what cannot be done at all.
func TestPageVerdicts(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.ReviewWithin = &metav1.Duration{Duration: time.Hour} })
	bobs := e.Visit(t, bob.kubeconfig)
	do := func(name, verdict string, fields ...string) (int, string) {
		at := "requests/" + ns + "/" + name
		_, page := bobs.Get(at)
		form := kit.Hidden(page)
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		return bobs.Post(at+"/"+verdict, form)
	}
	no := ask(t, ns, "no")
	status, page := do("no", "deny", "comment", "use view")
	look(t, 200, status, page, "no is denied.")
	e.WaitFor(t, no, v1alpha1.RequestDenied)

	yes := ask(t, ns, "yes")
	do("yes", "approve")
	e.WaitFor(t, yes, v1alpha1.RequestActive)
	status, page = do("yes", "revoke", "comment", "the incident is over")
	look(t, 200, status, page, "yes is revoked.")
	e.WaitFor(t, yes, v1alpha1.RequestRevoked)
	kit.Eventually(t, "the review to be due", func(context.Context) (bool, error) {
		_, page := bobs.Get("requests/" + ns + "/yes")
		return strings.Contains(kit.Text(page), "It waits for your review"), nil
	})
	until(t, bobs, "decide", "Look back at yes")
	status, page = do("yes", "review")
	look(t, http.StatusUnprocessableEntity, status, page, "Say what you found.")
	status, page = do("yes", "review", "found", "restarted the consumers, nothing else")
	look(t, 200, status, page, "yes is reviewed.", "Review by bob")

	status, page = bobs.Post("requests/"+ns+"/yes/burn", url.Values{})
	look(t, http.StatusBadRequest, status, page, "is nothing that can be done about a request")
	status, page = bobs.Get("requests/" + ns + "/nobody")
	look(t, http.StatusNotFound, status, page, "That did not work", "not found")
	for _, path := range []string{"requests/" + ns + "/a%2Fb", "requests/%2e%2e/x", "grants/a%2Fb", "grants/%3Cscript%3E"} {
		if status, page = bobs.Get(path); status != http.StatusNotFound && status != http.StatusForbidden {
			t.Errorf("%s: %d\n%s", path, status, page)
		}
	}
	status, page = bobs.Get("nowhere")
	look(t, http.StatusNotFound, status, page, "There is no such page.")
}

// A page for a screen in the room has no form, and takes none.
func TestPageReadOnly(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	asked := ask(t, ns, "fix")
	shown := e.Visit(t, bob.kubeconfig, "--read-only", "areq/fix", "-n", ns)
	for _, path := range []string{"mine", "decide", "requests/" + ns + "/fix"} {
		status, page := shown.Get(path)
		look(t, 200, status, page, "read-only")
		if strings.Contains(page, "<form method=\"post\"") || strings.Contains(page, "<button") {
			t.Errorf("%s has a form:\n%s", path, page)
		}
	}
	form := url.Values{"uid": {string(asked.UID)}, "rulesHash": {asked.Status.RulesHash}}
	status, page := shown.Post("requests/"+ns+"/fix/approve", form)
	look(t, http.StatusForbidden, status, page, "This page is read-only: nothing was done.")
	if decided(t, ns, "fix") {
		t.Error("it was decided")
	}
}

// A page that is open hears of what changes, and its stream ends with the page.
func TestPageStream(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	page, err := e.OpenPage(bob.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	bobs := kit.ComeIn(t, page)
	bobs.Get("decide") // which begins to watch
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, bobs.At("events"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := bobs.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewScanner(stream.Body)
	heard := func(what string) bool {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), what) {
				return true
			}
		}
		return false
	}
	if !heard("retry: ") {
		t.Fatal("the stream does not begin")
	}
	ask(t, ns, "fix")
	if !heard("event: changed") {
		t.Error("nothing is told of a new request")
	}
	if err := page.Close(); err != nil {
		t.Error(err)
	}
	if heard("forever") {
		t.Error("the stream goes on")
	}
}

// Who may ask in one namespace alone sees what is there, and is told so.
func TestPageOfOneNamespace(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "only-" + ns})
	})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ask"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-requester"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "only-" + ns}},
	})
	config, err := e.User("erin-"+ns, "only-"+ns)
	if err != nil {
		t.Fatal(err)
	}
	erin, err := login("erin-"+ns, config)
	if err != nil {
		t.Fatal(err)
	}
	erin.run(t, "request", "edit", "-n", ns, "--name", "fix", "--reason", "INC-42").ok(t, "created")
	page := e.Visit(t, erin.kubeconfig, "-n", ns)
	until(t, page, "mine", "fix Pending")
	status, shown := page.Get("mine")
	look(t, 200, status, shown, "only those in namespace "+ns+" are shown")

	// Who may list nothing at all is told what is missing, and not made to wait.
	none := e.Visit(t, eve.kubeconfig)
	status, shown = none.Get("mine")
	look(t, http.StatusForbidden, status, shown, "access-requester")
}
