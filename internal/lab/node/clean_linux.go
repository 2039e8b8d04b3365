package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// cleanPatience is how long the kernel may take to end all processes inside.
const cleanPatience = 30 * time.Second

// clean waits until the command that holds the other end of life has ended,
// however it did, and then removes what namespaces do not: cgroups and a folder.
// What comes through life is the id of the first process inside.
func clean(life io.Reader, name string) error {
	input := bufio.NewReader(life)
	var pid int
	var ended error
	if _, err := fmt.Fscanln(input, &pid); err == nil {
		first, err := unix.PidfdOpen(pid, 0)
		if err == nil {
			_, _ = io.Copy(io.Discard, input)
			ended = waitEnd(first)
		}
	}
	_, err := io.Copy(io.Discard, input)
	return errors.Join(err, ended, removeCgroups(name), os.RemoveAll(folderOf(name)))
}

// waitEnd waits for a process that should have ended with the command. The
// first process of a namespace has ended when all others in it have.
func waitEnd(pidfd int) error {
	defer func() { _ = unix.Close(pidfd) }()
	if err := unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the node's first process: %w", err)
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(cleanPatience.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the node's first process: %w", err)
		case n == 0:
			return fmt.Errorf("the node's first process lives on after %s", cleanPatience)
		default:
			return nil
		}
	}
}

// hierarchies are the folders of the machine's cgroups: one, or with version 1
// one for each kind of resource.
func hierarchies() ([]string, error) {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	var found []string
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			found = append(found, fields[1])
		}
	}
	return found, lines.Err()
}

// makeCgroups makes the one cgroup below which all Pods are.
func makeCgroups(name string) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return errors.New("no cgroups are mounted on this machine: a kubelet needs /sys/fs/cgroup")
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return fmt.Errorf("make a cgroup: %w", err)
		}
	}
	return nil
}

// removeCgroups waits for the last process in each cgroup: the kernel removes
// none that has one.
func removeCgroups(name string) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		err := lab.Until(context.Background(), cleanPatience, func(context.Context) (bool, error) { return true, removeTree(path) })
		if err != nil {
			return fmt.Errorf("remove cgroup %s: %w", path, err)
		}
	}
	return nil
}

// removeTree removes a cgroup and those below: the files in it go by themselves.
func removeTree(path string) error {
	var found []string
	err := filepath.WalkDir(path, func(below string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			found = append(found, below)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, folder := range slices.Backward(found) {
		if err := unix.Rmdir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
