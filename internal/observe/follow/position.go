package follow

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is how far a log was read. Positions of one log are ordered: what is
// handed on later has a later one.
type Position struct {
	// Turn counts how often it had to go on at an earlier stamp or offset: the clock
	// of the API server went back, or a file was cut in the middle.
	Turn int32
	// File is the stamp of the first event of the file. It orders the files of a log,
	// and stays the same when a file is renamed, copied or compressed.
	File time.Time
	// Offset is in bytes of the file, uncompressed.
	Offset int64
}

// String is short, and ParsePosition reads it.
func (p Position) String() string {
	text := p.File.UTC().Format(time.RFC3339Nano) + "@" + strconv.FormatInt(p.Offset, 10)
	if p.Turn != 0 {
		text += "/" + strconv.Itoa(int(p.Turn))
	}
	return text
}

// ParsePosition reads what String wrote, and nothing else.
func ParsePosition(text string) (Position, error) {
	file, rest, _ := strings.Cut(text, "@")
	offset, turn, turned := strings.Cut(rest, "/")
	var p Position
	var err error
	if turned {
		var n int64
		if n, err = strconv.ParseInt(turn, 10, 32); err != nil {
			return p, fmt.Errorf("%q is no position of a log", text)
		}
		p.Turn = int32(n)
	}
	if p.File, err = time.Parse(time.RFC3339Nano, file); err == nil {
		p.File = p.File.UTC()
		p.Offset, err = strconv.ParseInt(offset, 10, 64)
	}
	if err != nil || p.Offset < 0 || p.Turn < 0 || p.String() != text {
		return Position{}, fmt.Errorf("%q is no position of a log", text)
	}
	return p, nil
}

// Compare is negative when p is before q.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Turn, q.Turn), p.File.Compare(q.File), cmp.Compare(p.Offset, q.Offset))
}

// IsZero tells whether nothing was read.
func (p Position) IsZero() bool { return p.File.IsZero() && p.Offset == 0 && p.Turn == 0 }
