package grant

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// memory is what this process knows about grants, by name, before the cluster shows
// it. docs/architecture.md says what a restart loses with it.
type memory struct {
	mu     sync.Mutex
	grants map[string]*remembered
}

type remembered struct {
	uid types.UID
	// lastPhase is the phase that this process wrote last, until the cache shows it. An
	// older phase in the cache has been dealt with.
	lastPhase v1alpha1.GrantPhase
	// given is the status with the bindings that now exist, until it is recorded.
	given *v1alpha1.AccessGrantStatus
	// struck is why the access was struck, until that is recorded: the cause may be
	// gone by then.
	struck *ending
	// settled is true when nothing can come any more from the grant that this one
	// extends.
	settled bool
	// weighed has the versions of the policy and namespaces that last allowed the
	// grant.
	weighed string
}

// ending is why a grant must end, and since when; at is zero for a grant that was
// never given.
type ending struct {
	grant.End
	at time.Time
}

// look reads what is remembered of a grant.
func (m *memory) look(name string, uid types.UID) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.grants[name]; known != nil && known.uid == uid {
		return *known
	}
	return remembered{}
}

// note changes what is remembered of a grant, and drops an entry that is empty.
func (m *memory) note(name string, uid types.UID, change func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := remembered{uid: uid}
	if before := m.grants[name]; before != nil && before.uid == uid {
		known = *before
	}
	change(&known)
	switch {
	case known == remembered{uid: uid}:
		delete(m.grants, name)
	case m.grants == nil:
		m.grants = map[string]*remembered{name: &known}
	default:
		m.grants[name] = &known
	}
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.grants, name)
}

// ahead tells whether this process wrote a later phase to a grant than the cache
// shows. The cache catches up, which brings another reconcile.
func (m *memory) ahead(seen *v1alpha1.AccessGrant) bool {
	written := m.look(seen.Name, seen.UID).lastPhase
	if written == "" {
		return false
	}
	rank := []v1alpha1.GrantPhase{"", v1alpha1.GrantPending, v1alpha1.GrantActive, v1alpha1.GrantEnded}
	if slices.Index(rank, seen.Status.Phase) < slices.Index(rank, written) {
		return true
	}
	m.note(seen.Name, seen.UID, func(r *remembered) { r.lastPhase = "" })
	return false
}

// wrote notes what was written to a grant.
func (m *memory) wrote(g *v1alpha1.AccessGrant) {
	m.note(g.Name, g.UID, func(r *remembered) { r.lastPhase, r.given = g.Status.Phase, nil })
}

// written holds the grants that this process wrote, after it had checked them, until
// they are first looked at: that look needs no second check.
type written struct {
	mu     sync.Mutex
	grants map[string]writtenGrant // by name
}

type writtenGrant struct {
	spec *v1alpha1.AccessGrantSpec
	at   time.Time
}

// maxWritten is how long a grant that this process wrote needs no second check.
const maxWritten = 10 * time.Second

// add notes a grant that is about to be written. The result takes that back.
func (w *written) add(g *v1alpha1.AccessGrant, now time.Time) (takeBack func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, grant := range w.grants {
		if now.Sub(grant.at) > maxWritten {
			delete(w.grants, name)
		}
	}
	if w.grants == nil {
		w.grants = map[string]writtenGrant{}
	}
	w.grants[g.Name] = writtenGrant{g.Spec.DeepCopy(), now}
	return func() { w.drop(g.Name) }
}

// has tells whether a grant is exactly what this process wrote a moment ago.
func (w *written) has(g *v1alpha1.AccessGrant, now time.Time) bool {
	w.mu.Lock()
	known, ok := w.grants[g.Name]
	w.mu.Unlock()
	return ok && now.Sub(known.at) <= maxWritten && equality.Semantic.DeepEqual(*known.spec, g.Spec)
}

func (w *written) drop(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.grants, name)
}

// claims are the grants that give, or have given, more time to others, by the UID of
// what they extend: two requests must not extend one access, each with a grant of its
// own. What was given before a restart the cache shows.
type claims struct {
	mu     sync.Mutex
	grants map[types.UID]string
}

// take claims what a grant extends, unless another grant has.
func (c *claims) take(g *v1alpha1.AccessGrant) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grants == nil {
		c.grants = map[types.UID]string{}
	}
	by, taken := c.grants[g.Spec.Extends.UID]
	if !taken {
		c.grants[g.Spec.Extends.UID] = g.Name
	}
	return !taken || by == g.Name
}

// drop lets go of what a grant claimed.
func (c *claims) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for of, by := range c.grants {
		if by == name {
			delete(c.grants, of)
		}
	}
}
