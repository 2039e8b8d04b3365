package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestSource(t *testing.T) {
	clone := filepath.Dir(built.folders[0])
	s, err := sourceOf(t.Context(), clone, env(nil))
	if err != nil || s.dirty || s.revision() != built.commit || !s.time.Equal(when) {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = sourceOf(t.Context(), clone, env(map[string]string{"SOURCE_DATE_EPOCH": "1000000000"}))
	if err != nil || s.revision() != built.commit || !s.time.Equal(time.Unix(1000000000, 0)) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err = sourceOf(t.Context(), clone, env(map[string]string{"SOURCE_DATE_EPOCH": "yesterday"})); err == nil || !strings.Contains(err.Error(), "seconds since 1970") {
		t.Error(err)
	}

	changed := t.TempDir()
	if said, err := exec.Command("git", "clone", "-q", clone, changed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if err := os.WriteFile(filepath.Join(changed, "new.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err = sourceOf(t.Context(), changed, env(nil))
	if err != nil || !s.dirty || s.revision() != built.commit+"-dirty" {
		t.Errorf("%+v, %v", s, err)
	}
}

// Without git somebody has to say what git would.
func TestSourceWithoutGit(t *testing.T) {
	within := filepath.Join(filepath.Dir(built.folders[0]), "cmd")
	for _, folder := range []string{t.TempDir(), within} {
		if _, err := sourceOf(t.Context(), folder, env(nil)); err == nil || !strings.Contains(err.Error(), "set REVISION") {
			t.Errorf("%s: %v", folder, err)
		}
		s, err := sourceOf(t.Context(), folder, env(map[string]string{"REVISION": "abc", "SOURCE_DATE_EPOCH": "60"}))
		if err != nil || s.revision() != "abc" || !s.time.Equal(time.Unix(60, 0)) {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

func TestBadVersion(t *testing.T) {
	for version, want := range map[string]string{"": "-version is missing", "v1.2.3+build": "can be no tag", "v1 2": "can be no tag", "a@b": "can be no tag"} {
		err := run(t.Context(), []string{"build", "-version", version, "-root", "../..", "-out", t.TempDir()}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", version, err)
		}
	}
	if err := run(t.Context(), []string{"bake"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "no such command: bake") {
		t.Error(err)
	}
}
