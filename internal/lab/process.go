package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// stopTimeout is how long a process has to end on its own.
	stopTimeout = 5 * time.Second

	// logTail is how much of a dead process's log goes into the error.
	logTail = 4 << 10
)

// Process is one program that can be stopped, killed and started again with
// the same arguments, to see how others bear it.
type Process struct {
	name string
	path string
	args []string
	log  string
	// ready asks the running program once whether it serves.
	ready func(context.Context) error

	mu  sync.Mutex
	run *run // nil when not running
}

// NewProcess describes a program that is not running yet. Its output is
// appended to the file log. Start returns when ready does not fail.
func NewProcess(name, path, log string, ready func(context.Context) error, args ...string) *Process {
	return &Process{name: name, path: path, args: args, log: log, ready: ready}
}

// run is one life of a process.
type run struct {
	process *os.Process
	exited  chan struct{}
	err     error // how it ended; read only after exited is closed
}

// Start runs the program and waits until it serves. If it does not, the
// program is stopped, and the error ends with the last lines of its log.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("%s is running already", p.name)
	}
	r, err := p.launch()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.run = r

	err = Until(ctx, startTimeout, func(ctx context.Context) (bool, error) {
		select {
		case <-r.exited:
			return false, Hopeless(fmt.Errorf("it ended: %w", r.err))
		default:
			err := p.ready(ctx)
			return err == nil, err
		}
	})
	if err != nil {
		p.stop()
		return fmt.Errorf("start %s: %w; the end of %s:\n%s", p.name, err, p.log, p.LogTail())
	}
	return nil
}

// Name is what the program is called here.
func (p *Process) Name() string { return p.name }

// Ready asks the running program once whether it serves.
func (p *Process) Ready(ctx context.Context) error { return p.ready(ctx) }

// Stop asks the program to end, and kills it if it does not within seconds.
// It does nothing when the program is not running.
func (p *Process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop()
}

// Kill ends the program at once, as a crash would.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

// Signal sends a signal to the program: SIGSTOP and SIGCONT make it hang.
func (p *Process) Signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("signal %s: %w", p.name, os.ErrProcessDone)
	}
	return p.run.process.Signal(sig)
}

// PID is the program's process id, 0 when it is not running.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return 0
	}
	return p.run.process.Pid
}

// Exited is closed when the program's present life ends, however it does.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run == nil {
		ended := make(chan struct{})
		close(ended)
		return ended
	}
	return p.run.exited
}

// LogTail returns the last lines that the program wrote.
func (p *Process) LogTail() string {
	content, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(content) > logTail {
		content = content[len(content)-logTail:]
		if i := bytes.IndexByte(content, '\n'); i >= 0 {
			content = content[i+1:]
		}
	}
	return string(content)
}

func (p *Process) running() bool {
	if p.run == nil {
		return false
	}
	select {
	case <-p.run.exited:
		return false
	default:
		return true
	}
}

// launch starts the program from a goroutine that keeps its thread until the
// program ends: Linux kills the child when the *thread* that forked it ends.
func (p *Process) launch() (*run, error) {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	bindLifetime(cmd)

	r := &run{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()

		err := cmd.Start()
		r.process = cmd.Process
		started <- err
		if err != nil {
			return
		}
		if r.err = cmd.Wait(); r.err == nil {
			r.err = errors.New("exit status 0")
		}
		close(r.exited)
	}()
	return r, <-started
}

func (p *Process) stop() {
	if !p.running() {
		return
	}
	_ = p.run.process.Signal(syscall.SIGTERM)
	select {
	case <-p.run.exited:
	case <-time.After(stopTimeout):
		p.kill()
	}
}

func (p *Process) kill() {
	if !p.running() {
		return
	}
	_ = p.run.process.Kill()
	<-p.run.exited
}
