package chromium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Part is a part of a page, or all of it.
type Part struct {
	tab  *Tab
	t    testing.TB
	near string // "" for the whole page
}

// Near is the smallest row, item, card or section that says this: what is looked for
// is looked for there.
func (p Part) Near(text string) Part {
	p.near = text
	return p
}

// root is an expression for the element that the part is.
func (p Part) root() string {
	if p.near == "" {
		return "document"
	}
	text, _ := json.Marshal(squeeze(p.near))
	return `(() => {
		const says = e => e.innerText !== undefined && e.innerText.replace(/\s+/g, ' ').includes(` + string(text) + `);
		const all = [...document.querySelectorAll('tr, li, article, section, fieldset, details, main, body')].filter(says);
		return all.filter(e => !all.some(o => o !== e && e.contains(o)))[0] ?? null;
	})()`
}

// The roles of what can be clicked and of what can be filled in.
var (
	clickable = []string{"link", "button", "DisclosureTriangle", "checkbox", "radio", "switch", "tab", "menuitem"}
	fillable  = []string{"textbox", "searchbox", "combobox", "spinbutton", "listbox", "Date", "DateTime", "InputTime", "MenuListPopup"}
)

// element is one that a person can find.
type element struct {
	role, name string
	id         cdp.BackendNodeID
}

// find is the one element with a role and a name. A name may go on after what was
// asked for: a label with a hint, a link with a number.
func (p Part) find(roles []string, name string) (found element, err error) {
	ctx, cancel := p.tab.patient()
	defer cancel()
	root, err := chromedp.Run(ctx, chromedp.Evaluate[*runtime.RemoteObject](p.root()))
	if err != nil {
		return found, err
	}
	if root.ObjectID == "" {
		return found, fmt.Errorf("nothing on the page says %q", p.near)
	}
	exact, longer, err := p.look(ctx, root, roles, name)
	if err != nil {
		return found, err
	}
	for _, list := range [][]element{exact, longer} {
		if len(list) == 1 {
			return list[0], nil
		}
		if len(list) > 1 {
			return found, fmt.Errorf("%d elements are called %q: %v", len(list), name, list)
		}
	}
	where := ""
	if p.near != "" {
		where = fmt.Sprintf("near %q ", p.near)
	}
	return found, fmt.Errorf("%sthere is no %s that is called %q", where, strings.Join(roles, ", "), name)
}

func (p Part) look(ctx context.Context, root *runtime.RemoteObject, roles []string, name string) (exact, longer []element, err error) {
	for _, role := range roles {
		tree, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{ObjectID: root.ObjectID, Role: role})
		if err != nil {
			return nil, nil, err
		}
		for _, node := range tree.Nodes {
			if node.Ignored || node.BackendDOMNodeID == 0 {
				continue
			}
			e := element{role, value(node.Name), node.BackendDOMNodeID}
			if e.name == name {
				exact = append(exact, e)
			} else if rest, ok := strings.CutPrefix(e.name, name); ok && !startsWithLetter(rest) {
				longer = append(longer, e)
			}
		}
	}
	return exact, longer, nil
}

func startsWithLetter(s string) bool {
	return s != "" && strings.ContainsAny(strings.ToLower(s[:1]), "abcdefghijklmnopqrstuvwxyz-")
}

// value is what the accessibility tree says, as text.
func value(v *accessibility.Value) (text string) {
	if v != nil {
		_ = json.Unmarshal(v.Value, &text)
	}
	return squeeze(text)
}

func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

// place is where an element is to be clicked, once it is seen and nothing is in front of it.
func (p Part) place(ctx context.Context, e element) (x, y float64, err error) {
	object, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: e.id})
	if err != nil {
		return 0, 0, err
	}
	got, err := chromedp.Call(ctx, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: object.Object.ObjectID, ReturnByValue: ptr.To(true),
		FunctionDeclaration: `function() {
			this.scrollIntoView({block: 'center', behavior: 'instant'});
			const box = [...this.getClientRects()].find(r => r.width > 0 && r.height > 0);
			if (!box) return {why: 'is not seen'};
			const x = box.x + box.width / 2, y = box.y + box.height / 2;
			const hit = document.elementFromPoint(x, y);
			if (!hit) return {why: 'is outside of what is seen'};
			if (this.contains(hit) || [...(this.labels ?? [])].some(l => l.contains(hit))) return {x, y};
			return {why: 'is behind ' + hit.outerHTML.slice(0, 100)};
		}`,
	})
	if err != nil {
		return 0, 0, err
	}
	var at struct {
		X, Y float64
		Why  string
	}
	if err := json.Unmarshal(got.Result.Value, &at); err != nil {
		return 0, 0, err
	}
	if at.Why != "" {
		return 0, 0, fmt.Errorf("the %s %q %s", e.role, e.name, at.Why)
	}
	return at.X, at.Y, nil
}

// point waits for an element and for nothing to be in front of it.
func (p Part) point(roles []string, name string) (x, y float64) {
	p.t.Helper()
	kit.Eventually(p.t, fmt.Sprintf("%q to be clicked", name), func(context.Context) (bool, error) {
		e, err := p.find(roles, name)
		if err != nil {
			return false, err
		}
		ctx, cancel := p.tab.patient()
		defer cancel()
		x, y, err = p.place(ctx, e)
		return err == nil, err
	})
	return x, y
}

// Click clicks a link, a button or the like, or taps on it.
func (p Part) Click(name string) {
	p.t.Helper()
	x, y := p.point(clickable, name)
	p.tab.at(x, y)
}

// at clicks or taps.
func (tab *Tab) at(x, y float64) {
	tab.t.Helper()
	if tab.look.Touch {
		tab.do(chromedp.TapXY(x, y))
	} else {
		tab.do(chromedp.MouseClickXY(x, y))
	}
}

// Fill types into the field with a label, in place of what is there.
func (p Part) Fill(label, text string) {
	p.t.Helper()
	x, y := p.point(fillable, label)
	p.tab.at(x, y)
	p.on(label, "function() { this.focus(); this.select?.() }")
	if text == "" {
		p.tab.Press("Backspace")
	} else {
		p.tab.Type(text)
	}
}

// Choose takes an option of the list with a label, by its words.
func (p Part) Choose(label, option string) {
	p.t.Helper()
	p.point(fillable, label)
	words, _ := json.Marshal(squeeze(option))
	took := p.on(label, `function() {
		const option = [...this.options ?? []].find(o => o.text.replace(/\s+/g, ' ').trim() === `+string(words)+` && !o.disabled);
		if (!option) return 'it has ' + [...this.options ?? []].map(o => o.text.trim()).join(' | ');
		this.focus();
		if (!option.selected) {
			option.selected = true;
			this.dispatchEvent(new Event('input', {bubbles: true}));
			this.dispatchEvent(new Event('change', {bubbles: true}));
		}
		return '';
	}`)
	if took != "" {
		p.t.Fatalf("%s cannot be %q: %s", label, option, took)
	}
}

// Value is what the field with a label holds.
func (p Part) Value(label string) string {
	p.t.Helper()
	p.point(fillable, label)
	return p.on(label, "function() { return this.selectedOptions ? this.selectedOptions[0]?.text.trim() ?? '' : this.value }")
}

// on calls a function on the field with a label.
func (p Part) on(label, function string) (answer string) {
	p.t.Helper()
	e, err := p.find(fillable, label)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := p.tab.patient()
	defer cancel()
	object, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: e.id})
	if err != nil {
		p.t.Fatal(err)
	}
	got, err := chromedp.Call(ctx, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: object.Object.ObjectID, ReturnByValue: ptr.To(true), FunctionDeclaration: function,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	_ = json.Unmarshal(got.Result.Value, &answer)
	return answer
}

// Offers tells whether something with a name can be clicked, now.
func (p Part) Offers(name string) bool {
	p.t.Helper()
	_, err := p.find(clickable, name)
	return err == nil
}

// words are those that are to be seen.
func (p Part) words() (string, error) {
	root := p.root()
	if p.near == "" {
		root = "document.body"
	}
	return eval[string](p.tab, root+"?.innerText ?? ''")
}

// Words are those that are to be seen now.
func (p Part) Words() string {
	p.t.Helper()
	words, err := p.words()
	if err != nil {
		p.t.Fatal(err)
	}
	return words
}

// Sees waits until the page says all of this.
func (p Part) Sees(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.says(text, true)
	}
}

// SeesNo waits until the page says none of this.
func (p Part) SeesNo(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.says(text, false)
	}
}

func (p Part) says(text string, want bool) {
	p.t.Helper()
	what := "the page to say"
	if !want {
		what = "the page not to say"
	}
	kit.Eventually(p.t, fmt.Sprintf("%s %q", what, text), func(context.Context) (bool, error) {
		words, err := p.words()
		return err == nil && strings.Contains(squeeze(words), squeeze(text)) == want, err
	})
}

// On waits until the page with a heading is there, and loaded.
func (tab *Tab) On(heading string) {
	tab.t.Helper()
	kit.Eventually(tab.t, fmt.Sprintf("the page %q", heading), func(context.Context) (bool, error) {
		found, err := eval[[]string](tab, `document.readyState === 'loading' ? [] : [...document.querySelectorAll('h1')].map(h => h.innerText)`)
		if err != nil {
			return false, err
		}
		if len(found) > 1 {
			return false, lab.Hopeless(fmt.Errorf("it has %d headings of the first rank: %v", len(found), found))
		}
		if !slices.ContainsFunc(found, func(h string) bool { return strings.Contains(squeeze(h), heading) }) {
			return false, fmt.Errorf("it is %v", found)
		}
		return true, nil
	})
}

// errNoElement is that nothing has the focus.
var errNoElement = errors.New("nothing has the focus")

// Set fills the field with a label or takes one of its options, whichever it has.
func (p Part) Set(label, text string) {
	p.t.Helper()
	p.point(fillable, label)
	if p.on(label, "function() { return this.tagName }") == "SELECT" {
		p.Choose(label, text)
	} else {
		p.Fill(label, text)
	}
}
