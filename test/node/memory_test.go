package node

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/test/kit"
)

// spare is how much memory confine leaves a container beyond what it uses: a
// kubelet does not set a limit below what it measured last.
const spare = 64 << 20

// memoryOf is a file of the memory cgroup of a process: the first that there is,
// because the two versions of cgroups call it differently.
func memoryOf(t *testing.T, pid int, names ...string) int64 {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		folder := "/sys/fs/cgroup"
		if fields[1] == "memory" {
			folder = "/sys/fs/cgroup/memory"
		}
		for _, name := range names {
			content, err := os.ReadFile(filepath.Join(folder, fields[2], name))
			if err != nil {
				continue
			}
			value, err := strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("process %d has none of %v", pid, names)
	return 0
}

// confine resizes a broker's Pod, as an administrator or an autoscaler does, so
// that it has little more memory than it uses. The Pod is deleted at the end of
// the test: another takes its place, as large as the Deployment says.
func confine(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), pod) })
	pid := processOf(t, pod, brokerProcess)
	limit := memoryOf(t, pid, "memory.usage_in_bytes", "memory.current") + spare
	smaller := pod.DeepCopy()
	resources := &smaller.Spec.Containers[0].Resources
	resources.Requests[corev1.ResourceMemory] = *resource.NewQuantity(spare, resource.BinarySI)
	resources.Limits[corev1.ResourceMemory] = *resource.NewQuantity(limit, resource.BinarySI)
	if _, err := e.Clientset.CoreV1().Pods(pod.Namespace).UpdateResize(t.Context(), pod.Name, smaller, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("resize %s: %v", pod.Name, err)
	}
	kit.Eventually(t, "the kernel to know the smaller limit", func(context.Context) (bool, error) {
		if now := memoryOf(t, pid, "memory.limit_in_bytes", "memory.max"); now > limit {
			return false, fmt.Errorf("it is %d, not %d: %s", now, limit, resizing(t, pod))
		}
		return true, nil
	})
}

// resizing is what the kubelet says about the resize of a Pod.
func resizing(t *testing.T, pod *corev1.Pod) (said string) {
	t.Helper()
	now := &corev1.Pod{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(pod), now); err != nil {
		return err.Error()
	}
	for _, c := range now.Status.Conditions {
		if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
			said += fmt.Sprintf("%s %s %s ", c.Type, c.Reason, c.Message)
		}
	}
	return said
}

// fill makes a broker need more memory than it may have: people send headers
// without an end.
func fill(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	header := append([]byte("GET /healthz HTTP/1.1\r\nHost: broker\r\nX-Long: "), bytes.Repeat([]byte{'x'}, 1_000_000)...)
	for range 200 {
		connection, err := net.Dial("tcp", net.JoinHostPort(pod.Status.PodIP, "8081"))
		if err != nil {
			return // it has fallen
		}
		t.Cleanup(func() { _ = connection.Close() })
		if connection.SetWriteDeadline(time.Now().Add(kit.Patience)) != nil {
			return
		}
		if _, err := connection.Write(header); err != nil {
			return
		}
	}
}
