//go:build unix

package follow

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Nobody writes to the FIFO, so that opening it as a file would wait for ever.
func TestFIFO(t *testing.T) {
	w, r := setUp(t)
	ok(t, syscall.Mkfifo(w.path, 0o600))
	ok(t, syscall.Mkfifo(w.path+".1", 0o600))
	r.run()
	if !strings.Contains(r.said.String(), "no regular file") {
		t.Errorf("logged: %s", r.said)
	}
	ok(t, os.Remove(w.path))
	w.write(2)
	r.expect(w.want, 0, 0)
}

// In a large folder, a file may be renamed to a name that was passed already. Nobody
// may see the folder without it.
func TestNoFileIsOverlooked(t *testing.T) {
	w, r := setUp(t)
	w.write(1)
	backup := w.rotate()
	w.write(1)
	folder := filepath.Dir(w.path)
	for i := range 10_000 {
		ok(t, os.Link(backup, filepath.Join(folder, strings.Repeat("x", 200)+strconv.Itoa(i))))
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		name := backup
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := w.path + "." + string(rune('1'+i%9))
			if os.Link(name, next) != nil || os.Remove(name) != nil {
				return
			}
			name = next
		}
	}()
	f := newFollower(r.log, Position{}, r.handle)
	for range 4 {
		files, err := f.list()
		if err != nil {
			continue // it says that it cannot tell
		}
		if len(files) != 2 {
			t.Errorf("%d files", len(files))
		}
	}
	close(stop)
	<-stopped
	files := must[[]file](t)(f.list())
	if len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
}
