package node

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// port is where the workload of a shop tells everybody who connects that it lives.
const port = "8080"

// sessionProcess is how the command line of the process of an exec begins. No
// other process of the Pod is told to last that long.
const sessionProcess = workProcess + " 61m"

// silentProcess is one that writes nothing, and so does not notice that nobody
// reads what it writes.
const silentProcess = "/pause silent"

// The kinds of sessions, as docs/security.md has them.
const (
	execSession    = "`exec`"
	execProcess    = "silent process of an `exec`"
	attachSession  = "`attach`"
	logsSession    = "`logs -f`"
	openConnection = "connection through `port-forward`"
	newConnection  = "new connection through it"
	watchSession   = "watch"
)

// shop is a Deployment of one Pod, alice's access to it, and her sessions.
type shop struct {
	namespace string
	pod       *corev1.Pod
	request   *v1alpha1.AccessRequest
	sessions  map[string]session
}

var shopLabels = map[string]string{"app": "shop"}

// newShop waits for its Pod to run, and until alice may do all.
func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{namespace: reserve(t), sessions: map[string]session{}}
	spec := workload(time.Hour, 0)
	spec.RestartPolicy = corev1.RestartPolicyAlways
	spec.Containers[0].Args = append(spec.Containers[0].Args, port)
	kit.Create(t, e.Admin, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: shopLabels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: shopLabels}, Spec: spec},
		},
	})
	s.pod = runningPod(t, s.namespace, shopLabels)
	s.request = e.WaitFor(t, e.Ask(t, alice, s.namespace, nil), v1alpha1.RequestActive)
	return s
}

// commands are the kubectl commands that open the sessions.
func (s *shop) commands() map[string][]string {
	return map[string][]string{
		execSession:   {"exec", "-n", s.namespace, s.pod.Name, "--", "/pause", "work", "61m", "0"},
		execProcess:   {"exec", "-n", s.namespace, s.pod.Name, "--", "/pause", "silent"},
		attachSession: {"attach", "-n", s.namespace, s.pod.Name},
		logsSession:   {"logs", "-f", "-n", s.namespace, s.pod.Name},
		newConnection: {"port-forward", "-n", s.namespace, "pod/" + s.pod.Name, ":" + port},
		watchSession:  {"get", "pods", "-w", "-n", s.namespace},
	}
}

// open opens a session of each kind, and waits until each says something.
func (s *shop) open(t *testing.T) {
	t.Helper()
	commands := s.commands()
	for _, kind := range []string{execSession, attachSession, logsSession} {
		s.sessions[kind] = run(t, commands[kind]...)
	}
	run(t, commands[execProcess]...)
	s.sessions[execProcess] = started{processOf(t, s.pod, silentProcess)}
	s.sessions[watchSession] = watching{run(t, commands[watchSession]...), s.namespace}
	forwarder := forward(t, s.namespace, s.pod.Name)
	s.sessions[newConnection], s.sessions[openConnection] = forwarder, forwarder.connect(t)
	s.allSay(t, "while there is access")
}

// allSay checks that something comes through every session.
func (s *shop) allSay(t *testing.T, when string) {
	t.Helper()
	for kind, session := range s.sessions {
		if err := says(t, session); err != nil {
			t.Fatalf("%s %s: %v", kind, when, err)
		}
	}
}

// revoke ends the access.
func (s *shop) revoke(t *testing.T) {
	t.Helper()
	kit.MustDecide(t, bob, s.request, v1alpha1.VerdictRevoke)
	e.WaitFor(t, s.request, v1alpha1.RequestRevoked)
	if kit.Can(t, alice, s.namespace) {
		t.Fatal("alice has access")
	}
}

// The API server asks who somebody is when a session begins and never again: an
// open session outlives the access, and a new one is refused.
func TestOpenSessionsOutliveTheAccess(t *testing.T) {
	settled(t)
	s := newShop(t)
	s.open(t)
	s.revoke(t)
	for kind, args := range s.commands() {
		refused := run(t, args...)
		if err := ends(t, refused); err != nil {
			t.Errorf("a new %s after the end: %v", kind, err)
		}
		if printed := refused.printed(); refused.cmd.ProcessState.Success() || !strings.Contains(printed, "orbidden") {
			t.Errorf("a new %s after the end: %s", kind, printed)
		}
	}
	s.allSay(t, "after the end of the access")
}

// act is what may end a session, as docs/security.md has it.
type act struct {
	name string
	// alone is an act that others on the node notice.
	alone bool
	// do does it, and waits until it is done.
	do func(*testing.T, *shop)
	// ends are the kinds of sessions that it ends.
	ends []string
}

var acts = []act{
	{"the Pod is deleted", false, func(t *testing.T, s *shop) {
		kit.Delete(t, e.Admin, s.pod)
		e.WaitGone(t, s.pod)
	}, allInPod},
	{"the Pod is evicted", false, func(t *testing.T, s *shop) {
		evict(t, s.pod)
		e.WaitGone(t, s.pod)
	}, allInPod},
	{"the Deployment is scaled down to none", false, func(t *testing.T, s *shop) {
		must(t, "kubectl scale deployment/shop --replicas=0 -n "+s.namespace)
		e.WaitGone(t, s.pod)
	}, allInPod},
	{"the ReplicaSet is deleted", false, func(t *testing.T, s *shop) {
		must(t, "kubectl delete replicaset -l app=shop -n "+s.namespace)
		e.WaitGone(t, s.pod)
	}, allInPod},
	{"the container is killed", false, func(t *testing.T, s *shop) {
		kill(t, s.pod, workProcess+" 1h0m0s")
		kit.Eventually(t, "the container to run again", func(ctx context.Context) (bool, error) {
			now := &corev1.Pod{}
			if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(s.pod), now); err != nil {
				return false, err
			}
			status := now.Status.ContainerStatuses[0]
			return status.RestartCount > 0 && status.State.Running != nil, nil
		})
	}, []string{execSession, execProcess, attachSession, logsSession, openConnection}},
	{"the session's process in the container is killed", false, func(t *testing.T, s *shop) {
		kill(t, s.pod, sessionProcess)
	}, []string{execSession}},
	{"the kubelet is restarted", true, func(t *testing.T, _ *shop) {
		on.Kubelet.Stop()
		kit.Restart(t, on.Kubelet)
	}, allInPod},
	{"containerd is restarted", true, func(t *testing.T, _ *shop) {
		on.Containerd.Stop()
		kit.Restart(t, on.Containerd)
	}, []string{execSession, attachSession, openConnection, newConnection}},
	{"the API server is restarted", true, func(t *testing.T, _ *shop) {
		e.APIServer.Stop()
		kit.Restart(t, e.APIServer)
		if err := e.AdmissionReady(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, append([]string{watchSession}, allStreams...)},
}

// allStreams are the sessions that go through a kubelet to a Pod; allInPod is
// all that ends with the Pod.
var (
	allStreams = []string{execSession, attachSession, logsSession, openConnection, newConnection}
	allInPod   = append([]string{execProcess}, allStreams...)
)

// What ends a session that is open at the end of the access.
func TestWhatEndsAnOpenSession(t *testing.T) {
	settled(t)
	t.Run("together", func(t *testing.T) {
		for _, act := range acts {
			if !act.alone {
				t.Run(act.name, func(t *testing.T) {
					t.Parallel()
					act.play(t)
				})
			}
		}
	})
	for _, act := range acts {
		if act.alone {
			t.Run(act.name, func(t *testing.T) {
				act.play(t)
				settled(t)
			})
		}
	}
}

func (a act) play(t *testing.T) {
	s := newShop(t)
	s.open(t)
	s.revoke(t)
	begin := time.Now()
	a.do(t, s)
	for _, kind := range a.ends {
		if err := ends(t, s.sessions[kind]); err != nil {
			t.Errorf("%s lives on: %v", kind, err)
		}
		delete(s.sessions, kind)
	}
	if e.Minor < 37 {
		delete(s.sessions, execProcess) // it ended in one more row on 1.34, as the page says
	}
	t.Logf("what ends had ended %s after the act began", time.Since(begin).Round(time.Millisecond))
	for kind, session := range s.sessions {
		if err := says(t, session); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for kind, session := range s.sessions {
		if !session.open() {
			t.Errorf("%s ended after a while", kind)
		}
	}
	if !a.alone {
		return
	}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(s.pod), s.pod); err != nil {
		t.Fatal(err)
	}
	if restarts := s.pod.Status.ContainerStatuses[0].RestartCount; restarts != 0 {
		t.Errorf("the container was restarted, too, %d times", restarts)
	}
}
