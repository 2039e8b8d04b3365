// Package gone kills nodes at random moments, and looks for what they leave
// behind on the machine. It needs what test/node needs.
package gone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const (
	// ready is about how long a node takes until the broker's Pods are ready: it is
	// killed at any moment of its start, and some time after.
	ready = 14 * time.Second

	// trace is in the name of everything that is a node's, but for what is in its
	// namespaces.
	trace = "access-broker-node-"
)

func TestMain(m *testing.M) {
	kit.NeedsNode("test/node/gone")
	os.Exit(m.Run())
}

// Whatever is killed, and whenever: a node leaves nothing.
func TestKilledNodeLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		what  string
		times int
		end   func(command, first int) error
	}{
		{"the first process", 10, func(_, first int) error { return syscall.Kill(first, syscall.SIGKILL) }},
		{"the command", 5, func(command, _ int) error { return syscall.Kill(command, syscall.SIGKILL) }},
		{"all of the command's group", 2, func(command, _ int) error { return syscall.Kill(-command, syscall.SIGKILL) }},
		{"Ctrl-C", 2, func(command, _ int) error { return syscall.Kill(-command, syscall.SIGINT) }},
	} {
		for range tc.times {
			after := rand.N(ready)
			t.Run(fmt.Sprintf("%s after %s", tc.what, after.Round(time.Millisecond)), func(t *testing.T) {
				before := look(t)
				n := start(t)
				kit.WaitPast(t, time.Now().Add(after))
				n.end(t, tc.end, before)
			})
		}
	}
}

// The rules of kube-router end with the network that they are in.
func TestKilledNodeLeavesNoNetworkPolicies(t *testing.T) {
	before := look(t)
	n := start(t)
	kit.Within(t, time.Minute, "kube-router to run", func(context.Context) (bool, error) {
		log, err := os.ReadFile(n.log)
		return bytes.Contains(log, []byte("\nkube-router: ")), err
	})
	n.end(t, func(_, first int) error { return syscall.Kill(first, syscall.SIGKILL) }, before)
}

// running is a node that was started.
type running struct {
	cmd    *exec.Cmd
	first  int // the id of its first process
	spaces []string
	log    string
	ended  chan struct{}
}

// end ends the node in a way, and waits until the machine is as it was before.
func (n *running) end(t *testing.T, by func(command, first int) error, before map[string]bool) {
	t.Helper()
	ended := time.Now()
	if err := by(n.cmd.Process.Pid, n.first); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the machine to be as it was", func(context.Context) (bool, error) {
		return true, errors.Join(n.lives(), differ(before, look(t)))
	})
	t.Logf("nothing was left %s later; it had come to: %s", time.Since(ended).Round(time.Millisecond), n.last())
}

// start starts a node, and waits for its namespaces alone.
func start(t *testing.T) *running {
	t.Helper()
	root, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	n := &running{log: filepath.Join(t.TempDir(), "log"), ended: make(chan struct{})}
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	n.cmd = exec.Command(filepath.Join(root, "bin", "node", "node"), "-network-policies")
	n.cmd.Dir = root
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = n.cmd.Start()
	_ = log.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = n.cmd.Wait()
		close(n.ended)
	}()
	t.Cleanup(func() {
		_ = n.cmd.Process.Kill() // the process is known to have ended where the test was passed
		<-n.ended
	})
	kit.Eventually(t, "the first process", func(context.Context) (bool, error) {
		select {
		case <-n.ended:
			return false, lab.Hopeless(errors.New(n.last()))
		default:
			return n.find()
		}
	})
	return n
}

// find finds the child of the command that is in other namespaces.
func (n *running) find() (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", n.cmd.Process.Pid))
	if err != nil {
		return false, err
	}
	for _, file := range files {
		children, _ := os.ReadFile(file) // a thread may have ended
		for child := range strings.FieldsSeq(string(children)) {
			spaces := spacesOf("/proc/" + child)
			if len(spaces) == 0 || slices.Equal(spaces, spacesOf("/proc/self")) {
				continue
			}
			n.spaces = spaces
			n.first, err = strconv.Atoi(child)
			return true, err
		}
	}
	return false, nil
}

// spacesOf are the namespaces of a process that a node has of its own.
func spacesOf(process string) []string {
	var spaces []string
	for _, kind := range []string{"pid", "mnt", "net", "ipc", "uts"} {
		space, err := os.Readlink(filepath.Join(process, "ns", kind))
		if err != nil {
			return nil
		}
		spaces = append(spaces, space)
	}
	return spaces
}

// lives looks for processes that are in one of the node's namespaces, or that it
// started outside.
func (n *running) lives() error {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, process := range processes {
		for _, space := range spacesOf(process) {
			if slices.Contains(n.spaces, space) {
				return fmt.Errorf("%s is in the node's namespace %s", process, space)
			}
		}
		if environment, _ := os.ReadFile(filepath.Join(process, "environ")); bytes.Contains(environment, []byte("ACCESS_BROKER_NODE_NAME="+trace)) {
			return fmt.Errorf("%s is a node's", process)
		}
	}
	return nil
}

// last is what the node said last.
func (n *running) last() string {
	content, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return lines[len(lines)-1]
}
