package usage

import (
	"math"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// maxCount is such that two of them can be added.
const maxCount = math.MaxInt / 2

// SummaryOf is what is stored of the use of a grant, as a summary. The calls that were
// refused count as calls here, as they do in a tally; an AccessUsage has them beside.
func SummaryOf(status *v1alpha1.AccessUsageStatus) Summary {
	s := Summary{
		First: momentOf(status.FirstCall), Last: momentOf(status.LastCall),
		Calls: number(status.Calls) + number(status.RefusedCalls), Refused: number(status.RefusedCalls), Failed: number(status.FailedCalls),
		Used: rightUses(status.Used), Demanded: rightUses(status.Refused), Risks: countsOf(status.Risks), Closed: countsOf(status.ClosedSessions),
		More: More{
			Callers: number(status.More.Callers), Used: number(status.More.Used), Demanded: number(status.More.Refused),
			Created: number(status.More.Created), Open: number(status.More.Sessions),
		},
		Shared: number(status.SharedCalls),
		Window: Window{
			Since: momentOf(status.Since), Until: momentOf(status.Until), Gaps: number(int64(status.Gaps)), LastGap: momentOf(status.LastGap),
			Closed: status.Phase == v1alpha1.UsageClosed,
		},
	}
	for _, stream := range status.Streams {
		s.Window.Lost = min(s.Window.Lost+number(stream.Lost), maxCount)
	}
	for _, c := range status.Callers {
		s.Callers = append(s.Callers, CallerUse{callerIn(c.UsageClient), number(c.Calls)})
	}
	for _, o := range status.Created {
		s.Created = append(s.Created, CreatedUse{Object: Object{o.Group, o.Resource, o.Namespace, o.Name, o.UID}, Times: number(o.Times)})
	}
	for _, o := range status.Sessions {
		s.Open = append(s.Open, Session{
			Kind: o.Kind, Group: o.Group, Resource: o.Resource, Subresource: o.Subresource, Namespace: o.Namespace, Name: o.Name,
			Caller: callerIn(o.UsageClient), Since: o.Since.Time,
		})
	}
	for _, f := range status.Suspicious {
		s.Suspicious = append(s.Suspicious, Finding{f.Name, string(f.Action), f.Message, number(f.Times), f.First.Time, f.Last.Time})
	}
	return s
}

func rightUses(stored []v1alpha1.UsageRight) []RightUse {
	var out []RightUse
	for _, r := range stored {
		out = append(out, RightUse{
			Right: Right{r.Verb, r.Group, r.Resource, r.Subresource, r.Namespace, r.Path}, Calls: number(r.Calls), Failed: number(r.Failed),
			Names: slices.Clone(r.Names), MoreNames: number(r.MoreNames), Shared: number(r.Shared),
		})
	}
	return out
}

func countsOf(stored []v1alpha1.UsageCount) map[string]int {
	if len(stored) == 0 {
		return nil
	}
	out := make(map[string]int, len(stored))
	for _, c := range stored {
		out[c.Kind] = number(c.Count)
	}
	return out
}

// number is a count. The schema admits no other, but a file may.
func number(n int64) int { return int(min(max(0, n), maxCount)) }

func momentOf(t *v1alpha1.Moment) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}
