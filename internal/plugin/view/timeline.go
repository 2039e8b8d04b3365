package view

import (
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Window is a span of time.
type Window struct{ From, To time.Time }

// WindowOf is the window that grants are shown in: from the edges that are given and, where
// none is, around what was held. It ends now where one is held still, and goes a little
// beyond for deadlines that are near: one that is far must not squeeze the rest.
func WindowOf(grants []*v1alpha1.AccessGrant, from, to, now time.Time) Window {
	var w Window
	var deadline time.Time
	for _, g := range grants {
		begin, end := held(g, now)
		if w.From.IsZero() || begin.Before(w.From) {
			w.From = begin
		}
		if end.After(w.To) {
			w.To = end
		}
		if until := g.Spec.ExpirationTime.Time; !over(g) && until.After(deadline) {
			deadline = until
		}
	}
	if deadline.After(w.To) {
		w.To = earlier(deadline, w.To.Add(max(w.To.Sub(w.From)/4, time.Hour)))
	}
	if !from.IsZero() {
		w.From = from
	}
	if !to.IsZero() {
		w.To = to
	}
	return w.sane(now)
}

// least is how short a window may be.
const least = time.Minute

// sane makes a window of what has no length, or no beginning.
func (w Window) sane(now time.Time) Window {
	if w.To.IsZero() {
		w.To = now
	}
	if w.From.IsZero() {
		w.From = w.To.Add(-time.Hour)
	}
	if w.To.Sub(w.From) < least {
		w.To = w.From.Add(least)
	}
	return w
}

// at is where a moment is in the window, 0 at its beginning and 1 at its end.
func (w Window) at(t time.Time) float64 {
	// As numbers, not as a Duration: that cannot hold more than 292 years.
	return seconds(w.From, t) / seconds(w.From, w.To)
}

func seconds(from, to time.Time) float64 {
	return float64(to.Unix()-from.Unix()) + float64(to.Nanosecond()-from.Nanosecond())/1e9
}

// Timeline is who held what when, in a window of time.
type Timeline struct {
	Window Window
	Ticks  []Tick
	// Now is where this moment is, outside 0 to 1 where it is outside the window.
	Now  float64
	Rows []TimelineRow
}

// TimelineRow is one grant.
type TimelineRow struct {
	Grant, Request, Who, Subjects, Role, Scope, Policy string
	Outcome                                            OutcomeKind
	Reason                                             v1alpha1.EndReason
	// Story says what the bar shows.
	Story string
	Bar   Bar
}

// Bar is when access was held, in fractions of the window: from Start to Held, and the
// time that it still has from Held to End. Each is between 0 and 1.
type Bar struct {
	Start, Held, End float64
	// CutStart and CutEnd tell that it goes on beyond the edge.
	CutStart, CutEnd bool
	// Outside tells that all of it is "before" or "after" the window.
	Outside string
}

// TimelineOf places grants in a window, in the order that they have.
func TimelineOf(grants []*v1alpha1.AccessGrant, w Window, now time.Time) Timeline {
	w = w.sane(now)
	t := Timeline{Window: w, Ticks: ticks(w), Now: w.at(now)}
	for _, g := range grants {
		t.Rows = append(t.Rows, TimelineRow{
			Grant: g.Name, Request: g.Spec.RequestRef.Name, Who: g.Spec.Requester.Username, Subjects: g.Spec.Summary.Subjects,
			Role: g.Spec.Summary.Role, Scope: g.Spec.Summary.Scope, Policy: g.Spec.PolicyRef.Name,
			Outcome: OutcomeOf(g).Kind(), Reason: g.Status.EndReason, Story: Story(g, now), Bar: w.bar(g, now),
		})
	}
	return t
}

// held is when the access was held; both are the same where it never was.
func held(g *v1alpha1.AccessGrant, now time.Time) (begin, end time.Time) {
	begin = Given(g)
	switch {
	case OutcomeOf(g) == NeverGiven && g.Status.EndedTime != nil:
		begin = g.Status.EndedTime.Time
		return begin, begin
	case OutcomeOf(g) == NeverGiven, OutcomeOf(g) == Pending:
		return begin, begin
	case g.Status.EndedTime != nil:
		end = g.Status.EndedTime.Time
	case over(g):
		// That it ended is known, and when is not: not later than this.
		end = earlier(g.Spec.ExpirationTime.Time, now)
	default:
		end = now
	}
	// With a clock that is behind another, it ends before it begins.
	if end.Before(begin) {
		end = begin
	}
	return begin, end
}

func (w Window) bar(g *v1alpha1.AccessGrant, now time.Time) Bar {
	begin, used := held(g, now)
	end := used
	if until := g.Spec.ExpirationTime.Time; !over(g) && until.After(used) {
		end = until
	}
	b := Bar{Start: w.at(begin), Held: w.at(used), End: w.at(end)}
	switch {
	case b.End < 0:
		return Bar{Outside: "before"}
	case b.Start > 1:
		return Bar{Outside: "after"}
	}
	b.CutStart, b.CutEnd = b.Start < 0, b.End > 1
	for _, at := range []*float64{&b.Start, &b.Held, &b.End} {
		*at = min(max(*at, 0), 1)
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Tick is a moment that an axis names, in UTC.
type Tick struct {
	At float64
	// Label is the time, or the date where the steps are days; Day is the date where it
	// is another than that of the tick before.
	Label, Day string
}

// maxTicks are as many as there is room for.
const maxTicks = 6

// ticks are moments that people count in: full hours, midnights, the first of a month.
func ticks(w Window) []Tick {
	step := stepFor(w)
	var out []Tick
	day := ""
	for t := step.first(w.From); !t.After(w.To); t = step.next(t) {
		tick := Tick{At: w.at(t), Label: t.Format(step.layout)}
		if step.timed {
			if tick.Day = t.Format(time.DateOnly); tick.Day == day {
				tick.Day = ""
			} else {
				day = tick.Day
			}
		}
		out = append(out, tick)
	}
	return out
}

// step is from one tick to the next: a span, or a number of months.
type step struct {
	span   time.Duration
	months int
	layout string
	timed  bool
}

// stepFor is the smallest step that does not give too many ticks.
func stepFor(w Window) step {
	length := seconds(w.From, w.To)
	fits := func(span float64) bool { return length/span <= maxTicks-1 }
	for _, span := range []time.Duration{
		10 * time.Second, 15 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if !fits(span.Seconds()) {
			continue
		}
		layout := "15:04"
		if span < time.Minute {
			layout = time.TimeOnly
		}
		return step{span: span, layout: layout, timed: true}
	}
	for _, days := range []time.Duration{1, 2, 7, 14} {
		if span := days * 24 * time.Hour; fits(span.Seconds()) {
			return step{span: span, layout: time.DateOnly}
		}
	}
	const month = 365.2425 * 24 * 3600 / 12
	months := 1
	for _, next := range []int{2, 3, 6, 12, 24, 60, 120, 600, 1200, 6000} {
		if fits(float64(months) * month) {
			break
		}
		months = next
	}
	layout := "2006-01"
	if months%12 == 0 {
		layout = "2006"
	}
	return step{months: months, layout: layout}
}

// first is the first tick that is not before a moment.
func (s step) first(from time.Time) time.Time {
	from = from.UTC()
	var t time.Time
	if s.months == 0 {
		// Whole weeks count from the year 1, which began on a Monday.
		t = from.Truncate(s.span)
	} else {
		n := from.Year()*12 + int(from.Month()) - 1
		t = time.Date(0, time.Month(n-n%s.months+1), 1, 0, 0, 0, 0, time.UTC)
	}
	if t.Before(from) {
		t = s.next(t)
	}
	return t
}

func (s step) next(t time.Time) time.Time {
	if s.months == 0 {
		return t.Add(s.span)
	}
	return t.AddDate(0, s.months, 0)
}

// Text says the edges of a window.
func (w Window) Text() string { return text.Moment(w.From) + " to " + text.Moment(w.To) }
