package follow

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// beginning is what tells a file from others, whatever its name.
type beginning struct {
	// stamp is that of the first event, and zero while there is none.
	stamp time.Time
	// mark is the end of the line of that event, with the stamp in it: what users
	// wrote into an event cannot make two files look the same. at is where it is.
	mark string
	at   int64
	// start is where the content begins: behind the zeros that are left when a file
	// was cut while it was written to.
	start int64
	// half: no line of it is whole yet.
	half bool
	// givenUp: there is no event where one should be.
	givenUp bool
}

const (
	maxMark = 1 << 10
	// maxBeginning is how far it looks for an event: behind one that is too long.
	maxBeginning = 2 * usage.MaxEvent
)

// begin reads the beginning of a file, uncompressed. Only whole lines count: what
// follows a half one may change what it says.
func begin(file io.Reader) (b beginning, err error) {
	in := bufio.NewReaderSize(file, 64<<10)
	if b.start, err = zeros(in); err != nil {
		return b, err
	}
	var first, line []byte
	whole := false
	for at := b.start; at-b.start < maxBeginning; {
		piece, err := in.ReadSlice('\n')
		if len(line) <= usage.MaxEvent {
			line = append(line, piece...)
		}
		if len(first) < maxMark {
			first = append(first, piece[:min(len(piece), maxMark-len(first))]...)
		}
		at += int64(len(piece))
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			b.mark, b.at, b.half = string(first), b.start, !whole && len(first) > 0
			return b, nil
		case err != nil:
			return b, err
		}
		whole = true
		if b.stamp = stampOf(line); !b.stamp.IsZero() {
			mark := line[max(0, len(line)-maxMark):]
			b.mark, b.at = string(mark), at-int64(len(mark))
			return b, nil
		}
		line = line[:0]
	}
	b.mark, b.at, b.givenUp = string(first), b.start, true
	return b, nil
}

// zeros skips the zeros at the beginning.
func zeros(in *bufio.Reader) (n int64, err error) {
	for {
		buffered, err := in.Peek(max(1, in.Buffered()))
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		some := len(buffered) - len(bytes.TrimLeft(buffered, "\x00"))
		if some == 0 {
			return n, nil
		}
		n += int64(some)
		if _, err := in.Discard(some); err != nil {
			return n, err
		}
	}
}

// stampOf is when the event of a line reached its stage, which is when it was
// written; for a watch, it may have been received long before.
func stampOf(line []byte) time.Time {
	if len(line) > usage.MaxEvent+1 {
		return time.Time{}
	}
	if t := stageTimestamp(line); !t.IsZero() {
		return t
	}
	// Something may be around the event.
	var t time.Time
	_, _ = usage.Read(bytes.NewReader(line), nil, func(e *usage.Event) error {
		t = e.Stamped
		return io.EOF
	})
	return t
}

// stageTimestamp reads the event itself, not the objects in it: those are what users
// sent.
func stageTimestamp(line []byte) (t time.Time) {
	d := jsontext.NewDecoder(bytes.NewReader(line), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return t
	}
	for {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return t
		}
		if name.String() != "stageTimestamp" {
			if err := d.SkipValue(); err != nil {
				return t
			}
			continue
		}
		value, err := d.ReadToken()
		if err != nil || value.Kind() != '"' {
			return t
		}
		if t, err = time.Parse(time.RFC3339Nano, value.String()); err != nil {
			return time.Time{}
		}
		return t.UTC()
	}
}
