package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/test/kit"
)

// answerTimeout is long for a machine that talks to itself.
const answerTimeout = time.Second

// place is the network of a Pod, by the id of a process in it, or with 0 the
// node's.
type place int

// placeOf is the network of a Pod: the process that holds it is in each Pod.
func placeOf(t *testing.T, pod *corev1.Pod) place {
	t.Helper()
	return place(processOf(t, pod, "/pause"))
}

// do does something in the place. The goroutine keeps its thread, which ends
// with it: the thread is in the Pod's network for good.
func (p place) do(what func() error) error {
	if p == 0 {
		return what()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		space, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", p))
		if err != nil {
			done <- err
			return
		}
		defer space.Close()
		if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter the network of process %d: %w", p, err)
			return
		}
		done <- what()
	}()
	return <-done
}

// dial connects from the place. An address without a name is dialled on the
// thread that asks.
func (p place) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = p.do(func() (err error) {
		dialer := net.Dialer{Timeout: answerTimeout}
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// listen makes addresses of the place answer until the end of the test.
func (p place) listen(t *testing.T, network string, addresses ...string) {
	t.Helper()
	for _, address := range addresses {
		err := p.do(func() error {
			if network == "udp" {
				return answerUDP(t, address)
			}
			return answerTCP(t, address)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func answerTCP(t *testing.T, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return nil
}

func answerUDP(t *testing.T, address string) error {
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1)
		for {
			_, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buffer, from)
		}
	}()
	return nil
}

// house starts a Pod that does nothing but have an address.
func house(t *testing.T, ns, name string, labels map[string]string) *corev1.Pod {
	t.Helper()
	spec := workload(time.Hour, 0)
	spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels}, Spec: spec}
	kit.Create(t, e.Admin, pod)
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(e.Admin.Delete(context.WithoutCancel(t.Context()), pod, client.GracePeriodSeconds(0))); err != nil {
			t.Error(err)
		}
	})
	kit.Eventually(t, "Pod "+name+" to run", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != "", err
	})
	return pod
}
