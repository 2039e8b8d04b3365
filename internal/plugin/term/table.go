package term

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/accessbroker/accessbroker/internal/text"
)

// maxCell keeps one long reason from making a table unreadable.
const maxCell = 60

// WriteTable aligns rows on a terminal; elsewhere their cells are whole and
// separated by tabs, for programs. headers tells whether to write the header.
func (s Style) WriteTable(w io.Writer, header []string, rows [][]string, headers bool) {
	lines := make([][]string, 0, len(rows)+1)
	if headers {
		lines = append(lines, header)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, value := range row {
			cells[i] = Clean(value)
			if s.Terminal {
				cells[i] = text.Fit(cells[i], maxCell)
			}
		}
		lines = append(lines, cells)
	}
	if !s.Terminal {
		for _, cells := range lines {
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		return
	}
	widths := make([]int, len(header))
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
			if header[i] == "PHASE" && !isHeader {
				cell = s.Paint(Colours[cell], cell)
			}
			b.WriteString(cell + padding)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}
