package docs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// startTimeout is far more than the sandbox takes on a slow machine.
const startTimeout = 3 * time.Minute

// TestGettingStarted follows the page as a reader does: it starts the sandbox,
// takes the aliases that it prints, and types every command.
func TestGettingStarted(t *testing.T) {
	const page = "docs/getting-started.md"
	blocks := blocksOf(t, page)
	if len(blocks) == 0 || !blocks[0].has("host") {
		t.Fatal("the page does not begin with how to start the sandbox")
	}
	isTheSandbox(t, strings.TrimSpace(blocks[0].text))
	aliases := startSandbox(t)

	var output string
	for _, b := range blocks[1:] {
		switch {
		case b.is("sh"):
			var err error
			output, err = typeIn(t, aliases, b.text)
			if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if b.has("refused") != (err != nil) {
				t.Fatalf("%s:%d: to be refused: %v; it was: %v\n%s", page, b.line, b.has("refused"), err, output)
			}
		case b.is("text") && b.has("output"):
			if err := matches(b.text, output); err != nil {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
		default:
			t.Errorf("%s:%d: nothing checks this block", page, b.line)
		}
	}
}

// isTheSandbox checks that the command of the page is what startSandbox does.
func isTheSandbox(t *testing.T, command string) {
	t.Helper()
	program, arguments, _ := strings.Cut(command, " ")
	cmd := exec.Command(program, append([]string{"-n"}, strings.Fields(arguments)...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "./hack/sandbox") {
		t.Fatalf("%s does not start ./hack/sandbox: %v\n%s", command, err, out)
	}
}

var alias = regexp.MustCompile(`(?m)^ *alias (\w+)='(.*)'$`)

// startSandbox runs hack/sandbox until the end of the test, and returns the
// aliases that it prints as functions of a shell.
func startSandbox(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary, log := filepath.Join(dir, "sandbox"), filepath.Join(dir, "sandbox.log")
	build := exec.Command("go", "build", "-o", binary, "./hack/sandbox")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the sandbox: %v\n%s", err, out)
	}
	printed := func() string {
		text, _ := os.ReadFile(log) // not there before the first line
		return string(text)
	}
	sandbox := lab.NewProcess("the sandbox", binary, log, func(context.Context) error {
		if !strings.Contains(printed(), "The broker's log is") {
			return errors.New("it is not ready yet")
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := sandbox.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sandbox.Stop)

	var functions strings.Builder
	for _, a := range alias.FindAllStringSubmatch(printed(), -1) {
		functions.WriteString(a[1] + "() { " + a[2] + ` "$@"; }` + "\n")
	}
	if functions.Len() == 0 {
		t.Fatalf("the sandbox prints no aliases:\n%s", printed())
	}
	return functions.String()
}

// typeIn runs the lines of a block in a shell that knows the people.
func typeIn(t *testing.T, aliases, lines string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", aliases+lines)
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()} // no configuration or cache of anybody here
	out, err := cmd.CombinedOutput()
	return string(out), err
}
