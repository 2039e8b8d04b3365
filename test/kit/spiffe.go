package kit

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Pattern is a pattern over SPIFFE IDs, with names that match it and names that do
// not.
type Pattern struct {
	Pattern         string
	Matches, Others []string
}

// Patterns are the cases that internal/identity is tested with, and names that are
// no pattern: the schema and the admission policies must say the same of them.
func Patterns(t testing.TB) (patterns []Pattern, refused []string) {
	t.Helper()
	root, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(root, "internal", "identity", "testdata", "patterns.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Patterns []Pattern
		Refused  []string
	}
	if err := yaml.UnmarshalStrict(file, &table); err != nil {
		t.Fatal(err)
	}
	return table.Patterns, table.Refused
}
