package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
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
	"github.com/accessbroker/accessbroker/internal/lab"
)

const (
	// gets of the record, and loads of it in a browser.
	gets, loads = 50, 20
	// aimedPaint is how soon something of the record is to be seen.
	aimedPaint = 300
)

// recordOnAPage: kubectl access ui of an auditor, with a stock of grants on record. How
// soon it has read all of them, what it holds, and how soon the record is seen.
func recordOnAPage(ctx context.Context, s *scene) (results []result, err error) {
	if err := s.stockRecord(ctx, s.n.stock()); err != nil {
		return nil, err
	}
	page, err := s.openPage(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, page.Close()) }()
	visitor, err := page.Enter(ctx)
	if err != nil {
		return nil, err
	}
	with := thousands(s.n.stock()) + " grants on record: "

	begin := time.Now()
	for read := false; !read; {
		body, err := got(ctx, visitor, "record")
		if err != nil {
			return nil, err
		}
		// With the one that the others were cast from.
		read = strings.Contains(body, "1–40 of "+thousands(s.n.stock()+1)+",")
		if !read && time.Since(begin) > time.Minute {
			return nil, fmt.Errorf("the page does not come to have the whole record:\n%s", body)
		}
	}
	results = []result{{What: with + "first asked for → all are there", Unit: "ms", Value: millis(time.Since(begin))}}

	var took []time.Duration
	for range gets {
		begin := time.Now()
		if _, err := got(ctx, visitor, "record"); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	served := spread(with+"GET /record", took)
	served.Note = fmt.Sprintf("p95 %.0f ms", percentile(took, 95))
	results = append(results, served)

	begin = time.Now()
	list, err := got(ctx, visitor, "record.csv")
	if err != nil {
		return nil, err
	}
	if lines := strings.Count(list, "\n"); lines != s.n.stock()+2 {
		return nil, fmt.Errorf("the record has %d lines as CSV", lines)
	}
	results = append(results, result{What: with + "all of it as CSV", Unit: "ms", Value: millis(time.Since(begin)), Note: fmt.Sprintf("%.1f MB", float64(len(list))/1e6)})

	held, err := kernel(page.PID(), "VmRSS:")
	if err != nil {
		return nil, err
	}
	peak, err := kernel(page.PID(), "VmHWM:")
	if err != nil {
		return nil, err
	}
	results = append(results, result{
		What: with + "resident memory of kubectl access ui", Unit: "MiB", Value: held / (1 << 20), Note: fmt.Sprintf("%.0f MiB at the most", peak/(1<<20)),
	})

	paints, err := paints(ctx, visitor)
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

// openPage starts kubectl access ui as an auditor.
func (s *scene) openPage(ctx context.Context) (*lab.Page, error) {
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
	return s.OpenPage(kubeconfig)
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

// got is what the page answers with when all is well.
func got(ctx context.Context, v *lab.Visitor, path string) (string, error) {
	answer, err := v.Get(ctx, path)
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("the page answers %d:\n%s", answer.Status, answer.Body)
	}
	return answer.Body, err
}

// paints loads the record in a Chromium that knows nothing yet, again and again, and
// takes the times from the start of the navigation that the browser itself tells.
func paints(ctx context.Context, v *lab.Visitor) (took []time.Duration, err error) {
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
	cookie := v.Cookie()
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1280, 800)); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	if _, err := chromedp.Call(tab, network.SetCookie, network.SetCookieParams{
		Name: cookie.Name, Value: cookie.Value, URL: v.At(""), Path: v.Root, HTTPOnly: ptr.To(true), SameSite: network.CookieSameSiteStrict,
	}); err != nil {
		return nil, err
	}
	for range loads {
		if err := chromedp.Do(tab, chromedp.Navigate("about:blank"), chromedp.Navigate(v.At("record"))); err != nil {
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
