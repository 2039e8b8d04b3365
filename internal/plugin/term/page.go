package term

import (
	"fmt"
	"io"
)

// pageWidth is how long lists on a page may get before they are wrapped.
const pageWidth = 76

// WriteHeading begins a part of a page.
func (s Style) WriteHeading(w io.Writer, title string) {
	fmt.Fprintf(w, "\n%s\n", s.Paint(Bold, title))
}

// WriteLine writes a text after a lead, and marks it when it tells of a danger.
func (s Style) WriteLine(w io.Writer, lead, line string, danger bool) {
	if danger {
		lead += s.Paint(red, "!") + " "
	}
	fmt.Fprintln(w, lead+Clean(line))
}

// WriteList writes a list that belongs to the line above it.
func (s Style) WriteList(w io.Writer, items []string) {
	for _, line := range wrap(items, pageWidth-6) {
		s.WriteLine(w, "  ", "    "+line, false)
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
