package rules

import (
	"os"
	"strings"
	"testing"
)

// TestRisksAreOnThePage: the page that explains the risks has all of them.
func TestRisksAreOnThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range append(kinds([]Risk{NoneKnown}), kindsOf(powers)...) {
		if !strings.Contains(string(page), "`"+kind+"`") {
			t.Errorf("docs/concepts.md does not have %s", kind)
		}
	}
}

func kindsOf(powers []power) []string {
	var out []string
	for _, p := range powers {
		out = append(out, p.kind)
	}
	return out
}
