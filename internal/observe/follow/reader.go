package follow

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// chunkSize is how much is handed on at a time, unless a line is longer.
const chunkSize = 256 << 10

// errCut says that a file was cut, or written anew, while it was read.
var errCut = errors.New("the log was cut while being read")

// reader reads the whole lines of one file.
type reader struct {
	file
	in    *os.File
	unzip *gzip.Reader
	// buf is what was read and not yet dropped; offset is where it begins.
	buf    []byte
	offset int64
	// seen is how much of buf has no line break.
	seen int
	// tooLong: buf begins within a line that is too long. lost counts those since the
	// last lines that were handed on.
	tooLong bool
	lost    int64
	check   []byte
}

// openFile never waits for a writer, as opening a FIFO would.
func openFile(path string) (*os.File, error) {
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		_ = in.Close()
		return nil, err
	}
	return in, nil
}

// openReader goes on at an offset.
func openReader(f file, offset int64) (*reader, error) {
	in, err := openFile(f.path)
	if err != nil {
		return nil, err
	}
	r := &reader{file: f, in: in, offset: max(offset, f.start), buf: make([]byte, 0, chunkSize), check: make([]byte, len(f.mark))}
	if info, err := in.Stat(); err != nil || !os.SameFile(info, f.info) {
		// The name has gone to another file.
		r.close()
		return nil, errors.Join(errCut, err)
	}
	if f.zipped {
		if r.unzip, err = gzip.NewReader(in); err == nil {
			_, err = io.CopyN(io.Discard, r.unzip, r.offset)
		}
	} else {
		err = r.cut()
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *reader) close() { _ = r.in.Close() }

// lines are whole lines, as many as fit in a chunk, or none at the end of the file.
// They are valid until drop.
func (r *reader) lines() ([]byte, error) {
	for {
		if lines := r.whole(); lines != nil {
			return lines, nil
		}
		if n, err := r.fill(); err != nil || n == 0 {
			return nil, err
		}
	}
}

// whole finds whole lines in what was read.
func (r *reader) whole() []byte {
	for {
		if !r.tooLong {
			// A line that begins with zeros was written to a file that had been cut.
			r.drop(len(r.buf) - len(bytes.TrimLeft(r.buf, "\x00")))
		}
		first := bytes.IndexByte(r.buf[r.seen:], '\n')
		switch {
		case first < 0 && (r.tooLong || len(r.buf) > usage.MaxEvent):
			r.tooLong = true
			r.drop(len(r.buf))
			return nil
		case first < 0:
			r.seen = len(r.buf)
			return nil
		}
		first += r.seen
		switch {
		case r.tooLong || first > usage.MaxEvent:
			r.tooLong = false
			r.lost++
			r.drop(first + 1)
		case len(r.buf) > chunkSize:
			return r.buf[:first+1]
		default:
			return r.buf[:bytes.LastIndexByte(r.buf, '\n')+1]
		}
	}
}

// drop gives up the beginning of what was read.
func (r *reader) drop(n int) {
	rest := r.buf[n:]
	if cap(r.buf) > chunkSize && len(rest) <= chunkSize {
		// Long lines are rare; do not keep the memory for the next one.
		r.buf = append(make([]byte, 0, chunkSize), rest...)
	} else if n > 0 {
		r.buf = r.buf[:copy(r.buf, rest)]
	}
	r.offset += int64(n)
	r.seen = max(0, r.seen-n)
}

// fill reads on. At the end of the file, it reads nothing.
func (r *reader) fill() (n int, err error) {
	if len(r.buf) == cap(r.buf) {
		r.buf = append(make([]byte, 0, min(2*cap(r.buf), usage.MaxEvent+chunkSize)), r.buf...)
	}
	space := r.buf[len(r.buf):cap(r.buf)]
	if r.unzip != nil {
		n, err = io.ReadFull(r.unzip, space)
		if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
			// The end of the file, or of what is there of it: the next read tells.
			err = nil
		}
	} else {
		n, err = r.in.ReadAt(space, r.offset+int64(len(r.buf)))
		if n > 0 || errors.Is(err, io.EOF) {
			// What was read is of this file only if it was not cut before that.
			if err := r.cut(); err != nil {
				return 0, err
			}
		}
	}
	r.buf = r.buf[:len(r.buf)+n]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// cut tells whether the file still is what it was.
func (r *reader) cut() error {
	n, err := r.in.ReadAt(r.check, r.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if n < len(r.check) || string(r.check) != r.mark {
		return errCut
	}
	info, err := r.in.Stat()
	if err != nil {
		return err
	}
	if info.Size() < r.offset+int64(len(r.buf)) {
		return errCut
	}
	return nil
}

// half tells whether a line has begun that does not end.
func (r *reader) half() bool { return len(r.buf) > 0 || r.tooLong }
