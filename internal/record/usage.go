package record

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Found is what was found of the use of a grant, and not told before.
type Found struct {
	Findings []v1alpha1.UsageFinding
	// LeftBehind and SessionsOpen are how many.
	LeftBehind, SessionsOpen int
}

// Usage writes on a grant what was observed of its use.
func (w *Writer) Usage(ctx context.Context, before, after *v1alpha1.AccessGrant, found Found) error {
	written, err := w.patch(ctx, before, after)
	if !written {
		return err
	}
	w.Metrics.found(found)
	w.Journal.usage(before, after, found)
	if after.Status.Phase == v1alpha1.GrantEnded && w.AfterEnd != nil {
		w.AfterEnd(before, after)
	}
	return nil
}

// usage reports what was found of the use of a grant.
func (j Journal) usage(before, after *v1alpha1.AccessGrant, found Found) {
	tell := func(kind, action string) {
		j.grant(kind, action, meta.FindStatusCondition(after.Status.Conditions, kind).Message, after)
	}
	if len(found.Findings) > 0 {
		tell(v1alpha1.ConditionSuspicious, "Observe")
	}
	for _, kind := range []string{v1alpha1.ConditionLeftBehind, v1alpha1.ConditionSessionsOpen} {
		if meta.IsStatusConditionTrue(after.Status.Conditions, kind) && !meta.IsStatusConditionTrue(before.Status.Conditions, kind) {
			tell(kind, "LookBack")
		}
	}
}

// Summary of a usage, for kubectl get; nil when nothing was observed.
func Summary(u *v1alpha1.AccessUsage) *v1alpha1.GrantUsage {
	if u.Status.Since == nil {
		return nil
	}
	return &v1alpha1.GrantUsage{Calls: u.Status.Calls, LastCall: u.Status.LastCall}
}

// useName is what a policy may call a suspicious use.
var useName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// findings are those of a usage that have a name which a policy may have.
func findings(u *v1alpha1.AccessUsage) []v1alpha1.UsageFinding {
	return slices.DeleteFunc(slices.Clone(u.Status.Suspicious), func(f v1alpha1.UsageFinding) bool { return !useName.MatchString(f.Name) })
}

// NewFindings are the findings of a usage that the grant does not tell yet.
func NewFindings(g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage) []v1alpha1.UsageFinding {
	var told []string
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionSuspicious); c != nil {
		names, _, _ := strings.Cut(c.Message, ":")
		told = strings.Split(names, ", ")
	}
	return slices.DeleteFunc(findings(u), func(f v1alpha1.UsageFinding) bool { return slices.Contains(told, f.Name) })
}

// maxFindings bounds the message about findings, in bytes, so that the last of them
// is told too.
const maxFindings = 2400

// SetSuspicious sets the condition Suspicious. Its message begins with the names of
// all uses that were seen, by which NewFindings knows them. A new one is a new moment.
func SetSuspicious(conditions *[]metav1.Condition, now time.Time, u *v1alpha1.AccessUsage, found Found) {
	all := findings(u)
	if len(all) == 0 {
		return
	}
	if len(found.Findings) > 0 {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionSuspicious)
	}
	var names, lines []string
	for _, f := range all {
		names = append(names, f.Name)
		seen := "seen once, at " + text.Moment(f.First.Time)
		if f.Times > 1 {
			seen = fmt.Sprintf("seen %d times, from %s until %s", f.Times, text.Moment(f.First.Time), text.Moment(f.Last.Time))
		}
		lines = append(lines, text.Cut(fmt.Sprintf("%s (%s) %s: %s", f.Name, f.Action, seen, text.OneLine(f.Message)), maxFindings/len(all)))
	}
	SetCondition(conditions, now, v1alpha1.ConditionSuspicious, metav1.ConditionTrue, v1alpha1.ReasonSuspiciousUse,
		strings.Join(names, ", ")+": "+strings.Join(lines, "; "))
}

// NotToTheEnd goes after what was observed of a grant when the streams did not come
// to its end.
const NotToTheEnd = "; the observation did not come to the end of the access in time"

// SetUsed sets the condition Used of a grant that has ended.
func SetUsed(conditions *[]metav1.Condition, now time.Time, u *v1alpha1.AccessUsage, window grant.Window, toTheEnd bool) {
	status, reason, calls := metav1.ConditionTrue, v1alpha1.ReasonUsed, ""
	switch s := u.Status; {
	case s.Calls == 1:
		calls = "one call was observed"
	case s.Calls > 1:
		calls = fmt.Sprintf("%d calls were observed", s.Calls)
	case window.Whole() && toTheEnd:
		status, reason, calls = metav1.ConditionFalse, v1alpha1.ReasonNotUsed, "no call was observed"
	default:
		status, reason, calls = metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "no call was observed, but not all of the access was"
	}
	if u.Status.LastCall != nil {
		calls += ", the last at " + text.Moment(u.Status.LastCall.Time)
	}
	if refused := u.Status.RefusedCalls; refused > 0 {
		calls += fmt.Sprintf("; %d more were refused", refused)
	}
	SetCondition(conditions, now, v1alpha1.ConditionUsed, status, reason, calls+"; "+told(window, toTheEnd))
}

// told says what was observed of a grant.
func told(window grant.Window, toTheEnd bool) string {
	if toTheEnd {
		return window.String()
	}
	return window.String() + NotToTheEnd
}

// Left is what became of the objects that were created with the access, a line each.
type Left struct {
	// Exist are still there, and of Unknown nobody can tell.
	Exist, Unknown []string
	// Gone is how many are not there any more.
	Gone int
	// More is how many are not listed.
	More int64
}

// SetLeftToExtension sets the condition LeftBehind of a grant whose access another one
// holds on: exist of what was created with it are there, and the look back at the last
// of the chain tells of them.
func SetLeftToExtension(conditions *[]metav1.Condition, now time.Time, exist int) {
	SetCondition(conditions, now, v1alpha1.ConditionLeftBehind, metav1.ConditionUnknown, v1alpha1.ReasonExtended,
		fmt.Sprintf("the access was extended: what is left of the objects that were created with it (now %d) is told at the end of the last extension", exist))
}

// SetLeftBehind sets the condition LeftBehind of a grant that has ended.
func SetLeftBehind(conditions *[]metav1.Condition, now time.Time, left Left, window grant.Window, toTheEnd bool) {
	unknown := int64(len(left.Unknown)) + left.More
	created := int64(len(left.Exist)+left.Gone) + unknown
	status, reason, message := metav1.ConditionTrue, v1alpha1.ReasonObjectsExist, ""
	switch {
	case len(left.Exist) > 0:
		message = fmt.Sprintf("of %d objects that were created with the access, %d still exist: %s", created, len(left.Exist), strings.Join(left.Exist, "; "))
	case unknown > 0:
		status, reason, message = metav1.ConditionUnknown, v1alpha1.ReasonNotKnown, fmt.Sprintf("of %d objects that were created with the access, nobody knows whether %d still exist", created, unknown)
	case !window.Whole() || !toTheEnd:
		status, reason, message = metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "nothing that still exists was seen to be created, but not all of the access was observed; "+told(window, toTheEnd)
	case created == 0:
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonNone, "nothing was created with the access"
	default:
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonNone, fmt.Sprintf("all %d objects that were created with the access are gone", created)
	}
	if left.More > 0 {
		message += fmt.Sprintf("; %d more were created than the AccessUsage lists", left.More)
	}
	if len(left.Unknown) > 0 {
		message += "; not known: " + strings.Join(left.Unknown, "; ")
	}
	SetCondition(conditions, now, v1alpha1.ConditionLeftBehind, status, reason, message)
}
