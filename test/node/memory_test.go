package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/accessbroker/accessbroker/test/kit"
)

// spare is how much memory tighten leaves a container beyond what it uses.
const spare = 1 << 20

// memoryFile is a file of the memory cgroup of a process: the first that there is,
// because the two versions of cgroups call it differently.
func memoryFile(t *testing.T, pid int, names ...string) string {
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
			file := filepath.Join(folder, fields[2], name)
			if _, err := os.Stat(file); err == nil {
				return file
			}
		}
	}
	t.Fatalf("process %d has none of %v", pid, names)
	return ""
}

// tighten leaves a broker's container little more memory than it uses. The Pod is
// deleted at the end of the test: another takes its place, as large as the
// Deployment says.
func tighten(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), pod) })
	pid := processOf(t, pod, brokerProcess)
	content, err := os.ReadFile(memoryFile(t, pid, "memory.usage_in_bytes", "memory.current"))
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	limit := strconv.AppendInt(nil, used+spare, 10)
	if err := os.WriteFile(memoryFile(t, pid, "memory.limit_in_bytes", "memory.max"), limit, 0); err != nil {
		t.Fatal(err)
	}
}

// fill makes a broker need more memory than it may have: many people connect.
func fill(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	for range 400 {
		connection, err := tls.Dial("tcp", net.JoinHostPort(pod.Status.PodIP, "8443"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return // it has fallen
		}
		t.Cleanup(func() { _ = connection.Close() })
	}
}

// Anyone in the cluster may connect to the broker and send what has no end: it
// costs next to nothing.
func TestHeadersWithoutEnd(t *testing.T) {
	settled(t)
	header := append([]byte("GET /healthz HTTP/1.1\r\nHost: broker\r\nX-Long: "), bytes.Repeat([]byte{'x'}, 1_000_000)...)
	var group errgroup.Group
	group.SetLimit(200)
	for _, pod := range brokers(t) {
		for range 1000 {
			group.Go(func() error {
				connection, err := net.Dial("tcp", net.JoinHostPort(pod.Status.PodIP, "8081"))
				if err != nil {
					return err
				}
				t.Cleanup(func() { _ = connection.Close() })
				if err := connection.SetWriteDeadline(time.Now().Add(kit.Patience)); err != nil {
					return err
				}
				_, _ = connection.Write(header) // it is cut off
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	endOnTime(t, given(t, 2*time.Second))
	for _, pod := range brokers(t) {
		if restarts := pod.Status.ContainerStatuses[0].RestartCount; restarts != 0 {
			t.Errorf("%s fell %d times", pod.Name, restarts)
		}
	}
}
