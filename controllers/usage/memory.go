package usage

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// memory is when this process recorded the use of a grant, and what it last told of
// its sessions, by name.
type memory struct {
	mu     sync.Mutex
	grants map[string]remembered
}

type remembered struct {
	uid types.UID
	// wrote is when the calls were summed up last.
	wrote time.Time
	// lookedBack is true when the look back is recorded, with these sessions.
	lookedBack bool
	sessions   string
	// tries to evict Pods that the API server refused, and when to try again; zero for
	// never.
	tries int
	again time.Time
}

func (m *memory) look(u *v1alpha1.AccessUsage) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known := m.grants[u.Name]; known.uid == u.UID {
		return known
	}
	return remembered{}
}

// settled tells how long there is nothing to do for a usage whose grant has ended,
// never when only an event can change that, and 0 when there is something to do.
func (m *memory) settled(u *v1alpha1.AccessUsage, now time.Time) time.Duration {
	known := m.look(u)
	switch {
	case !known.lookedBack || known.sessions != sessionsOf(u):
		return 0
	case known.again.IsZero():
		return never
	}
	return max(0, known.again.Sub(now))
}

// sessionsOf names the open sessions of a usage.
func sessionsOf(u *v1alpha1.AccessUsage) string {
	ids := make([]string, len(u.Status.Sessions))
	for i, s := range u.Status.Sessions {
		ids[i] = s.ID
	}
	return fmt.Sprintf("%s and %d", strings.Join(ids, " "), u.Status.More.Sessions)
}

func (m *memory) note(u *v1alpha1.AccessUsage, change func(*remembered)) {
	known := m.look(u)
	known.uid = u.UID
	change(&known)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.grants == nil {
		m.grants = map[string]remembered{}
	}
	m.grants[u.Name] = known
}

func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.grants, name)
}
