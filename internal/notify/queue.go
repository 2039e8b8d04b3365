package notify

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxAway bounds how many objects are kept for a sink that is down after they
// have left the cache, because they ended or were deleted. Of the others that
// ended only the name is kept, and they are read when the sink is up again.
const maxAway = 1000

// queue is what one sink has to be told, by object: the transitions of each in
// their order, in one HTTP request after the other.
type queue struct {
	sink   Sink
	source string
	http   *http.Client
	clock  clock.Clock
	live   client.Reader
	work   workqueue.TypedRateLimitingInterface[types.UID]

	delivered, failed, dropped prometheus.Counter
	waiting                    prometheus.Gauge

	mu      sync.Mutex
	cursor  *cursor
	changed bool // since the cursor was last moved on
	pending map[types.UID]*entry
	away    int // entries that are away
}

// entry is what is to be told of one object.
type entry struct {
	object      client.Object // the cache's, not to be changed
	transitions []transition
	away        bool // the object is not in the cache: it is kept for this entry
}

// nameOnly is an object that has to be read before it can be told of.
type nameOnly struct{ client.Object }

func newQueue(sink Sink, source string, clk clock.Clock, sent *prometheus.CounterVec, pending *prometheus.GaugeVec) *queue {
	return &queue{
		sink: sink, source: source, http: newHTTPClient(), clock: clk,
		work: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](firstBackoff, maxBackoff)),

		delivered: sent.WithLabelValues(sink.Name, "delivered"),
		failed:    sent.WithLabelValues(sink.Name, "failed"),
		dropped:   sent.WithLabelValues(sink.Name, "dropped"),
		waiting:   pending.WithLabelValues(sink.Name),
		pending:   map[types.UID]*entry{},
	}
}

// add takes note of transitions of an object. Those of one that was stored
// before the broker started may have been told already.
func (q *queue) add(o client.Object, transitions []transition, stored bool) {
	q.take(o, transitions, func(transition) bool { return stored })
}

// take takes note of transitions of an object, some of which may have been told
// already.
func (q *queue) take(o client.Object, transitions []transition, maybeTold func(transition) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.pending[o.GetUID()]
	if e != nil {
		q.hold(e, o)
	}
	for _, t := range transitions {
		if !q.sink.wants(t.eventType) || maybeTold(t) && q.cursor.has(t) || e != nil && has(e.transitions, t) {
			continue
		}
		if e == nil {
			e = &entry{}
			q.hold(e, o)
			q.pending[o.GetUID()] = e
		}
		e.transitions = append(e.transitions, t)
		q.waiting.Inc()
		q.work.Add(o.GetUID())
	}
}

// hold keeps an object in an entry, or its name if enough are kept.
func (q *queue) hold(e *entry, o client.Object) {
	e.object = o
	switch {
	case !cached.Ended(o), e.away:
	case q.away < maxAway:
		e.away = true
		q.away++
	default:
		name := emptyOf(o)
		name.SetNamespace(o.GetNamespace())
		name.SetName(o.GetName())
		name.SetUID(o.GetUID())
		e.object = nameOnly{name}
	}
}

// emptyOf is an empty object of the same kind.
func emptyOf(o client.Object) client.Object {
	if _, ok := o.(*v1alpha1.AccessRequest); ok {
		return &v1alpha1.AccessRequest{}
	}
	return &v1alpha1.AccessGrant{}
}

// past tells whether the sink need not hear of a moment, or of what was before.
func (q *queue) past(at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return at.Before(q.cursor.since)
}

// deleted notes that an object is gone. What is to be told of it is kept, for at
// most maxAway objects.
func (q *queue) deleted(uid types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.pending[uid]
	if e == nil || e.away {
		return
	}
	if _, ok := e.object.(nameOnly); !ok && q.away < maxAway {
		e.away = true
		q.away++
		return
	}
	q.drop(uid, e)
}

// drop gives up what was to be told of an object.
func (q *queue) drop(uid types.UID, e *entry) {
	q.dropped.Add(float64(len(e.transitions)))
	q.waiting.Sub(float64(len(e.transitions)))
	delete(q.pending, uid)
}

// next is what to tell of an object, false when there is nothing left.
func (q *queue) next(uid types.UID) (client.Object, transition, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.pending[uid]
	if e == nil {
		return nil, transition{}, false
	}
	return e.object, e.transitions[0], true
}

// whole reads an object of which only the name was kept; nil when it is not
// stored any more.
func (q *queue) whole(ctx context.Context, o client.Object) (client.Object, error) {
	name, ok := o.(nameOnly)
	if !ok {
		return o, nil
	}
	stored := emptyOf(name.Object)
	err := q.live.Get(ctx, client.ObjectKeyFromObject(name), stored)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read what to tell of: %w", err)
	}
	if stored.GetUID() != name.GetUID() {
		return nil, nil
	}
	return stored, nil
}

// told notes that the sink has been told.
func (q *queue) told(uid types.UID, t transition) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cursor.add(t)
	q.changed = true
	e := q.pending[uid]
	if e == nil {
		return // dropped in the meantime
	}
	q.waiting.Dec()
	if e.transitions = e.transitions[1:]; len(e.transitions) > 0 {
		return
	}
	if e.away {
		q.away--
	}
	delete(q.pending, uid)
}

// advance moves the cursor on, and tells whether it is worth a write.
func (q *queue) advance(now time.Time) (changed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.changed && now.Sub(q.cursor.since) < settled+saveAtLeast {
		return false
	}
	q.changed = false
	var oldest time.Time
	for _, e := range q.pending {
		for _, t := range e.transitions {
			if oldest.IsZero() || t.at.Before(oldest) {
				oldest = t.at
			}
		}
	}
	q.cursor.advance(now, oldest)
	return true
}

func (q *queue) encode() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cursor.encode()
}

// run tells the sink until the context ends. After a failure it pauses, and tries
// the same object again only later: one that the sink always refuses must not
// block the others.
func (q *queue) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, q.work.ShutDown)
	defer stop()
	log := log.WithValues("sink", q.sink.Name)
	failures := 0
	for ctx.Err() == nil {
		uid, shutdown := q.work.Get()
		if shutdown {
			return
		}
		id, err := q.tell(ctx, uid)
		q.work.Done(uid)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			q.work.Forget(uid)
			failures = 0
			continue
		}
		q.work.AddRateLimited(uid)
		wait := pause(failures, err)
		failures++
		log.Info("not delivered, will be tried again", "id", id, "error", err.Error(), "failures", failures, "wait", text.Duration(wait))
		sleep(ctx, q.clock, wait)
	}
}

// tell tells all that is to be told of an object, up to the first failure.
func (q *queue) tell(ctx context.Context, uid types.UID) (id string, err error) {
	for {
		object, t, ok := q.next(uid)
		if !ok {
			return "", nil
		}
		object, err := q.whole(ctx, object)
		if err != nil {
			return t.id, err
		}
		if object == nil {
			q.deleted(uid)
			continue
		}
		if err := q.sink.send(ctx, q.http, q.source, object, t, q.clock.Now()); err != nil {
			q.failed.Inc()
			return t.id, err
		}
		q.delivered.Inc()
		q.told(uid, t)
	}
}
