package chromium

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"sync"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Sent is a request that a page made.
type Sent struct{ Method, URL string }

// watch sees what a tab does behind what it shows.
type watch struct {
	mu       sync.Mutex
	hosts    []string
	expected []*regexp.Regexp
	problems []string
	sent     []Sent
	loads    int
	urls     map[network.RequestID]string
}

// Allow lets the tab ask a host, by name and port.
func (w *watch) Allow(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts = append(w.hosts, host)
}

// Expect has problems that match not count: the test is about them.
func (w *watch) Expect(pattern string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = append(w.expected, regexp.MustCompile(pattern))
}

// Problems are those that nobody expected.
func (w *watch) Problems() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var unexpected []string
	for _, problem := range w.problems {
		if !slices.ContainsFunc(w.expected, func(p *regexp.Regexp) bool { return p.MatchString(problem) }) {
			unexpected = append(unexpected, problem)
		}
	}
	return unexpected
}

// Sent are the requests that the tab made so far.
func (w *watch) Sent() []Sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// Posts counts the requests of that kind so far.
func (w *watch) Posts() (n int) {
	for _, sent := range w.Sent() {
		if sent.Method == "POST" {
			n++
		}
	}
	return n
}

// Loads counts how often the tab showed another document: what is alive changes
// without.
func (w *watch) Loads() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.loads
}

// saw takes what the browser tells of a tab.
func (w *watch) saw(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch event := event.(type) {
	case *page.EventFrameNavigated:
		if event.Frame.ParentID == "" {
			w.loads++
		}
	case *page.EventJavascriptDialogOpening:
		w.problem("a dialog: %s", event.Message)
	case *runtime.EventExceptionThrown:
		w.problem("a script failed: %s", (&chromedp.ExceptionError{ExceptionDetails: event.ExceptionDetails}).Error())
	case *runtime.EventConsoleAPICalled:
		switch event.Type {
		case runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeAssert:
			said, _ := json.Marshal(event.Args)
			w.problem("the console says: %s", said)
		}
	case *log.EventEntryAdded:
		switch event.Entry.Level {
		case log.EntryLevelError, log.EntryLevelWarning:
			w.problem("the browser says: %s (%s)", event.Entry.Text, withoutSecret(event.Entry.URL))
		}
	case *audits.EventIssueAdded:
		details, _ := json.Marshal(event.Issue.Details)
		w.problem("the browser finds a %s: %s", event.Issue.Code, details)
	case *network.EventRequestWillBeSent:
		w.sent = append(w.sent, Sent{event.Request.Method, event.Request.URL})
		if w.urls == nil {
			w.urls = map[network.RequestID]string{}
		}
		w.urls[event.RequestID] = event.Request.URL
		if to, err := url.Parse(event.Request.URL); err != nil || to.Host != "" && !slices.Contains(w.hosts, to.Host) {
			w.problem("a request to another host: %s %s", event.Request.Method, event.Request.URL)
		}
	case *network.EventResponseReceived:
		if event.Response.Status >= 400 {
			w.problem("%d: %s", event.Response.Status, withoutSecret(event.Response.URL))
		}
	case *network.EventLoadingFailed:
		// Whoever leaves a page cancels what it still loads, its event stream say.
		if !event.Canceled {
			w.problem("a request failed: %s %s: %s", event.ErrorText, event.BlockedReason, withoutSecret(w.urls[event.RequestID]))
		}
	}
}

func (w *watch) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}
