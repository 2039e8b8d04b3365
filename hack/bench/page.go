package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

const (
	// gets of the record, and loads of it in a browser.
	gets, loads = 50, 20
	// aimedPaint is how soon something of the record is to be seen.
	aimedPaint = 300
)

// recordOnAPage: kubectl access ui of an auditor, with a stock of grants on record. How
// soon it has read all of them, what it holds, and how soon the record is seen.
func recordOnAPage(ctx context.Context, s *scene) ([]result, error) {
	if err := s.stockRecord(ctx, s.n.stock()); err != nil {
		return nil, err
	}
	visit, err := s.openPage(ctx)
	if err != nil {
		return nil, err
	}
	defer visit.end()
	with := thousands(s.n.stock()) + " grants on record: "

	begin := time.Now()
	for read := false; !read; {
		body, err := visit.get(ctx, "record")
		if err != nil {
			return nil, err
		}
		// With the one that the others were cast from.
		read = strings.Contains(body, "1–40 of "+thousands(s.n.stock()+1)+",")
		if !read && time.Since(begin) > time.Minute {
			return nil, fmt.Errorf("the page does not come to have the whole record:\n%s", body)
		}
	}
	results := []result{{What: with + "first asked for → all are there", Unit: "ms", Value: millis(time.Since(begin))}}

	var took []time.Duration
	for range gets {
		begin := time.Now()
		if _, err := visit.get(ctx, "record"); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	served := spread(with+"GET /record", took)
	served.Note = fmt.Sprintf("p95 %.0f ms", percentile(took, 95))
	results = append(results, served)

	begin = time.Now()
	list, err := visit.get(ctx, "record.csv")
	if err != nil {
		return nil, err
	}
	if lines := strings.Count(list, "\n"); lines != s.n.stock()+2 {
		return nil, fmt.Errorf("the record has %d lines as CSV", lines)
	}
	results = append(results, result{What: with + "all of it as CSV", Unit: "ms", Value: millis(time.Since(begin)), Note: fmt.Sprintf("%.1f MB", float64(len(list))/1e6)})

	held, err := kernel(visit.command.Process.Pid, "VmRSS:")
	if err != nil {
		return nil, err
	}
	peak, err := kernel(visit.command.Process.Pid, "VmHWM:")
	if err != nil {
		return nil, err
	}
	results = append(results, result{
		What: with + "resident memory of kubectl access ui", Unit: "MiB", Value: held / (1 << 20), Note: fmt.Sprintf("%.0f MiB at the most", peak/(1<<20)),
	})

	paints, err := visit.paints(ctx)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		fmt.Fprintln(os.Stderr, "first paint: NOT MEASURED: there is no Chromium: apt-get install chromium, or name one in $CHROMIUM")
		return results, nil
	case err != nil:
		return nil, err
	}
	painted := spread(with+"first contentful paint in Chromium", paints)
	return append(results, painted.aims(fmt.Sprintf("p50 < %d ms", aimedPaint), painted.Value < aimedPaint)), nil
}

// stockRecord writes grants that have ended in the last weeks, as the broker left them,
// and leaves the broker stopped.
func (s *scene) stockRecord(ctx context.Context, n int) error {
	if err := s.cut(ctx); err != nil {
		return err
	}
	s.stopBroker()
	fmt.Fprintf(os.Stderr, "writing %d grants that have ended ...\n", n)
	now := time.Now()
	ends := []v1alpha1.EndReason{v1alpha1.EndExpired, v1alpha1.EndExpired, v1alpha1.EndReleased, v1alpha1.EndRevoked, v1alpha1.EndRoleWidened}
	return each(ctx, stockWorkers, n, func(ctx context.Context, i int) error {
		_, namespace := s.pair(i)
		key := client.ObjectKey{Namespace: namespace.Name, Name: fmt.Sprintf("fix-%05d", i)}
		// One every ten minutes, for half an hour each.
		begin := metav1.NewTime(now.Add(-time.Duration(i+3) * 10 * time.Minute).Truncate(time.Second))
		g := s.grantFor(i, &s.mould.endedGrant, key, uuid.NewUUID(), begin.Add(time.Hour))
		g.Spec.NotBefore = begin
		status := g.Status
		status.GrantedTime, status.EndedTime = &begin, &metav1.Time{Time: begin.Add(30 * time.Minute)}
		status.EndReason = ends[i%len(ends)]
		if err := s.asBroker.Create(ctx, g); err != nil {
			return err
		}
		g.Status = status
		return s.asBroker.Status().Update(ctx, g)
	})
}

// visit is somebody who has opened the page.
type visit struct {
	command *exec.Cmd
	client  *http.Client
	root    *url.URL
}

// openPage starts kubectl access ui as an auditor, and enters.
func (s *scene) openPage(ctx context.Context) (_ *visit, err error) {
	auditor, err := s.User("vera", "audit")
	if err != nil {
		return nil, err
	}
	kubeconfig, err := s.Kubeconfig("vera", auditor)
	if err != nil {
		return nil, err
	}
	if err := s.Bind(ctx, "access-auditor", "audit"); err != nil {
		return nil, err
	}
	if err := s.mayAudit(ctx); err != nil {
		return nil, err
	}
	v := &visit{command: s.Kubectl(kubeconfig, "access", "ui", "--no-browser")}
	out, err := v.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	v.command.Stderr = os.Stderr
	if err := v.command.Start(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			v.end()
		}
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("kubectl access ui says no address: %w", err)
	}
	enter, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		return nil, err
	}
	v.root = enter.ResolveReference(&url.URL{Path: "."})
	jar := &oneCookie{}
	v.client = &http.Client{Jar: jar}
	if _, err := v.fetch(ctx, enter.String()); err != nil {
		return nil, err
	}
	if jar.cookie == nil {
		return nil, errors.New("the page sets no cookie")
	}
	return v, nil
}

// mayAudit waits until the auditor may list grants.
func (s *scene) mayAudit(ctx context.Context) error {
	vera, err := s.As("vera", "audit")
	if err != nil {
		return err
	}
	for begin := time.Now(); ; {
		err := vera.List(ctx, &v1alpha1.AccessGrantList{}, client.Limit(1))
		if err == nil || time.Since(begin) > patience {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (v *visit) end() {
	_ = v.command.Process.Signal(os.Interrupt)
	_ = v.command.Wait()
}

func (v *visit) get(ctx context.Context, page string) (string, error) {
	return v.fetch(ctx, v.root.JoinPath(page).String())
}

func (v *visit) fetch(ctx context.Context, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	response, err := v.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("the page answers %s:\n%s", response.Status, body)
	}
	return string(body), err
}

// oneCookie keeps the cookie of the page as it came, to hand it on to a browser.
type oneCookie struct{ cookie *http.Cookie }

func (c *oneCookie) SetCookies(_ *url.URL, cookies []*http.Cookie) { c.cookie = cookies[0] }

func (c *oneCookie) Cookies(*url.URL) []*http.Cookie {
	if c.cookie == nil {
		return nil
	}
	return []*http.Cookie{{Name: c.cookie.Name, Value: c.cookie.Value}}
}

// paints loads the record in a Chromium that knows nothing yet, again and again, and
// takes the times from the start of the navigation that the browser itself tells.
func (v *visit) paints(ctx context.Context) (took []time.Duration, err error) {
	program, err := findChromium()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "bench-chromium-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	allocator, release := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(program), chromedp.UserDataDir(home),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	defer release()
	tab, leave := chromedp.NewContext(allocator)
	defer leave()
	cookie := v.client.Jar.(*oneCookie).cookie
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1280, 800)); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	if _, err := chromedp.Call(tab, network.SetCookie, network.SetCookieParams{
		Name: cookie.Name, Value: cookie.Value, URL: v.root.String(), Path: cookie.Path, HTTPOnly: ptr.To(true), SameSite: network.CookieSameSiteStrict,
	}); err != nil {
		return nil, err
	}
	for range loads {
		if err := chromedp.Do(tab, chromedp.Navigate("about:blank"), chromedp.Navigate(v.root.JoinPath("record").String())); err != nil {
			return nil, err
		}
		at, err := chromedp.Run(tab, chromedp.Evaluate[float64](`new Promise((tell) => {
			if (!document.querySelector('table.record')) tell(-1);
			new PerformanceObserver((list) => {
				for (const paint of list.getEntries()) if (paint.name === 'first-contentful-paint') tell(paint.startTime);
			}).observe({type: 'paint', buffered: true});
		})`, chromedp.EvalAwaitPromise))
		if err != nil {
			return nil, err
		}
		if at < 0 {
			return nil, errors.New("the browser does not show the record")
		}
		took = append(took, time.Duration(math.Round(at*1e6)))
	}
	return took, nil
}

// findChromium errs with exec.ErrNotFound where there is none.
func findChromium() (string, error) {
	if set := os.Getenv("CHROMIUM"); set != "" {
		return exec.LookPath(set)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}
