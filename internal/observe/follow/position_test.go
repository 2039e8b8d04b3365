package follow

import (
	"math"
	"testing"
	"time"
)

func TestPosition(t *testing.T) {
	at := time.Date(2026, 11, 26, 14, 8, 1, 123456000, time.UTC)
	ordered := []Position{
		{},
		{Offset: 1},
		{File: at},
		{File: at, Offset: 9},
		{File: at, Offset: 10},
		{File: at, Offset: math.MaxInt64},
		{File: at.Add(time.Nanosecond)},
		{File: at.Add(time.Second), Offset: 3},
		{File: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), Offset: math.MaxInt64},
		{Turn: 1},
		{Turn: 1, File: at, Offset: 9},
		{Turn: 2, File: at},
		{Turn: math.MaxInt32, File: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), Offset: math.MaxInt64},
	}
	for i, p := range ordered {
		text := p.String()
		if len(text) > 64 {
			t.Errorf("%s has %d bytes", text, len(text))
		}
		if got, err := ParsePosition(text); err != nil || got != p {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
		if p.IsZero() != (i == 0) {
			t.Errorf("%s: IsZero %v", text, p.IsZero())
		}
		for j, q := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := p.Compare(q); got != want {
				t.Errorf("%s to %s: %d, want %d", p, q, got, want)
			}
		}
	}
	// The same moment, told elsewhere.
	if text := (Position{File: at.In(time.FixedZone("", 3600)), Offset: 7}).String(); text != "2026-11-26T14:08:01.123456Z@7" {
		t.Error(text)
	}
}

func TestParsePositionRefuses(t *testing.T) {
	for _, text := range []string{
		"", "@", "7", "2026-11-26T14:08:01Z", "2026-11-26T14:08:01Z@", "2026-11-26T14:08:01Z@-1", "2026-11-26T14:08:01Z@+1",
		"2026-11-26T14:08:01Z@01", "2026-11-26T14:08:01.100Z@1", "2026-11-26T15:08:01+01:00@1", "2026-11-26T14:08:01Z@1\n",
		"2026-11-26T14:08:01Z@9223372036854775808", "\x00\x00\x00\x00", "12026-11-26T14:08:01Z@1",
		"2026-11-26T14:08:01Z@1/", "2026-11-26T14:08:01Z@1/0", "2026-11-26T14:08:01Z@1/-1", "2026-11-26T14:08:01Z@1/x", "2026-11-26T14:08:01Z@1/2147483648",
	} {
		if p, err := ParsePosition(text); err == nil {
			t.Errorf("%q: got %s", text, p)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("2026-11-26T14:08:01.123456Z@7")
	f.Add("2026-11-26T14:08:01.123456Z@7/2")
	f.Add("0001-01-01T00:00:00Z@0")
	f.Add("2026-11-26T14:08:01,5Z@7")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePosition(text)
		if err != nil {
			if !p.IsZero() {
				t.Errorf("%q: %v and %s", text, err, p)
			}
			return
		}
		if p.String() != text || len(text) > 64 || p.Offset < 0 {
			t.Errorf("%q was read as %s", text, p)
		}
	})
}
