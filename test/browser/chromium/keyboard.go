package chromium

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Press presses keys one after another: Tab, Shift+Tab, Enter, Space, Escape,
// Backspace or one of the arrows.
func (tab *Tab) Press(keys ...string) {
	tab.t.Helper()
	for _, key := range keys {
		var options []chromedp.KeyOption
		plain, shift := strings.CutPrefix(key, "Shift+")
		if shift {
			options = append(options, chromedp.KeyModifiers(chromedp.ModifierShift))
		}
		code, ok := map[string]string{
			"Tab": kb.Tab, "Enter": kb.Enter, "Space": " ", "Escape": kb.Escape, "Backspace": kb.Backspace,
			"Down": kb.ArrowDown, "Up": kb.ArrowUp, "Left": kb.ArrowLeft, "Right": kb.ArrowRight, "Home": kb.Home, "End": kb.End,
		}[plain]
		if !ok {
			tab.t.Fatalf("no key is called %q", key)
		}
		tab.do(chromedp.KeyEvent(code, options...))
	}
}

// Type types a text where the focus is.
func (tab *Tab) Type(text string) {
	tab.t.Helper()
	tab.do(call(input.InsertText, input.InsertTextParams{Text: text}))
}

// Keys types a text key by key: a list takes the option that begins with it.
func (tab *Tab) Keys(text string) {
	tab.t.Helper()
	tab.do(chromedp.KeyEvent(text))
}

// Focus is what the keyboard is at.
type Focus struct {
	Role, Name string
	// Seen is whether the browser draws a mark around it, within what is to be seen,
	// and nothing in front of it.
	Seen bool
	Why  string // when it is not
}

func (f Focus) String() string { return fmt.Sprintf("%s %q", f.Role, f.Name) }

// Focused is what the keyboard is at now.
func (tab *Tab) Focused() Focus {
	tab.t.Helper()
	f, err := tab.focused()
	if err != nil && !errors.Is(err, errNoElement) {
		tab.t.Fatal(err)
	}
	return f
}

func (tab *Tab) focused() (f Focus, err error) {
	ctx, cancel := tab.patient()
	defer cancel()
	active, err := chromedp.Run(ctx, chromedp.Evaluate[*runtime.RemoteObject](`document.activeElement === document.body ? null : document.activeElement`))
	if err != nil {
		return f, err
	}
	if active.ObjectID == "" {
		return f, errNoElement
	}
	tree, err := chromedp.Call(ctx, accessibility.GetPartialAXTree, accessibility.GetPartialAXTreeParams{ObjectID: active.ObjectID, FetchRelatives: ptr.To(false)})
	if err != nil {
		return f, err
	}
	if len(tree.Nodes) == 0 {
		return f, errNoElement
	}
	f.Role, f.Name = value(tree.Nodes[0].Role), value(tree.Nodes[0].Name)
	f.Why, err = eval[string](tab, `(() => {
		const e = document.activeElement, style = getComputedStyle(e);
		const outline = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
		if (!outline && style.boxShadow === 'none') return 'it has no outline';
		const box = [...e.getClientRects()].find(r => r.width > 0 && r.height > 0);
		if (!box) return 'it takes no place';
		const x = Math.min(Math.max(box.x + box.width / 2, 0), innerWidth - 1), y = box.y + Math.min(box.height / 2, innerHeight / 2);
		const hit = document.elementFromPoint(x, y);
		if (!hit) return 'it is outside of what is seen';
		if (!e.contains(hit) && !hit.contains(e)) return 'it is behind ' + hit.outerHTML.slice(0, 100);
		return '';
	})()`)
	f.Seen = f.Why == ""
	return f, err
}

// TabTo presses Tab until the focus is on what has that name, at most once around the
// page, and sees the focus at each stop.
func (tab *Tab) TabTo(name string) {
	tab.t.Helper()
	stops := tab.tabUntil(func(f Focus) bool { return f.Name == name || strings.HasPrefix(f.Name, name+" ") })
	if last := stops[len(stops)-1]; last.Name != name && !strings.HasPrefix(last.Name, name+" ") {
		tab.t.Fatalf("Tab does not come to %q; it comes to %v", name, stops)
	}
}

// Around presses Tab until it has been everywhere, and returns where it has been.
func (tab *Tab) Around() []Focus {
	tab.t.Helper()
	return tab.tabUntil(func(Focus) bool { return false })
}

const (
	// mostStops bounds a walk on pages of ours.
	mostStops = 400
	// scrolling is how long a browser may take to scroll to what has the focus.
	scrolling = 3 * time.Second
)

// tabUntil presses Tab until something has the focus or the walk is around: the focus
// leaves the page, or is where it has been. The stops say so by an order of their own,
// because names may come twice.
func (tab *Tab) tabUntil(there func(Focus) bool) (stops []Focus) {
	tab.t.Helper()
	Eval[chromedp.Void](tab, "window.stops = new Set()")
	for range mostStops {
		tab.Press("Tab")
		f, err := tab.focused()
		if errors.Is(err, errNoElement) && len(stops) > 0 {
			return stops
		}
		if errors.Is(err, errNoElement) {
			continue
		}
		if err != nil {
			tab.t.Fatal(err)
		}
		if Eval[bool](tab, `window.stops.has(document.activeElement) || !window.stops.add(document.activeElement)`) {
			return stops
		}
		// The browser may still be scrolling there.
		_ = lab.Until(tab.ctx, scrolling, func(context.Context) (bool, error) {
			if !f.Seen {
				f, err = tab.focused()
			}
			return f.Seen, err
		})
		stops = append(stops, f)
		if !f.Seen {
			tab.t.Errorf("%s: nobody sees that %s has the focus: %s", tab.look.Name, f, f.Why)
		}
		if there(f) {
			return stops
		}
	}
	tab.t.Fatalf("Tab does not come around: %v", stops)
	return nil
}
