package node

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// session is what a command of a person printed so far.
type session struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

func (s *session) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.output.Write(p)
}

func (s *session) lines() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Count(s.output.Bytes(), []byte("\n"))
}

func (s *session) open() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// open runs a kubectl of alice's until the end of the test.
func open(t *testing.T, args ...string) *session {
	t.Helper()
	s := &session{cmd: e.Kubectl(e.KubeconfigOf("alice"), args...), ended: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		<-s.ended
	})
	return s
}

// The API server asks who somebody is when a session begins and never again: an
// open exec outlives the access, a new one is refused, and the end of the Pod
// ends it.
func TestOpenExecOutlivesTheAccess(t *testing.T) {
	settled(t)
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "shell"}, Spec: workload(time.Hour, 0)}
	kit.Create(t, e.Admin, pod)
	kit.Eventually(t, "the Pod to run", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return pod.Status.Phase == corev1.PodRunning, err
	})
	request := e.WaitFor(t, e.Ask(t, alice, ns, lasting(6*time.Second)), v1alpha1.RequestActive)

	inPod := []string{"exec", "-n", ns, "shell", "--", "/pause", "work"}
	s := open(t, append(inPod, "1h", "0")...)
	says := func(when string) {
		t.Helper()
		before := s.lines()
		kit.Eventually(t, "the session to say more "+when, func(context.Context) (bool, error) {
			if !s.open() {
				return false, fmt.Errorf("it ended: %s", s.output.String())
			}
			return s.lines() > before+5, nil
		})
	}
	says("while there is access")
	e.WaitFor(t, request, v1alpha1.RequestExpired)

	output, err := e.Run(t.Context(), "alice", "kubectl "+strings.Join(append(inPod, "1s", "0"), " "))
	if err == nil || !strings.Contains(output, "orbidden") {
		t.Errorf("a new exec after the end: %v: %s", err, output)
	}
	says("after the end of the access")

	begin := time.Now()
	kit.Delete(t, e.Admin, pod)
	select {
	case <-s.ended:
		t.Logf("the open exec ended %s after its Pod was deleted", time.Since(begin).Round(time.Millisecond))
	case <-time.After(kit.Patience):
		t.Error("the open exec outlives its Pod")
	}
}
