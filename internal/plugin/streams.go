package plugin

import (
	"io"
	"os"
	"os/exec"
	"sync"

	"k8s.io/cli-runtime/pkg/printers"
)

// maxTail bounds what is kept of what a command says, in bytes: its end.
const maxTail = 1 << 20

// tail keeps the end of what is written.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*maxTail {
		t.kept = append([]byte(nil), t.kept[len(t.kept)-maxTail:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.kept) }

// maxInput bounds the input that is kept for another run, in bytes.
const maxInput = 64 << 20

// replayed is an input that several commands read one after another, each from its
// beginning. A terminal is handed on as it is.
type replayed struct {
	source   io.Reader
	terminal bool

	once sync.Once
	mu   sync.Mutex
	more *sync.Cond
	read []byte
	err  error
	// lost: it was too long, and its beginning is not kept.
	lost bool
}

func replay(source io.Reader) *replayed {
	r := &replayed{source: source, terminal: printers.IsTerminal(source)}
	r.more = sync.NewCond(&r.mu)
	return r
}

// feed gives a command the input from its beginning. done ends that: the command may
// have ended before its input did.
func (r *replayed) feed(command *exec.Cmd) (done func(), err error) {
	if r.terminal || r.source == nil {
		return func() {}, nil
	}
	r.mu.Lock()
	lost := r.lost
	r.mu.Unlock()
	if lost {
		return nil, hintf("Run the command yourself.", "the input is too long to be kept, and the command cannot be run again with it")
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	command.Stdin = theirs
	r.once.Do(func() { go r.collect() })
	go func() {
		defer func() { _ = ours.Close() }()
		for at := 0; ; {
			next, over := r.from(&at)
			if len(next) == 0 && over {
				return
			}
			n, err := ours.Write(next)
			if at += n; err != nil {
				return // the command reads no more
			}
		}
	}()
	return func() { _, _ = ours.Close(), theirs.Close() }, nil
}

// from waits for what comes after a place, and tells whether nothing will.
func (r *replayed) from(at *int) (next []byte, over bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost {
		r.read, *at = r.read[*at:], 0
		r.more.Broadcast()
	}
	for len(r.read) == *at && r.err == nil {
		r.more.Wait()
	}
	return r.read[*at:], r.err != nil
}

func (r *replayed) collect() {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.source.Read(buffer)
		r.mu.Lock()
		for len(r.read) >= maxInput {
			r.lost = true
			r.more.Broadcast()
			r.more.Wait()
		}
		r.read = append(r.read, buffer[:n]...)
		r.err = err
		r.more.Broadcast()
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}
