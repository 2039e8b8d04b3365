package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Backlog knows what people wait for: overdue access that is being removed, and
// approved access on its way. While there is any, the record of what was done
// and its verification leave the API server to it. A nil Backlog is empty.
type Backlog struct {
	// start is closed when what was overdue at the start has been removed; nil
	// when nobody waits for that.
	start chan struct{}

	mu       sync.Mutex
	removals int
	gives    map[string]give // by the name of the grant
}

// give is a grant on its way, as it was written.
type give struct {
	begin time.Time
	spec  *v1alpha1.AccessGrantSpec
}

// recordAgain is how long a record waits before it looks whether the backlog is
// gone, and maxRecordDelay after which it waits no longer. Nobody waits for a
// grant that takes longer than maxGiving.
const (
	recordAgain    = time.Second
	maxRecordDelay = time.Minute
	maxGiving      = 5 * time.Second
)

// later queues what can wait behind what cannot.
func later(d time.Duration) reconcile.Result {
	return reconcile.Result{RequeueAfter: d, Priority: ptr.To(handler.LowPriority)}
}

// caughtUp tells those who wait in atStart.
func (b *Backlog) caughtUp() {
	if b != nil && b.start != nil {
		close(b.start)
	}
}

// atStart waits until what was overdue at the start has been removed.
func (b *Backlog) atStart(ctx context.Context) {
	if b != nil && b.start != nil {
		select {
		case <-b.start:
		case <-ctx.Done():
		}
	}
}

// waits tells whether the record of what happened at a moment has to wait.
func (b *Backlog) waits(since, now time.Time) bool {
	if b == nil || now.Sub(since) > maxRecordDelay {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, give := range b.gives {
		if now.Sub(give.begin) > maxGiving {
			delete(b.gives, name)
		}
	}
	return b.removals > 0 || len(b.gives) > 0
}

// begin and end enclose the way of a grant from its approval to its bindings.
func (b *Backlog) begin(g *v1alpha1.AccessGrant, now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gives == nil {
		b.gives = map[string]give{}
	}
	b.gives[g.Name] = give{now, g.Spec.DeepCopy()}
}

// wrote tells whether a grant that is on its way is what it was begun with.
func (b *Backlog) wrote(g *v1alpha1.AccessGrant) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	begun := b.gives[g.Name].spec
	b.mu.Unlock()
	return begun != nil && equality.Semantic.DeepEqual(*begun, g.Spec)
}

func (b *Backlog) end(grant string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.gives, grant)
}

// removing encloses a removal of overdue access.
func (b *Backlog) removing(remove func() error) error {
	b.count(1)
	defer b.count(-1)
	return remove()
}

func (b *Backlog) count(n int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removals += n
}
