package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// house is a page behind a door, and what it was asked for.
type house struct {
	*Door
	host   string
	mu     sync.Mutex
	served []string
	now    time.Time
}

func aHouse(t *testing.T) *house {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	h := &house{host: server.Listener.Addr().String(), now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)}
	h.Door = NewDoor(h.host)
	h.Door.now = func() time.Time { return h.now }
	server.Config.Handler = h.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.served = append(h.served, r.Method+" "+r.URL.Path+" "+string(body))
		fmt.Fprint(w, "served")
	}))
	server.Start()
	t.Cleanup(server.Close)
	return h
}

// answer of the server, with its body.
type answer struct {
	*http.Response
	body string
}

// ask sends one request as it is, with headers in pairs, and follows no redirect.
func (h *house) ask(t *testing.T, method, target, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	// It goes to the server by whatever name: a name of somebody else's may resolve to it.
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", h.host)
	}}
	defer transport.CloseIdleConnections()
	answered, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answered.Body.Close()
	text, err := io.ReadAll(answered.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{answered, string(text)}
}

// at is the URL of a path below the root.
func (h *house) at(path string) string { return "http://" + h.host + h.Root() + path }

// in is the cookie of a browser that came in.
func (h *house) in(t *testing.T) string {
	t.Helper()
	came := h.ask(t, "GET", h.Address(""), "")
	if came.StatusCode != http.StatusOK || len(came.Cookies()) != 1 {
		t.Fatalf("not let in: %d %s", came.StatusCode, came.body)
	}
	return came.Cookies()[0].Name + "=" + came.Cookies()[0].Value
}

// mustRefuse checks that nothing was served or given away.
func (h *house) mustRefuse(t *testing.T, a answer) {
	t.Helper()
	if a.StatusCode != http.StatusForbidden && a.StatusCode != http.StatusMethodNotAllowed || len(a.Cookies()) > 0 {
		t.Errorf("status %d, cookies %v:\n%s", a.StatusCode, a.Cookies(), a.body)
	}
	for _, kept := range []string{h.root, strings.Trim(h.root, "/"), h.cookie, "served"} {
		if strings.Contains(a.body, kept) {
			t.Errorf("%q is told to whoever is not let in:\n%s", kept, a.body)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.served) > 0 {
		t.Errorf("the page was asked: %q", h.served)
	}
}

func TestEnter(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	address := h.Address("requests/payments/fix")
	select {
	case <-h.Entered():
		t.Fatal("nobody has come in")
	default:
	}
	// From a file or a mail, a browser says that it is another site.
	came := h.ask(t, "GET", address, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	if came.StatusCode != http.StatusOK || came.Header.Get("Location") != "" {
		t.Errorf("status %d, which must be a page and no redirect", came.StatusCode)
	}
	for _, want := range []string{
		`<meta http-equiv="refresh" content="0;url=` + h.Root() + `requests/payments/fix">`,
		`<a href="` + h.Root() + `requests/payments/fix">`, `<html lang="en">`,
		`<meta name="referrer" content="no-referrer">`, // the address has a secret, if a used one
	} {
		if !strings.Contains(came.body, want) {
			t.Errorf("no %q in\n%s", want, came.body)
		}
	}
	if got := came.Header.Get("Set-Cookie"); !regexp.MustCompile(`^kubectl-access=[A-Z2-7]{26}; Path=/[A-Z2-7]{26}/; HttpOnly; SameSite=Strict$`).MatchString(got) {
		t.Errorf("the cookie is %q", got)
	}
	<-h.Entered()
	cookie := came.Cookies()[0].Name + "=" + came.Cookies()[0].Value
	if got := h.ask(t, "GET", h.at("requests/payments/fix"), "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); got.body != "served" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if h.served[0] != "GET /requests/payments/fix " {
		t.Errorf("the page saw %q", h.served)
	}
	// Back and Reload open the address again, and whoever is in goes on.
	if again := h.ask(t, "GET", address, "", "Cookie", cookie, "Sec-Fetch-Site", "same-origin"); again.StatusCode != http.StatusOK || len(again.Cookies()) > 0 {
		t.Errorf("%d %s", again.StatusCode, again.body)
	}
	// Another page cannot have it opened, even with the cookie.
	if led := h.ask(t, "GET", address, "", "Cookie", cookie, "Sec-Fetch-Site", "same-site"); led.StatusCode != http.StatusForbidden || strings.Contains(led.body, h.Root()) {
		t.Errorf("%d %s", led.StatusCode, led.body)
	}
}

// A secret is for one browser, for ten minutes.
func TestSecret(t *testing.T) {
	t.Parallel()
	t.Run("used twice", func(t *testing.T) {
		h := aHouse(t)
		address := h.Address("")
		h.ask(t, "GET", address, "")
		h.mustRefuse(t, h.ask(t, "GET", address, ""))
	})
	t.Run("used by two at once", func(t *testing.T) {
		h := aHouse(t)
		address := h.Address("")
		var in atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if a, err := http.Get(address); err == nil {
					_ = a.Body.Close()
					in.Add(int32(len(a.Cookies())))
				}
			})
		}
		all.Wait()
		if in.Load() != 1 {
			t.Errorf("%d came in by one secret", in.Load())
		}
	})
	t.Run("too old", func(t *testing.T) {
		h := aHouse(t)
		address := h.Address("")
		h.now = h.now.Add(secretTime)
		h.mustRefuse(t, h.ask(t, "GET", address, ""))
		if len(h.secrets) > 0 {
			t.Error("it is kept")
		}
	})
	t.Run("as old as may be", func(t *testing.T) {
		h := aHouse(t)
		address := h.Address("")
		h.now = h.now.Add(secretTime - time.Second)
		if a := h.ask(t, "GET", address, ""); a.StatusCode != http.StatusOK {
			t.Error(a.body)
		}
	})
	t.Run("wrong ones", func(t *testing.T) {
		h := aHouse(t)
		address := h.Address("")
		for range 200 {
			h.mustRefuse(t, h.ask(t, "GET", h.at("enter?secret=AAAAAAAAAAAAAAAAAAAAAAAAAA"), ""))
		}
		h.mustRefuse(t, h.ask(t, "GET", h.at("enter"), ""))
		h.mustRefuse(t, h.ask(t, "GET", h.at("enter?secret="), ""))
		if a := h.ask(t, "GET", address, ""); a.StatusCode != http.StatusOK {
			t.Errorf("somebody who guessed locked the right one out: %s", a.body)
		}
	})
	t.Run("not burnt by what is no visit", func(t *testing.T) {
		h := aHouse(t)
		address := h.Address("")
		for _, method := range []string{"HEAD", "POST", "PUT", "OPTIONS"} {
			h.mustRefuse(t, h.ask(t, method, address, ""))
		}
		for _, ahead := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
			h.mustRefuse(t, h.ask(t, "GET", address, "", ahead, "prefetch;prerender"))
		}
		for _, into := range []string{"iframe", "image", "empty", "script"} {
			h.mustRefuse(t, h.ask(t, "GET", address, "", "Sec-Fetch-Dest", into))
		}
		h.mustRefuse(t, h.ask(t, "GET", address, "", "Host", "rebound.example:80"))
		if a := h.ask(t, "GET", address, ""); a.StatusCode != http.StatusOK {
			t.Error(a.body)
		}
	})
	t.Run("under another root", func(t *testing.T) {
		h := aHouse(t)
		address, err := url.Parse(h.Address(""))
		if err != nil {
			t.Fatal(err)
		}
		h.mustRefuse(t, h.ask(t, "GET", "http://"+h.host+"/enter?"+address.RawQuery, ""))
	})
	t.Run("several addresses", func(t *testing.T) {
		h := aHouse(t)
		first, second := h.Address("mine"), h.Address("record")
		for _, address := range []string{second, first} {
			if a := h.ask(t, "GET", address, ""); a.StatusCode != http.StatusOK {
				t.Error(a.body)
			}
		}
	})
}

// Whoever comes in goes on to a page of ours, whatever the address says.
func TestGoOn(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	for _, to := range []string{
		"https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/mine", "../mine", "a/../../b", "mine/..", ".", "..",
		"javascript:alert(1)", "data:text/html,x", "mine?x=1", "mine#x", "mine\nx", "%2e%2e/", "a//b", "\"><script>", "0;url=//evil.example",
	} {
		secret, _, _ := strings.Cut(h.Address(""), "&to=")
		came := h.ask(t, "GET", secret+"&to="+url.QueryEscape(to), "")
		if came.StatusCode != http.StatusOK || !strings.Contains(came.body, `content="0;url=`+h.Root()+`">`) || strings.Contains(came.body, "evil") {
			t.Errorf("%q: %d %s", to, came.StatusCode, came.body)
		}
		if address := h.Address(to); !strings.HasSuffix(address, "&to=") {
			t.Errorf("an address with %q is %s", to, address)
		}
	}
	for _, to := range []string{"mine", "requests/payments/fix-1.2", "grants/fix-2c41d5d7b1a0c9e3"} {
		if came := h.ask(t, "GET", h.Address(to), ""); !strings.Contains(came.body, `content="0;url=`+h.Root()+to+`">`) {
			t.Errorf("%q: %s", to, came.body)
		}
	}
}

// Who has no cookie gets nothing, wherever they knock.
func TestStranger(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	for _, target := range []string{
		"http://" + h.host + "/", "http://" + h.host + "/mine", "http://" + h.host + "/favicon.ico", "http://" + h.host + "//" + strings.Trim(h.Root(), "/") + "/mine",
		h.at(""), h.at("mine"), h.at("static/app.js"), h.at("events"), h.at("enterX"), h.at("x/enter"), strings.TrimSuffix(h.at(""), "/"),
	} {
		h.mustRefuse(t, h.ask(t, "GET", target, ""))
		h.mustRefuse(t, h.ask(t, "GET", target, "", "Cookie", "kubectl-access="))
		h.mustRefuse(t, h.ask(t, "GET", target, "", "Cookie", "kubectl-access=AAAAAAAAAAAAAAAAAAAAAAAAAA"))
		h.mustRefuse(t, h.ask(t, "GET", target, "", "Authorization", "Bearer "+h.cookie))
		h.mustRefuse(t, h.ask(t, "POST", target, "", "Origin", "http://"+h.host, "Sec-Fetch-Site", "same-origin"))
	}
	h.mustRefuse(t, h.ask(t, "GET", h.at("mine?kubectl-access="+h.cookie), ""))
}

// With the cookie, outside of the root there is nothing.
func TestOutsideOfTheRoot(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	cookie := h.in(t)
	for _, path := range []string{"/", "/mine", "/x" + h.Root() + "mine", strings.ToLower(h.Root()) + "mine", strings.TrimSuffix(h.Root(), "/")} {
		h.mustRefuse(t, h.ask(t, "GET", "http://"+h.host+path, "", "Cookie", cookie))
	}
}

// A server on another port of the same host can set cookies of the same name, and the
// right one still counts.
func TestOtherCookies(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	cookie := h.in(t)
	if a := h.ask(t, "GET", h.at("mine"), "", "Cookie", "kubectl-access=planted; x=y; "+cookie); a.body != "served" {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A name of somebody else's that resolves to 127.0.0.1 is not us, with the cookie or
// without.
func TestHost(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	cookie := h.in(t)
	_, port, err := net.SplitHostPort(h.host)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"evil.example", "evil.example:" + port, "127.0.0.1", "localhost", "127.0.0.1:1", "0.0.0.0:" + port, "127.1:" + port, "127.0.0.2:" + port,
		"2130706433:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "localhost.:" + port, "LOCALHOST:" + port, "localhost.evil.example:" + port,
		":" + port, "evil.example@127.0.0.1:" + port, "127.0.0.1:" + port + ".evil.example", " 127.0.0.1:" + port + " x",
	} {
		for _, forwarded := range []string{"X-Forwarded-Host", "Forwarded", "X-Host"} {
			got := h.ask(t, "GET", h.at("mine"), "", "Host", host, "Cookie", cookie, forwarded, h.host)
			if got.StatusCode != http.StatusBadRequest { // which the server itself says
				h.mustRefuse(t, got)
			}
		}
		if got := h.ask(t, "POST", h.at("x"), "", "Host", host, "Cookie", cookie, "Origin", "http://"+host, "Sec-Fetch-Site", "same-origin"); got.StatusCode != http.StatusBadRequest {
			h.mustRefuse(t, got)
		}
	}
	for _, host := range []string{h.host, "localhost:" + port} {
		if a := h.ask(t, "POST", h.at("mine"), "", "Host", host, "Cookie", cookie, "Origin", "http://"+host); a.body != "served" {
			t.Errorf("%s: %d %s", host, a.StatusCode, a.body)
		}
	}
}

func TestHostNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080 localhost:8080",
		"[::1]:8080":     "[::1]:8080 localhost:8080",
		"127.0.0.1:80":   "127.0.0.1:80 localhost:80 127.0.0.1 localhost",
		"[::1]:80":       "[::1]:80 localhost:80 [::1] localhost",
	} {
		if got := strings.Join(NewDoor(host).hosts, " "); got != want {
			t.Errorf("%s is reached as %s, want %s", host, got, want)
		}
	}
}

// What another page of the same browser makes it do comes with its cookie at worst, and
// gets nothing.
func TestOtherPages(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	cookie, here := h.in(t), "http://"+h.host
	for what, headers := range map[string][]string{
		"a link":                      {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
		"another port":                {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"},
		"an iframe":                   {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe"},
		"an image":                    {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
		"fetch":                       {"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"},
		"fetch of an old browser":     {"Origin", "https://evil.example"},
		"fetch from another port":     {"Origin", "http://127.0.0.1:1"},
		"fetch from a file":           {"Origin", "null"},
		"fetch over TLS":              {"Origin", "https://" + h.host},
		"an extension":                {"Origin", "chrome-extension://abcdef"},
		"a name that begins like it":  {"Origin", here + ".evil.example"},
		"an empty origin":             {"Origin", ""},
		"an event stream":             {"Origin", "https://evil.example", "Accept", "text/event-stream"},
		"a WebSocket":                 {"Origin", "https://evil.example", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
		"two origins":                 {"Origin", here, "Origin", "https://evil.example"},
		"two sites":                   {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"},
		"ours by name, not by site":   {"Origin", here, "Sec-Fetch-Site", "cross-site"},
		"the other name of this host": {"Origin", strings.Replace(here, "127.0.0.1", "localhost", 1)},
		"a word that does not exist":  {"Sec-Fetch-Site", "Same-Origin"},
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			t.Run(method+" by "+what, func(t *testing.T) {
				h.mustRefuse(t, h.ask(t, method, h.at("requests/payments/fix/approve"), "", append([]string{"Cookie", cookie}, headers...)...))
			})
		}
	}
	t.Run("a preflight", func(t *testing.T) {
		a := h.ask(t, "OPTIONS", h.at("mine"), "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Private-Network", "true")
		h.mustRefuse(t, a)
		for name := range a.Header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s", name, a.Header.Get(name))
			}
		}
	})
	// A form says where it is from, or is not taken.
	for what, headers := range map[string][]string{"nothing": nil, "that the user typed it": {"Sec-Fetch-Site", "none"}} {
		t.Run("POST that says "+what, func(t *testing.T) {
			h.mustRefuse(t, h.ask(t, "POST", h.at("requests/payments/fix/approve"), "", append([]string{"Cookie", cookie}, headers...)...))
		})
	}
}

func TestOurOwnPages(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	cookie, here := h.in(t), "http://"+h.host
	for what, headers := range map[string][]string{
		"GET from a page": {"Sec-Fetch-Site", "same-origin"}, "GET as typed": {"Sec-Fetch-Site", "none"}, "GET of an old browser": nil,
		"GET by fetch": {"Sec-Fetch-Site", "same-origin", "Origin", here}, "HEAD": nil,
		"POST of a form": {"Sec-Fetch-Site", "same-origin", "Origin", here}, "POST of an old browser": {"Origin", here}, "POST without an origin": {"Sec-Fetch-Site", "same-origin"},
	} {
		method, _, _ := strings.Cut(what, " ")
		if a := h.ask(t, method, h.at("mine"), "", append([]string{"Cookie", cookie}, headers...)...); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	ours := []string{"Cookie", h.in(t), "Origin", "http://" + h.host}
	if a := h.ask(t, "POST", h.at("ask"), strings.Repeat("x", maxBody), ours...); a.StatusCode != http.StatusOK {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := h.ask(t, "POST", h.at("ask"), strings.Repeat("x", maxBody+1), ours...); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of more than %d bytes: %d", maxBody, a.StatusCode)
	}
}

// Every answer has the headers, whoever gets it.
func TestHeaders(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	address := h.Address("")
	cookie := h.in(t)
	for what, a := range map[string]answer{
		"the page": h.ask(t, "GET", h.at("mine"), "", "Cookie", cookie), "the way in": h.ask(t, "GET", address, ""), "a refusal": h.ask(t, "GET", h.at("mine"), ""),
		"another host": h.ask(t, "GET", h.at(""), "", "Host", "evil.example"), "another page": h.ask(t, "GET", h.at(""), "", "Origin", "null"),
	} {
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"Referrer-Policy":         "same-origin", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", what, name, got)
			}
		}
		if got := a.Header.Get("Permissions-Policy"); !strings.Contains(got, "camera=()") || regexp.MustCompile(`\([^)]`).MatchString(got) {
			t.Errorf("%s: it allows something: %q", what, got)
		}
	}
}

// What no client of Go's sends, byte by byte.
func TestRaw(t *testing.T) {
	t.Parallel()
	h := aHouse(t)
	cookie := h.in(t)
	for what, sent := range map[string]string{
		"two hosts":                   "GET ROOTmine HTTP/1.1\r\nHost: HERE\r\nHost: evil.example\r\nCookie: COOKIE\r\n\r\n",
		"no host":                     "GET ROOTmine HTTP/1.1\r\nCookie: COOKIE\r\n\r\n",
		"no host, by HTTP/1.0":        "GET ROOTmine HTTP/1.0\r\nCookie: COOKIE\r\n\r\n",
		"another host in the target":  "GET http://evil.exampleROOTmine HTTP/1.1\r\nHost: HERE\r\nCookie: COOKIE\r\n\r\n",
		"a folded origin":             "POST ROOTx HTTP/1.1\r\nHost: HERE\r\nCookie: COOKIE\r\nOrigin: https://evil.example\r\n http://HERE\r\nContent-Length: 0\r\n\r\n",
		"an origin in a header twice": "POST ROOTx HTTP/1.1\r\nHost: HERE\r\nCookie: COOKIE\r\norigin: https://evil.example\r\nORIGIN: http://HERE\r\nContent-Length: 0\r\n\r\n",
		"another method in a header":  "GET ROOTx HTTP/1.1\r\nHost: HERE\r\nX-HTTP-Method-Override: POST\r\n\r\n",
		"options of the server":       "OPTIONS * HTTP/1.1\r\nHost: HERE\r\nOrigin: https://evil.example\r\n\r\n",
		"two lengths":                 "POST ROOTx HTTP/1.1\r\nHost: HERE\r\nCookie: COOKIE\r\nOrigin: http://HERE\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
		"a tunnel":                    "CONNECT evil.example:443 HTTP/1.1\r\nHost: HERE\r\n\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			conn, err := net.Dial("tcp", h.host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = io.WriteString(conn, strings.NewReplacer("ROOT", h.Root(), "HERE", h.host, "COOKIE", cookie).Replace(sent))
			if err != nil {
				t.Fatal(err)
			}
			got, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer got.Body.Close()
			body, err := io.ReadAll(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got.StatusCode == http.StatusOK && what == "options of the server" && len(body) == 0 {
				return // the server's own, with nothing in it
			}
			if got.StatusCode != http.StatusBadRequest {
				h.mustRefuse(t, answer{got, string(body)})
			}
		})
	}
}
