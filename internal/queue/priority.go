package queue

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Queue of a controller.
type Queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Priorities: ahead of everything else, and behind it.
const (
	Ahead  = 1
	Behind = handler.LowPriority
)

// MaxConcurrent is how many objects a controller works on at a time.
const MaxConcurrent = 10

// The longest pauses between two tries.
const (
	MaxBackoff        = 5 * time.Second // to take access away
	MaxRequestBackoff = time.Minute     // to grant it
)

// Options of a controller that waits no longer than maxBackoff between two tries.
func Options(maxBackoff time.Duration) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: MaxConcurrent,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, maxBackoff),
	}
}

// Add queues at a priority.
func Add(q Queue, priority int, keys ...reconcile.Request) {
	if q, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		q.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(priority)}, keys...)
		return
	}
	for _, key := range keys {
		q.Add(key)
	}
}

// Urgent enqueues the grants that an event may end, ahead of new grants.
func Urgent[T client.Object](m handler.TypedMapFunc[T, reconcile.Request]) handler.TypedEventHandler[T, reconcile.Request] {
	plain := handler.TypedEnqueueRequestsFromMapFunc(m)
	return handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: plain.Create, GenericFunc: plain.Generic,
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q Queue) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
				plain.Update(ctx, e, q)
				return
			}
			Add(q, Ahead, m(ctx, e.ObjectOld)...)
			Add(q, Ahead, m(ctx, e.ObjectNew)...)
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[T], q Queue) { Add(q, Ahead, m(ctx, e.Object)...) },
	}
}
