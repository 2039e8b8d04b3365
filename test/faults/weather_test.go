package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const (
	// seed of the bad weather: the same faults in the same order, though not
	// on the same requests, which come as they do.
	seed = 4

	// storm is how long the weather is bad.
	storm = 8 * time.Second

	// calm is how long after it the last call that was never answered may be
	// waited for, and the last wait between two tries.
	calm = 20 * time.Second
)

// weather spoils a share of all requests at random.
type weather struct {
	mu     sync.Mutex
	random *rand.Rand
	counts map[string]int
}

func (w *weather) pick() (fault string, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	faults := []string{"429", "409", "500", "hangs", "lost", "fine", "fine", "fine", "fine", "fine"}
	fault = faults[w.random.IntN(len(faults))]
	w.counts[fault]++
	return fault, time.Duration(w.random.IntN(500)) * time.Millisecond
}

func (w *weather) fault(rw http.ResponseWriter, r *http.Request, next http.Handler) {
	fault, delay := w.pick()
	if r.URL.Query().Get("watch") == "true" {
		// Every watch breaks off, sooner or later.
		ctx, cancel := context.WithTimeout(r.Context(), 2*delay)
		defer cancel()
		next.ServeHTTP(rw, r.WithContext(ctx))
		panic(http.ErrAbortHandler)
	}
	switch fault {
	case "429":
		rw.Header().Set("Retry-After", "1")
		refuse(rw, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
	case "409":
		refuse(rw, http.StatusConflict, metav1.StatusReasonConflict)
	case "500":
		refuse(rw, http.StatusInternalServerError, metav1.StatusReasonInternalError)
	case "hangs":
		// Nobody ever answers: it is for the broker to give up.
		<-r.Context().Done()
	case "lost":
		// It is done, and nobody hears of it.
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	default:
		next.ServeHTTP(rw, r)
	}
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"bad weather","reason":%q,"code":%d}`, reason, code)
}

// An API server that refuses, hangs, loses answers and drops watches for a
// while: no access beyond the deadline plus the outage, none without an
// approval, nothing claimed that is not so, and everything settles.
func TestBadWeather(t *testing.T) {
	c := take(t)
	p := c.newProxy(t)
	c.startBehind(t, p)

	var short, long, never []*witness
	for i := range 6 {
		short = append(short, c.witness(t, automatic, time.Duration(3+i)*time.Second))
	}
	for range 3 {
		long = append(long, c.witness(t, nil, time.Hour))
	}
	for range 3 {
		never = append(never, c.witness(t, nil, time.Hour))
	}
	all := append(append(append([]*witness(nil), short...), long...), never...)

	bad := &weather{random: rand.New(rand.NewPCG(seed, seed)), counts: map[string]int{}}
	p.set(bad.fault)
	over := time.Now().Add(storm)
	for _, w := range all {
		w.request = c.Ask(t, c.alice, w.ns, lasting(w.lasts))
	}
	approved := map[*witness]bool{}
	for time.Now().Before(over) {
		for _, w := range all {
			w.look(t)
		}
		// bob approves as soon as the message says that bob may.
		for _, w := range long {
			if !approved[w] && w.current(t).Status.Policy != nil {
				kit.MustDecide(t, c.bob, w.request, v1alpha1.VerdictApprove)
				w.mayHave, approved[w] = true, true
			}
		}
	}
	p.set(nil)
	t.Logf("the weather was %v", bad.counts)

	for _, w := range short {
		w.settle(t, "Ended", func() bool {
			return w.current(t).Status.Phase == v1alpha1.RequestExpired && !kit.Can(t, c.alice, w.ns)
		})
		c.WaitEnded(t, w.grant(t).Name, v1alpha1.EndExpired)
	}
	for _, w := range long {
		w.settle(t, "a policy", func() bool { return w.current(t).Status.Policy != nil })
		if !approved[w] {
			kit.MustDecide(t, c.bob, w.request, v1alpha1.VerdictApprove)
			w.mayHave = true
		}
		w.settle(t, "Active", func() bool {
			return w.current(t).Status.Phase == v1alpha1.RequestActive && kit.Can(t, c.alice, w.ns)
		})
		kit.MustDecide(t, c.bob, w.request, v1alpha1.VerdictRevoke)
		w.settle(t, "Revoked", func() bool {
			return w.current(t).Status.Phase == v1alpha1.RequestRevoked && !kit.Can(t, c.alice, w.ns)
		})
		c.WaitEnded(t, w.grant(t).Name, v1alpha1.EndRevoked)
	}
	for _, w := range never {
		w.settle(t, "Pending", func() bool {
			status := w.current(t).Status
			return status.Phase == v1alpha1.RequestPending && status.Policy != nil
		})
	}
}

// witness watches over the access to one namespace.
type witness struct {
	*cluster
	ns      string
	lasts   time.Duration
	mayHave bool // it is approved, or needs no approval
	request *v1alpha1.AccessRequest
}

func (c *cluster) witness(t *testing.T, edit func(*v1alpha1.AccessPolicySpec), lasts time.Duration) *witness {
	ns := c.NewNamespace(t, nil)
	p := c.NewPolicy(t, ns, edit)
	return &witness{cluster: c, ns: ns, lasts: lasts, mayHave: *p.Spec.Approvals[0].Count == 0}
}

func (w *witness) current(t *testing.T) *v1alpha1.AccessRequest {
	t.Helper()
	request := &v1alpha1.AccessRequest{}
	if err := w.Admin.Get(t.Context(), client.ObjectKeyFromObject(w.request), request); err != nil {
		t.Fatal(err)
	}
	return request
}

// grant of the request, empty while there is none.
func (w *witness) grant(t *testing.T) *v1alpha1.AccessGrant {
	t.Helper()
	g := &v1alpha1.AccessGrant{}
	err := w.Admin.Get(t.Context(), client.ObjectKey{Name: grant.Name(w.request.Name, w.request.UID)}, g)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return g
}

// look checks what must hold at every moment.
func (w *witness) look(t *testing.T) {
	t.Helper()
	g := w.grant(t)
	can := kit.Can(t, w.alice, w.ns)
	if can && !w.mayHave {
		t.Fatalf("access without approval: %+v", g.Status)
	}
	// What was claimed before the question must be true at the question.
	if meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAccessRemoved) && (can || len(w.bindings(t, g.Name)) > 0) {
		t.Fatalf("the grant says that its access is removed: %s", kit.Describe(g.Status.Conditions))
	}
	if g.Status.Phase == v1alpha1.GrantEnded && !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAccessRemoved) {
		t.Fatalf("Ended, but not verified: %s", kit.Describe(g.Status.Conditions))
	}
}

// settle waits for what must come once the weather is fine.
func (w *witness) settle(t *testing.T, what string, holds func() bool) {
	t.Helper()
	begin := time.Now()
	err := lab.Until(t.Context(), calm, func(context.Context) (bool, error) {
		w.look(t)
		return holds(), nil
	})
	if err != nil {
		current := w.current(t)
		t.Fatalf("%s: waiting for %s: %v; the request is %s: %s\nthe grant: %+v", w.ns, what, err, current.Status.Phase, kit.Describe(current.Status.Conditions), w.grant(t).Status)
	}
	if took := time.Since(begin); took > time.Second {
		t.Logf("%s: %s took %s", w.ns, what, took.Round(time.Millisecond))
	}
}
