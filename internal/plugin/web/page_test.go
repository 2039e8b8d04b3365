package web

import (
	"testing"
	"testing/fstest"
)

// Every template is there, reads, and can be executed at all; what they show is looked at
// where there is a cluster.
func TestTemplates(t *testing.T) {
	p := &Page{}
	views, err := p.parse()
	if err != nil {
		t.Fatal(err)
	}
	for name, view := range views {
		if view.Lookup("main") == nil || view.Lookup("layout") == nil {
			t.Errorf("%s has no main part", name)
		}
	}
	if err := fstest.TestFS(static, "static/style.css", "static/live.js"); err != nil {
		t.Error(err)
	}
}
