package node

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// kinds are the columns of the page's table.
var kinds = []string{execSession, execProcess, attachSession, logsSession, openConnection, newConnection, watchSession}

// TestSessionsPage: the table of docs/security.md is the one that is played.
func TestSessionsPage(t *testing.T) {
	var want strings.Builder
	fmt.Fprintf(&want, "| | %s |\n|%s\n", strings.Join(kinds, " | "), strings.Repeat(" --- |", len(kinds)+1))
	for _, act := range acts {
		fmt.Fprintf(&want, "| %s |", act.name)
		for _, kind := range kinds {
			cell := "lives on"
			if slices.Contains(act.ends, kind) {
				cell = "ends"
			}
			fmt.Fprintf(&want, " %s |", cell)
		}
		want.WriteString("\n")
	}
	shows(t, "security.md", want.String())
}

// TestOutcomePage: docs/policies.md has the completeWhen that is played.
func TestOutcomePage(t *testing.T) { shows(t, "policies.md", "`"+outcomeKnown+"`") }

func shows(t *testing.T, name, what string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), what) {
		t.Errorf("docs/%s does not have:\n%s", name, what)
	}
}
