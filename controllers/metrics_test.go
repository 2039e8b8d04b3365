package controllers

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	dto "github.com/prometheus/client_model/go"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/record"
)

// measure gives the reconcilers metrics of their own.
func (w *world) measure() *prometheus.Registry {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := record.NewMetrics(registry, broker.GetClient(), reviews, w.clock, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	w.measureWith(metrics)
	return registry
}

func (w *world) measureWith(metrics *record.Metrics) {
	w.grants.Metrics, w.requests.Metrics, w.expirer.Metrics = metrics, metrics, metrics
	w.grants.Status.Metrics = metrics // and of the requests
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	return find(t, registry, name).GetGauge().GetValue()
}

// find is the one value of a metric.
func find(t *testing.T, registry *prometheus.Registry, name string) *dto.Metric {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0]
		}
	}
	t.Fatalf("no metric %s", name)
	return nil
}

// The metrics count what exists, and one of them what is overdue.
func TestMetrics(t *testing.T) {
	w := newWorld(t, nil)
	registry := w.measure()
	overdue := func() float64 { return gauge(t, registry, "access_broker_overdue_bindings") }
	_, g := w.active()
	w.fresh(g)
	w.clock.SetTime(g.Spec.ExpirationTime.Add(-time.Nanosecond))
	before := overdue() // other tests leave access behind
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	due := overdue()
	if due <= before {
		t.Errorf("%v bindings are overdue at the deadline, %v before", due, before)
	}
	w.reconcileExpirer(g)
	if h := find(t, registry, "access_broker_revocation_lag_seconds").GetHistogram(); h.GetSampleCount() != 1 {
		t.Errorf("the lag was observed %d times, want once", h.GetSampleCount())
	}
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
	if got := overdue(); got != due-1 {
		t.Errorf("%v bindings are overdue after the end, want %v", got, due-1)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("the metrics break the conventions: %v %v", problems, err)
	}
}

// A binding whose grant is gone is overdue; a binding of somebody else that carries
// the label is not.
func TestOrphansAreOverdue(t *testing.T) {
	w := newWorld(t, nil)
	registry := w.measure()
	before := gauge(t, registry, "access_broker_overdue_bindings")
	for _, name := range []string{"no-such-grant", "old-friends"} {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: map[string]string{v1alpha1.LabelGrant: "no-such-grant"}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "old-friend"}},
		}
		e.CreateAsBefore(t, binding)
		t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), binding) })
		w.fresh(binding)
	}
	if got := gauge(t, registry, "access_broker_overdue_bindings"); got != before+1 {
		t.Errorf("%v bindings are overdue, %v before; want one more", got, before)
	}
}

// decisionsIn counts the decisions that were observed.
func decisionsIn(t *testing.T, registry *prometheus.Registry) map[string]uint64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, family := range families {
		if family.GetName() == "access_broker_request_decision_seconds" {
			for _, m := range family.GetMetric() {
				if n := m.GetHistogram().GetSampleCount(); n > 0 {
					got[m.GetLabel()[0].GetValue()] = n
				}
			}
		}
	}
	return got
}

// Every kind of decision is observed, once, after it was written.
func TestDecisionsAreObserved(t *testing.T) {
	w := newWorld(t, nil)
	registry := w.measure()
	observed := func(want map[string]uint64) {
		t.Helper()
		got := decisionsIn(t, registry)
		if !maps.Equal(got, want) {
			t.Errorf("observed are %v, want %v", got, want)
		}
	}
	w.active()
	observed(map[string]uint64{"approved": 1})

	denied := w.ask()
	w.reconcileRequest(denied)
	w.decide(bob, denied, v1alpha1.VerdictDeny)
	w.fresh(denied)
	requests, grants := w.requests, w.grants
	w.use(failing(interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return errBroken
		},
	}), broker.GetAPIReader())
	w.measureWith(requests.Metrics)
	if _, err := w.requests.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(denied)}); err == nil {
		t.Error("the status was written: this shows nothing")
	}
	observed(map[string]uint64{"approved": 1})
	w.requests, w.grants = requests, grants
	w.reconcileRequest(denied)
	observed(map[string]uint64{"approved": 1, "denied": 1})

	w.reconcileRequest(w.ask(func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 2 * time.Hour} }))
	w.reconcileRequest(w.ask(func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "nosuch" }))
	observed(map[string]uint64{"approved": 1, "denied": 1, "refused": 2})

	// A request that waits for its startTime is decided when it is approved, and only
	// then.
	later := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.StartTime = &metav1.Time{Time: w.clock.Now().Add(time.Hour)} })
	w.reconcileRequest(later)
	w.decide(bob, later, v1alpha1.VerdictApprove)
	w.reconcileRequest(later)
	observed(map[string]uint64{"approved": 2, "denied": 1, "refused": 2})
	w.clock.SetTime(later.Spec.StartTime.Time)
	w.reconcileRequest(later)
	w.reconcileGrant(w.grantOf(later))
	w.reconcileRequest(later)
	observed(map[string]uint64{"approved": 2, "denied": 1, "refused": 2})

	undecided := w.ask()
	w.reconcileRequest(undecided)
	w.clock.SetTime(undecided.CreationTimestamp.Add(24 * time.Hour))
	w.reconcileRequest(undecided)
	observed(map[string]uint64{"approved": 2, "denied": 1, "refused": 2, "lapsed": 1})
}

// A request that needed no approval and lapses because its task never came does not
// count as undecided.
func TestNobodyLetItLapse(t *testing.T) {
	w := newWorld(t, automatic)
	registry := w.measure()
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "never"}
	})
	w.reconcileRequest(request)
	w.clock.SetTime(request.CreationTimestamp.Add(24 * time.Hour))
	w.reconcileRequest(request)
	if got := w.request(request).Status.Phase; got != v1alpha1.RequestLapsed {
		t.Fatalf("the request is %s", got)
	}
	if got := decisionsIn(t, registry); !maps.Equal(got, map[string]uint64{"approved": 1}) {
		t.Errorf("observed are %v, want one approval", got)
	}
}

// A Revoke that cannot be carried out is counted, and its age is shown until it is
// carried out.
func TestPendingEnd(t *testing.T) {
	w := newWorld(t, nil)
	request, g := w.active()
	w.decide(bob, request, v1alpha1.VerdictRevoke)
	healthy := w.grants
	w.use(failing(interceptor.Funcs{
		Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return errBroken },
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return errBroken },
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return errBroken
		},
	}), broker.GetAPIReader())
	registry := w.measure()
	healthy.Metrics, healthy.Status.Metrics = w.grants.Metrics, w.grants.Metrics
	pending := func() float64 { return gauge(t, registry, "access_broker_oldest_pending_end_seconds") }
	if got := pending(); got != 0 {
		t.Errorf("an end has waited for %v s before there was one", got)
	}
	for range 2 {
		if _, err := w.tryGrant(g); err == nil {
			t.Fatal("the binding was removed: this shows nothing")
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	if got := pending(); got != 120 {
		t.Errorf("the end has waited for %v s, want 120", got)
	}
	if got := find(t, registry, "access_broker_revocation_failures_total").GetCounter().GetValue(); got != 4 { // to strike, and to take
		t.Errorf("%v failures are counted, want 4", got)
	}
	w.grants = healthy
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndRevoked)
	if got := pending(); got != 0 {
		t.Errorf("an end has waited for %v s after all is done", got)
	}
}

// The metrics show how late access ended, also when its removal failed at first.
func TestLagAfterAFailure(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	fails := true
	w.use(failing(interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if fails {
				return errBroken
			}
			return c.Delete(ctx, o, opts...)
		},
		Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return errBroken },
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return errBroken
		},
	}), broker.GetAPIReader())
	registry := w.measure()
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.fresh(g)
	if _, err := w.expirer.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)}); err == nil {
		t.Fatal("the binding was removed: this shows nothing")
	}
	fails = false
	w.clock.SetTime(g.Spec.ExpirationTime.Add(time.Minute))
	w.reconcileExpirer(g)
	if got := find(t, registry, "access_broker_revocation_failures_total").GetCounter().GetValue(); got != 1 {
		t.Errorf("%v failures are counted, want 1", got)
	}
	if h := find(t, registry, "access_broker_revocation_lag_seconds").GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 60 {
		t.Errorf("observed %d times, %v s, want once, 60 s", h.GetSampleCount(), h.GetSampleSum())
	}
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
}

// Before the cache is filled, nothing can be counted, but a scrape has all other
// metrics.
func TestScrapeWithoutACache(t *testing.T) {
	registry := prometheus.NewRegistry()
	stranger, err := e.As("stranger")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.NewMetrics(registry, stranger, stranger, newWorld(t, nil).clock, "test"); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("the scrape fails: %v", err)
	}
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	if !slices.Contains(names, "access_broker_build_info") || slices.Contains(names, "access_broker_overdue_bindings") || slices.Contains(names, "access_broker_requests") {
		t.Errorf("told are %q", names)
	}
}
