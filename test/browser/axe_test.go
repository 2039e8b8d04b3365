package browser

import (
	"testing"

	"github.com/accessbroker/accessbroker/test/browser/chromium"
)

// TestAxe holds every page to the rules of axe: WCAG 2.2 AA, and what is good practice.
// Nothing is wider than the window.
func TestAxe(t *testing.T) {
	t.Parallel()
	scene := stage(t)
	for _, page := range scene.pages {
		t.Run(page.name, func(t *testing.T) {
			t.Parallel()
			tab := page.open(t, chromium.Phone)
			for _, look := range []chromium.Look{chromium.Phone, chromium.Phone.InTheDark(), chromium.Desktop, chromium.Desktop.InTheDark()} {
				tab.As(look)
				for _, violation := range tab.Axe(axe) {
					t.Errorf("%s: %s", look.Name, violation)
				}
				if by := tab.Overflows(); by != "" {
					t.Errorf("%s: it is too wide %s", look.Name, by)
				}
			}
		})
	}
}

// Where WCAG 2.2 wants everything to be had still: a window of 320 pixels (1.4.10), and
// text of twice the size (1.4.4).
var strained = []chromium.Look{
	{Name: "narrow", Width: 320, Height: 640},
	{Name: "large-text", Width: 1280, Height: 800, TextSize: 32},
	{Name: "large-text-phone", Width: 360, Height: 740, Touch: true, TextSize: 32},
}

// TestReflow: on a narrow window, and with large text, nothing is cut off and nothing
// has to be scrolled to the side.
func TestReflow(t *testing.T) {
	t.Parallel()
	scene := stage(t)
	for _, page := range scene.pages {
		t.Run(page.name, func(t *testing.T) {
			t.Parallel()
			tab := page.open(t, chromium.Desktop)
			for _, look := range strained {
				tab.As(look)
				if by := tab.Overflows(); by != "" {
					t.Errorf("%s: it is too wide %s", look.Name, by)
				}
				if look.TextSize != 0 {
					if size := chromium.Eval[float64](tab, "parseFloat(getComputedStyle(document.body).fontSize)"); size < float64(look.TextSize) {
						t.Errorf("%s: the text stays small, %v pixels", look.Name, size)
					}
				}
			}
		})
	}
}
