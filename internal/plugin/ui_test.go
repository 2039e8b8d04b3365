package plugin

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPagePath(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"fix": "requests/payments/fix", "areq/fix": "requests/payments/fix", "accessrequest/fix": "requests/payments/fix", "accessrequests/fix": "requests/payments/fix",
		"accessrequest.jit.accessbroker.dev/fix": "requests/payments/fix", "areq/fix.1-2": "requests/payments/fix.1-2",
		"agrant/fix-1": "grants/fix-1", "accessgrant/fix-1": "grants/fix-1", "accessgrants.jit.accessbroker.dev/fix-1": "grants/fix-1",
	} {
		if got, err := pagePath(word, "payments"); got != want || err != nil {
			t.Errorf("%s is at %q, %v; want %s", word, got, err, want)
		}
	}
	for _, word := range []string{"", "/", "areq/", "areq/..", "areq/a/b", "pod/fix", "apol/p", "//evil.example", "fix?x", "FIX", "areq/-n", "../fix", "https://evil.example", "fix\n", "a b"} {
		if got, err := pagePath(word, "payments"); err == nil {
			t.Errorf("%q is at %q", word, got)
		}
	}
}

// A mistake on the command line is told before anything is started.
func TestUIUsage(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for _, args := range [][]string{{"pod/fix"}, {"areq/a", "areq/b"}, {"--port", "65536"}, {"--port", "-1"}, {"--host", "0.0.0.0"}} {
		status, _, stderr := run(t, "", append([]string{"ui"}, args...)...)
		if status != exitError || !strings.Contains(stderr, "See 'kubectl access ui --help'.") {
			t.Errorf("%q: %d %s", args, status, stderr)
		}
	}
}

func TestListenHere(t *testing.T) {
	t.Parallel()
	l, err := listenHere(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil || host != "127.0.0.1" {
		t.Fatalf("it listens on %s, %v", l.Addr(), err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenHere(uint16(n)); err == nil || !strings.Contains(err.Error(), "cannot listen on port "+port) {
		t.Errorf("somebody has port %d: %v", n, err)
	}
}

// What the browser is told on its command line is a file that nobody else can read.
func TestBrowserFile(t *testing.T) {
	programs, home := t.TempDir(), t.TempDir()
	told := filepath.Join(t.TempDir(), "told")
	if err := os.WriteFile(filepath.Join(programs, "my-browser"), []byte("#!/bin/sh\necho \"$*\" >"+told+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs)
	t.Setenv("BROWSER", "my-browser:other")
	t.Setenv("HOME", home)
	for _, snap := range []bool{false, true} {
		if snap {
			if err := os.Mkdir(filepath.Join(home, "snap"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		const address = "http://127.0.0.1:1/ROOT/enter?secret=SECRET&to=mine"
		b, err := newBrowser(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		args, err := os.ReadFile(told)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(args)); got != "file://"+b.file || strings.Contains(got, "SECRET") {
			t.Errorf("the browser was told %q", got)
		}
		if inHome := filepath.Dir(filepath.Dir(b.file)) == home; inHome != snap {
			t.Errorf("where snaps are (%t), the file is %s", snap, b.file)
		}
		for path, want := range map[string]os.FileMode{b.file: 0o600, filepath.Dir(b.file): 0o700 | os.ModeDir} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", path, info.Mode(), err)
			}
		}
		page, err := os.ReadFile(b.file)
		if err != nil || !strings.Contains(string(page), `content="0;url=http://127.0.0.1:1/ROOT/enter?secret=SECRET&amp;to=mine"`) {
			t.Errorf("%s, %v", page, err)
		}
		b.forget()
		b.forget()
		if _, err := os.Stat(filepath.Dir(b.file)); !os.IsNotExist(err) {
			t.Errorf("it is still there: %v", err)
		}
	}
}

func TestNoBrowser(t *testing.T) {
	empty := t.TempDir()
	t.Setenv("PATH", empty)
	t.Setenv("WSL_DISTRO_NAME", "")
	for _, test := range []struct{ browser, display, want string }{
		{"", "", "there is no display"},
		{"", ":0", "none of xdg-open, x-www-browser is installed"},
		{"my-browser", "", "none of my-browser is installed"},
	} {
		t.Setenv("BROWSER", test.browser)
		t.Setenv("DISPLAY", test.display)
		t.Setenv("WAYLAND_DISPLAY", "")
		if _, err := newBrowser("http://127.0.0.1:1/"); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
