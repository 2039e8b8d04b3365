package web

import (
	"regexp"
	"strconv"

	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

// timeline is a timeline as it is drawn. Places are in per cent of its width, so that it
// fits any screen.
type timeline struct {
	From, To string
	Ticks    []tick
	// Now is where this moment is, "" outside the window.
	Now  string
	Rows []timelineRow
}

type tick struct {
	X, Label, Day string
	// Anchor keeps the label inside the picture.
	Anchor string
}

type timelineRow struct {
	view.TimelineRow
	To string
	// For whom, where that is not who asked alone.
	For  string
	Told []word
	// X and Width are what was held, Rest and RestWidth what is left of its time.
	X, Width, Rest, RestWidth string
	// Letter stands at LetterX, inside the bar where there is room.
	LetterX, LetterAnchor string
	Inside                bool
}

// word of a sentence; a moment is not broken into two lines.
type word struct {
	Text   string
	Moment bool
}

var moment = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`)

// told takes a sentence apart into its moments and what is between them.
func told(sentence string) (words []word) {
	at := 0
	for _, found := range moment.FindAllStringIndex(sentence, -1) {
		words = append(words, word{Text: sentence[at:found[0]]}, word{sentence[found[0]:found[1]], true})
		at = found[1]
	}
	return append(words, word{Text: sentence[at:]})
}

const (
	// thin is how narrow a bar may be drawn: what was held for a minute of a month must
	// be seen too.
	thin = 0.004
	// room is what a letter takes on a narrow screen.
	room = 0.06
)

// drawn places the bars of a timeline.
func (p *Page) drawn(t view.Timeline) timeline {
	out := timeline{From: text.Moment(t.Window.From), To: text.Moment(t.Window.To)}
	if 0 <= t.Now && t.Now <= 1 {
		out.Now = percent(t.Now)
	}
	for _, of := range t.Ticks {
		label := tick{X: percent(of.At), Label: of.Label, Day: of.Day, Anchor: "middle"}
		switch {
		case of.At < 0.1:
			label.Anchor = "start"
		case of.At > 0.9:
			label.Anchor = "end"
		}
		out.Ticks = append(out.Ticks, label)
	}
	if len(out.Ticks) > 1 && out.Ticks[1].Day != "" {
		out.Ticks[0].Day = "" // there is no room for both, and the head says it
	}
	for _, of := range t.Rows {
		row := timelineRow{TimelineRow: of, To: p.at("grants", of.Grant), Told: told(of.Story)}
		if of.Subjects != of.Who {
			row.For = of.Subjects
		}
		b := of.Bar
		width := max(b.Held-b.Start, thin)
		start := min(b.Start, 1-width)
		row.X, row.Width = percent(start), percent(width)
		row.Rest, row.RestWidth = percent(max(b.Held, start)), percent(b.End-b.Held)
		switch end := max(start+width, b.End); {
		case width >= room:
			row.LetterX, row.LetterAnchor, row.Inside = percent(start+0.01), "start", true
		case end+room <= 1:
			row.LetterX, row.LetterAnchor = percent(end+0.01), "start"
		case start >= room:
			row.LetterX, row.LetterAnchor = percent(start-0.01), "end"
		default: // over the time that is left
			row.LetterX, row.LetterAnchor = percent(start+width+0.01), "start"
		}
		out.Rows = append(out.Rows, row)
	}
	return out
}

func percent(of float64) string { return strconv.FormatFloat(of*100, 'f', 2, 64) + "%" }

// Odd tells of a tick that a narrow screen has no room for.
func (timeline) Odd(i int) bool { return i%2 == 1 }
