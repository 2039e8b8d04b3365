package usage

import "bytes"

// document takes JSON apart that does not fit in memory, or has many lines: into the
// elements of the array that it is, or that it holds under one of the names of
// envelopes. Each element is handed on within the beginning of its envelope, which
// says where it comes from. All other JSON is handed on as it is.
//
// It only follows quotes and brackets: whoever takes what it hands on checks that it
// is JSON.
type document struct {
	emit func([]byte) error

	depth            int
	inString, escape bool
	last             byte // the last byte that is not white space

	// text is the string at depth 1 that is being read, or was read last: a name,
	// where an array follows.
	text []byte
	// head is what stands before the elements, tail what closes it again. Without
	// a tail there is no array of elements yet.
	head []byte
	tail string
	// base is the depth around a unit.
	base int
	unit []byte
	long bool
	// after: the elements have come, and the rest of the envelope does not matter.
	after bool
}

// maxHead is how long the beginning of an envelope may be.
const maxHead = 4 << 10

func (d *document) open() bool { return d.depth > 0 }

// inUnit: the document is within something that it has to hand on.
func (d *document) inUnit() bool { return d.depth > d.base }

// brokenBy tells whether the line shows that what is open will not be closed: a
// string does not go on in another line, and { at the beginning of a line begins
// something new, unless an array waits for its next element.
func (d *document) brokenBy(line []byte) bool {
	return d.open() && (d.inString || line[0] == '{' && (d.inUnit() || d.after))
}

// end tells how much is left open at the end of the stream, 0 or 1.
func (d *document) end() int {
	if d.open() {
		return 1
	}
	return 0
}

// feed takes the next piece of the stream, and counts what was too long.
func (d *document) feed(piece []byte) (long int, err error) {
	for at := 0; at < len(piece); {
		n := 1
		if d.inString {
			n = d.within(piece[at:])
		} else {
			d.structure(piece[at])
		}
		d.keep(piece[at : at+n])
		at += n
		if !d.inString && d.depth == d.base && len(d.unit) > 0 {
			over, err := d.hand()
			if long += over; err != nil {
				return long, err
			}
		}
	}
	return long, nil
}

// within goes on in a string, up to and with its end if that is there.
func (d *document) within(piece []byte) int {
	for i, c := range piece {
		switch {
		case d.escape:
			d.escape = false
		case c == '\\':
			d.escape = true
		case c == '"':
			d.inString, d.last = false, c
			return i + 1
		}
		if d.depth == 1 && len(d.text) < len("xxxxxxxxxxxx") {
			d.text = append(d.text, c)
		}
	}
	return len(piece)
}

func (d *document) structure(c byte) {
	switch c {
	case ' ', '\t', '\r', '\n':
		return
	case '"':
		d.inString = true
		if d.depth == 1 {
			d.text = d.text[:0]
		}
	case '{':
		d.depth++
	case '[':
		switch {
		case d.depth == 0:
			d.elements([]byte("["), "]")
		case d.depth == 1 && d.tail == "" && !d.long && len(d.unit) < maxHead && envelopes[string(d.text)]:
			d.elements(append(d.unit, '['), "]}")
		}
		d.depth++
	case '}', ']':
		d.depth = max(0, d.depth-1)
		if d.tail != "" && d.depth < d.base && !d.after {
			d.after = d.depth > 0
			d.base = 0
		}
		if d.depth == 0 && d.tail != "" {
			d.tail, d.after, d.base = "", false, 0
		}
	}
	d.last = c
}

// elements: from here on, what comes are the elements of an array.
func (d *document) elements(head []byte, tail string) {
	d.head, d.tail = append(d.head[:0], head...), tail
	d.unit, d.base = d.unit[:0], d.depth+1
}

// keep keeps a piece of what will be handed on.
func (d *document) keep(piece []byte) {
	switch {
	case d.after, d.long, !d.inUnit() && len(d.unit) == 0:
	case len(d.unit)+len(piece) > MaxEvent:
		d.long = true
	default:
		if len(d.unit) == 0 && d.tail != "" {
			d.unit = append(d.unit, d.head...)
		}
		d.unit = append(d.unit, piece...)
	}
}

// hand hands the unit on.
func (d *document) hand() (long int, err error) {
	if d.long {
		d.long, d.unit = false, d.unit[:0]
		return 1, nil
	}
	unit := bytes.TrimSpace(append(d.unit, d.tail...))
	d.unit = unit[:0]
	return 0, d.emit(unit)
}

// envelopes are the names under which many events come together: of an EventList,
// of CloudWatch (a subscription, and what was looked up), Azure and Loki.
var envelopes = map[string]bool{
	"items": true, "logEvents": true, "events": true, "results": true, "records": true, "entries": true,
	"streams": true, "values": true,
}
