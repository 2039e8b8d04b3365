package usage

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
)

// MaxEvent is how large an event may be, with what a shipper wraps it in. Without
// bodies of requests (level Metadata) none is larger, so nobody can make an own call
// too large to be read: paths and headers are at most 1 MiB, and six times that where
// every character is escaped. With bodies, an event may be larger, unless the API
// server cuts it (--audit-log-truncate-enabled, at 100 KiB).
const MaxEvent = 8 << 20

// Skipped counts what Read did not hand on.
type Skipped struct {
	// Broken is what is not whole: half lines, and events without an ID, a stage or
	// a time.
	Broken int `json:"broken"`
	// TooLong is larger than MaxEvent.
	TooLong int `json:"tooLong"`
	// Stages are events of other stages, such as RequestReceived.
	Stages int `json:"otherStages"`
	// Foreign is whole and no audit event: other logs, other JSON, and what a
	// container printed that looks like an event.
	Foreign int `json:"noAuditEvents"`
	// Unasked is what the filter does not ask for. Of that, most was not decoded.
	Unasked int `json:"unasked"`
}

// Add adds what was skipped elsewhere.
func (s *Skipped) Add(other Skipped) {
	s.Broken += other.Broken
	s.TooLong += other.TooLong
	s.Stages += other.Stages
	s.Foreign += other.Foreign
	s.Unasked += other.Unasked
}

// Read hands on each audit event that the filter asks for; a nil filter asks for
// all. The event is valid until visit returns; an error of visit ends the reading.
//
// What is read may be, also mixed and compressed by gzip: an audit log (an event a
// line); an EventList of the webhook backend; events in the envelopes of CloudWatch,
// Cloud Logging and Azure, also as Firehose, Lambda, Pub/Sub and Event Grid deliver
// them; and JSON in which a shipper wrapped the event, as an object or as a string.
// Duplicates are handed on: they have the same ID and Stage.
//
// Memory is bounded, whatever comes: a few times MaxEvent.
func Read(r io.Reader, f *Filter, visit func(*Event) error) (Skipped, error) {
	d := &decoder{filter: f, visit: visit, expandable: freeExpanded}
	err := d.read(r, origin{}, 0)
	return d.skipped, err
}

// read goes through a stream, or through what was packed within it.
func (d *decoder) read(r io.Reader, from origin, wrapped int) error {
	l := &d.levels[from.packages]
	r = l.raw.over(r)
	if magic, err := l.raw.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if err := l.zip.Reset(r); err != nil {
			return err
		}
		r = &l.zip
	}
	if from.packages > 0 {
		r = expanding{r, d}
	}
	l.in.over(r)
	if mark, err := l.in.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = l.in.Discard(3)
	}
	l.d = d
	l.doc = document{
		emit: func(text []byte) error { return d.unit(text, from, wrapped) }, head: l.doc.head[:0], unit: l.doc.unit[:0],
	}
	return l.read()
}

// chunk is how much is read at a time. Most lines fit in one.
const chunk = 64 << 10

// lines goes through a stream line by line. No JSON has a line break within a
// string, so a line that begins with { and ends with } is one or more whole values.
// Anything else is part of a document of many lines, or of one very long one.
type lines struct {
	raw, in chunks
	zip     gzip.Reader
	d       *decoder
	doc     document
	buf     []byte
}

// chunks reads a stream in chunks, one stream after the other.
type chunks struct{ *bufio.Reader }

func (c *chunks) over(r io.Reader) io.Reader {
	if c.Reader == nil {
		c.Reader = bufio.NewReaderSize(r, chunk)
	} else {
		c.Reset(r)
	}
	return c.Reader
}

func (l *lines) read() error {
	for {
		line, err := l.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if line, err = l.longer(line); line == nil && err == nil {
				continue
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if failed := l.line(line); failed != nil {
			return failed
		}
		if err != nil {
			l.d.skipped.Broken += l.doc.end()
			return nil
		}
	}
}

// longer collects a line that does not fit in a chunk. One that is longer than an
// event may be goes to the document piece by piece; then there is no line.
func (l *lines) longer(begin []byte) ([]byte, error) {
	l.buf = append(l.buf[:0], begin...)
	var err error
	for ended := false; len(l.buf) <= MaxEvent; {
		if ended {
			return l.buf, err
		}
		var more []byte
		more, err = l.in.ReadSlice('\n')
		l.buf = append(l.buf, more...)
		ended = !errors.Is(err, bufio.ErrBufferFull)
	}
	l.newLine(l.buf)
	for piece := l.buf; ; {
		if failed := l.feed(piece); failed != nil {
			return nil, failed
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		piece, err = l.in.ReadSlice('\n')
	}
}

func (l *lines) line(line []byte) error {
	text := bytes.TrimSpace(line)
	if len(text) == 0 {
		return nil
	}
	l.newLine(line)
	switch {
	case l.doc.open():
		return l.feed(line)
	case text[0] == '{' && text[len(text)-1] == '}':
		return l.doc.emit(text)
	case text[0] == '{', text[0] == '[':
		return l.feed(line)
	}
	// A time or a syslog header stands before the event, or it is some other log.
	switch at := bytes.IndexByte(text, '{'); {
	case at > 0 && text[len(text)-1] == '}' && isPiece(text[:at]):
		l.d.skipped.Broken++
	case at > 0 && text[len(text)-1] == '}':
		return l.doc.emit(text[at:])
	case !punctuation(text):
		l.d.skipped.Foreign++
	}
	return nil
}

// isPiece tells whether a container runtime (CRI) cut the line. A piece of an event
// may look like another one: bodies of requests are in it as users sent them.
func isPiece(before []byte) bool {
	fields := bytes.Fields(before)
	return len(fields) == 3 && string(fields[2]) == "P"
}

// newLine gives up a document that is not whole, when a line shows that.
func (l *lines) newLine(line []byte) {
	if l.doc.brokenBy(line) {
		l.doc = document{emit: l.doc.emit, head: l.doc.head[:0], unit: l.doc.unit[:0]}
		l.d.skipped.Broken++
	}
}

func (l *lines) feed(piece []byte) error {
	long, err := l.doc.feed(piece)
	l.d.skipped.TooLong += long
	return err
}

// punctuation: what is left of a document that was given up.
func punctuation(text []byte) bool {
	for _, c := range text {
		if c != '}' && c != ']' && c != ',' {
			return false
		}
	}
	return true
}
