package usage

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
)

// Some clouds pack what they deliver: base64, and most of it gzip within. It is
// undone where their envelopes have it and nowhere else:
//
//	Amazon Data Firehose  {"records":[{"data":"…"}]}
//	CloudWatch to Lambda  {"awslogs":{"data":"…"}}
//	Cloud Pub/Sub         {"message":{"data":"…"}}
//	CloudEvents           {"data_base64":"…"}

const (
	// minPacked is less than an event takes when it is packed, as it is written in
	// JSON: IDs and times do not get shorter.
	minPacked = 256
	// maxPacked is how many packages may be in one another: Pub/Sub within a CloudEvent.
	maxPacked = 2
	// What is packed may be maxExpanded times as much as it is written, and
	// freeExpanded more in all. Of each event, gzip leaves at least its random ID:
	// no log of an API server gets so small.
	maxExpanded  = 32
	freeExpanded = 64 << 20
)

// errExpanded: there was more in packages than any log may have.
var errExpanded = errors.New("more is packed than a log may have")

// packed takes a string in base64.
func (d *decoder) packed(value []byte, from origin, wrapped int) {
	written := value[1 : len(value)-1]
	switch {
	case len(written) < minPacked || from.packages == maxPacked:
		d.skipped.Foreign++
		return
	case packedRun(written) < len(written):
		d.skipped.Broken++
		return
	}
	if from.packages == 0 {
		d.expandable += maxExpanded * int64(len(written))
	}
	from.packages++
	err := d.read(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(unquoted(nil, value))), from, wrapped+1)
	switch {
	case d.err != nil, err == nil:
	case errors.Is(err, errExpanded):
		d.skipped.TooLong++
	default:
		d.skipped.Broken++
	}
}

// isPacked tells base64 from other values: of JSON in a string, the first character
// is none of base64's.
func isPacked(value []byte) bool {
	return len(value) > 2 && value[0] == '"' && inPacked[value[1]]
}

// inPacked are the bytes of base64 in a JSON string, escapes and line breaks included.
var inPacked = func() (in [256]bool) {
	for _, c := range `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\` {
		in[c] = true
	}
	return in
}()

// packedRun is how many bytes at the beginning may be of base64.
func packedRun(text []byte) int {
	for i, c := range text {
		if !inPacked[c] {
			return i
		}
	}
	return len(text)
}

// mayBePacked is a first look: false where nothing long enough may be base64. It
// looks at a window in each stretch: almost all JSON has a quote in it.
func mayBePacked(text []byte) bool {
	const window = 32
	for at := 0; at+window <= len(text); at += minPacked - window {
		if bytes.IndexByte(text[at:at+window], '"') >= 0 {
			continue
		}
		begin := at
		for begin > 0 && inPacked[text[begin-1]] && at-begin < minPacked {
			begin--
		}
		if at-begin+packedRun(text[at:min(len(text), at+minPacked)]) >= minPacked {
			return true
		}
	}
	return false
}

// mayHold is the first look at what was not decoded: what is packed does not show
// what it holds.
func (d *decoder) mayHold(text []byte) bool {
	return d.filter.mayAskFor(text) || mayBePacked(text)
}

// expanding reads what was packed, as long as that is no bomb.
type expanding struct {
	in io.Reader
	d  *decoder
}

func (e expanding) Read(p []byte) (int, error) {
	if e.d.expandable <= 0 {
		return 0, errExpanded
	}
	n, err := e.in.Read(p[:min(int64(len(p)), e.d.expandable)])
	e.d.expandable -= int64(n)
	return n, err
}
