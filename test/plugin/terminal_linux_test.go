package plugin

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// terminal is a command that runs on one.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	file *os.File
	seen string
}

func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("there are no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { _ = control.Close() })
	raw, err := control.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed != nil {
			return
		}
		if number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); failed != nil {
			return
		}
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	screen, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo terminals here: %v", err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = screen.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &terminal{t: t, cmd: cmd, file: control}
}

// sees waits until something is on the screen.
func (s *terminal) sees(text string) {
	s.t.Helper()
	_ = s.file.SetReadDeadline(time.Now().Add(kit.Patience))
	buffer := make([]byte, 4096)
	for !strings.Contains(s.seen, text) {
		n, err := s.file.Read(buffer)
		s.seen += string(buffer[:n])
		if err != nil {
			s.t.Fatalf("waiting for %q: %v\n%q", text, err, s.seen)
		}
	}
}

func (s *terminal) types(text string) {
	s.t.Helper()
	if _, err := s.file.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *terminal) ends(status int) {
	s.t.Helper()
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != status {
		s.t.Fatalf("status %d, want %d\n%q", got, status, s.seen)
	}
}

// On a terminal there are colours, a line that is drawn anew, and a question
// before anything is approved.
func TestOnATerminal(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	waiting := onTerminal(t, alice.access("request", "edit", "-n", ns, "--name", "fix", "--reason", "r", "--wait"))
	waiting.sees("\r\x1b[KPending: waiting for approval, 0 of 1 approvals; 1 more of group:sre")

	no := onTerminal(t, bob.access("approve", "fix", "-n", ns))
	no.sees("\x1b[33mPending\x1b[0m")
	no.sees("Approve ClusterRole/edit in namespace " + ns + " for alice, as long as the policy says, with these risks: " +
		"Impersonate, MintTokens, RunPods, ReadSecrets, CreateSecrets and ")
	no.sees("? [y/N] ")
	no.types("\n")
	no.sees("not approved; nothing was changed")
	no.ends(1)

	interrupted := onTerminal(t, bob.access("approve", "fix", "-n", ns))
	interrupted.sees("[y/N] ")
	interrupted.types("\x03")
	interrupted.sees("interrupted")
	interrupted.ends(130)

	plain := bob.access("approve", "fix", "-n", ns)
	plain.Env = append(plain.Env, "NO_COLOR=1")
	yes := onTerminal(t, plain)
	yes.sees("[y/N] ")
	yes.types("y\n")
	yes.sees("fix approved")
	yes.ends(0)
	if strings.Contains(yes.seen, "\x1b[") {
		t.Errorf("colours in spite of NO_COLOR: %q", yes.seen)
	}
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive)
	waiting.sees("Active: ClusterRole/edit in " + ns)
	waiting.ends(0)

	list := onTerminal(t, alice.access("list", "-n", ns))
	list.sees("\x1b[32mActive\x1b[0m")
	list.ends(0)
}

// What carries no risk that is known is asked about too, and --yes is for those
// who want to hear no question.
func TestApprovalIsConfirmed(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	alice.run(t, "request", "view", "-n", ns, "--name", "look", "--reason", "r", "--for", "30m").ok(t, "created")
	e.WaitMatched(t, request(ns, "look"))

	no := onTerminal(t, bob.access("approve", "look", "-n", ns))
	no.sees("Risks ")
	no.sees("do nothing more that is known here, which does not mean that there is nothing")
	no.sees("Approve ClusterRole/view in namespace " + ns + " for alice, 30m from the grant on, " +
		"with no known risk, which does not mean that there is none? [y/N] ")
	no.types("n\n")
	no.sees("not approved; nothing was changed")
	no.ends(1)
	if list := request(ns, "look"); e.Admin.Get(t.Context(), client.ObjectKeyFromObject(list), list) != nil || len(list.Status.Decisions) > 0 {
		t.Fatalf("decided all the same: %v", list.Status.Decisions)
	}
	yes := onTerminal(t, bob.access("approve", "look", "-n", ns, "--yes"))
	yes.sees("look approved")
	yes.ends(0)
	if strings.Contains(yes.seen, "[y/N]") {
		t.Errorf("asked in spite of --yes: %q", yes.seen)
	}
	e.WaitFor(t, request(ns, "look"), v1alpha1.RequestActive)
}

// A command that runs on a terminal has all of it: Ctrl-C reaches it once, from the
// terminal alone, and so does a new size.
func TestRunOnATerminal(t *testing.T) {
	t.Parallel()
	ns := given(t)
	runs := onTerminal(t, alice.running(ns, "--", "sh", "-c", `test -t 0 && test -t 1 && test -t 2 && echo all of it is one
trap 'n=$((n+1))' INT; trap 'echo "now $(stty size)"; w=1' WINCH
echo ready; while [ "${n:-0}" -lt 1 ]; do sleep 0.1; done
echo interrupted; while [ "${w:-0}" -lt 1 ]; do sleep 0.1; done
echo "caught $n"; exit 6`))
	runs.sees("Active: ")
	runs.sees("all of it is one")
	runs.sees("ready")
	runs.types("\x03")
	runs.sees("interrupted")
	raw, err := runs.file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 30, Col: 100}); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	runs.sees("now 30 100")
	runs.sees("caught 1\r\n")
	runs.ends(6)
	released(t, ns)

	// Sent to us alone, it is passed on.
	other := given(t)
	alone := onTerminal(t, alice.running(other, "--", "sh", "-c", "echo ready; exec sleep 60"))
	alone.sees("ready")
	if err := alone.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	alone.ends(143)
	released(t, other)

	// Ctrl-C withdraws what waits.
	waits := e.NewNamespace(t, nil)
	e.NewPolicy(t, waits, nil)
	no := onTerminal(t, alice.running(waits, "--", "echo", "it ran"))
	no.sees("waiting for approval")
	no.types("\x03")
	no.sees("is withdrawn")
	no.ends(130)
	e.WaitFor(t, only(t, waits), v1alpha1.RequestCompleted)
}
