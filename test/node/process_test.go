package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/accessbroker/accessbroker/test/kit"
)

// How the command lines of a workload and of the broker begin.
const (
	workProcess   = "/pause work"
	brokerProcess = "/access-broker"
)

// processOf waits for the process of a Pod whose command line begins so, and
// returns its id.
func processOf(t *testing.T, pod *corev1.Pod, begin string) (pid int) {
	t.Helper()
	kit.Eventually(t, "a process of Pod "+pod.Name+" that runs "+begin, func(context.Context) (bool, error) {
		processes, err := filepath.Glob("/proc/[0-9]*")
		for _, folder := range processes {
			command, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
			cgroup, _ := os.ReadFile(filepath.Join(folder, "cgroup"))
			line := bytes.ReplaceAll(command, []byte{0}, []byte{' '})
			if bytes.HasPrefix(line, []byte(begin+" ")) && bytes.Contains(cgroup, []byte("pod"+string(pod.UID))) {
				pid, err = strconv.Atoi(filepath.Base(folder))
				return err == nil, err
			}
		}
		return false, err
	})
	return pid
}

// kill ends a process of a Pod as the kernel does when there is no memory left.
func kill(t *testing.T, pod *corev1.Pod, begin string) {
	t.Helper()
	if err := syscall.Kill(processOf(t, pod, begin), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// statusOf are the lines of a process's status, by their names.
func statusOf(t *testing.T, pid int) map[string]string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(line, ":")
		lines[name] = strings.Join(strings.Fields(value), " ")
	}
	return lines
}

// rootOptions are the options of a process's root file system.
func rootOptions(t *testing.T, pid int) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "/" {
			return fields[3]
		}
	}
	t.Fatal("it has no root")
	return ""
}
