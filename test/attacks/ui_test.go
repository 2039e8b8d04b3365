package attacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// ui is a running `kubectl access ui` of somebody, and a browser that came in.
type ui struct {
	running *lab.Page
	// address is the one that was printed; here is where the page is, as an origin, and
	// root below which path.
	address, here, root string
	browser             *http.Client
}

// startUI starts the page as somebody of the cast, and waits for its address. Nobody has
// come in yet.
func startUI(t *testing.T, name, group string, env []string, args ...string) *ui {
	t.Helper()
	config, err := e.User(name, group)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig("ui-"+name, config)
	if err != nil {
		t.Fatal(err)
	}
	cmd := e.Kubectl(kubeconfig, append([]string{"access", "ui"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	running, err := lab.StartPage(cmd)
	if err != nil {
		t.Fatal(err)
	}
	u := &ui{running: running, address: running.Address}
	t.Cleanup(func() { u.end(t) })
	at, err := url.Parse(u.address)
	if err != nil {
		t.Fatal(err)
	}
	u.here = "http://" + at.Host
	u.root, _, _ = strings.Cut(at.Path, "enter")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u.browser = &http.Client{Jar: jar, Timeout: kit.Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return u
}

// end ends it as Ctrl-C does.
func (u *ui) end(t *testing.T) {
	t.Helper()
	if err := u.running.Close(); err != nil {
		t.Error(err)
	}
}

// comeIn opens the one-time address.
func (u *ui) comeIn(t *testing.T) *ui {
	t.Helper()
	if a := u.ask(t, u.browser, http.MethodGet, u.address, nil); a.status != http.StatusOK {
		t.Fatalf("not let in: %d %s", a.status, a.body)
	}
	return u
}

// page is the URL of a path below the root.
func (u *ui) page(path string) string { return u.here + u.root + path }

// answer of the page.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with headers in pairs; a body is a form.
func (u *ui) ask(t *testing.T, as *http.Client, method, target string, form url.Values, headers ...string) answer {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := as.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{got.StatusCode, got.Header, string(text)}
}

// post sends a form as a page of ours would.
func (u *ui) post(t *testing.T, path string, form url.Values) answer {
	t.Helper()
	return u.ask(t, u.browser, http.MethodPost, u.page(path), form, "Origin", u.here, "Sec-Fetch-Site", "same-origin")
}

// mustShut checks that an answer lets nobody in and tells nothing.
func (u *ui) mustShut(t *testing.T, a answer, secrets ...string) {
	t.Helper()
	if a.status != http.StatusForbidden && a.status != http.StatusMethodNotAllowed {
		t.Errorf("status %d:\n%s", a.status, a.body)
	}
	if a.header.Get("Set-Cookie") != "" {
		t.Error("it was given a cookie")
	}
	for _, secret := range append(secrets, strings.Trim(u.root, "/"), "alice", "bob") {
		if strings.Contains(a.body, secret) {
			t.Errorf("%q is told:\n%s", secret, a.body)
		}
	}
}

// formOf are the hidden fields that the page of a request has in its forms.
func formOf(request *v1alpha1.AccessRequest) url.Values {
	return url.Values{"uid": {string(request.UID)}, "rulesHash": {request.Status.RulesHash}, "comment": {"go ahead"}}
}

func pathOf(request *v1alpha1.AccessRequest) string {
	return "requests/" + request.Namespace + "/" + request.Name
}

// undecided checks that nobody has decided.
func undecided(t *testing.T, request *v1alpha1.AccessRequest) {
	t.Helper()
	is := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), is); err != nil {
		t.Fatal(err)
	}
	if len(is.Status.Decisions) > 0 || is.Status.Phase != v1alpha1.RequestPending {
		t.Errorf("%s, decided: %+v", is.Status.Phase, is.Status.Decisions)
	}
}

// Everybody on a machine can connect to its loopback, and so can every page that somebody
// has open in a browser. Attacks in a real browser are in test/browser.
func TestPage(t *testing.T) {
	// bobs is bob's page, in which his browser is; what decides would be his decision.
	bobs := startUI(t, "bob", "sre", nil, "--no-browser").comeIn(t)
	stranger := &http.Client{Timeout: kit.Patience}

	attack(t, "another user of the machine without the address", func(t *testing.T) {
		_, request := matched(t, nil)
		for _, path := range []string{"", "mine", "decide", "ask", "record", "record.csv", "events", "static/style.css", pathOf(request)} {
			bobs.mustShut(t, bobs.ask(t, stranger, http.MethodGet, bobs.page(path), nil), request.Name, "inc-42")
			bobs.mustShut(t, bobs.ask(t, stranger, http.MethodGet, bobs.here+"/"+path, nil), request.Name, "inc-42")
		}
		bobs.mustShut(t, bobs.ask(t, stranger, http.MethodPost, bobs.page(pathOf(request)+"/approve"), formOf(request), "Origin", bobs.here, "Sec-Fetch-Site", "same-origin"))
		undecided(t, request)
	})
	attack(t, "secret guessed", func(t *testing.T) {
		u := startUI(t, "bob", "sre", nil, "--no-browser")
		for range 100 {
			u.mustShut(t, u.ask(t, stranger, http.MethodGet, u.page("enter?secret=AAAAAAAAAAAAAAAAAAAAAAAAAA"), nil))
		}
		u.comeIn(t)
	})
	attack(t, "secret used a second time", func(t *testing.T) {
		bobs.mustShut(t, bobs.ask(t, stranger, http.MethodGet, bobs.address, nil))
	})
	attack(t, "secret read in the list of processes", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			t.Skip("only Linux shows command lines in /proc")
		}
		u, told := opened(t)
		secret := secretOf(t, u.address)
		commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		for _, file := range commands {
			line, err := os.ReadFile(file)
			if err != nil {
				continue // it has ended
			}
			seen = seen || strings.Contains(string(line), told)
			if strings.Contains(string(line), secret) {
				t.Errorf("everybody can read %q", line)
			}
		}
		if !seen {
			t.Errorf("no browser was told %s: nothing was looked at", told)
		}
	})
	attack(t, "secret read in the file for the browser", func(t *testing.T) {
		u, told := opened(t)
		file := strings.TrimPrefix(told, "file://")
		if page, err := os.ReadFile(file); err != nil || !strings.Contains(string(page), secretOf(t, u.address)) {
			t.Fatalf("%v, %s", err, page)
		}
		for _, path := range []string{file, filepath.Dir(file)} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("others may read %s: %v, %v", path, info.Mode(), err)
			}
		}
		u.comeIn(t)
		kit.Eventually(t, "the file to go", func(context.Context) (bool, error) {
			_, err := os.Stat(filepath.Dir(file))
			return os.IsNotExist(err), nil
		})
	})
	attack(t, "name of somebody else's that resolves to this machine", func(t *testing.T) {
		_, request := matched(t, nil)
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(bobs.here, "http://"))
		// A browser would not even send the cookie to such a name.
		at, err := url.Parse(bobs.page(""))
		if err != nil {
			t.Fatal(err)
		}
		cookie := bobs.browser.Jar.Cookies(at)[0].String()
		for _, host := range []string{"evil.example:" + port, "evil.example", "localhost.evil.example:" + port, "127.0.0.1.evil.example:" + port, "0.0.0.0:" + port, ":" + port} {
			bobs.mustShut(t, bobs.ask(t, stranger, http.MethodGet, bobs.page("mine"), nil, "Host", host, "Cookie", cookie))
			bobs.mustShut(t, bobs.ask(t, stranger, http.MethodPost, bobs.page(pathOf(request)+"/approve"), formOf(request), "Host", host, "Cookie", cookie, "Origin", "http://"+host, "Sec-Fetch-Site", "same-origin"))
		}
		undecided(t, request)
	})
	// from is what a browser says of a request that another page makes, with the cookie,
	// although a Strict one would not be sent.
	from := func(t *testing.T, headers ...string) {
		t.Helper()
		_, request := matched(t, nil)
		for _, verdict := range []string{"approve", "deny"} {
			bobs.mustShut(t, bobs.ask(t, bobs.browser, http.MethodPost, bobs.page(pathOf(request)+"/"+verdict), formOf(request), headers...))
		}
		undecided(t, request)
	}
	attack(t, "form on another site", func(t *testing.T) { from(t, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site") })
	attack(t, "form on another site, in an old browser", func(t *testing.T) { from(t, "Origin", "https://evil.example") })
	attack(t, "form that hides where it is from", func(t *testing.T) { from(t, "Origin", "null", "Sec-Fetch-Site", "cross-site"); from(t) })
	attack(t, "form on another port of this machine", func(t *testing.T) { from(t, "Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site") })
	attack(t, "server on another port that is sent cookies", func(t *testing.T) {
		for _, elsewhere := range []string{"http://127.0.0.1:1/", "http://127.0.0.1:1/mine", bobs.here + "/"} {
			at, err := url.Parse(elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			if sent := bobs.browser.Jar.Cookies(at); len(sent) > 0 {
				t.Errorf("%s is sent %v", elsewhere, sent)
			}
		}
	})
	attack(t, "page in a frame", func(t *testing.T) {
		bobs.mustShut(t, bobs.ask(t, bobs.browser, http.MethodGet, bobs.page("mine"), nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe"))
		a := bobs.ask(t, bobs.browser, http.MethodGet, bobs.page("mine"), nil)
		if a.status != http.StatusOK || a.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%d %v", a.status, a.header)
		}
	})
	attack(t, "page read by another page", func(t *testing.T) {
		for _, headers := range [][]string{
			{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"},
			{"Origin", "http://127.0.0.1:1", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"},
			{"Origin", "https://evil.example", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
		} {
			for _, path := range []string{"mine", "events", "static/live.js"} {
				a := bobs.ask(t, bobs.browser, http.MethodGet, bobs.page(path), nil, headers...)
				bobs.mustShut(t, a)
				if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
					t.Errorf("%v", a.header)
				}
			}
		}
	})
	attack(t, "link to the page from elsewhere", func(t *testing.T) {
		bobs.mustShut(t, bobs.ask(t, bobs.browser, http.MethodGet, bobs.page("decide"), nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"))
	})
	attack(t, "address that leads on to another site", func(t *testing.T) {
		u := startUI(t, "bob", "sre", nil, "--no-browser")
		address, _, _ := strings.Cut(u.address, "&to=")
		a := u.ask(t, u.browser, http.MethodGet, address+"&to="+url.QueryEscape("//evil.example/\"><script>"), nil)
		if a.status != http.StatusOK || strings.Contains(a.body, "evil") || strings.Contains(a.body, "<script") || a.header.Get("Location") != "" {
			t.Errorf("%d %v\n%s", a.status, a.header, a.body)
		}
	})
	attack(t, "script in the page", func(t *testing.T) {
		a := bobs.ask(t, bobs.browser, http.MethodGet, bobs.page("mine"), nil)
		policy := a.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
			t.Errorf("the policy of the page is %q", policy)
		}
		if inline := regexp.MustCompile(`<script[^>]*>[^<]|\son[a-z]+=|\sstyle=|javascript:`).FindString(a.body); inline != "" {
			t.Errorf("the page has %q", inline)
		}
		if elsewhere := regexp.MustCompile(`(href|src|action|data-events)="[^/#"]`).FindString(a.body); elsewhere != "" {
			t.Errorf("the page asks elsewhere: %q", elsewhere)
		}
	})
	attack(t, "body that is too long", func(t *testing.T) {
		_, request := matched(t, nil)
		form := formOf(request)
		form.Set("filling", strings.Repeat("x", 1<<20))
		if a := bobs.post(t, pathOf(request)+"/approve", form); a.status < http.StatusBadRequest {
			t.Errorf("status %d", a.status)
		}
		undecided(t, request)
	})
	attack(t, "decision on a page that is read-only", func(t *testing.T) {
		u := startUI(t, "bob", "sre", nil, "--no-browser", "--read-only").comeIn(t)
		_, request := matched(t, nil)
		if a := u.ask(t, u.browser, http.MethodGet, u.page(pathOf(request)), nil); a.status != http.StatusOK || strings.Contains(a.body, "<form") {
			t.Errorf("%d, and what may not be done is offered:\n%s", a.status, a.body)
		}
		for _, verdict := range []string{"approve", "deny", "release"} {
			if a := u.post(t, pathOf(request)+"/"+verdict, formOf(request)); a.status != http.StatusForbidden {
				t.Errorf("%s: status %d", verdict, a.status)
			}
		}
		if a := u.post(t, "ask", url.Values{}); a.status < http.StatusBadRequest {
			t.Errorf("ask: status %d", a.status)
		}
		undecided(t, request)
	})
	attack(t, "approval of one's own by a hand-made form", func(t *testing.T) {
		u := startUI(t, "alice", "dev", nil, "--no-browser").comeIn(t)
		_, request := matched(t, nil)
		if a := u.ask(t, u.browser, http.MethodGet, u.page(pathOf(request)), nil); a.status != http.StatusOK || strings.Contains(a.body, "/approve") {
			t.Errorf("%d, and an approval is offered:\n%s", a.status, a.body)
		}
		a := u.post(t, pathOf(request)+"/approve", formOf(request))
		if a.status < http.StatusBadRequest || !strings.Contains(a.body, "alice would benefit") {
			t.Errorf("%d, and not the words of the API server:\n%s", a.status, a.body)
		}
		undecided(t, request)
	})
	attack(t, "form that quotes other rules than the role has", func(t *testing.T) {
		_, request := matched(t, nil)
		for _, hash := range []string{"", "sha256:0"} {
			form := formOf(request)
			form.Set("rulesHash", hash)
			if a := bobs.post(t, pathOf(request)+"/approve", form); a.status < http.StatusBadRequest {
				t.Errorf("%q: status %d", hash, a.status)
			}
		}
		undecided(t, request)
	})
	attack(t, "form that was made for another request of the name", func(t *testing.T) {
		_, request := matched(t, nil)
		for _, verdict := range []string{"approve", "deny"} {
			form := formOf(request)
			form.Set("uid", "00000000-0000-0000-0000-000000000000")
			if a := bobs.post(t, pathOf(request)+"/"+verdict, form); a.status < http.StatusBadRequest {
				t.Errorf("%s: status %d", verdict, a.status)
			}
		}
		undecided(t, request)
	})
	attack(t, "HTML in a reason", func(t *testing.T) {
		const reason = `<script>alert(1)</script><img src=x onerror=alert(2)><a href="//evil.example">click</a>`
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Reason = reason }))
		for _, path := range []string{"decide", pathOf(request)} {
			kit.Eventually(t, "the reason to be shown", func(context.Context) (bool, error) {
				a := bobs.ask(t, bobs.browser, http.MethodGet, bobs.page(path), nil)
				for _, markup := range []string{"<script>", "<img", `href="//`} {
					if strings.Contains(a.body, markup) {
						t.Fatalf("%s has %q of a reason:\n%s", path, markup, a.body)
					}
				}
				return strings.Contains(a.body, "&lt;script&gt;alert(1)&lt;/script&gt;"), nil
			})
		}
	})
	attack(t, "page that outlives the command", func(t *testing.T) {
		u := startUI(t, "bob", "sre", nil, "--no-browser").comeIn(t)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.page("events"), nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := u.browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Body.Close()
		u.end(t)
		if _, err := io.ReadAll(stream.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the stream ended with %v", err)
		}
		if conn, err := net.Dial("tcp", strings.TrimPrefix(u.here, "http://")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the port answers: %v, %v", conn, err)
		}
	})
}

// opened starts bob's page with a browser, and returns what the browser was told.
func opened(t *testing.T) (u *ui, told string) {
	t.Helper()
	folder := t.TempDir()
	said := filepath.Join(folder, "told")
	// It is there for as long as what it was told is: so it shows among the processes.
	script := fmt.Sprintf("#!/bin/sh\necho \"$1\" >%[1]s.new && mv %[1]s.new %[1]s\nwhile [ -e %[1]s ]; do sleep 0.1; done\n", said)
	if err := os.WriteFile(filepath.Join(folder, "some-browser"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	u = startUI(t, "bob", "sre", []string{"BROWSER=" + filepath.Join(folder, "some-browser"), "TMPDIR=" + t.TempDir()})
	kit.Eventually(t, "a browser", func(context.Context) (bool, error) {
		line, err := os.ReadFile(said)
		told = strings.TrimSpace(string(line))
		return err == nil, nil
	})
	return u, told
}

func secretOf(t *testing.T, address string) string {
	t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	secret := at.Query().Get("secret")
	if len(secret) < 20 {
		t.Fatalf("no secret in %s", address)
	}
	return secret
}
