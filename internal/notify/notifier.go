package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
)

const (
	// CursorName of the ConfigMap in the broker's namespace.
	CursorName = "access-broker-notification-cursor"
	// saveEvery is how often the cursor is written when it has changed.
	saveEvery = 3 * time.Second
	// saveAtLeast is how far a cursor falls back when nothing is told.
	saveAtLeast = time.Hour
	// lastSave bounds the last write, on the way out.
	lastSave = 3 * time.Second
)

var log = logf.Log.WithName("notify")

// notifier runs on the leader. It never returns an error: that would end the
// broker, which has accesses to end.
type notifier struct {
	requests, grants cache.Informer
	cached           client.Reader // finds a request's grant
	live             client.Reader // reads the cursor, and what has ended
	writer           client.Writer // writes it
	key              client.ObjectKey
	clock            clock.Clock
	queues           []*queue
	saved            *corev1.ConfigMap
	unsaved          bool
}

// Setup adds the notifier to a manager. Its cursor lies in namespace. afterEnd takes
// note of what is written on a grant after its end, which no cache shows.
func Setup(ctx context.Context, mgr manager.Manager, config *Config, namespace string, clk clock.Clock) (afterEnd func(before, after *v1alpha1.AccessGrant), err error) {
	n := &notifier{
		cached: mgr.GetClient(), live: mgr.GetAPIReader(), writer: mgr.GetClient(),
		key: client.ObjectKey{Namespace: namespace, Name: CursorName}, clock: clk,
	}
	if n.requests, err = mgr.GetCache().GetInformer(ctx, &v1alpha1.AccessRequest{}); err != nil {
		return nil, fmt.Errorf("watch requests: %w", err)
	}
	if n.grants, err = mgr.GetCache().GetInformer(ctx, &v1alpha1.AccessGrant{}); err != nil {
		return nil, fmt.Errorf("watch grants: %w", err)
	}
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "access_broker_notifications_total", Help: "Attempts to tell a sink of a transition, by result: delivered, failed (and tried again), or dropped (deleted before the sink could be told).",
	}, []string{"sink", "result"})
	pending := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "access_broker_notifications_pending", Help: "Transitions that a sink has not been told of yet.",
	}, []string{"sink"})
	if err := errors.Join(metrics.Registry.Register(sent), metrics.Registry.Register(pending)); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	for _, sink := range config.Sinks {
		q := newQueue(sink, config.Source, clk, sent, pending)
		q.live = n.live
		n.queues = append(n.queues, q)
	}
	return n.afterEnd, mgr.Add(n)
}

// NeedLeaderElection is of manager.LeaderElectionRunnable.
func (*notifier) NeedLeaderElection() bool { return true }

// Start tells the sinks until the context ends.
func (n *notifier) Start(ctx context.Context) error {
	if err := n.untilDone(ctx, n.load); err != nil {
		return nil // the context ended
	}
	for _, q := range n.queues {
		if err := q.sink.files(); err != nil {
			log.Error(err, "nothing can be delivered until this is fixed", "sink", q.sink.Name)
		}
	}
	var seen []toolscache.InformerSynced
	for _, informer := range []cache.Informer{n.requests, n.grants} {
		registration, err := informer.AddEventHandler(n.handler(ctx))
		if err != nil {
			log.Error(err, "no notifications will be sent")
			return nil
		}
		seen = append(seen, registration.HasSynced)
	}
	var workers sync.WaitGroup
	for _, q := range n.queues {
		workers.Go(func() { q.run(ctx) })
	}
	// Before all is seen that is stored, the cursor might be moved past it.
	if toolscache.WaitForCacheSync(ctx.Done(), seen...) && n.untilDone(ctx, n.catchUp) == nil {
		for ctx.Err() == nil {
			if err := n.save(ctx); err != nil && ctx.Err() == nil {
				log.Error(err, "the cursor is not saved; saving it will be tried again")
			}
			sleep(ctx, n.clock, saveEvery)
		}
		workers.Wait()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSave)
		defer cancel()
		if err := n.save(last); err != nil {
			log.Error(err, "the cursor is not saved; some notifications will be sent twice")
		}
	}
	workers.Wait()
	return nil
}

// untilDone tries until it succeeds or the context ends.
func (n *notifier) untilDone(ctx context.Context, try func(context.Context) error) error {
	for failures := 0; ; failures++ {
		err := try(ctx)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		log.Error(err, "will be tried again")
		sleep(ctx, n.clock, backoff(failures))
	}
}

// sleep waits, no longer than the context lasts.
func sleep(ctx context.Context, clk clock.Clock, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-clk.After(wait):
	}
}

// handler hears of every change of a request or a grant. It only takes note, and
// delays nobody.
func (n *notifier) handler(ctx context.Context) toolscache.ResourceEventHandlerDetailedFuncs {
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, stored bool) {
			object := o.(client.Object)
			for _, q := range n.queues {
				q.add(object, n.transitions(ctx, object), stored)
			}
		},
		UpdateFunc: func(before, after any) {
			n.changed(ctx, before.(client.Object), after.(client.Object))
		},
		DeleteFunc: func(o any) {
			if unseen, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = unseen.Obj
			}
			if object, ok := o.(client.Object); ok {
				_ = n.untilDone(ctx, func(ctx context.Context) error { return n.left(ctx, object) })
			}
		},
	}
}

// changed takes note of what is new of an object.
func (n *notifier) changed(ctx context.Context, before, after client.Object) {
	given := n.grantOf(ctx, after)
	known := transitions(before, given)
	fresh := slices.DeleteFunc(transitions(after, given), func(t transition) bool { return has(known, t) })
	for _, q := range n.queues {
		q.add(after, fresh, false)
	}
}

// afterEnd takes note of what is new of a grant that had ended before.
func (n *notifier) afterEnd(before, after *v1alpha1.AccessGrant) {
	known := ofGrant(before)
	fresh := slices.DeleteFunc(ofGrant(after), func(t transition) bool { return has(known, t) })
	for _, q := range n.queues {
		q.add(after, fresh, false)
	}
}

// ended takes note of an object that has ended. It may have been seen as ended
// before: an API server that does not select by field sends it so.
func (n *notifier) ended(ctx context.Context, before, after client.Object) {
	given := n.grantOf(ctx, after)
	known, all := transitions(before, given), transitions(after, given)
	for _, q := range n.queues {
		q.take(after, all, func(t transition) bool { return !t.isEnd() && has(known, t) })
	}
}

// left takes note of an object that has left the cache: it has ended, or is gone.
func (n *notifier) left(ctx context.Context, before client.Object) error {
	after := emptyOf(before)
	err := n.live.Get(ctx, client.ObjectKeyFromObject(before), after)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read what became of %s: %w", client.ObjectKeyFromObject(before), err)
	}
	if after.GetUID() == before.GetUID() {
		if cached.Ended(after) { // else it comes back to the cache
			n.ended(ctx, before, after)
		}
		return nil
	}
	for _, q := range n.queues {
		q.deleted(before.GetUID())
	}
	return nil
}

// catchUp takes note of what ended while no broker was running.
func (n *notifier) catchUp(ctx context.Context) error {
	for _, kind := range []client.ObjectList{&v1alpha1.AccessRequestList{}, &v1alpha1.AccessGrantList{}} {
		err := cached.EachEnded(ctx, n.live, kind, func(o client.Object) error {
			all := transitions(o, nil)
			if len(all) == 0 || !slices.ContainsFunc(n.queues, func(q *queue) bool { return !q.past(all[len(all)-1].at) }) {
				return nil
			}
			all = transitions(o, n.grantOf(ctx, o))
			for _, q := range n.queues {
				q.add(o, all, true)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (n *notifier) transitions(ctx context.Context, o client.Object) []transition {
	return transitions(o, n.grantOf(ctx, o))
}

// transitions of a request, whose grant is given if there is one, or of a grant.
func transitions(o client.Object, given *v1alpha1.AccessGrant) []transition {
	if request, ok := o.(*v1alpha1.AccessRequest); ok {
		return ofRequest(request, given)
	}
	return ofGrant(o.(*v1alpha1.AccessGrant))
}

// grantOf finds the grant of a request, which may have ended; nil when there is
// none, or when it cannot be read.
func (n *notifier) grantOf(ctx context.Context, o client.Object) *v1alpha1.AccessGrant {
	request, ok := o.(*v1alpha1.AccessRequest)
	if !ok || request.Status.GrantName == "" {
		return nil
	}
	given, key := &v1alpha1.AccessGrant{}, client.ObjectKey{Name: request.Status.GrantName}
	err := n.cached.Get(ctx, key, given)
	if apierrors.IsNotFound(err) {
		err = n.live.Get(ctx, key, given)
	}
	if err != nil {
		return nil
	}
	return given
}

// load reads the cursors. A sink that has none is new and hears of what
// happens from now on; one whose cursor cannot be read hears of everything again.
func (n *notifier) load(ctx context.Context) error {
	if err := n.read(ctx); err != nil {
		return err
	}
	now := n.clock.Now()
	for _, q := range n.queues {
		text, ok := n.saved.Data[q.sink.Name]
		if !ok {
			q.cursor = newCursor(now)
			continue
		}
		var err error
		if q.cursor, err = decodeCursor(text, now); err != nil {
			log.Error(err, "the cursor cannot be read; everything that is stored will be sent again", "sink", q.sink.Name)
			q.cursor = newCursor(time.Time{})
		}
	}
	return n.write(ctx) // a new sink's first moment must outlive a crash
}

// read reads what is stored of the cursors.
func (n *notifier) read(ctx context.Context) error {
	n.saved = &corev1.ConfigMap{}
	if err := n.live.Get(ctx, n.key, n.saved); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read the cursor: %w", err)
	}
	return nil
}

// save writes the cursors when they have changed.
func (n *notifier) save(ctx context.Context) error {
	now := n.clock.Now()
	for _, q := range n.queues {
		n.unsaved = q.advance(now) || n.unsaved
	}
	if !n.unsaved {
		return nil
	}
	return n.write(ctx)
}

// write stores the cursors, unless they have changed since they were read: a
// replica that does not know yet that it is no longer the leader fails here.
func (n *notifier) write(ctx context.Context) error {
	next := n.saved.DeepCopy()
	next.Namespace, next.Name = n.key.Namespace, n.key.Name
	next.Labels = map[string]string{"app.kubernetes.io/name": "access-broker"}
	next.Data = map[string]string{}
	for _, q := range n.queues {
		next.Data[q.sink.Name] = q.encode()
	}
	var err error
	if next.ResourceVersion == "" {
		err = n.writer.Create(ctx, next)
	} else {
		err = n.writer.Update(ctx, next)
	}
	if err != nil {
		// Somebody changed it by hand, or deleted it.
		return errors.Join(fmt.Errorf("write the cursor: %w", err), n.read(ctx))
	}
	n.saved, n.unsaved = next, false
	return nil
}

const (
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = time.Minute
)

// backoff doubles with every failure in a row.
func backoff(failures int) time.Duration {
	return min(firstBackoff<<min(failures, 10), maxBackoff)
}

// pause is how long to leave a sink alone after failures in a row.
func pause(failures int, err error) time.Duration {
	if answer := (*refused)(nil); errors.As(err, &answer) {
		return max(backoff(failures), answer.retryAfter)
	}
	return backoff(failures)
}
