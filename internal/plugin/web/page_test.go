package web

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// Every template is there, reads, and can be executed at all; what they show is looked at
// where there is a cluster.
func TestTemplates(t *testing.T) {
	p := &Page{}
	views, err := p.parse()
	if err != nil {
		t.Fatal(err)
	}
	for name, view := range views {
		if view.Lookup("main") == nil || view.Lookup("layout") == nil {
			t.Errorf("%s has no main part", name)
		}
	}
	if err := fstest.TestFS(static, "static/style.css", "static/live.js"); err != nil {
		t.Error(err)
	}
}

// Whatever is on a page, and wherever, it is neither markup nor dangerous to look at.
func TestRenderIsSafe(t *testing.T) {
	const hostile = "<b>\u202egnp\x1b[31m\u200b\" onload='x'"
	page, err := aPage(t).render("failed", frame{
		Title: hostile, Me: hostile, Context: hostile, Only: hostile, Notice: hostile, Nav: []link{{Name: hostile, To: "/"}}, Page: hostile, Data: hostile,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"<b>", "\u202e", "\x1b", "\u200b", "\" onload"} {
		if strings.Contains(page, raw) {
			t.Errorf("%q is on the page", raw)
		}
	}
	if n := strings.Count(page, `\u202e`); n < 7 {
		t.Errorf("it is made visible only %d times", n)
	}
}

// What is told once is told once, and what nobody came to read is not kept for ever.
func TestNotices(t *testing.T) {
	n := &notices{}
	at := n.carry("/mine", "done")
	for _, want := range []string{"done", ""} {
		if got := n.take(httptest.NewRequest("GET", at, nil)); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	for range 3 * maxNotices {
		n.carry("/mine", "done")
	}
	if len(n.said) > maxNotices || len(n.keys) > maxNotices {
		t.Errorf("%d and %d are kept", len(n.said), len(n.keys))
	}
	if got := n.carry("/mine", ""); got != "/mine" {
		t.Errorf("nothing is told by %s", got)
	}
}
