package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/accessbroker/accessbroker/test/browser/chromium"
)

// TestScreenshots takes a picture of every page, in every look, into the folder that
// $SCREENSHOTS names, for people to look at.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		t.Skip("make screenshots takes them")
	}
	scene := stage(t)
	for _, page := range scene.pages {
		t.Run(page.name, func(t *testing.T) {
			tab := page.open(t, chromium.Phone)
			for _, look := range []chromium.Look{chromium.Phone, chromium.Desktop, chromium.Wide} {
				for _, look := range []chromium.Look{look, look.InTheDark()} {
					tab.As(look)
					if err := os.WriteFile(filepath.Join(folder, page.name+"-"+look.Name+".png"), tab.Screenshot(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
