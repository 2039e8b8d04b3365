package controllers

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Objects that end leave the cache, and a new cache does not have them; it has all
// others.
func TestWhatHasEndedIsNotCached(t *testing.T) {
	kept, held := newWorld(t, nil).active()
	w := newWorld(t, nil)
	request, g := w.active()
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	w.wantEnded(g, v1alpha1.EndExpired)
	w.fresh(request)
	w.fresh(g)

	config, err := e.BrokerConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	restarted, err := cluster.New(config, func(o *cluster.Options) { o.Scheme, o.Cache = e.Admin.Scheme(), CacheOptions() })
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = restarted.Start(t.Context()) }()
	if !restarted.GetCache().WaitForCacheSync(t.Context()) {
		t.Fatal("the cache does not sync")
	}
	for name, cache := range map[string]client.Reader{"the running broker": broker.GetCache(), "a new one": restarted.GetCache()} {
		var requests v1alpha1.AccessRequestList
		var grants v1alpha1.AccessGrantList
		for _, list := range []client.ObjectList{&requests, &grants} {
			if err := cache.List(t.Context(), list); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]bool{}
		for i := range requests.Items {
			seen[string(requests.Items[i].UID)] = true
			if cached.Ended(&requests.Items[i]) {
				t.Errorf("%s keeps request %s, which is %s", name, requests.Items[i].Name, requests.Items[i].Status.Phase)
			}
		}
		for i := range grants.Items {
			seen[string(grants.Items[i].UID)] = true
			if cached.Ended(&grants.Items[i]) {
				t.Errorf("%s keeps grant %s, which has ended", name, grants.Items[i].Name)
			}
		}
		if !seen[string(kept.UID)] || !seen[string(held.UID)] {
			t.Errorf("%s does not have what is active", name)
		}
	}
}

// A request follows a grant that ended before the request recorded it, whatever the
// request's own end would have been.
func TestGrantEndedUnseen(t *testing.T) {
	for name, then := range map[string]func(*world){
		"it would be granted again": func(*world) {},
		"it would be denied": func(w *world) {
			if err := e.Admin.Delete(w.t.Context(), w.policy); err != nil {
				w.t.Fatal(err)
			}
			w.fresh(w.policy)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			request, g := w.approved()
			w.clock.SetTime(g.Spec.ExpirationTime.Time)
			w.reconcileGrant(g)
			w.wantEnded(g, v1alpha1.EndExpired)
			then(w)
			w.reconcileRequest(request)
			if got := w.request(request).Status; got.Phase != v1alpha1.RequestExpired || got.GrantName != g.Name {
				t.Errorf("the request is %s with grant %q: %s", got.Phase, got.GrantName, kit.Describe(got.Conditions))
			}
		})
	}
}

// Ended objects of more than one page are counted, read, and deleted when their
// retention is over.
func TestPagesOfEnded(t *testing.T) {
	w := newWorld(t, nil)
	registry := w.measure()
	_, model := w.active()
	w.clock.SetTime(model.Spec.ExpirationTime.Time)
	w.reconcileGrant(model)
	model = w.wantEnded(model, v1alpha1.EndExpired)

	const many = 520 // pages are of 500
	var group errgroup.Group
	group.SetLimit(8)
	for i := range many {
		group.Go(func() error {
			g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("old-%04d", i), Finalizers: model.Finalizers}, Spec: *model.Spec.DeepCopy()}
			if err := watching.Create(t.Context(), g); err != nil {
				return err
			}
			g.Status = *model.Status.DeepCopy()
			return watching.Status().Update(t.Context(), g)
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	count := func() (ended int) {
		t.Helper()
		if err := cached.EachEnded(t.Context(), e.Admin, &v1alpha1.AccessGrantList{}, func(client.Object) error { ended++; return nil }); err != nil {
			t.Fatal(err)
		}
		return ended
	}
	before := count()
	var all v1alpha1.AccessGrantList
	if err := cached.Grants(t.Context(), e.Admin, &all); err != nil {
		t.Fatal(err)
	}
	var whole v1alpha1.AccessGrantList
	if err := e.Admin.List(t.Context(), &whole); err != nil {
		t.Fatal(err)
	}
	if before <= many || len(all.Items) != len(whole.Items) {
		t.Errorf("%d have ended, %d of %d are read; %d were made", before, len(all.Items), len(whole.Items), many)
	}
	journal := record.Journal{Recorder: events.NewFakeRecorder(10 * many), Audit: zap.NewNop()}
	look := func(at time.Time) {
		t.Helper()
		r := &record.Archive{
			Client: broker.GetClient(), Live: broker.GetAPIReader(), Clock: clocktesting.NewFakeClock(at),
			Journal: journal, Retention: record.Retention{Grants: time.Hour}, Backlog: &queue.Backlog{}, Metrics: w.requests.Metrics,
		}
		if err := r.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, known := phases(t, registry, "access_broker_grants")["Ended"]; known {
		t.Error("what has ended is counted before anybody looked")
	}
	look(model.Status.EndedTime.Time)
	if got := phases(t, registry, "access_broker_grants")["Ended"]; int(got) != before {
		t.Errorf("%v grants are said to have ended, want %d", got, before)
	}
	look(model.Status.EndedTime.Add(time.Hour))
	if left := count(); left > before-many {
		t.Errorf("%d of %d are left", left, before)
	}
}

// phases are the values of a gauge by its label.
func phases(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}
