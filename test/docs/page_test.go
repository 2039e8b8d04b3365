package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A page marks its fenced blocks by words after the language, which no
// renderer shows:
//
//	```sh            run; every line must succeed
//	```sh refused    run; it must fail
//	```sh host       not run in the sandbox: it starts it
//	```sh elsewhere  not run, it is for another cluster; what it names is there
//	```text output   what the block before it prints, … for what differs
//	```yaml file=…   the file of that path, word for word
//
// Any other block is an illustration.
type block struct {
	language string
	words    []string
	text     string
	line     int
}

func (b block) is(language string) bool { return b.language == language }

func (b block) has(word string) bool { return slices.Contains(b.words, word) }

// value of a word such as file=request.yaml.
func (b block) value(key string) string {
	for _, word := range b.words {
		if value, ok := strings.CutPrefix(word, key+"="); ok {
			return value
		}
	}
	return ""
}

// blocksOf are the fenced blocks of a page, in order.
func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	var out []block
	var open *block
	for i, line := range strings.Split(read(t, page), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			words := strings.Fields(fence)
			open = &block{line: i + 1}
			if len(words) > 0 {
				open.language, open.words = words[0], words[1:]
			}
		case isFence:
			out, open = append(out, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is not closed", page, open.line)
	}
	return out
}

// read a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var space = regexp.MustCompile(`\s+`)

// matches compares an output with what a page shows: white space counts as one
// space, and … stands for anything.
func matches(shown, output string) error {
	parts := strings.Split(space.ReplaceAllString(strings.TrimSpace(shown), " "), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	got := space.ReplaceAllString(strings.TrimSpace(output), " ")
	if !regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(got) {
		return fmt.Errorf("the page shows\n%s\nand it is\n%s", shown, output)
	}
	return nil
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		shown, output string
		want          bool
	}{
		{"a b\n", "a   b", true},
		{"a … c", "a b\nb c", true},
		{"fix-…  alice", "fix-1234 alice\n", true},
		{"a.c", "abc", false},
		{"a", "a b", false},
	} {
		if got := matches(c.shown, c.output) == nil; got != c.want {
			t.Errorf("matches(%q, %q) is %v", c.shown, c.output, got)
		}
	}
}
