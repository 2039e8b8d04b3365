package kit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// CommandsOf are the commands on a page of docs/ from one text to another.
func CommandsOf(t testing.TB, page, from, to string) []string {
	t.Helper()
	root, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(content), from)
	text, _, until := strings.Cut(text, to)
	if !found || !until {
		t.Fatalf("%s has no %q before %q", page, from, to)
	}
	var commands []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside
		case inside:
			commands = append(commands, line)
		}
	}
	if len(commands) == 0 {
		t.Fatalf("%s has no command from %q to %q", page, from, to)
	}
	return commands
}
