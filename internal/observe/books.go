package observe

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/internal/usage/attribution"
)

// book is what this process knows of the usage of one grant.
type book struct {
	name string

	mu sync.Mutex
	// grant as it was last seen; an ended one leaves the cache and stays here.
	grant *v1alpha1.AccessGrant
	// usage as it was last written or read, nil when that is not known.
	usage *v1alpha1.AccessUsage
	// pending parts are to be added.
	pending []*part
	// wrote is when it was last written, looked when its ended grant was last read.
	wrote, looked time.Time
	// lost is how many events of each stream were lost when it was last written.
	lost   map[string]int64
	lately lately
	// dropped: nothing is added any more.
	dropped bool

	// writing keeps two writes of this process apart.
	writing sync.Mutex
}

// over is when a grant was looked at that is known to have ended and was not read
// since.
var over = time.Unix(0, 0)

// books are those of all grants that are observed, by name.
type books struct {
	mu sync.Mutex
	of map[string]*book
	// stale: the index below is older than the books.
	stale bool
	index *attribution.Grants
	asks  *usage.Filter
}

func newBooks() *books { return &books{of: map[string]*book{}, stale: true} }

func (b *books) get(name string) *book {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[name]
}

func (b *books) all() []*book {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*book, 0, len(b.of))
	for _, known := range b.of {
		all = append(all, known)
	}
	return all
}

// see notes a grant as it is now, and what is stored of its usage, if that is known.
func (b *books) see(g *v1alpha1.AccessGrant, stored *v1alpha1.AccessUsage, lost map[string]int64) *book {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.of[g.Name]
	if known == nil {
		known = &book{name: g.Name, lost: lost}
		b.of[g.Name] = known
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	before := known.grant
	if before != nil && before.UID == g.UID && before.Status.EndedTime != nil {
		return known // what has ended stays so; the cache may be older
	}
	known.grant = g
	if g.Status.EndedTime != nil && known.looked.IsZero() {
		known.looked = over
	}
	if known.usage == nil && stored != nil {
		known.usage = stored
		known.lately.restore(&stored.Status)
	}
	if before == nil || before.UID != g.UID || g.Status.EndedTime != nil {
		b.stale = true
	}
	return known
}

// drop closes a book. What was still to be added is told to be done.
func (b *books) drop(known *book) {
	b.mu.Lock()
	delete(b.of, known.name)
	b.stale = true
	b.mu.Unlock()
	known.mu.Lock()
	parts := known.pending
	known.pending, known.dropped = nil, true
	known.mu.Unlock()
	tell(parts, nil)
}

// current are the grants to attribute calls to, and the filter that picks these.
func (b *books) current(self string) (*attribution.Grants, *usage.Filter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stale {
		list := make([]*v1alpha1.AccessGrant, 0, len(b.of))
		for _, known := range b.of {
			known.mu.Lock()
			list = append(list, known.grant)
			known.mu.Unlock()
		}
		b.index = attribution.New(list, b.index)
		b.asks, b.stale = b.index.Filter(self), false
	}
	return b.index, b.asks
}

// watchGrants keeps the books in step with the cache, which has the grants that have
// not ended.
func (o *Observer) watchGrants(ctx context.Context) error {
	informer, err := o.Cache.GetInformer(ctx, &v1alpha1.AccessGrant{})
	if err != nil {
		return fmt.Errorf("watch grants: %w", err)
	}
	see := func(object any) {
		if g, ok := object.(*v1alpha1.AccessGrant); ok {
			o.books.see(g, nil, o.streams.allLost())
		}
	}
	handled, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, object any) { see(object) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			if g, ok := object.(*v1alpha1.AccessGrant); ok {
				o.ended(g.Name)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch grants: %w", err)
	}
	if _, err := o.Cache.GetInformer(ctx, &v1alpha1.AccessPolicy{}); err != nil {
		return fmt.Errorf("watch policies: %w", err)
	}
	if !toolscache.WaitForCacheSync(ctx.Done(), handled.HasSynced) {
		return fmt.Errorf("watch grants: %w", context.Cause(ctx))
	}
	return nil
}

// ended has the flusher look at a grant that left the cache: it has ended, or it was
// deleted.
func (o *Observer) ended(name string) {
	if b := o.books.get(name); b != nil {
		b.mu.Lock()
		b.looked = over
		b.mu.Unlock()
		o.kick()
	}
}

// restore opens the books of the usages that are not closed, at the start. A grant
// may have ended while no observer ran.
func (o *Observer) restore(ctx context.Context) error {
	for next := ""; ; {
		page := &v1alpha1.AccessUsageList{}
		if err := o.Client.List(ctx, page, &client.ListOptions{Limit: 50, Continue: next}); err != nil {
			return fmt.Errorf("list AccessUsages: %w", err)
		}
		for i := range page.Items {
			stored := &page.Items[i]
			if stored.Status.Phase == v1alpha1.UsageClosed {
				o.known.learn(stored, "")
				continue
			}
			if _, err := o.open(ctx, stored.Name, stored); err != nil {
				return err
			}
		}
		if next = page.Continue; next == "" {
			return nil
		}
	}
}

// open opens the book of a grant that is not known yet, nil when there is no such
// grant or its usage is closed.
func (o *Observer) open(ctx context.Context, name string, stored *v1alpha1.AccessUsage) (*book, error) {
	g := &v1alpha1.AccessGrant{}
	if err := o.Client.Get(ctx, types.NamespacedName{Name: name}, g); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("read grant %s: %w", name, err)
	}
	if stored == nil {
		stored = &v1alpha1.AccessUsage{}
		switch err := o.Client.Get(ctx, types.NamespacedName{Name: name}, stored); {
		case apierrors.IsNotFound(err):
			stored = nil
		case err != nil:
			return nil, fmt.Errorf("read AccessUsage %s: %w", name, err)
		}
	}
	if stored != nil && (stored.Status.Phase == v1alpha1.UsageClosed || stored.Spec.GrantRef.UID != g.UID) {
		return nil, nil
	}
	return o.books.see(g, stored, o.streams.allLost()), nil
}

const (
	// lookUpAgain is when a name that was no grant's may have become one's.
	lookUpAgain = 10 * time.Second
	// maxLookUps bounds how many names are remembered as no grant's. Others may give
	// bindings names that look like those of grants.
	maxLookUps = 4096
	// lookUpsEach is how many names are looked up in lookUpAgain.
	lookUpsEach = 500
)

// lookUps remembers which names were looked up in vain.
type lookUps struct {
	mu      sync.Mutex
	inVain  map[string]time.Time
	since   time.Time
	counted int
}

// may tells whether a name is to be looked up now.
func (l *lookUps) may(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.inVain[name]; ok && now.Sub(at) < lookUpAgain {
		return false
	}
	if now.Sub(l.since) >= lookUpAgain {
		l.since, l.counted = now, 0
	}
	l.counted++
	return l.counted <= lookUpsEach
}

func (l *lookUps) failed(name string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inVain == nil || len(l.inVain) >= maxLookUps {
		l.inVain = map[string]time.Time{}
	}
	l.inVain[name] = now
}

// lookUp finds the grant of a binding that the cache does not know yet, or whose
// grant ended long ago.
func (o *Observer) lookUp(ctx context.Context, name string) bool {
	now := o.Clock.Now()
	if !o.lookUps.may(name, now) {
		return false
	}
	b, err := o.open(ctx, name, nil)
	if err != nil {
		logf.FromContext(ctx).Error(err, "look up the grant of a binding")
		o.metrics.failures.Inc()
	}
	if b == nil {
		o.lookUps.failed(name, now)
	}
	return b != nil
}
