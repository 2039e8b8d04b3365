package checker

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/internal/check"
)

// server is one that a check may ask, and elsewhere one that it may not; both count what
// comes to them.
type server struct {
	*httptest.Server
	seen atomic.Int64
	last atomic.Pointer[http.Request]
}

func serve(t *testing.T, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.seen.Add(1)
		s.last.Store(r)
		handler(w, r)
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

// trust writes the certificate of a server as an authority.
func trust(t *testing.T, s *server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func secret(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// of is an endpoint that asks a server.
func of(t *testing.T, s *server, more string) *endpoint {
	t.Helper()
	checks, err := check.Parse(fmt.Appendf(nil, `checks: [{name: c, stage: s, allow: %q, caFile: %q, url: allow + request.path, approve: answer.body.ok, timeout: 2s, maxBytes: 1000 %s}]`,
		s.URL+"/api", trust(t, s), more))
	if err != nil {
		t.Fatal(err)
	}
	return newEndpoint(checks[0])
}

func (e *endpoint) try(t *testing.T, path string) (check.Answer, error) {
	t.Helper()
	q, err := e.Question(t.Context(), map[string]any{"path": path}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return e.ask(t.Context(), q)
}

// TestHostileServer: whatever a server does, the check comes back in time and with
// bounded memory, asks nobody else, and has no answer.
func TestHostileServer(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok":true}`) })
	wait := func(r *http.Request) { <-r.Context().Done() }
	redirect := func(to string, code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", to); w.WriteHeader(code) }
	}
	evil := strings.TrimPrefix(elsewhere.URL, "https://")
	for name, test := range map[string]struct {
		does http.HandlerFunc
		says string
	}{
		"endless answer": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 4096)); err != nil {
					return
				}
			}
		}, "larger than 1000 bytes"},
		"endless headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 100))
			}
		}, "cannot be asked"},
		"silence": {func(_ http.ResponseWriter, r *http.Request) { wait(r) }, "did not answer within 2s"},
		"slow answer": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"ok"`)
			w.(http.Flusher).Flush()
			wait(r)
		}, "did not end within 2s"},
		"a bomb of gzip": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb(t))
		}, "larger than 1000 bytes"},
		"deep JSON":            {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("[", 900)) }, "no JSON"},
		"no JSON":              {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `ok`) }, "no JSON"},
		"bytes that are none":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{\"ok\":true,\"x\":\"\xff\"}") }, "no JSON"},
		"nothing":              {func(http.ResponseWriter, *http.Request) {}, "no JSON"},
		"redirect elsewhere":   {redirect(elsewhere.URL+"/api/x", 302), "leads to another server"},
		"redirect by name":     {redirect("//"+evil+"/api/x", 307), "leads to another server"},
		"redirect with a user": {redirect("https://x@"+evil+"/api/x", 301), "has a user"},
		"redirect upwards":     {redirect("/admin", 302), "is not under"},
		"redirect by dots":     {redirect("/api/%2e%2e/admin", 302), "leads upwards"},
		"redirect to http":     {redirect("http://"+evil+"/api/x", 302), "leads to another server"},
		"redirect to a file":   {redirect("file:///etc/passwd", 302), "another server"},
		"redirect for ever":    {redirect("/api/x", 302), "redirects too often"},
		"redirect to nowhere":  {redirect("", 302), "the server"},
		"not modified":         {redirect("", 304), "the server answered 304"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, test.does)
			begun := time.Now()
			answer, err := of(t, s, `, headers: [{name: Authorization, valueFile: `+secret(t, "s3cret")+`}]`).try(t, "/x")
			if err == nil || !strings.Contains(err.Error(), test.says) || answer.Body != nil {
				t.Errorf("%+v, %v; want %s", answer, err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("it tells the credential: %v", err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if n := elsewhere.seen.Load(); n != 0 {
				t.Errorf("another server was asked %d times", n)
			}
			if n := s.seen.Load(); n > 1+maxRedirects {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

func TestRedirectsUnderAllow(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/old" {
			http.Redirect(w, r, "/api/new", http.StatusMovedPermanently)
			return
		}
		fmt.Fprintf(w, `{"ok":%t}`, r.Header.Get("Authorization") == "Bearer s3cret")
	})
	answer, err := of(t, s, `, headers: [{name: Authorization, valueFile: `+secret(t, "s3cret\n")+`, prefix: "Bearer "}]`).try(t, "/old")
	if err != nil || answer.Body.(map[string]any)["ok"] != true {
		t.Errorf("%+v, %v", answer, err)
	}
	if _, err := of(t, s, `, method: POST`).try(t, "/old"); err == nil || !strings.Contains(err.Error(), "the server answered 301") {
		t.Errorf("a POST that is redirected: %v", err)
	}
}

// TestCredentials: they are read for every question, and a file that is no credential
// is none.
func TestCredentials(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Header.Get("Authorization")) })
	path := secret(t, "me:first\n")
	e := of(t, s, `, headers: [{name: Authorization, valueFile: `+path+`, base64: true, prefix: "Basic "}]`)
	says := func(want string) {
		t.Helper()
		answer, err := e.try(t, "/x")
		if got := fmt.Sprint(answer.Body, err); !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s, want %s", got, want)
		}
	}
	says("Basic bWU6Zmlyc3Q=")
	for content, want := range map[string]string{"me:second": "Basic bWU6c2Vjb25k", "hunter2\nX-Admin: yes": "it must hold one line", "": "it must hold one line", strings.Repeat("hunter2", 200000): "it is too large"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		says(want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	says("headers[0].valueFile: open")
}

// TestAuthorities: a server must have a certificate of an authority that the check trusts,
// which may change.
func TestAuthorities(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok":true}`) })
	e := of(t, s, "")
	if _, err := e.try(t, "/x"); err != nil {
		t.Fatal(err)
	}
	right, err := os.ReadFile(e.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{"": "caFile: it holds no certificate", other(t): "certificate signed by unknown authority"} {
		if err := os.WriteFile(e.CAFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := e.try(t, "/x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := os.WriteFile(e.CAFile, right, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.try(t, "/x"); err != nil {
		t.Error(err)
	}
}

// TestStatuses: what a server says of the question is an answer; what it says of itself,
// of the check or of the way is none.
func TestStatuses(t *testing.T) {
	for status, want := range map[int]string{
		200: "", 201: "", 404: "", 410: "", 422: "", 400: "",
		401: "does not take the credentials", 403: "do not allow this question", 407: "does not take", 408: "answered 408", 425: "answered 425", 429: "asked too often", 500: "answered 500", 502: "answered 502", 503: "answered 503", 307: "answered 307",
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			fmt.Fprint(w, `{"ok":true}`)
		})
		answer, err := of(t, s, "").try(t, "/x")
		if want == "" && (err != nil || answer.Status != status || answer.Headers["retry-after"] != "7") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d: %+v, %v; want %q", status, answer, err, want)
		}
	}
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusNotFound) })
	if answer, err := of(t, s, "").try(t, "/x"); err != nil || answer.Status != 404 || answer.Body != nil {
		t.Errorf("%+v, %v", answer, err)
	}
	for header, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "99999999999": time.Hour, "99999999999999999999": 0, "Wed, 21 Oct 2015 07:28:00 GMT": 0} {
		if got := retryAfter(header); got != want {
			t.Errorf("%s: %s", header, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	asked := []*endpoint{of(t, s, ", period: 30s"), of(t, s, ", period: 1m")}
	for tries, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1000: 30 * time.Second} {
		if got := backoff(tries, asked); got < want || got > want+want/10+1 {
			t.Errorf("%d: %s, want %s", tries, got, want)
		}
	}
	release, ok := take(asked)
	if !ok {
		t.Fatal("no slot is free")
	}
	for range together - 1 {
		if _, ok := take(asked[:1]); !ok {
			t.Fatal("no slot is free")
		}
	}
	if _, ok := take(asked); ok || len(asked[1].slots) != 1 {
		t.Error("there are more slots than there are")
	}
	release()
	if _, ok := take(asked); !ok {
		t.Error("a slot was not given back")
	}
}

// TestAskedAsItIsSent: a question that was made of something else is not asked.
func TestAskedAsItIsSent(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
	if _, err := of(t, s, "").ask(context.Background(), &check.Question{Method: "GET", URL: "https://evil.example.org/api"}); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Errorf("%v", err)
	}
	if _, err := of(t, s, "").ask(context.Background(), &check.Question{Method: "GET", URL: "https://[evil"}); err == nil {
		t.Errorf("%v", err)
	}
}
