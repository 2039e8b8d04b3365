package usage

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder finds the events in what lines and document hand it.
type decoder struct {
	filter  *Filter
	visit   func(*Event) error
	skipped Skipped
	words   words
	buf     []byte
	err     error // of visit
	// levels go through the stream, and through packages in it and in one another.
	levels [1 + maxPacked]lines
	// expandable is how much may still come out of packages.
	expandable int64
}

// maxWrapped is how many envelopes and wrappers may be around an event.
const maxWrapped = 10

// unit takes one or more whole values.
func (d *decoder) unit(text []byte, from origin, wrapped int) error {
	if !d.mayHold(text) {
		d.skipped.Unasked++
		return nil
	}
	if value, ok := valid(text); ok {
		d.value(value, from, wrapped)
		return d.err
	}
	return d.several(text, from, wrapped)
}

// several takes values that some shippers write one after the other. It takes all or
// none: a whole value at the beginning of a half line may be the body of a request.
func (d *decoder) several(text []byte, from origin, wrapped int) error {
	var all [][]byte
	for many := jsontext.NewDecoder(bytes.NewReader(text), lenient...); ; {
		value, err := many.ReadValue()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.skipped.Broken++
			return nil
		}
		end := int(many.InputOffset())
		all = append(all, text[end-len(value):end])
	}
	for _, value := range all {
		d.value(value, from, wrapped)
	}
	return d.err
}

// value takes a valid value: an event, what holds events, or something foreign.
func (d *decoder) value(value []byte, from origin, wrapped int) {
	if d.err != nil || len(value) == 0 {
		return
	}
	if wrapped > maxWrapped {
		d.skipped.Foreign++
		return
	}
	switch value[0] {
	case '{':
		d.object(value, from, wrapped)
	case '[':
		elements(value, func(element []byte) { d.value(element, from, wrapped+1) })
	case '"':
		d.text(value, from, wrapped)
	default:
		d.skipped.Foreign++
	}
}

// text takes a string, which may hold JSON.
func (d *decoder) text(value []byte, from origin, wrapped int) {
	text := bytes.TrimSpace(unquoted(nil, value))
	switch {
	case len(text) == 0 || text[0] != '{':
		d.skipped.Foreign++
	case !d.mayHold(text):
		d.skipped.Unasked++
	default:
		from.packs = false
		inner, ok := valid(text)
		if !ok {
			d.skipped.Broken++
			return
		}
		d.value(inner, from, wrapped+1)
	}
}

// object takes an object: by its names it is an event, an entry of Cloud Logging, or
// something around them.
func (d *decoder) object(value []byte, from origin, wrapped int) {
	var o object
	if !o.read(value) {
		d.skipped.Broken++
		return
	}
	packs := from.packs
	from = from.within(&o)
	switch {
	case from.foreign, o.isOther():
		d.skipped.Foreign++
	case o.isEvent():
		d.event(&o)
	case o[keyProtoPayload] != nil:
		d.entry(&o)
	case o.isPiece(from.azure):
		d.skipped.Broken++
	default:
		switch at, inner := o.around(); {
		case inner == nil:
			d.skipped.Foreign++
		case (at == keyDataBase64 || at == keyData && packs) && isPacked(inner):
			d.packed(inner, from, wrapped)
		default:
			from.packs = at == keyRecords || at == keyAWSLogs || at == keyMessage
			d.around(inner, from, wrapped)
		}
	}
}

// around goes into what is around events. A list of an envelope may be empty.
func (d *decoder) around(inner []byte, from origin, wrapped int) {
	if inner[0] != '[' && len(inner) > 1 && !d.mayHold(inner) {
		d.skipped.Unasked++
		return
	}
	d.value(inner, from, wrapped+1)
}

// found hands an event on.
func (d *decoder) found(e *Event) {
	if e.Received.IsZero() {
		e.Received = e.Stamped
	}
	if e.Stamped.IsZero() {
		e.Stamped = e.Received
	}
	switch {
	case e.ID == "" || e.Stage == "" || e.Stamped.IsZero():
		d.skipped.Broken++
	case e.Stage != "ResponseComplete" && e.Stage != "ResponseStarted" && e.Stage != "Panic":
		d.skipped.Stages++
	case !d.filter.asksFor(e):
		d.skipped.Unasked++
	default:
		d.err = d.visit(e)
	}
}

// string is the text of a string value.
func (d *decoder) string(value []byte) string {
	if cap(d.buf) < len(value) {
		d.buf = make([]byte, 0, len(value))
	}
	return d.words.of(unquoted(d.buf, value))
}

// words are strings that come again and again: verbs, users, resources. It forgets
// all when it has many.
type words map[string]string

const (
	maxWords      = 4096
	maxWordLength = 256
)

func (w *words) of(text []byte) string {
	if len(text) > maxWordLength {
		return string(text)
	}
	if known, ok := (*w)[string(text)]; ok {
		return known
	}
	if *w == nil || len(*w) >= maxWords {
		*w = make(words, maxWords)
	}
	word := string(text)
	(*w)[word] = word
	return word
}
