package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// clone is a repository with a commit for each message; those that begin with v
// are tags.
func clone(t *testing.T, history ...string) string {
	t.Helper()
	root := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=somebody", "-c", "user.email=somebody@example.com"}, args...)...)
		cmd.Dir = root
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, said)
		}
	}
	git("init", "-q")
	for _, what := range history {
		if strings.HasPrefix(what, "v") {
			git("tag", what)
		} else {
			git("commit", "-q", "--allow-empty", "-m", what)
		}
	}
	return root
}

func TestCheck(t *testing.T) {
	root := clone(t, "One", "v1.0.0", "Two", "v1.1.0")
	for _, good := range []string{"v1.1.0", "v1.2.3", "v1.2.3-rc.1"} {
		for _, repository := range []string{"", "registry.example.com/team/access-broker", "localhost:5000/access-broker"} {
			if err := (release{root: root, version: good, repository: repository}).check(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, bad := range []string{"", "dev", "1.2.3", "v1.2", "v1.2.3 ", "v01.2.3", "v1.2.3+build", "4e63c17"} {
		if err := (release{root: root, version: bad}).check(); err == nil || !strings.Contains(err.Error(), "semantic version such as v1.2.3") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"access-broker", "registry.example.com/a:v1", "registry.example.com/a@sha256:00", "https://registry.example.com/a"} {
		if err := (release{root: root, version: "v1.2.3", repository: bad}).check(); err == nil || !strings.Contains(err.Error(), "REPO is") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := (release{root: root, version: "v1.0.0"}).check(); err == nil || !strings.Contains(err.Error(), "check out the tag") {
		t.Errorf("a tag of another commit: %v", err)
	}
	if err := (release{root: t.TempDir(), version: "v1.0.0"}).check(); err == nil || !strings.Contains(err.Error(), "made in a clone") {
		t.Errorf("no clone: %v", err)
	}
	if err := (release{root: root, version: "v1.2.3"}).run("bake"); err == nil || !strings.Contains(err.Error(), "no step") {
		t.Error(err)
	}
}

// The notes are what has changed since the tag before; the checksums are of the
// release's files, and of all of them.
func TestFinish(t *testing.T) {
	for _, test := range []struct {
		history []string
		has     []string
		hasNot  string
	}{
		{[]string{"One", "Two"}, []string{"first release", "- One", "- Two"}, "since"},
		{[]string{"One", "v1.0.0", "Two", "Three"}, []string{"since v1.0.0", "- Two", "- Three"}, "- One"},
		{[]string{"One", "v1.0.0", "Two", "v1.2.3"}, []string{"since v1.0.0", "- Two"}, "- One"},
		{[]string{"One", "v1.0.0"}, []string{"None."}, "- One"},
	} {
		out := t.TempDir()
		var said bytes.Buffer
		r := release{root: clone(t, test.history...), version: "v1.2.3", out: out, log: &said}
		write := func(name, content string) {
			if err := os.WriteFile(filepath.Join(out, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("access.yaml", "platforms:\n  - uri: https://example.com/v1.2.3/kubectl-access_v1.2.3_linux_amd64.tar.gz\n    sha256: x\n")
		names, err := r.files()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if name != "access.yaml" {
				write(name, name)
			}
		}
		for i, program := range programs {
			write(program+"-v1.2.3.provenance.json", fmt.Sprintf(`{"subject":[{"name":"%s:v1.2.3","digest":{"sha256":"%064d"}}]}`, program, i))
		}
		write("older.tar", "")
		if err := r.run("finish"); err != nil {
			t.Fatal(err)
		}
		notes, err := os.ReadFile(filepath.Join(out, "NOTES.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range append(test.has, "# Access Broker v1.2.3\n", fmt.Sprintf("`kubectl-access:v1.2.3` is `sha256:%064d`", 1)) {
			if !strings.Contains(string(notes), want) {
				t.Errorf("%v: no %q in\n%s", test.history, want, notes)
			}
		}
		if strings.Contains(string(notes), test.hasNot) {
			t.Errorf("%v: %q is in\n%s", test.history, test.hasNot, notes)
		}
		sums, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		if lines := strings.Count(string(sums), "\n"); lines != len(names) || lines != 14 {
			t.Errorf("%d lines for %d files", lines, len(names))
		}
		for _, name := range names {
			content, err := os.ReadFile(filepath.Join(out, name))
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(content); !strings.Contains(string(sums), hex.EncodeToString(sum[:])+"  "+name+"\n") {
				t.Errorf("%s is not in\n%s", name, sums)
			}
		}
		if !strings.Contains(said.String(), "older.tar is no part") {
			t.Errorf("it says %s", said.String())
		}
		if err := os.Remove(filepath.Join(out, "install.yaml")); err != nil {
			t.Fatal(err)
		}
		if err := r.run("finish"); err == nil || !strings.Contains(err.Error(), "install.yaml") {
			t.Errorf("without install.yaml: %v", err)
		}
	}
}

// The chart is packed with the version, and names the image of the release.
func TestChart(t *testing.T) {
	for repository, want := range map[string]string{"": "access-broker", "registry.example.com:5000/team/access-broker": "registry.example.com:5000/team/access-broker"} {
		out := t.TempDir()
		t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
		var sums []string
		for range 2 {
			r := release{root: filepath.Join("..", ".."), version: "v1.2.3-rc.1", out: out, repository: repository, log: io.Discard}
			if err := r.chart(); err != nil {
				t.Fatal(err)
			}
			packed, err := os.ReadFile(filepath.Join(out, "access-broker-1.2.3-rc.1.tgz"))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(packed)
			sums = append(sums, hex.EncodeToString(sum[:]))
		}
		if sums[0] != sums[1] {
			t.Error("the same chart makes another package")
		}
		cmd := exec.Command("go", "tool", "-modfile=hack/helm/go.mod", "helm", "template", "access-broker", filepath.Join(out, "access-broker-1.2.3-rc.1.tgz"))
		cmd.Dir = filepath.Join("..", "..")
		said, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(said), "image: "+want+":v1.2.3-rc.1\n") && !strings.Contains(string(said), `image: "`+want+`:v1.2.3-rc.1"`) {
			t.Errorf("it does not run %s", want)
		}
	}
}
