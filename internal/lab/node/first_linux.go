package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateSize is far more than the images, the logs and etcd take.
const stateSize = "size=4g,mode=0755"

// kept are settings of the whole machine that a kubelet would change. It finds
// what it wants in their place, and changes nothing.
var kept = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// first is the first process inside: it furnishes the namespaces, starts the
// next stage, and waits for all that have lost their parents. Its end is the
// end of every process inside.
func first() (code int, err error) {
	if err := furnish(); err != nil {
		return 1, fmt.Errorf("furnish the node's namespaces: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endings...)

	cmd := again(stageInside, os.Getenv(nameVariable))
	cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(state, "tmp"))
	child, err := os.StartProcess(cmd.Path, cmd.Args, &os.ProcAttr{
		Env:   cmd.Environ(),
		Files: []*os.File{nil, os.Stdout, os.Stderr, os.NewFile(doorFD, "door")},
	})
	if err != nil {
		return 1, err
	}
	go func() {
		for s := range signals {
			_ = child.Signal(s)
		}
	}()
	return reap(child.Pid)
}

// reap waits for children, and orphans, until the one that matters ends.
func reap(child int) (code int, err error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for a process: %w", err)
		case pid == child && status.Exited():
			return status.ExitStatus(), nil
		case pid == child:
			return 1, fmt.Errorf("what runs inside was ended by signal %s", status.Signal())
		}
	}
}

// furnish makes the file systems inside. It begins with cutting the tie to the
// machine's mounts, so that nothing is mounted there.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	if err := mount("proc", "/proc", "proc", ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/run", "tmpfs", stateSize); err != nil {
		return err
	}
	upper, work := filepath.Join(state, "var"), filepath.Join(state, "work")
	for _, folder := range []string{upper, work, filepath.Join(state, "tmp"), filepath.Join(state, "kept")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	// Some paths below /var are not for choosing.
	if err := mount("overlay", "/var", "overlay", "lowerdir=/var,upperdir="+upper+",workdir="+work); err != nil {
		return err
	}
	if err := keepSettings(); err != nil {
		return err
	}
	// Mounts of a kubelet reach the containers that ask for it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share the mounts inside: %w", err)
	}
	return nil
}

func keepSettings() error {
	for setting, value := range kept {
		target := "/proc/sys/" + setting
		if _, err := os.Stat(target); errors.Is(err, os.ErrNotExist) {
			continue
		}
		stand := filepath.Join(state, "kept", filepath.Base(setting))
		if err := os.WriteFile(stand, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(stand, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide %s: %w", target, err)
		}
	}
	return nil
}

func mount(source, target, kind, options string) error {
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}
