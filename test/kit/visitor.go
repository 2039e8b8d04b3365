package kit

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Visitor is a lab.Visitor whose failures are those of a test.
type Visitor struct {
	*lab.Visitor
	t testing.TB
}

// Visit runs `kubectl access ui` as the user of a kubeconfig for as long as the test
// runs, and comes in by its address.
func (c *Cluster) Visit(t testing.TB, kubeconfig string, args ...string) *Visitor {
	t.Helper()
	page, err := c.OpenPage(kubeconfig, args...)
	if err != nil {
		t.Fatal(err)
	}
	return ComeIn(t, page)
}

// ComeIn opens the one-time address of a page, which ends with the test.
func ComeIn(t testing.TB, page *lab.Page) *Visitor {
	t.Helper()
	t.Cleanup(func() {
		if err := page.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := page.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &Visitor{v, t}
}

// Answer is a page.
func (v *Visitor) Answer(path string) lab.Answer {
	v.t.Helper()
	return v.must(v.Visitor.Get(v.t.Context(), path))
}

// Sent is what is shown in the end when a form was sent.
func (v *Visitor) Sent(path string, form url.Values) lab.Answer {
	v.t.Helper()
	return v.must(v.Visitor.Post(v.t.Context(), path, form))
}

func (v *Visitor) must(a lab.Answer, err error) lab.Answer {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	return a
}

// Get returns the status and the content of a page.
func (v *Visitor) Get(path string) (int, string) {
	v.t.Helper()
	a := v.Answer(path)
	return a.Status, a.Body
}

// Post sends a form as a page of ours does, and returns what is shown in the end.
func (v *Visitor) Post(path string, form url.Values) (int, string) {
	v.t.Helper()
	a := v.Sent(path, form)
	return a.Status, a.Body
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
