package checker

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// memory is which requests wait, and when to ask for them again. It is lost with the
// process, which then asks at once.
type memory struct {
	mu      sync.Mutex
	checks  []string
	waiting map[types.NamespacedName]*wait
}

// wait is a request that waits.
type wait struct {
	uid types.UID
	// next is when its servers are asked again, and tries how often they were.
	next  time.Time
	tries int
	// told is what the Event said last.
	told string
	// checks that it waits for, and whether the last question of each failed.
	checks    map[string]bool
	unchecked bool
}

// of is what is remembered of a request, anew for another one of the same name.
func (m *memory) of(key types.NamespacedName, uid types.UID) wait {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.waiting[key]; w != nil && w.uid == uid {
		return *w
	}
	return wait{uid: uid}
}

func (m *memory) remember(key types.NamespacedName, w wait) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting == nil {
		m.waiting = map[types.NamespacedName]*wait{}
	}
	m.waiting[key] = &w
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiting, key)
}

// begin forgets when to ask again, for other checks.
func (m *memory) begin(checks []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.checks = checks
	for _, w := range m.waiting {
		w.next, w.tries = time.Time{}, 0
	}
}

// count is how many requests wait for each check, with those whose last question
// failed, and how many for one that is not there.
func (m *memory) count() (waiting, failing map[string]int, unchecked int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting, failing = map[string]int{}, map[string]int{}
	for _, name := range m.checks {
		waiting[name] = 0
	}
	for _, w := range m.waiting {
		for name, failed := range w.checks {
			if _, known := waiting[name]; !known {
				continue
			}
			waiting[name]++
			if failed {
				failing[name]++
			}
		}
		if w.unchecked {
			unchecked++
		}
	}
	return waiting, failing, unchecked
}
