package follow

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCheckpoint(t *testing.T) {
	c := Checkpoint{Path: filepath.Join(t.TempDir(), "checkpoint")}
	if p, err := c.Load(); err != nil || !p.IsZero() {
		t.Fatalf("none yet: got %s, %v", p, err)
	}
	for offset := range int64(3) {
		want := Position{File: began, Offset: offset}
		ok(t, c.Save(want))
		if got, err := c.Load(); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if names := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(c.Path))); len(names) != 1 {
		t.Errorf("it leaves %d files", len(names))
	}
	if err := (Checkpoint{Path: filepath.Join(c.Path, "below")}).Save(Position{}); err == nil {
		t.Error("saved in a folder that is none")
	}
	if _, err := (Checkpoint{Path: t.TempDir()}).Load(); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("a folder: got %v", err)
	}
}

// As after a power failure (loki#6268, beats#3537), and cut by a full disk.
func TestCheckpointIsDamaged(t *testing.T) {
	c := Checkpoint{Path: filepath.Join(t.TempDir(), "checkpoint")}
	for _, content := range []string{
		"", "\n", strings.Repeat("\x00", 30), strings.Repeat("x", 1<<20), "2026-11-26T14:08:01.123456Z@12", "2026-11-26T14:08:01.123456Z@12\n\x00",
	} {
		ok(t, os.WriteFile(c.Path, []byte(content), 0o600))
		if p, err := c.Load(); !errors.Is(err, ErrDamaged) || !p.IsZero() {
			t.Errorf("%.40q: got %s, %v", content, p, err)
		}
	}
	want := Position{File: began, Offset: 1}
	ok(t, c.Save(want))
	if got, err := c.Load(); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

// /dev/full answers every write as a full disk does.
func TestCheckpointOnAFullDisk(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	c := Checkpoint{Path: filepath.Join(t.TempDir(), "checkpoint")}
	first := Position{File: began, Offset: 1}
	ok(t, c.Save(first))
	ok(t, os.Symlink(full, c.Path+".tmp"))
	if err := c.Save(Position{File: began, Offset: 2}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if got, err := c.Load(); err != nil || got != first {
		t.Errorf("got %s, %v", got, err)
	}
	// There is space again.
	second := Position{File: began, Offset: 3}
	ok(t, c.Save(second))
	if got, err := c.Load(); err != nil || got != second {
		t.Errorf("got %s, %v", got, err)
	}
}
