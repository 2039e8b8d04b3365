package task

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestPage: docs/policies.md names the kinds whose end is known, and those that run
// again with the expression for them.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "policies.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Tasks\n")
	section, _, _ = strings.Cut(section, "\n## ")
	name := regexp.MustCompile("`([A-Za-z0-9]+(?:\\.[a-z0-9.-]+)?)`")
	listed, again := map[schema.GroupKind]bool{}, map[schema.GroupKind]string{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, match := range name.FindAllStringSubmatch(cells[0], -1) {
			kind := schema.ParseGroupKind(match[1])
			if len(cells) > 2 {
				listed[kind] = true
			} else {
				again[kind] = strings.Trim(strings.TrimSpace(cells[1]), "`")
			}
		}
	}
	for kind := range kinds {
		if !listed[kind] {
			t.Errorf("the page does not list %s", kind)
		}
	}
	for kind := range listed {
		if !Known(kind) {
			t.Errorf("the page lists %s, whose end is not known", kind)
		}
	}
	for kind, example := range runAgain {
		if again[kind] != example {
			t.Errorf("the page has %q for %s, the messages %q", again[kind], kind, example)
		}
	}
	if len(again) != len(runAgain) {
		t.Errorf("the page has %d kinds that run again, the messages %d", len(again), len(runAgain))
	}
}
