package request

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/queue"
)

// counted remembers, by requester, the requests that count as waiting before the
// cache shows it, so that a limit also holds in a burst.
type counted struct {
	mu     sync.Mutex
	unseen map[string]map[types.UID]waits
	// lastRefused is when a requester was last refused because too many requests waited.
	lastRefused map[string]time.Time
}

type waits struct {
	request client.ObjectKey
	policy  string
}

// waiting counts the requester's other requests that wait for decisions under the
// policy. If they are fewer than most, this request counts from now on. A request
// that no policy matches yet does not count: it may wait under another policy, or
// under none.
func (r *Reconciler) waiting(ctx context.Context, request *v1alpha1.AccessRequest, policyName string, most int) (others int, err error) {
	r.counted.mu.Lock()
	defer r.counted.mu.Unlock()
	requester := request.Spec.Requester.Username
	list := &v1alpha1.AccessRequestList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{cached.ByUndecided: requester}, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("count pending requests: %w", err)
	}
	for i := range list.Items {
		if other := &list.Items[i]; other.UID != request.UID && other.Status.Policy.Name == policyName {
			others++
		}
	}
	unseen := map[types.UID]waits{}
	for uid, m := range r.counted.unseen[requester] {
		other := &v1alpha1.AccessRequest{}
		err := r.Client.Get(ctx, m.request, other)
		if client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("count pending requests: %w", err)
		}
		if err != nil || other.UID != uid || other.Status.Policy != nil || other.Status.Phase.Ended() {
			continue
		}
		unseen[uid] = m
		if uid != request.UID && m.policy == policyName {
			others++
		}
	}
	if others < most {
		unseen[request.UID] = waits{client.ObjectKeyFromObject(request), policyName}
	}
	if r.counted.unseen == nil {
		r.counted.unseen, r.counted.lastRefused = map[string]map[types.UID]waits{}, map[string]time.Time{}
	}
	if others >= most {
		r.counted.lastRefused[requester] = r.Clock.Now()
	}
	r.counted.unseen[requester] = unseen
	if len(unseen) == 0 {
		delete(r.counted.unseen, requester)
	}
	return others, nil
}

// floodFor is how long a requester who had too many requests waiting is served after
// all others.
const floodFor = time.Minute

// floods tells whether a requester has lately had too many requests waiting.
func (r *Reconciler) floods(requester string) bool {
	r.counted.mu.Lock()
	defer r.counted.mu.Unlock()
	since, ok := r.counted.lastRefused[requester]
	if ok && r.Clock.Now().Sub(since) > floodFor {
		delete(r.counted.lastRefused, requester)
		return false
	}
	return ok
}

// InTurn queues requests; those of a requester who floods the broker go behind all
// others.
func (r *Reconciler) InTurn() handler.EventHandler {
	plain := &handler.EnqueueRequestForObject{}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue.Queue) {
			if !r.floods(e.Object.(*v1alpha1.AccessRequest).Spec.Requester.Username) {
				plain.Create(ctx, e, q)
				return
			}
			queue.Add(q, queue.Behind, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
		UpdateFunc: plain.Update, DeleteFunc: plain.Delete, GenericFunc: plain.Generic,
	}
}
