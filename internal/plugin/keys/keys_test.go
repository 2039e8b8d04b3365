//go:build unix

package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/internal/credential"
)

var (
	now  = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	prod = Cluster{ID: "prod", Server: "https://prod:6443"}
	evil = Cluster{ID: "evil", Server: "https://evil:6443"}
)

// newStore is a store in a folder that is not there yet.
func newStore(t *testing.T) *Store {
	t.Helper()
	t.Setenv(HomeVariable, filepath.Join(t.TempDir(), "parent", "keys"))
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey(t *testing.T) *credential.Key {
	t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func add(t *testing.T, s *Store) *Kept {
	t.Helper()
	k, err := s.Add(prod, "payments", newKey(t), now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

// A key is found by what its request carries, at its own cluster alone, also with the
// widest umask, and nobody else may read it.
func TestKept(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	s := newStore(t)
	if _, err := s.Find(prod, "x"); !errors.Is(err, ErrNone) {
		t.Errorf("without a folder: %v", err)
	}
	if all, err := s.All(); err != nil || len(all) > 0 {
		t.Errorf("without a folder: %v, %v", all, err)
	}
	k := add(t, s)
	k.Name, k.UID, k.Kubeconfigs = "fix", "u1", []string{"/a"}
	if err := k.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := s.Find(prod, k.Public())
	if err != nil || again.Name != "fix" || again.UID != "u1" || again.Namespace != "payments" || again.Kubeconfigs[0] != "/a" || again.Public() != k.Public() || !again.Created.Equal(now) {
		t.Errorf("%+v, %v", again, err)
	}
	for path, want := range map[string]os.FileMode{s.Dir(): 0o700, k.path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if left := names(t, s.Dir()); len(left) != 1 {
		t.Errorf("left over: %v", left)
	}
	var elsewhere *ElsewhereError
	if _, err := s.Find(evil, k.Public()); !errors.As(err, &elsewhere) || elsewhere.Server != prod.Server {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := s.Find(prod, newKey(t).Public()); !errors.Is(err, ErrNone) {
		t.Errorf("another key: %v", err)
	}
	add(t, s)
	if all, err := s.All(); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	for range 2 {
		if err := k.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Find(prod, k.Public()); !errors.Is(err, ErrNone) {
		t.Errorf("removed: %v", err)
	}
}

func TestDefaultFolder(t *testing.T) {
	t.Setenv(HomeVariable, "")
	t.Setenv("HOME", "/home/alice")
	t.Setenv("XDG_CONFIG_HOME", "")
	if s, err := Open(); err != nil || !strings.HasPrefix(s.Dir(), "/home/alice/") || filepath.Base(s.Dir()) != "kubectl-access" {
		t.Errorf("%v, %v", s, err)
	}
	t.Setenv("HOME", "")
	if s, err := Open(); err == nil || !strings.Contains(err.Error(), HomeVariable) {
		t.Errorf("without a home: %v, %v", s, err)
	}
}

// What others may read, what is not ours and what is a link is refused, when it is
// written and when it is read.
func TestOthersMayRead(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, s *Store, k *Kept)
		says  string
		// file alone is spoilt: there can be others.
		file bool
	}{
		"an open folder": {func(t *testing.T, s *Store, _ *Kept) { chmod(t, s.Dir(), 0o750) }, "others may read", false},
		"a linked folder": {func(t *testing.T, s *Store, _ *Kept) {
			move(t, s.Dir(), s.Dir()+"-2")
			link(t, s.Dir()+"-2", s.Dir())
		}, "symbolic link", false},
		"no folder":       {func(t *testing.T, s *Store, _ *Kept) { move(t, s.Dir(), s.Dir()+"-2"); write(t, s.Dir(), "x") }, "", false},
		"an open file":    {func(t *testing.T, _ *Store, k *Kept) { chmod(t, k.path, 0o644) }, "others may read", true},
		"a writable file": {func(t *testing.T, _ *Store, k *Kept) { chmod(t, k.path, 0o620) }, "others may read", true},
		"a linked file": {func(t *testing.T, _ *Store, k *Kept) {
			move(t, k.path, k.path+"-2")
			link(t, k.path+"-2", k.path)
		}, "symbolic link", true},
		"a pipe": {func(t *testing.T, _ *Store, k *Kept) {
			move(t, k.path, k.path+"-2")
			if err := syscall.Mkfifo(k.path, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is no file", true},
		"no JSON":      {func(t *testing.T, _ *Store, k *Kept) { write(t, k.path, "x") }, "no key of kubectl access", true},
		"no key in it": {func(t *testing.T, _ *Store, k *Kept) { write(t, k.path, "{}") }, "no key of kubectl access", true},
		"another's key": {func(t *testing.T, s *Store, k *Kept) {
			other, err := os.ReadFile(add(t, s).path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, k.path, string(other))
		}, "another key", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			k := add(t, s)
			tc.spoil(t, s, k)
			if got, err := s.Find(prod, k.Public()); err == nil || errors.Is(err, ErrNone) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("read: %v, %v", got, err)
			}
			if got, err := s.Add(prod, "payments", newKey(t), now); (err == nil) != tc.file {
				t.Errorf("written: %v, %v", got, err)
			}
		})
	}
}

func TestAnothersFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	s := newStore(t)
	k := add(t, s)
	if err := os.Chown(s.Dir(), 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(prod, k.Public()); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Error(err)
	}
	if err := errors.Join(os.Chown(s.Dir(), os.Geteuid(), -1), os.Chown(k.path, 12345, -1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(prod, k.Public()); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Error(err)
	}
}

// A file is whole or not there, and what a killed process left goes.
func TestUnfinished(t *testing.T) {
	s := newStore(t)
	add(t, s)
	left, fresh := filepath.Join(s.Dir(), unfinished+"1"), filepath.Join(s.Dir(), unfinished+"2")
	write(t, left, "half")
	write(t, fresh, "half")
	if err := errors.Join(os.Chtimes(left, now, now.Add(-2*unfinishedAfter)), os.Chtimes(fresh, now, now)); err != nil {
		t.Fatal(err)
	}
	if all, err := s.All(); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	add(t, s)
	if got := strings.Join(names(t, s.Dir()), " "); strings.Contains(got, unfinished+"1") || !strings.Contains(got, unfinished+"2") {
		t.Error(got)
	}
	// Where the file cannot come into its place, nothing is left.
	k := add(t, s)
	before := len(names(t, s.Dir()))
	if err := os.Remove(k.path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(k.path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.Save(); err == nil || len(names(t, s.Dir())) != before {
		t.Errorf("%v: %v", err, names(t, s.Dir()))
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
