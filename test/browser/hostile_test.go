package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/browser/chromium"
	"github.com/accessbroker/accessbroker/test/kit"
)

// attacker is a page of somebody else that the user has open, too.
type attacker struct {
	*httptest.Server
	mu      sync.Mutex
	cookies []string
	asked   int
}

// newAttacker serves one page of its own, at every path, and notes what it is sent.
func newAttacker(t *testing.T) *attacker {
	t.Helper()
	a := &attacker{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked++
		if cookie := r.Header.Get("Cookie"); cookie != "" {
			a.cookies = append(a.cookies, r.Host+r.URL.Path+": "+cookie)
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!DOCTYPE html><html lang=en><title>Prize</title><h1>Prize</h1><button onclick='window.attack && attack()'>Win</button>")
	}))
	t.Cleanup(a.Close)
	return a
}

// at is the attacker's page under a name of this machine.
func (a *attacker) at(host string) string {
	return strings.Replace(a.URL, "127.0.0.1", host, 1) + "/"
}

// given is what the attacker was sent.
func (a *attacker) given(t *testing.T) []string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == 0 {
		t.Error("nobody came to the attacker's page: the test shows nothing")
	}
	return a.cookies
}

// shown is what the form of a decision was filled with when it was shown.
func shown(tab *chromium.Tab, button string) url.Values {
	fields := chromium.Eval[map[string]string](tab, `(() => {
		const button = [...document.querySelectorAll('button')].find(b => b.innerText.trim() === '`+button+`');
		return Object.fromEntries([...new FormData(button.form)].map(([k, v]) => [k, String(v)]));
	})()`)
	values := url.Values{}
	for key, value := range fields {
		values.Set(key, value)
	}
	return values
}

// undecided checks that nobody has decided on a request.
func undecided(t *testing.T, r *v1alpha1.AccessRequest) {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(r), current); err != nil {
		t.Fatal(err)
	}
	if len(current.Status.Decisions) > 0 {
		t.Fatalf("it is decided: %+v", current.Status.Decisions)
	}
}

// TestOtherPages: a page of another origin that the approver has open knows all there
// is to know but the cookie: the port, the path, what the form of the decision holds.
// It learns nothing, decides nothing, and is never sent the cookie.
func TestOtherPages(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	r := e.WaitMatched(t, e.Ask(t, alice, ns, nil))

	own := bob.looks(t, chromium.Desktop, "areq/"+r.Name, "-n", ns)
	own.On(r.Name)
	page := own.Address()
	form := shown(own, "Approve")
	host := strings.TrimPrefix(strings.SplitAfterN(page, "/", 4)[2], "//")
	root := "/" + strings.Split(page, "/")[3] + "/"
	for key := range map[string]bool{"uid": true, "rulesHash": true} {
		if form.Get(key) == "" {
			t.Fatalf("the form holds no %s: %v", key, form)
		}
	}

	for _, from := range []string{"127.0.0.1", "attacker.localhost", "localhost"} {
		t.Run(from, func(t *testing.T) {
			a := newAttacker(t)
			plan, _ := json.Marshal(map[string]string{
				"page": page, "approve": page + "/approve", "body": form.Encode(), "root": "http://" + strings.TrimSuffix(host, "/") + root,
			})
			visit := func() *chromium.Tab {
				tab := own.Another()
				tab.Expect(".") // it is refused at every step
				tab.Open(a.at(from))
				tab.On("Prize")
				chromium.Eval[bool](tab, "window.plan = "+string(plan)+", true")
				return tab
			}

			// What a script can try at once, and what it got of it.
			tab := visit()
			got := chromium.Eval[map[string]string](tab, attacks)
			for way, what := range got {
				if what != "nothing" {
					t.Errorf("by %s it gets %q", way, what)
				}
			}
			if len(got) < 9 {
				t.Errorf("it tried only %v", got)
			}
			undecided(t, r)

			// A form that takes the whole window, and one of a frame.
			for _, target := range []string{"_self", "frame"} {
				tab := visit()
				chromium.Eval[chromium.Nothing](tab, `document.body.insertAdjacentHTML('beforeend', '<iframe name=frame title=frame></iframe><form method=post target=`+target+`>');
					const form = document.forms[0]; form.action = plan.approve;
					for (const [name, value] of new URLSearchParams(plan.body)) { const i = document.createElement('input'); i.name = name; i.value = value; form.append(i) }
					window.attack = () => form.submit(); undefined`)
				tab.Click("Win")
				if target == "_self" {
					kit.Eventually(t, "the form to be refused", func(context.Context) (bool, error) {
						return tab.Address() == page+"/approve" && !strings.Contains(tab.Words(), "Prize"), nil
					})
					if words := tab.Words(); strings.Contains(words, r.Name) || strings.Contains(words, "alice") {
						t.Errorf("a form from elsewhere is answered with:\n%s", words)
					}
				} else {
					kit.Eventually(t, "the form to be sent", func(context.Context) (bool, error) { return tab.Posts() > 0, nil })
				}
				undecided(t, r)
			}

			// A window that it opens, and stays the opener of.
			tab = visit()
			chromium.Eval[chromium.Nothing](tab, `window.attack = () => { window.opened = open(plan.page) }; undefined`)
			tab.Click("Win")
			kit.Eventually(t, "the window to be out of its reach", func(context.Context) (bool, error) {
				return chromium.Eval[bool](tab, `(() => { try { return opened.closed || opened.document.title === undefined } catch { return true } })()`), nil
			})

			if cookies := a.given(t); len(cookies) > 0 {
				t.Errorf("it is sent the cookie: %v", cookies)
			}
		})
	}

	// It was not for want of a right: the same form, sent from the page, decides.
	undecided(t, r)
	own.Click("Approve")
	e.WaitFor(t, r, v1alpha1.RequestActive)
}

// attacks is a script that tries all it can with the plan, and tells what each way got.
const attacks = `(async () => {
	const within = (ms, promise) => Promise.race([promise, new Promise(done => setTimeout(done, ms, 'nothing'))]);
	const ways = {
		'reading the page': async () => (await fetch(plan.page, {credentials: 'include'})).text(),
		'reading it without CORS': async () => (await fetch(plan.page, {credentials: 'include', mode: 'no-cors'})).text(),
		'reading the record': async () => (await fetch(plan.root + 'record.csv', {credentials: 'include'})).text(),
		'fetch of the decision': async () => (await fetch(plan.approve, {method: 'POST', credentials: 'include', mode: 'no-cors', headers: {'Content-Type': 'application/x-www-form-urlencoded'}, body: plan.body})).text(),
		'a decision as JSON': async () => (await fetch(plan.approve, {method: 'POST', credentials: 'include', headers: {'Content-Type': 'application/json'}, body: '{}'})).text(),
		'a beacon': async () => { navigator.sendBeacon(plan.approve, new URLSearchParams(plan.body)); return '' },
		'a picture': () => new Promise(done => { const i = new Image(); i.onload = () => done('a picture'); i.onerror = () => done(''); i.src = plan.page }),
		'a script': () => new Promise(done => { const s = document.createElement('script'); s.onload = () => done('a script'); s.onerror = () => done(''); s.src = plan.root + 'static/live.js'; document.head.append(s) }),
		'a stylesheet': () => new Promise(done => { const l = document.createElement('link'); l.rel = 'stylesheet'; l.onload = () => done('a stylesheet'); l.onerror = () => done(''); l.href = plan.root + 'static/style.css'; document.head.append(l) }),
		'a frame': () => new Promise(done => { const f = document.createElement('iframe'); f.onload = () => { try { done(f.contentDocument?.body?.innerText ?? '') } catch { done('') } }; f.src = plan.page; document.body.append(f) }),
		'the event stream': () => new Promise(done => { const s = new EventSource(plan.root + 'events?for=/mine', {withCredentials: true}); s.onopen = () => done('a stream'); s.onmessage = () => done('an event'); s.onerror = () => { s.close(); done('') } }),
		'a web socket': () => new Promise(done => { const s = new WebSocket(plan.root.replace('http', 'ws') + 'events'); s.onopen = () => done('a socket'); s.onerror = () => done('') }),
	};
	const got = {};
	for (const [name, way] of Object.entries(ways)) {
		try { got[name] = await within(5000, way()) || 'nothing' } catch { got[name] = 'nothing' }
	}
	return got;
})()`

// TestAddressOnce: the address is good for one browser, once.
func TestAddressOnce(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	r := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	address := bob.serve(t, "areq/"+r.Name, "-n", ns)
	first := b.Person(t, chromium.Desktop)
	first.Open(address)
	first.On(r.Name)
	page := first.Address()
	if strings.Contains(page, "secret") {
		t.Errorf("the secret is still in the address bar: %s", page)
	}
	root := "/" + strings.Split(page, "/")[3] + "/"
	if cookies := chromium.Cookies(first); len(cookies) != 1 || !cookies[0].HTTPOnly || cookies[0].SameSite != "Strict" || cookies[0].Path != root || !cookies[0].Session {
		t.Errorf("the cookies are %+v", cookies)
	}
	rebound, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	rebound.Host = "rebind.test:" + rebound.Port()
	for name, to := range map[string]string{
		"the address, again":                        address,
		"the page without the cookie":               page,
		"the page by a name that leads here":        rebound.String(),
		"the address by a name that leads here":     strings.Replace(address, "127.0.0.1", "rebind.test", 1),
		"the first page without the path":           "http://" + strings.Split(page, "/")[2] + "/",
		"the address with a secret that is guessed": address[:len(address)/2] + "xxxx" + address[len(address)/2:],
	} {
		t.Run(name, func(t *testing.T) {
			thief := b.Person(t, chromium.Desktop)
			thief.Expect("^(40[0-9]:|the browser says: Failed to load resource: the server responded with a status of 40|the browser says: The Cross-Origin-Opener-Policy header has been ignored)")
			thief.Expect("door.css") // refused by another name, too
			thief.Open(to)
			if words := thief.Words(); strings.Contains(words, r.Name) || strings.Contains(words, "alice") || words == "" {
				t.Errorf("it shows:\n%s", words)
			}
			if cookies := chromium.Cookies(thief); len(cookies) > 0 {
				t.Errorf("it gets a cookie: %v", cookies)
			}
		})
	}
	// And the first one still has it.
	first.Reload()
	first.On(r.Name)
}

// TestWordsOfOthers: what somebody wrote is text, all of it is to be seen, and nothing
// of it turns the rest around.
func TestWordsOfOthers(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	reason := `</p><script>alert(1)</script><img src=x onerror="alert(2)"><style>*{display:none}</style><form action="https://evil.test/"><button>Approve {{.}} <a href="javascript:alert(3)">here</a>`
	r := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Reason = reason
		s.Ticket = `javascript:alert(4)//"><script>alert(5)</script>`
	}))
	tab := bob.looks(t, chromium.Phone)
	tab.Click("To decide")
	tab.Sees(r.Name)
	for _, at := range []string{"the list", "the request"} {
		tab.Sees("<script>alert(1)</script>", `<img src=x onerror="alert(2)">`)
		if n := chromium.Eval[int](tab, `document.querySelectorAll('[href^="javascript:"], [action*="evil"], main script, main style, img[src=x]').length`); n > 0 {
			t.Errorf("%s made %d elements of what was written", at, n)
		}
		if by := tab.Overflows(); by != "" {
			t.Errorf("%s is too wide %s", at, by)
		}
		if at == "the list" {
			tab.Click(r.Name)
			tab.On(r.Name)
		}
	}
	tab.Sees("{{.}}", `<a href="javascript:alert(3)">here</a>`)

	// The API takes no characters that turn the rest around; an address may have them.
	at := tab.Address()
	root := at[:strings.Index(at, "/requests/")+1]
	tab.Expect("^4[0-9][0-9]:|status of 4[0-9][0-9]")
	for _, path := range []string{"record?from=", "record?user=", "ask?policy=", "requests/" + ns + "/", "grants/"} {
		tab.Open(root + path + url.PathEscape("\u202e\u2066\u200b<script>alert(6)</script>"))
		tab.On("")
		for _, control := range []string{"\u202e", "\u2066", "\u200b"} {
			if strings.Contains(tab.Words(), control) {
				t.Errorf("%s shows %+q as it is", path, control)
			}
		}
	}
}

// TestBack: nothing is decided twice by the buttons of the browser.
func TestBack(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { two := int32(2); s.Approvals[0].Count = &two })
	r := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	tab := bob.looks(t, chromium.Desktop, "areq/"+r.Name, "-n", ns)
	tab.On(r.Name)
	tab.Click("Approve")
	tab.Sees(r.Name + " is approved")
	if tab.Posts() != 1 {
		t.Fatalf("it was sent %d times", tab.Posts())
	}
	tab.Reload()
	tab.On(r.Name)
	tab.Back()
	tab.On(r.Name)
	tab.Reload()
	tab.On(r.Name)
	if tab.Posts() != 1 {
		t.Errorf("it was sent %d times", tab.Posts())
	}
	if tab.Offers("Approve") {
		t.Error("bob is offered to approve once more")
	}
}

// TestStale: what is decided on is what was shown. Without script the page does not
// hear that the role has changed.
func TestStale(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	r := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	tab := bob.looks(t, chromium.Desktop)
	tab.Without(true)
	tab.Click("To decide")
	tab.Click(r.Name)
	tab.On(r.Name)
	kit.MustDecide(t, carol, r, v1alpha1.VerdictDeny)
	e.WaitFor(t, r, v1alpha1.RequestDenied)
	tab.Expect("^422:|status of 422")
	tab.Click("Approve")
	tab.Sees("nothing was done", "Denied")
	current := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(r), current); err != nil {
		t.Fatal(err)
	}
	if len(current.Status.Decisions) != 1 {
		t.Errorf("a decision on what is over is stored: %+v", current.Status.Decisions)
	}
}
