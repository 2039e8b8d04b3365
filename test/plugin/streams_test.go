package plugin

import (
	"bufio"
	"bytes"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/test/kit"
)

// syncBuffer is written and read at the same time.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// piped starts a command and reads the lines of its standard output.
func piped(t *testing.T, cmd *exec.Cmd) (*exec.Cmd, <-chan string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said syncBuffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return cmd, lines
}

func waitsFor(t *testing.T, lines <-chan string, want string) {
	t.Helper()
	patience := time.After(kit.Patience)
	for {
		select {
		case line, open := <-lines:
			if line == want {
				return
			}
			if !open {
				t.Fatalf("it ended without %q", want)
			}
		case <-patience:
			t.Fatalf("it never said %q", want)
		}
	}
}
