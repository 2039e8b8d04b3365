package plugin

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/accessbroker/accessbroker/internal/text"
)

// clean makes text from the cluster safe to look at, as one line.
func clean(s string) string { return text.Visible(text.Trim(s)) }

// style is how text is laid out on a stream.
type style struct {
	// terminal: tables are aligned and cells cut; elsewhere they are whole.
	terminal bool
	colour   bool
	// width of the terminal, 0 when unknown.
	width int
}

func styleOf(w io.Writer) style {
	s := style{terminal: printers.IsTerminal(w), colour: printers.AllowsColorOutput(w)}
	if file, ok := w.(*os.File); ok && s.terminal {
		s.width, _, _ = term.GetSize(int(file.Fd())) //nolint:gosec // a file descriptor is a small number
	}
	return s
}

// Colours, as ANSI knows them.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s style) paint(colour, word string) string {
	if !s.colour || colour == "" {
		return word
	}
	return "\x1b[" + colour + "m" + word + "\x1b[0m"
}

// colours of the phases of a request or of a grant; the others have none.
var colours = map[string]string{
	"Active":  green,
	"Pending": yellow, "Approved": yellow,
	"Denied": red, "Revoked": red, "Failed": red, "Lapsed": red,
}

// table is aligned on a terminal; elsewhere its cells are whole and separated
// by tabs, for programs.
type table struct {
	header []string
	rows   [][]string
}

// cell is one value of a row, with the header of its column.
type cell struct{ header, value string }

// tableOf has a row for each item, all with the same columns.
func tableOf[T any](items []T, row func(*T) []cell) table {
	var t table
	for i := range items {
		cells := row(&items[i])
		t.header = each(cells, func(c cell) string { return c.header })
		t.rows = append(t.rows, each(cells, func(c cell) string { return c.value }))
	}
	return t
}

// maxCell keeps one long reason from making a table unreadable.
const maxCell = 60

func (t table) write(w io.Writer, s style, headers bool) {
	lines := make([][]string, 0, len(t.rows)+1)
	if headers {
		lines = append(lines, t.header)
	}
	shown := clean
	if s.terminal {
		shown = func(value string) string { return text.Fit(clean(value), maxCell) }
	}
	for _, row := range t.rows {
		lines = append(lines, each(row, shown))
	}
	if !s.terminal {
		for _, cells := range lines {
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		return
	}
	widths := make([]int, len(t.header))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, cells := range lines {
		isHeader := headers && n == 0
		var b strings.Builder
		for i, cell := range cells {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+3)
			if t.header[i] == "PHASE" && !isHeader {
				cell = s.paint(colours[cell], cell)
			}
			b.WriteString(cell + padding)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// wrap breaks items into lines of some width.
func wrap(items []string, width int) []string {
	var lines []string
	line := ""
	for i, item := range items {
		if i < len(items)-1 {
			item += ","
		}
		switch {
		case line == "":
			line = item
		case len(line)+1+len(item) > width:
			lines = append(lines, line)
			line = item
		default:
			line += " " + item
		}
	}
	return append(lines, line)
}

// ago and left are spans of time, as kubectl writes them.
func ago(t, now time.Time) string { return duration.HumanDuration(max(0, now.Sub(t))) }

func left(until, now time.Time) string {
	if !now.Before(until) {
		return "time is up"
	}
	return duration.HumanDuration(until.Sub(now)) + " left"
}
