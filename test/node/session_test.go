package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// aSecond is how many lines a workload says in a second.
const aSecond = 10

// session is something of alice's that is open, and how many lines came
// through it.
type session interface {
	lines() int
	open() bool
	// stir makes lines come, where none come by themselves, and tells how many
	// show that the session lives.
	stir(t *testing.T) int
}

// command is a session that is a kubectl of alice's.
type command struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

func (c *command) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output.Write(p)
}

func (c *command) printed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output.String()
}

func (c *command) lines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Count(c.output.Bytes(), []byte("\n"))
}

func (c *command) open() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *command) stir(*testing.T) int { return aSecond }

// run runs a kubectl of alice's until the end of the test.
func run(t *testing.T, args ...string) *command {
	t.Helper()
	c := &command{cmd: e.Kubectl(e.KubeconfigOf("alice"), args...), ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c, c
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

// watching is a watch of the Pods of a namespace.
type watching struct {
	*command
	namespace string
}

// stir makes a Pod that nothing runs, for the watch to show.
func (w watching) stir(t *testing.T) int {
	t.Helper()
	kit.Create(t, e.Admin, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "shown-"},
		Spec: corev1.PodSpec{
			SchedulingGates: []corev1.PodSchedulingGate{{Name: "example.com/never"}},
			Containers:      []corev1.Container{{Name: "main", Image: "none"}},
		},
	})
	return 1
}

// forwarded is a connection through a port-forward.
type forwarded struct {
	net.Conn
	count  atomic.Int64
	closed atomic.Bool
}

func (f *forwarded) lines() int          { return int(f.count.Load()) }
func (f *forwarded) open() bool          { return !f.closed.Load() }
func (f *forwarded) stir(*testing.T) int { return aSecond }

// forwarder is a port-forward, through which new connections can be made.
type forwarder struct {
	*command
	address string
	got     atomic.Int64
}

func (f *forwarder) lines() int          { return int(f.got.Load()) }
func (f *forwarder) stir(*testing.T) int { return 1 }

// open tells that a new connection brings a line.
func (f *forwarder) open() bool {
	if !f.command.open() {
		return false
	}
	connection, err := net.DialTimeout("tcp", f.address, time.Second)
	if err != nil {
		return false
	}
	defer connection.Close()
	if connection.SetReadDeadline(time.Now().Add(2*time.Second)) != nil {
		return false
	}
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		return false
	}
	f.got.Add(1)
	return true
}

var forwarding = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// forward opens a port-forward to a Pod.
func forward(t *testing.T, namespace, pod string) *forwarder {
	t.Helper()
	f := &forwarder{command: run(t, "port-forward", "-n", namespace, "pod/"+pod, ":"+port)}
	kit.Eventually(t, "the port-forward", func(context.Context) (bool, error) {
		found := forwarding.FindStringSubmatch(f.printed())
		if found == nil {
			return false, errors.New(f.printed())
		}
		f.address = found[1]
		return true, nil
	})
	return f
}

// connect opens a connection through a port-forward.
func (f *forwarder) connect(t *testing.T) *forwarded {
	t.Helper()
	connection, err := net.DialTimeout("tcp", f.address, kit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	through := &forwarded{Conn: connection}
	t.Cleanup(func() { _ = connection.Close() })
	go func() {
		for lines := bufio.NewScanner(connection); lines.Scan(); {
			through.count.Add(1)
		}
		through.closed.Store(true)
	}()
	return through
}

// started is a process that an exec started in a container.
type started struct{ pid int }

func (s started) lines() int          { return 0 }
func (s started) open() bool          { return syscall.Kill(s.pid, 0) == nil }
func (s started) stir(*testing.T) int { return 0 }

// says waits until more comes through a session.
func says(t *testing.T, s session) error {
	t.Helper()
	before := s.lines()
	more := s.stir(t)
	return lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) {
		if !s.open() {
			return false, lab.Hopeless(fmt.Errorf("it has ended%s", lastWords(s)))
		}
		return s.lines() >= before+more, nil
	})
}

// ends waits until a session has ended.
func ends(t *testing.T, s session) error {
	t.Helper()
	return lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) { return !s.open(), nil })
}

func lastWords(s session) string {
	if c, ok := s.(interface{ printed() string }); ok {
		printed := c.printed()
		return ": " + printed[max(0, len(printed)-200):]
	}
	return ""
}
