package record

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Eviction is what became of the Pod of a session.
type Eviction struct {
	// Done is true when the Pod is gone or going, Evicted when the broker did that.
	Done, Evicted bool
	// Note says what happened, for people.
	Note string
}

// What ends the sessions that nobody can end with a command.
const (
	onWatches = "nobody can end a watch: it ends when the API server restarts, or at its timeout, by default 30 to 60 minutes after it began"
	onPods    = "where a Deployment or another controller has made a Pod, it makes a new one"
)

// SetSessionsOpen sets the condition SessionsOpen of a grant that has ended: which
// sessions go on, and what ends them. evictions are by the IDs of the sessions. It
// returns how many are open.
func SetSessionsOpen(conditions *[]metav1.Condition, now time.Time, u *v1alpha1.AccessUsage, evictions map[string]Eviction, window grant.Window, toTheEnd bool) int {
	before := meta.FindStatusCondition(*conditions, v1alpha1.ConditionSessionsOpen)
	sessions, more := u.Status.Sessions, u.Status.More.Sessions
	set := func(status metav1.ConditionStatus, reason, message string) {
		SetCondition(conditions, now, v1alpha1.ConditionSessionsOpen, status, reason, message)
	}
	switch {
	case len(sessions) > 0 || more > 0:
	case before != nil && before.Status == metav1.ConditionTrue:
		set(metav1.ConditionFalse, before.Reason, "the sessions that outlived the access are over")
		return 0
	case before != nil:
		return 0
	case !window.Whole() || !toTheEnd:
		set(metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "no session is seen to be open, but not all of the access was observed; "+told(window, toTheEnd))
		return 0
	default:
		set(metav1.ConditionFalse, v1alpha1.ReasonNone, "no session is open")
		return 0
	}
	reason, watches, pods := v1alpha1.ReasonOpen, false, false
	evicted := before != nil && before.Reason == v1alpha1.ReasonEvicted
	var lines []string
	for _, s := range sessions {
		line, deletes := sessionLine(s, evictions[s.ID])
		lines = append(lines, line)
		pods = pods || deletes
		watches = watches || s.Kind == grant.SessionWatch
		if e := evictions[s.ID]; e.Evicted || (e.Done && evicted) {
			reason = v1alpha1.ReasonEvicted
		}
	}
	slices.Sort(lines)
	open := int64(len(sessions)) + more
	message := fmt.Sprintf("%d sessions outlive the access, for Kubernetes does not authorize them again", open)
	if open == 1 {
		message = "a session outlives the access, for Kubernetes does not authorize it again"
	}
	if pods {
		message += "; " + onPods
	}
	if watches {
		message += "; " + onWatches
	}
	if more > 0 {
		message += fmt.Sprintf("; %d of them are not listed", more)
	}
	set(metav1.ConditionTrue, reason, message+": "+strings.Join(lines, "; "))
	return int(open)
}

// word is a name as it is, or in quotes where it could be taken for more than a name.
func word(s string) string {
	if s = text.Cut(s, 64); strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(";|&$`'\"()<>", r) }) {
		return text.Quote(s)
	}
	return s
}

// maxSession bounds the line about a session, in bytes.
const maxSession = 400

// sessionLine says what goes on and what ends it; deletes is true when that is to
// delete a Pod. A command is one that may be pasted: names that no object can have
// are in none.
func sessionLine(s v1alpha1.UsageSession, eviction Eviction) (line string, deletes bool) {
	what := word(cmp.Or(s.Resource, "something"))
	if s.Name != "" {
		what = strings.TrimSuffix(what, "s") + " " + word(s.Name)
	}
	if s.Namespace != "" {
		what += " in " + word(s.Namespace)
	}
	who := word(s.User)
	if s.As != "" {
		who += " as " + word(s.As)
	}
	line = fmt.Sprintf("%s of %s by %s since %s", word(s.Kind), what, who, text.Moment(s.Since.Time))
	if s.Shared {
		line += ", which other access covers, too"
	}
	switch {
	case s.Kind == grant.SessionWatch:
	case s.Group != "" || s.Resource != "pods":
		line += " (its client or its server ends it)"
	case len(validation.IsDNS1123Subdomain(s.Name)) > 0 || len(validation.IsDNS1123Label(s.Namespace)) > 0:
		line += " (no Pod can have this name)"
	case eviction.Done:
	default:
		line += fmt.Sprintf(": kubectl delete pod %s -n %s", s.Name, s.Namespace)
		deletes = true
	}
	if eviction.Note != "" {
		line += " (" + eviction.Note + ")"
	}
	return text.Cut(text.OneLine(line), maxSession), deletes
}
