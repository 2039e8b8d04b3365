package chromium

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/test/kit"
)

// Tab is a page that somebody looks at. Its methods fail the test.
type Tab struct {
	Part
	ctx  context.Context
	look Look
	*watch
	pictures string
}

// Person opens a tab of somebody who has nothing else open, until the end of the test.
func (b *Browser) Person(t testing.TB, look Look) *Tab {
	t.Helper()
	return newTab(b.ctx, t, look, chromedp.WithNewBrowserContext())
}

// Another opens one more tab of the same person.
func (tab *Tab) Another() *Tab {
	tab.t.Helper()
	return newTab(tab.ctx, tab.t, tab.look)
}

func newTab(parent context.Context, t testing.TB, look Look, options ...chromedp.ContextOption) *Tab {
	t.Helper()
	w := &watch{}
	ctx, leave := chromedp.NewContext(parent, append(options, chromedp.WithListener(w.saw))...)
	// A folder of the test goes before what is cleaned up later: it is asked for first.
	tab := &Tab{ctx: ctx, look: look, watch: w, pictures: t.ArtifactDir()}
	tab.Part = Part{tab: tab, t: t}
	t.Cleanup(func() {
		tab.lastLook()
		leave()
	})
	tab.do(call(audits.Enable, cdp.Empty{}))
	tab.As(look)
	return tab
}

// As looks at the same page with something else.
func (tab *Tab) As(look Look) {
	tab.t.Helper()
	scheme, size := "light", int64(16)
	if look.Dark {
		scheme = "dark"
	}
	if look.TextSize != 0 {
		size = look.TextSize
	}
	tab.look = look
	tab.do(
		chromedp.EmulateViewport(look.Width, look.Height),
		call(emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: look.Touch}),
		call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
		call(page.SetFontSizes, page.SetFontSizesParams{FontSizes: &page.FontSizes{Standard: size, Fixed: size}}),
	)
}

// call is a command of the protocol whose answer says nothing.
func call[P, R any](command cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, params)
		return err
	})
}

// patient is a context for one step.
func (tab *Tab) patient() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(tab.ctx, kit.Patience, fmt.Errorf("the browser did not answer within %s", kit.Patience))
}

func (tab *Tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	// The first call on a tab makes it, and must not be one with an end.
	if err := chromedp.Do(tab.ctx); err != nil {
		tab.t.Fatal(err)
	}
	ctx, cancel := tab.patient()
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tab.t.Fatal(err)
	}
}

// Open goes to an address, as somebody who types it or clicks it in a mail.
func (tab *Tab) Open(address string) {
	tab.t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		tab.t.Fatal(err)
	}
	tab.Allow(to.Host)
	tab.do(chromedp.Navigate(address))
}

// Without switches scripts off for all pages that this tab opens from now on.
func (tab *Tab) Without(scripts bool) {
	tab.t.Helper()
	tab.do(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: scripts}))
}

// Back is the browser's button. What it shows may have been kept, and loads nothing.
func (tab *Tab) Back() {
	tab.t.Helper()
	ctx, cancel := tab.patient()
	defer cancel()
	history, err := chromedp.Call(ctx, page.GetNavigationHistory, cdp.Empty{})
	if err != nil {
		tab.t.Fatal(err)
	}
	if history.CurrentIndex == 0 {
		tab.t.Fatal("there is nothing to go back to")
	}
	before := tab.Loads()
	tab.do(call(page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex-1].ID}))
	kit.Eventually(tab.t, "the page before", func(context.Context) (bool, error) { return tab.Loads() > before, nil })
}

// Reload is the browser's button.
func (tab *Tab) Reload() {
	tab.t.Helper()
	tab.do(chromedp.Reload())
}

// Address is what the address bar shows.
func (tab *Tab) Address() string {
	tab.t.Helper()
	return Eval[string](tab, "location.href")
}

// Eval runs a script in the page, as the console of the developer's tools does: no
// Content-Security-Policy is in its way. A promise is waited for.
func Eval[T any](tab *Tab, script string) T {
	tab.t.Helper()
	got, err := eval[T](tab, script)
	if err != nil {
		tab.t.Fatalf("%s: %v", script, err)
	}
	return got
}

func eval[T any](tab *Tab, script string) (T, error) {
	ctx, cancel := tab.patient()
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise, func(p *runtime.EvaluateParams) {
		p.AllowUnsafeEvalBlockedByCSP = ptr.To(false) // of the script that we run, too
	}))
}

// Screenshot is the whole page as PNG.
func (tab *Tab) Screenshot() []byte {
	tab.t.Helper()
	picture, err := tab.screenshot()
	if err != nil {
		tab.t.Fatal(err)
	}
	return picture
}

func (tab *Tab) screenshot() ([]byte, error) {
	ctx, cancel := tab.patient()
	defer cancel()
	return chromedp.Run(ctx, chromedp.FullScreenshot(100))
}

// Downloaded is the file that something has the browser download.
func (tab *Tab) Downloaded(trigger func()) (name string, content []byte) {
	tab.t.Helper()
	dir := tab.t.TempDir()
	ctx, cancel := tab.patient()
	defer cancel()
	// The browser tells everybody's downloads to everybody: ours begins in this frame.
	frame := cdp.FrameID(chromedp.FromContext(tab.ctx).Target.TargetID)
	var id string
	done := make(chan browser.DownloadProgressState, 1)
	if err := chromedp.ListenBrowser(ctx, func(event any) {
		switch event := event.(type) {
		case *browser.EventDownloadWillBegin:
			if event.FrameID == frame && id == "" {
				id, name = event.GUID, event.SuggestedFilename
			}
		case *browser.EventDownloadProgress:
			if event.GUID == id && event.State != browser.DownloadProgressStateInProgress && len(done) == 0 {
				done <- event.State
			}
		}
	}); err != nil {
		tab.t.Fatal(err)
	}
	if _, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllow, BrowserContextID: chromedp.FromContext(tab.ctx).BrowserContextID,
		DownloadPath: dir, EventsEnabled: ptr.To(true),
	}); err != nil {
		tab.t.Fatal(err)
	}
	trigger()
	select {
	case state := <-done:
		if state != browser.DownloadProgressStateCompleted {
			tab.t.Fatalf("the download was %s", state)
		}
	case <-ctx.Done():
		tab.t.Fatal("nothing was downloaded")
	}
	content, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
	if err != nil {
		tab.t.Fatal(err)
	}
	return name, content
}

// lastLook ends a tab's part in a test: it tells what went wrong unseen, and, when
// the test has failed, what the page looked like (go test -artifacts keeps pictures).
func (tab *Tab) lastLook() {
	for _, problem := range tab.Problems() {
		tab.t.Errorf("%s: %s", tab.look.Name, problem)
	}
	if !tab.t.Failed() {
		return
	}
	address, _ := eval[string](tab, "location.href")
	words, err := tab.words()
	if err != nil {
		words = err.Error()
	}
	if len(words) > 4000 {
		words = words[:4000]
	}
	tab.t.Logf("%s: the page at the end, %s:\n%s", tab.look.Name, withoutSecret(address), words)
	if picture, err := tab.screenshot(); err == nil {
		file := filepath.Join(tab.pictures, fmt.Sprintf("%s-%p.png", tab.look.Name, tab))
		if err := os.WriteFile(file, picture, 0o600); err != nil {
			tab.t.Log(err)
		}
	}
}

// withoutSecret is an address without what lets somebody in.
func withoutSecret(address string) string {
	before, _, _ := strings.Cut(address, "?secret=")
	return before
}

// Nothing is the value of a script that has none.
type Nothing = chromedp.Void

// Cookies are those that the person has.
func Cookies(tab *Tab) []*network.Cookie {
	tab.t.Helper()
	ctx, cancel := tab.patient()
	defer cancel()
	got, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(tab.ctx).BrowserContextID})
	if err != nil {
		tab.t.Fatal(err)
	}
	return got.Cookies
}
