// Package queue says who goes first: what takes access away before what gives
// it, what gives it before what records it.
package queue

import (
	"context"
	"sync"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Backlog knows what people wait for: overdue access that is being removed, and
// approved access on its way. While there is any, recording and verifying what was
// done wait, so that it has the API server to itself. The zero Backlog is empty, and
// nobody waits for its start.
type Backlog struct {
	// start is closed when what was overdue at the start has been removed.
	start chan struct{}

	mu       sync.Mutex
	removals int
	onTheWay map[string]time.Time // grants by name, since when
}

// Starting is a Backlog whose AtStart waits for CaughtUp.
func Starting() *Backlog { return &Backlog{start: make(chan struct{})} }

const (
	// RecordAgain is how long a record waits before it looks whether the backlog
	// is gone.
	RecordAgain = time.Second
	// maxRecordDelay is the longest that a record waits.
	maxRecordDelay = time.Minute
	// maxOnTheWay is how long a grant counts as on its way.
	maxOnTheWay = 5 * time.Second
)

// Later looks again after d, behind everything that cannot wait.
func Later(d time.Duration) reconcile.Result {
	return reconcile.Result{RequeueAfter: d, Priority: ptr.To(handler.LowPriority)}
}

// leftAgain is how long to wait before another look at what could not be deleted.
const leftAgain = time.Minute

// AgainFor looks again when objects are left that allow nothing any more but could
// not be deleted: somebody may stop keeping them. left names them; when it is empty,
// there is no look.
func AgainFor(left []string) reconcile.Result {
	if len(left) == 0 {
		return reconcile.Result{}
	}
	return Later(leftAgain)
}

// CaughtUp ends the wait in AtStart. It is called once.
func (b *Backlog) CaughtUp() {
	if b.start != nil {
		close(b.start)
	}
}

// AtStart waits until what was overdue at the start has been removed.
func (b *Backlog) AtStart(ctx context.Context) {
	if b.start == nil {
		return
	}
	select {
	case <-b.start:
	case <-ctx.Done():
	}
}

// Waits tells whether the record of what happened at since has to wait.
func (b *Backlog) Waits(since, now time.Time) bool {
	if now.Sub(since) > maxRecordDelay {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, begin := range b.onTheWay {
		if now.Sub(begin) > maxOnTheWay {
			delete(b.onTheWay, name)
		}
	}
	return b.removals > 0 || len(b.onTheWay) > 0
}

// Begin notes that a grant is on its way from its approval to its bindings, until
// Arrived.
func (b *Backlog) Begin(grant string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.onTheWay == nil {
		b.onTheWay = map[string]time.Time{}
	}
	b.onTheWay[grant] = now
}

// Arrived notes that nobody waits for a grant any more: it was given, or cannot be
// at once.
func (b *Backlog) Arrived(grant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.onTheWay, grant)
}

// Removing runs a removal of overdue access, and counts it in the backlog meanwhile.
func (b *Backlog) Removing(remove func() error) error {
	b.count(1)
	defer b.count(-1)
	return remove()
}

func (b *Backlog) count(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removals += n
}
