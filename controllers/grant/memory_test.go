package grant

import (
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// A grant that this process wrote is believed as it was written, for a moment, and
// not when writing it failed.
func TestWritten(t *testing.T) {
	now := time.Unix(1e9, 0)
	g := &v1alpha1.AccessGrant{}
	g.Name, g.Spec.Reason = "fix", "INC-42"
	var w written
	takeBack := w.add(g, now)
	other := g.DeepCopy()
	other.Spec.Reason = "INC-43"
	switch {
	case !w.has(g, now.Add(maxWritten)):
		t.Error("it is not believed")
	case w.has(other, now):
		t.Error("another grant of its name is believed")
	case w.has(g, now.Add(maxWritten+1)):
		t.Error("it is believed for too long")
	}
	if takeBack(); w.has(g, now) {
		t.Error("it is believed though it was not written")
	}
}

// What is remembered of a grant is not believed of another one of its name, and an
// entry goes when it says nothing any more.
func TestMemory(t *testing.T) {
	g := &v1alpha1.AccessGrant{}
	g.Name, g.UID, g.Status.Phase = "fix", "1", v1alpha1.GrantActive
	var m memory
	m.wrote(g)
	seen := g.DeepCopy()
	seen.Status.Phase = ""
	if !m.ahead(seen) {
		t.Error("the cache is behind, and nobody knows")
	}
	another := seen.DeepCopy()
	another.UID = "2"
	if m.ahead(another) {
		t.Error("another grant of the name is taken for this one")
	}
	if m.ahead(g) || len(m.grants) != 0 {
		t.Errorf("the cache has caught up, and left is %v", m.grants)
	}
}
