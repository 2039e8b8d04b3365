package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// stopPatience is how long what is inside may take to end.
const stopPatience = 15 * time.Second

var endings = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}

// Main calls inside in namespaces of its own, in a process that is started for
// it with the same arguments, and returns its code. When it returns, or is
// killed, or the first process inside is, everything that was started inside
// ends and nothing of it is left on the machine. The context ends at Ctrl-C.
func Main(inside func(ctx context.Context) (code int, err error)) (code int, err error) {
	switch os.Getenv(stageVariable) {
	case stageCleaner:
		return 0, clean(os.Stdin, os.Getenv(nameVariable))
	case stageFirst:
		return first()
	case stageInside:
		ctx, stop := signal.NotifyContext(context.Background(), endings...)
		defer stop()
		if err := tools(); err != nil {
			return 1, err
		}
		return inside(ctx)
	default:
		return outside()
	}
}

// outside starts the cleaner and then the first process, and waits for both.
func outside() (code int, err error) {
	if err := Missing(); err != nil {
		return 1, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings...)
	defer stop()

	name := newName()
	cleaner, err := startCleaner(name)
	if err != nil {
		return 1, fmt.Errorf("start the cleaner: %w", err)
	}
	defer func() { err = errors.Join(err, cleaner.finish()) }()
	if err := errors.Join(os.Mkdir(folderOf(name), 0o700), makeCgroups(name)); err != nil {
		return 1, err
	}
	door, err := openDoor()
	if err != nil {
		return 1, err
	}
	defer door.Close()

	cmd := again(stageFirst, name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{door}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // Ctrl-C in the terminal is for this process, which passes it on
	}
	return wait(ctx, cmd, cleaner)
}

// wait runs the first process until it ends by itself or is asked to.
func wait(ctx context.Context, cmd *exec.Cmd, cleaner *cleaner) (code int, err error) {
	// Linux kills the child when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("make the node's namespaces: %w", err)
	}
	fmt.Fprintln(cleaner.life, cmd.Process.Pid)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-ended:
		case <-time.After(stopPatience):
			_ = cmd.Process.Kill()
		}
	}()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil // it has said why
	}
	if err != nil {
		return 1, fmt.Errorf("the node's first process: %w", err)
	}
	return 0, nil
}

// cleaner is a process that waits for the end of this one.
type cleaner struct {
	cmd *exec.Cmd
	// life is a pipe that the kernel closes when this process ends.
	life *os.File
}

func startCleaner(name string) (*cleaner, error) {
	watched, life, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer watched.Close()
	cmd := again(stageCleaner, name)
	cmd.Stdin, cmd.Stderr = watched, os.Stderr
	// A signal to this process's group, or a terminal that closes, is for the node.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, life.Close())
	}
	return &cleaner{cmd: cmd, life: life}, nil
}

// finish tells the cleaner that the end has come, and waits for it.
func (c *cleaner) finish() error { return errors.Join(c.life.Close(), c.cmd.Wait()) }

// again is this program in another stage.
func again(stage, name string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stage, nameVariable+"="+name)
	cmd.Env = cmd.Environ() // without the values of this stage
	return cmd
}

// openDoor is a listener on the machine's loopback address: the processes
// inside inherit it, and people outside reach the API server through it.
func openDoor() (*os.File, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.File()
}

func newName() string {
	bytes := make([]byte, 6)
	_, _ = rand.Read(bytes) // never fails, see its documentation
	return "access-broker-node-" + hex.EncodeToString(bytes)
}
