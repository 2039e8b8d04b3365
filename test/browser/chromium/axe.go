package chromium

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
)

// The rules of axe that a page must keep.
var axeRules = []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"}

// Axe runs the rules of axe-core, whose script is given, and returns what they find.
func (tab *Tab) Axe(script string) (violations []string) {
	tab.t.Helper()
	// Without its completion value, which cannot be sent.
	Eval[chromedp.Void](tab, script+"\n;undefined")
	rules, _ := json.Marshal(axeRules)
	type node struct {
		HTML           string
		FailureSummary string
	}
	found := Eval[[]struct {
		ID, Help string
		Nodes    []node
	}](tab, `axe.run(document, {runOnly: {type: 'tag', values: `+string(rules)+`}, resultTypes: ['violations']}).then(r => r.violations)`)
	for _, v := range found {
		for i, n := range v.Nodes {
			if i == 3 {
				violations = append(violations, fmt.Sprintf("%s: and %d more", v.ID, len(v.Nodes)-i))
				break
			}
			html := n.HTML
			if len(html) > 200 {
				html = html[:200]
			}
			violations = append(violations, fmt.Sprintf("%s: %s: %s: %s", v.ID, v.Help, html, squeeze(strings.TrimPrefix(n.FailureSummary, "Fix any of the following:"))))
		}
	}
	return violations
}

// Overflows tells by how many pixels the page is wider than the window, and what makes it so.
func (tab *Tab) Overflows() string {
	tab.t.Helper()
	return Eval[string](tab, `(() => {
		const by = document.scrollingElement.scrollWidth - document.documentElement.clientWidth;
		if (by <= 0) return '';
		const wide = [...document.body.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5);
		return 'by ' + by + ' pixels: ' + wide.slice(-3).map(e => e.outerHTML.slice(0, 120)).join(' | ');
	})()`)
}
