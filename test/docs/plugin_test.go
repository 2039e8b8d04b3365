package docs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestExitStatuses sees that the page on the plugin lists the exit statuses that
// the command itself tells of.
func TestExitStatuses(t *testing.T) {
	help, err := exec.Command(filepath.Join(root, "bin", "kubectl-access"), "request", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	_, text, found := strings.Cut(string(help), "Exit status with --wait:\n")
	text, _, _ = strings.Cut(text, "\n\n")
	lines := regexp.MustCompile(`(?m)^ +(\d+) +(.+)$`).FindAllStringSubmatch(text, -1)
	if !found || len(lines) < 8 {
		t.Fatalf("the command tells of no exit statuses:\n%s", help)
	}
	page := read(t, "docs/kubectl-access.md")
	for _, line := range lines {
		if !regexp.MustCompile(`(?m)^\| ` + line[1] + ` \| `).MatchString(page) {
			t.Errorf("docs/kubectl-access.md does not tell of %s, %s", line[1], line[2])
		}
	}
	if rows := regexp.MustCompile(`(?m)^\| \d+ \| `).FindAllString(page, -1); len(rows) != len(lines) {
		t.Errorf("docs/kubectl-access.md has %d exit statuses, the command %d", len(rows), len(lines))
	}
}
