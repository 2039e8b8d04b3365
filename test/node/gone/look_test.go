package gone

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// look is what there is on the machine that a node could leave or change.
func look(t *testing.T) map[string]bool {
	t.Helper()
	seen := map[string]bool{}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		seen["mount: "+strings.TrimSpace(line)] = true
	}
	for _, pattern := range []string{
		"/tmp/" + trace + "*", "/run/*", "/var/lib/*", "/var/log/*", "/etc/cni", "/opt/cni",
		"/sys/class/net/*", "/sys/fs/cgroup/" + trace + "*", "/sys/fs/cgroup/*/" + trace + "*", "/sys/fs/cgroup/kubepods*", "/sys/fs/cgroup/*/kubepods*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			seen["path: "+path] = true
		}
	}
	for _, setting := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/hostname",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max",
	} {
		value, err := os.ReadFile("/proc/sys/" + setting)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		seen["setting: "+setting+" = "+strings.TrimSpace(string(value))] = true
	}
	seen["rules: "+rules(t)] = true
	return seen
}

// rules are the machine's firewall rules, those of iptables among them, and the
// sets of addresses that they could name.
func rules(t *testing.T) string {
	t.Helper()
	root, err := lab.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	packages := filepath.Join(root, "bin", "node", "packages")
	libraries, err := filepath.Glob(filepath.Join(packages, "usr", "lib", "*-linux-gnu"))
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, command := range [][]string{{"nft", "list", "ruleset"}, {"ipset", "list"}} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(packages, "usr", "sbin", command[0]), command[1:]...)
		cmd.Env = []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, output)
		}
		all += string(output)
	}
	return all
}

func differ(before, after map[string]bool) error {
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(after)) {
		if !before[what] {
			errs = append(errs, fmt.Errorf("left: %s", what))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(before)) {
		if !after[what] {
			errs = append(errs, fmt.Errorf("gone: %s", what))
		}
	}
	return errors.Join(errs...)
}
