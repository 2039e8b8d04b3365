package view

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Every reason for which access ends belongs to an outcome: one that nobody thought of
// would be drawn as the broker's doing.
func TestOutcomeOfEachReason(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../../api/v1alpha1/accessgrant_types.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		value, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := value.Type.(*ast.Ident); !ok || kind.Name != "EndReason" {
			return true
		}
		reason, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, known := outcomes[v1alpha1.EndReason(reason)]; !known {
			t.Errorf("%s belongs to no outcome", reason)
		}
		return true
	})
	if n < 20 || n != len(outcomes) {
		t.Errorf("%d reasons, %d with an outcome", n, len(outcomes))
	}
	letters := map[string]bool{}
	for _, kind := range Outcomes {
		if letters[kind.Letter] || kind.Letter == "" || kind.Words == "" || kind.Meaning == "" {
			t.Errorf("%+v cannot be told from another", kind)
		}
		letters[kind.Letter] = true
	}
	if unknown := Outcome("x").Kind(); unknown.Letter != "?" || unknown.Words != "x" {
		t.Errorf("%+v", unknown)
	}
}

func TestStoryAndBar(t *testing.T) {
	window := Window{at(8), at(16)}
	touched := func(g *v1alpha1.AccessGrant) { g.Status.EndReason = v1alpha1.EndRevoked }
	for name, tc := range map[string]struct {
		grant   v1alpha1.AccessGrant
		outcome Outcome
		story   string
		bar     string // start held end, and where it is cut
	}{
		"held": {
			aGrant("x", lasts(8, 14), given(10)), Held,
			"Held from 2026-05-04T10:00:00Z, at most until 2026-05-04T14:00:00Z, 120m left", "0.250 0.500 0.750",
		},
		"held, without the time at which it was given": {
			aGrant("x", func(g *v1alpha1.AccessGrant) { g.Status.Phase = v1alpha1.GrantActive }, lasts(10, 14)), Held,
			"Held from 2026-05-04T10:00:00Z, at most until 2026-05-04T14:00:00Z, 120m left", "0.250 0.500 0.750",
		},
		"held, its time is up": {
			aGrant("x", lasts(8, 11), given(8)), Held,
			"Held from 2026-05-04T08:00:00Z, its time was up 2026-05-04T11:00:00Z and its end is not seen yet", "0.000 0.500 0.500",
		},
		"being taken away": {
			aGrant("x", lasts(8, 14), given(8), touched), Held,
			"Held from 2026-05-04T08:00:00Z, at most until 2026-05-04T14:00:00Z, 120m left, it is being taken away: Revoked", "0.000 0.500 0.750",
		},
		"pending": {
			aGrant("x", lasts(12, 14)), Pending,
			"Not given yet, approved 2026-05-04T12:00:00Z, at most until 2026-05-04T14:00:00Z, 120m left", "0.500 0.500 0.750",
		},
		"pending, its time is up": {
			aGrant("x", lasts(9, 10)), Pending,
			"Not given yet, approved 2026-05-04T09:00:00Z, its time was up 2026-05-04T10:00:00Z and its end is not seen yet", "0.125 0.125 0.250",
		},
		"expired": {
			aGrant("x", lasts(8, 10), given(8), ends(10, v1alpha1.EndExpired, "")), Expired,
			"Held from 2026-05-04T08:00:00Z, ended 2026-05-04T10:00:00Z, expired", "0.000 0.250 0.250",
		},
		"revoked": {
			aGrant("x", given(8), ends(9, v1alpha1.EndRevoked, "bob")), TakenAway,
			"Held from 2026-05-04T08:00:00Z, ended 2026-05-04T09:00:00Z, taken away (Revoked) by bob", "0.000 0.125 0.125",
		},
		"of a reason that is not known": {
			aGrant("x", given(8), ends(9, "Eclipse", "")), Stopped,
			"Held from 2026-05-04T08:00:00Z, ended 2026-05-04T09:00:00Z, stopped by the broker (Eclipse)", "0.000 0.125 0.125",
		},
		"of no reason": {
			aGrant("x", given(8), ends(9, "", "")), Stopped,
			"Held from 2026-05-04T08:00:00Z, ended 2026-05-04T09:00:00Z, stopped by the broker", "0.000 0.125 0.125",
		},
		"never given": {
			aGrant("x", lasts(8, 12), ends(10, v1alpha1.EndNameTaken, "")), NeverGiven,
			"Never given, ended 2026-05-04T10:00:00Z (NameTaken)", "0.250 0.250 0.250",
		},
		"never given, it is not known when it ended": {
			aGrant("x", lasts(9, 12), func(g *v1alpha1.AccessGrant) { g.Status.Phase = v1alpha1.GrantEnded }), NeverGiven,
			"Never given, ended", "0.125 0.125 0.125",
		},
		"ended, it is not known when": {
			aGrant("x", lasts(8, 10), given(8), func(g *v1alpha1.AccessGrant) { g.Status.Phase = v1alpha1.GrantEnded }), Stopped,
			"Held from 2026-05-04T08:00:00Z, ended, stopped by the broker", "0.000 0.250 0.250",
		},
		"of no length": {
			aGrant("x", given(9), ends(9, v1alpha1.EndReleased, "alice")), Done,
			"Held from 2026-05-04T09:00:00Z, ended 2026-05-04T09:00:00Z, done (Released) by alice", "0.125 0.125 0.125",
		},
		"ended before it began": {
			aGrant("x", given(10), ends(9, v1alpha1.EndReleased, "alice")), Done,
			"Held from 2026-05-04T10:00:00Z, ended 2026-05-04T09:00:00Z, done (Released) by alice, which is before it was given: a clock was wrong", "0.250 0.250 0.250",
		},
		"given in the future": {
			aGrant("x", lasts(13, 15), given(13)), Held,
			"Held from 2026-05-04T13:00:00Z, at most until 2026-05-04T15:00:00Z, 3h left", "0.625 0.625 0.875",
		},
		"ended before the window": {
			aGrant("x", lasts(2, 4), given(2), ends(4, v1alpha1.EndExpired, "")), Expired,
			"Held from 2026-05-04T02:00:00Z, ended 2026-05-04T04:00:00Z, expired", "before",
		},
		"begins after the window": {
			aGrant("x", lasts(17, 18)), Pending,
			"Not given yet, approved 2026-05-04T17:00:00Z, at most until 2026-05-04T18:00:00Z, 6h left", "after",
		},
		"ended as the window begins": {
			aGrant("x", lasts(2, 8), given(2), ends(8, v1alpha1.EndExpired, "")), Expired,
			"Held from 2026-05-04T02:00:00Z, ended 2026-05-04T08:00:00Z, expired", "0.000 0.000 0.000 cut at the start",
		},
		"beyond both edges, far": {
			aGrant("x", given(-200000), func(g *v1alpha1.AccessGrant) {
				g.Spec.ExpirationTime = metav1.NewTime(time.Date(2999, 12, 31, 0, 0, 0, 0, time.UTC))
			}), Held,
			"Held from 2003-07-10T16:00:00Z, at most until 2999-12-31T00:00:00Z, 292y left", "0.000 0.500 1.000 cut at the start cut at the end",
		},
	} {
		t.Run(name, func(t *testing.T) {
			line := TimelineOf([]*v1alpha1.AccessGrant{&tc.grant}, window, noon)
			row := line.Rows[0]
			bar := fmt.Sprintf("%.3f %.3f %.3f", row.Bar.Start, row.Bar.Held, row.Bar.End)
			if row.Bar.CutStart {
				bar += " cut at the start"
			}
			if row.Bar.CutEnd {
				bar += " cut at the end"
			}
			if row.Bar.Outside != "" {
				bar = row.Bar.Outside
			}
			if row.Outcome.Outcome != tc.outcome || row.Story != tc.story || bar != tc.bar {
				t.Errorf("is %s\n  %s\n  %s\nnot %s\n  %s\n  %s", row.Outcome.Outcome, row.Story, bar, tc.outcome, tc.story, tc.bar)
			}
			if row.Grant != "x" || row.Who != "alice" || row.Role != "ClusterRole/edit" || row.Scope != "payments" || row.Policy != "on-call" || line.Now != 0.5 {
				t.Errorf("%+v", row)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	none := time.Time{}
	expired := aGrant("expired", lasts(8, 10), given(8), ends(10, v1alpha1.EndExpired, ""))
	for name, tc := range map[string]struct {
		grants   []v1alpha1.AccessGrant
		from, to time.Time
		want     string
	}{
		"of nothing":               {nil, none, none, "2026-05-04T11:00:00Z to 2026-05-04T12:00:00Z"},
		"of what has ended":        {[]v1alpha1.AccessGrant{expired}, none, none, "2026-05-04T08:00:00Z to 2026-05-04T10:00:00Z"},
		"with what is held":        {[]v1alpha1.AccessGrant{expired, aGrant("held", lasts(9, 12.5), given(9))}, none, none, "2026-05-04T08:00:00Z to 2026-05-04T12:30:00Z"},
		"with a deadline far away": {[]v1alpha1.AccessGrant{aGrant("held", lasts(8, 9e5), given(8))}, none, none, "2026-05-04T08:00:00Z to 2026-05-04T13:00:00Z"},
		"with what is not given":   {[]v1alpha1.AccessGrant{aGrant("waits", lasts(12, 12.25))}, none, none, "2026-05-04T12:00:00Z to 2026-05-04T12:15:00Z"},
		"of a moment":              {[]v1alpha1.AccessGrant{aGrant("x", given(9), ends(9, v1alpha1.EndReleased, ""))}, none, none, "2026-05-04T09:00:00Z to 2026-05-04T09:01:00Z"},
		"from a time on":           {[]v1alpha1.AccessGrant{expired}, at(6), none, "2026-05-04T06:00:00Z to 2026-05-04T10:00:00Z"},
		"until a time":             {[]v1alpha1.AccessGrant{expired}, none, at(9), "2026-05-04T08:00:00Z to 2026-05-04T09:00:00Z"},
		"of nothing until a time":  {nil, none, at(9), "2026-05-04T08:00:00Z to 2026-05-04T09:00:00Z"},
		"of nothing from a time":   {nil, at(9), none, "2026-05-04T09:00:00Z to 2026-05-04T12:00:00Z"},
		"both":                     {[]v1alpha1.AccessGrant{expired}, at(0), at(24), "2026-05-04T00:00:00Z to 2026-05-05T00:00:00Z"},
		"from after its end":       {[]v1alpha1.AccessGrant{expired}, at(11), none, "2026-05-04T11:00:00Z to 2026-05-04T11:01:00Z"},
	} {
		if got := WindowOf(Refs(tc.grants), tc.from, tc.to, noon).Text(); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestTicks(t *testing.T) {
	for name, tc := range map[string]struct {
		window Window
		want   string
	}{
		"a minute":     {Window{at(12), at(12).Add(time.Minute)}, "2026-05-04 12:00:00, 12:00:15, 12:00:30, 12:00:45, 12:01:00"},
		"ten minutes":  {Window{at(12).Add(30 * time.Second), at(12.17)}, "2026-05-04 12:02, 12:04, 12:06, 12:08, 12:10"},
		"two hours":    {Window{at(9.1), at(11.1)}, "2026-05-04 09:30, 10:00, 10:30, 11:00"},
		"over a night": {Window{at(20), at(28)}, "2026-05-04 20:00, 22:00, 2026-05-05 00:00, 02:00, 04:00"},
		"two days":     {Window{at(1), at(49)}, "2026-05-04 12:00, 2026-05-05 00:00, 12:00, 2026-05-06 00:00"},
		"a week":       {Window{at(10), at(10 + 7*24)}, "2026-05-05, 2026-05-07, 2026-05-09, 2026-05-11"},
		"a month":      {Window{at(10), at(10 + 31*24)}, "2026-05-11, 2026-05-18, 2026-05-25, 2026-06-01"},
		"half a year":  {Window{at(10), at(10 + 183*24)}, "2026-07, 2026-09, 2026-11"},
		"two years":    {Window{at(10), at(10 + 730*24)}, "2026-07, 2027-01, 2027-07, 2028-01"},
		"ten years":    {Window{at(10), at(10 + 3652*24)}, "2028, 2030, 2032, 2034, 2036"},
		"all there is": {Window{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2999, 12, 31, 0, 0, 0, 0, time.UTC)}, "2000, 2500"},
	} {
		line := TimelineOf(nil, tc.window, noon)
		var got []string
		last := math.Inf(-1)
		for _, tick := range line.Ticks {
			got = append(got, strings.TrimSpace(tick.Day+" "+tick.Label))
			if tick.At <= last || tick.At < 0 || tick.At > 1 {
				t.Errorf("%s: %s is at %v", name, tick.Label, tick.At)
			}
			last = tick.At
		}
		if got := strings.Join(got, ", "); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

// Whatever a grant says, its bar is in the picture and the axis has a few ticks.
func FuzzTimeline(f *testing.F) {
	f.Add(int64(0), int64(3600), int64(10), int64(20), int64(0), int64(60), uint8(0))
	f.Add(int64(-1e11), int64(1e11), int64(3e10), int64(-3e10), int64(1e10), int64(-1e10), uint8(3))
	f.Fuzz(func(t *testing.T, notBefore, expires, begin, end, from, to int64, status uint8) {
		moment := func(n int64) time.Time { return noon.Add(time.Duration(n%1e9) * time.Second * 20) }
		g := aGrant("x")
		g.Spec.NotBefore, g.Spec.ExpirationTime = metav1.NewTime(moment(notBefore)), metav1.NewTime(moment(expires))
		g.Status.Phase = []v1alpha1.GrantPhase{"", v1alpha1.GrantPending, v1alpha1.GrantActive, v1alpha1.GrantEnded}[status%4]
		if status&4 != 0 {
			g.Status.GrantedTime = &metav1.Time{Time: moment(begin)}
		}
		if status&8 != 0 {
			g.Status.EndedTime = &metav1.Time{Time: moment(end)}
		}
		grants := []*v1alpha1.AccessGrant{&g}
		for _, w := range []Window{{moment(from), moment(to)}, WindowOf(grants, time.Time{}, time.Time{}, noon), WindowOf(grants, moment(from), time.Time{}, noon)} {
			line := TimelineOf(grants, w, noon)
			b := line.Rows[0].Bar
			if !(0 <= b.Start && b.Start <= b.Held && b.Held <= b.End && b.End <= 1) || line.Rows[0].Story == "" {
				t.Errorf("%s: %+v", line.Window.Text(), b)
			}
			if n := len(line.Ticks); n > maxTicks+1 || !line.Window.From.Before(line.Window.To) {
				t.Errorf("%s has %d ticks", line.Window.Text(), n)
			}
		}
	})
}
