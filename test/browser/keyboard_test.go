package browser

import (
	"context"
	"slices"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/browser/chromium"
	"github.com/accessbroker/accessbroker/test/kit"
)

// TestKeyboard is the story with Tab, Enter and Space alone. Each stop on the way is
// seen to have the focus.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	hers := alice.looks(t, chromium.Desktop)
	hers.On("Mine")
	follow(hers, "Ask")
	hers.On("Ask")
	typed := func(label, text string) {
		hers.TabTo(label)
		if hers.Focused().Role == "combobox" && hers.Value(label) != text {
			hers.Keys(text)
		} else {
			hers.Type(text)
		}
	}
	follow(hers, p.Name)
	hers.On("Ask by policy " + p.Name)
	typed("Role", "ClusterRole/edit")
	typed("Namespace", ns)
	typed("How long", "20m")
	typed("Reason", "by keyboard alone")
	hers.TabTo("See what it would give")
	hers.Press("Enter")
	hers.Sees("run pods as any ServiceAccount")
	hers.TabTo("Send the request")
	hers.Press("Space")
	r := only(t, ns)
	hers.On(r.Name)
	e.WaitMatched(t, r)

	his := bob.looks(t, chromium.Desktop)
	his.On("Mine")
	follow(his, "To decide")
	his.On("To decide")
	follow(his, r.Name)
	his.On(r.Name)
	his.TabTo("At most")
	his.Type("10m")
	his.TabTo("Comment")
	his.Type("seen")
	his.TabTo("Approve")
	his.Press("Enter")
	his.Sees(r.Name + " is approved")
	if d := decided(t, r, v1alpha1.VerdictApprove); d.Comment != "seen" || d.MaxDuration == nil {
		t.Errorf("not what bob typed: %+v", d)
	}
	e.WaitFor(t, r, v1alpha1.RequestActive)
	hers.Sees("Active")
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	hers.TabTo("Release")
	hers.Press("Space")
	hers.Sees("released")
	e.WaitFor(t, r, v1alpha1.RequestCompleted)

	auditor := vera.looks(t, chromium.Desktop)
	auditor.On("Mine")
	follow(auditor, "Record")
	auditor.On("Record")
	auditor.TabTo("Policy")
	auditor.Type(p.Name)
	auditor.TabTo("Filter")
	auditor.Press("Enter")
	auditor.Sees("1–1 of 1, picked of")
	follow(auditor, "alice")
	auditor.On(e.GrantOf(t, r).Name)
}

// follow comes to a link by Tab and opens it.
func follow(tab *chromium.Tab, name string) {
	tab.TabTo(name)
	tab.Press("Enter")
}

// TestAround: on every page Tab comes to all that can be clicked and leaves again, and
// the first stop jumps over what all pages have.
func TestAround(t *testing.T) {
	t.Parallel()
	scene := stage(t)
	for _, page := range scene.pages {
		t.Run(page.name, func(t *testing.T) {
			t.Parallel()
			tab := page.open(t, chromium.Desktop)
			want := chromium.Eval[int](tab, `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')].filter(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled && e.tabIndex >= 0).length`)
			stops := tab.Around()
			if len(stops) < want {
				t.Errorf("Tab comes to %d of %d: %v", len(stops), want, stops)
			}
			if page.bare {
				return
			}
			if len(stops) == 0 || stops[0].Name != "Skip to the content" {
				t.Fatalf("the first stop is not the skip link: %v", stops)
			}
			if n := slices.IndexFunc(stops, func(f chromium.Focus) bool { return f.Name == "Mine" }); n != 1 {
				t.Errorf("the navigation does not come second: %v", stops)
			}
			// Once more from the first, and over the rest.
			if tab.Focused().Name != stops[0].Name {
				tab.Press("Tab")
			}
			tab.Press("Enter")
			kit.Eventually(t, "the content to be jumped to", func(context.Context) (bool, error) {
				return chromium.Eval[bool](tab, `document.querySelector('main').contains(document.activeElement)`), nil
			})
			if within := chromium.Eval[int](tab, `document.querySelectorAll('main a[href], main button, main input:not([type=hidden]), main summary').length`); within == 0 {
				return
			}
			tab.Press("Tab")
			if !chromium.Eval[bool](tab, `document.querySelector('main').contains(document.activeElement)`) {
				t.Errorf("after the skip link comes %s", tab.Focused())
			}
		})
	}
}
