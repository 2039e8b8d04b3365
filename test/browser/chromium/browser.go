// Package chromium drives a real Chromium as a person would: it finds a link by its
// words and a field by its label, as a screen reader names them, clicks where they
// are, and waits for what is to be seen. What a person would not see fails the test
// too: an error in the console, something that the page's Content-Security-Policy
// refused, a request that failed, a request to another host.
package chromium

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// Missing is what has to be installed for a browser to start.
func Missing() error {
	_, err := program()
	return err
}

// program is the browser of this machine.
func program() (string, error) {
	if set := os.Getenv("CHROMIUM"); set != "" {
		return exec.LookPath(set)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no Chromium: apt-get install chromium, or name one in $CHROMIUM")
}

// Browser is one Chromium for everybody: each person has a browser context of their
// own in it, with no cookie or cache of the others.
type Browser struct {
	ctx  context.Context
	stop func()
	home string
}

// Start starts a browser that knows nothing yet and asks nobody: no host has an
// address but those of this machine.
func Start(ctx context.Context) (*Browser, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		return nil, err
	}
	allocator, release := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path),
		chromedp.UserDataDir(home),
		chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-default-apps", true),
		chromedp.Flag("disable-extensions", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-breakpad", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		// Several people look at the same time; none of their windows may doze.
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("password-store", "basic"),
		chromedp.Flag("host-resolver-rules", "MAP rebind.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost"),
	)
	window, leave := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	b := &Browser{ctx: window, home: home, stop: func() { leave(); release() }}
	if err := chromedp.Do(window); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", path, err), b.Stop())
	}
	return b, nil
}

// Stop ends the browser.
func (b *Browser) Stop() error {
	b.stop()
	return os.RemoveAll(b.home)
}

// Look is what a page is looked at with.
type Look struct {
	Name          string
	Width, Height int64
	// Touch is a finger instead of a mouse.
	Touch bool
	Dark  bool
	// TextSize of the user's settings, in pixels; 0 is the usual one.
	TextSize int64
}

// The looks that the page is made for.
var (
	Phone   = Look{Name: "phone", Width: 360, Height: 740, Touch: true}
	Desktop = Look{Name: "desktop", Width: 1280, Height: 800}
	Wide    = Look{Name: "wide", Width: 2560, Height: 1440}
)

// InTheDark is the same look with dark colours.
func (l Look) InTheDark() Look {
	l.Name += "-dark"
	l.Dark = true
	return l
}
