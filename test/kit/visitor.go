package kit

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Visitor is a browser without a screen that came in to a page of `kubectl access ui`.
type Visitor struct {
	*http.Client
	t testing.TB
	// Here is the origin of the page, and Root the path below which it is.
	Here, Root string
}

// Visit runs `kubectl access ui` as the user of a kubeconfig for as long as the test
// runs, and comes in by its address.
func (c *Cluster) Visit(t testing.TB, kubeconfig string, args ...string) *Visitor {
	t.Helper()
	page, err := c.OpenPage(kubeconfig, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := page.Close(); err != nil {
			t.Error(err)
		}
	})
	return ComeIn(t, page)
}

// ComeIn opens the one-time address of a page.
func ComeIn(t testing.TB, page *lab.Page) *Visitor {
	t.Helper()
	address, err := url.Parse(page.Address)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &Visitor{t: t, Here: address.Scheme + "://" + address.Host, Client: &http.Client{Jar: jar, Timeout: Patience}}
	v.Root, _, _ = strings.Cut(address.Path, "enter")
	if status, body := v.get(page.Address); status != http.StatusOK {
		t.Fatalf("not let in: %d %s", status, body)
	}
	return v
}

// At is the URL of a page below the root.
func (v *Visitor) At(path string) string { return v.Here + v.Root + path }

// Get returns the status and the content of a page.
func (v *Visitor) Get(path string) (int, string) {
	v.t.Helper()
	return v.get(v.At(path))
}

func (v *Visitor) get(target string) (int, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.send(r)
}

// Post sends a form as a page of ours does, and returns what is shown in the end.
func (v *Visitor) Post(path string, form url.Values) (int, string) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.At(path), strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", v.Here)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return v.send(r)
}

func (v *Visitor) send(r *http.Request) (int, string) {
	v.t.Helper()
	answer, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// Text is what is read of a page: without tags, and with single spaces.
func Text(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(page, " "))), " ")
}

var tags = regexp.MustCompile(`(?s)<[^>]*>`)

// Hidden are the hidden fields of the first form on a page that has them.
func Hidden(page string) url.Values {
	form := url.Values{}
	for _, match := range hidden.FindAllStringSubmatch(page, -1) {
		if !form.Has(match[1]) {
			form.Set(match[1], html.UnescapeString(match[2]))
		}
	}
	return form
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
