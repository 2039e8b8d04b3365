package term

import (
	"fmt"
	"io"

	"github.com/accessbroker/accessbroker/internal/text"
)

// LiveLine shows, on a terminal, each line in place of the one before.
type LiveLine struct {
	Out   io.Writer
	Style Style
	last  string
}

// Show shows a line, unless it is the last one again.
func (l *LiveLine) Show(line string) {
	line = Clean(line)
	if line == l.last {
		return
	}
	l.last = line
	if !l.Style.Terminal {
		fmt.Fprintln(l.Out, line)
		return
	}
	// A line that wraps could not be replaced.
	fmt.Fprint(l.Out, "\r\x1b[K"+text.Fit(line, l.Style.Width-1))
}

// End leaves the last line whole.
func (l *LiveLine) End() {
	if l.Style.Terminal && l.last != "" {
		fmt.Fprint(l.Out, "\r\x1b[K"+l.last+"\n")
	}
}
