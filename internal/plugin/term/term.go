// Package term lays text out on a terminal or a pipe: colours, tables, widths.
// It makes all that it is given safe to look at, and does not know what it says.
package term

import (
	"io"
	"os"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/accessbroker/accessbroker/internal/text"
)

// Clean makes text from the cluster safe to look at, as one line.
func Clean(s string) string { return text.Visible(text.Trim(s)) }

// Style is how text is laid out on a stream.
type Style struct {
	// Terminal: tables are aligned and cells cut; elsewhere they are whole.
	Terminal bool
	Colour   bool
	// Width of the terminal, 0 when unknown.
	Width int
}

// StyleOf is the style for a stream.
func StyleOf(w io.Writer) Style {
	s := Style{Terminal: printers.IsTerminal(w), Colour: printers.AllowsColorOutput(w)}
	if file, ok := w.(*os.File); ok && s.Terminal {
		s.Width, _, _ = term.GetSize(int(file.Fd())) //nolint:gosec // a file descriptor is a small number
	}
	return s
}

// Colours, as ANSI knows them.
const (
	Bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// Paint gives a word a colour where the stream has colours.
func (s Style) Paint(colour, word string) string {
	if !s.Colour || colour == "" {
		return word
	}
	return "\x1b[" + colour + "m" + word + "\x1b[0m"
}

// Colours of the words of a column PHASE; the others have none.
var Colours = map[string]string{
	"Active":  green,
	"Pending": yellow, "Approved": yellow,
	"Denied": red, "Revoked": red, "Failed": red, "Lapsed": red,
}
