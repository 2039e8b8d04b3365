package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// processOf is the id of the process of a Pod that runs a program.
func processOf(t *testing.T, pod *corev1.Pod, program string) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range processes {
		command, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		cgroup, _ := os.ReadFile(filepath.Join(folder, "cgroup"))
		name, _, _ := bytes.Cut(command, []byte{0})
		if string(name) != program || !bytes.Contains(cgroup, []byte("pod"+string(pod.UID))) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	t.Fatalf("no process of Pod %s runs %s", pod.Name, program)
	return 0
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
