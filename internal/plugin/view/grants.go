package view

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// Given is when the access was given.
func Given(g *v1alpha1.AccessGrant) time.Time {
	if g.Status.GrantedTime != nil {
		return g.Status.GrantedTime.Time
	}
	return g.Spec.NotBefore.Time
}

// Use is what a list says of the use of a grant.
type Use struct {
	Calls, Refused, Sessions int
	// Since and Until are the window in which usage was observed.
	LastCall, Since, Until time.Time
	Gaps                   int
	Suspicious             []string
}

// UseOf sums up what is stored of the use of a grant.
func UseOf(status *v1alpha1.AccessUsageStatus) Use {
	s := usage.SummaryOf(status)
	return Use{
		Calls: s.Calls - s.Refused, Refused: s.Refused, Sessions: len(s.Open) + s.More.Open,
		LastCall: s.Last, Since: s.Window.Since, Until: s.Window.Until, Gaps: s.Window.Gaps,
		Suspicious: Each(s.Suspicious, func(f usage.Finding) string { return f.Name }),
	}
}

// Grants lists who had which access, and of what was observed what they used it for.
// Of a grant without an entry nothing was observed.
func Grants(grants []v1alpha1.AccessGrant, used map[string]Use, now time.Time, wide bool) Table {
	return tableOf(grants, func(g *v1alpha1.AccessGrant) []cell {
		end := left(g.Spec.ExpirationTime.Time, now)
		if g.Status.EndedTime != nil {
			end = text.Moment(g.Status.EndedTime.Time)
		}
		row := []cell{
			{"GIVEN", text.Moment(Given(g))},
			{"REQUESTER", g.Spec.Requester.Username},
			{"SUBJECTS", g.Spec.Summary.Subjects},
			{"ROLE", g.Spec.Summary.Role},
			{"SCOPE", g.Spec.Summary.Scope},
			{"PHASE", string(g.Status.Phase)},
			{"ENDED", end},
			{"WHY", string(g.Status.EndReason)},
			{"APPROVED BY", g.Spec.Summary.Approvers},
		}
		if len(used) > 0 {
			u, observed := used[g.Name]
			row = append(row, cell{"CALLS", counted(observed, u.Calls)}, cell{"SUSPICIOUS", strings.Join(u.Suspicious, ",")})
			if wide {
				row = append(row, cell{"LAST CALL", momentOf(u.LastCall)}, cell{"REFUSED", counted(observed, u.Refused)}, cell{"SESSIONS", counted(observed, u.Sessions)},
					cell{"LEFT BEHIND", leftBehind(g)})
			}
		}
		if wide {
			row = append(row,
				cell{"POLICY", g.Spec.PolicyRef.Name},
				cell{"TICKET", g.Spec.Ticket},
				cell{"REASON", g.Spec.Reason},
				cell{"REVIEW", string(g.Status.Review)},
				cell{"GRANT", g.Name},
				cell{"EXTENDS", extended(g)})
		}
		return row
	})
}

// extended is the grant that a grant gives more time to, if it does.
func extended(g *v1alpha1.AccessGrant) string {
	if g.Spec.Extends == nil {
		return ""
	}
	return g.Spec.Extends.Name
}

// counted is a number, and nothing where nobody counted.
func counted(observed bool, n int) string {
	if !observed {
		return ""
	}
	return strconv.Itoa(n)
}

// leftBehind is what the broker found when it looked for what was created.
func leftBehind(g *v1alpha1.AccessGrant) string {
	if c := conditionOf(g.Status.Conditions, v1alpha1.ConditionLeftBehind); c.Status == metav1.ConditionTrue {
		return c.Message
	}
	return ""
}

// Record is one grant for programs. The order is that of the columns.
type Record struct {
	Given      string   `json:"given"`
	Requester  string   `json:"requester"`
	Subjects   []string `json:"subjects"`
	Role       string   `json:"role"`
	Cluster    bool     `json:"cluster"`
	Namespaces []string `json:"namespaces,omitempty"`
	Phase      string   `json:"phase"`
	Expires    string   `json:"expires"`
	Ended      string   `json:"ended,omitempty"`
	EndReason  string   `json:"endReason,omitempty"`
	EndedBy    string   `json:"endedBy,omitempty"`
	// Removed is the condition AccessRemoved: True when the API server was
	// asked and the access was gone.
	Removed    string   `json:"accessRemoved,omitempty"`
	Standing   string   `json:"standingAccess,omitempty"`
	ApprovedBy []string `json:"approvedBy,omitempty"`
	Policy     string   `json:"policy"`
	Ticket     string   `json:"ticket,omitempty"`
	Reason     string   `json:"reason"`
	Request    string   `json:"request"`
	Grant      string   `json:"grant"`
	// Extends is the grant that this one gives more time to.
	Extends string `json:"extends,omitempty"`

	// What it was used for. Nothing is there, not even 0, where nobody observed it:
	// nothing is known then.
	Calls         *int     `json:"calls,omitempty"`
	Refused       *int     `json:"refusedCalls,omitempty"`
	LastCall      string   `json:"lastCall,omitempty"`
	Suspicious    []string `json:"suspicious,omitempty"`
	LeftBehind    string   `json:"leftBehind,omitempty"`
	OpenSessions  *int     `json:"openSessions,omitempty"`
	ObservedSince string   `json:"observedSince,omitempty"`
	ObservedUntil string   `json:"observedUntil,omitempty"`
	Gaps          *int     `json:"gaps,omitempty"`

	// Review is where the look back after the end stands, nothing where there has to be
	// none; Reviewed says by whom and what they found, or by whom and when it must be.
	Review   string `json:"review,omitempty"`
	Reviewed string `json:"reviewed,omitempty"`
}

// RecordColumns are the headers of a row.
var RecordColumns = []string{
	"given", "requester", "subjects", "role", "cluster", "namespaces", "phase", "expires", "ended", "endReason", "endedBy",
	"accessRemoved", "standingAccess", "approvedBy", "policy", "ticket", "reason", "request", "grant", "extends",
	"calls", "refusedCalls", "lastCall", "suspicious", "leftBehind", "openSessions", "observedSince", "observedUntil", "gaps",
	"review", "reviewed",
}

// RecordOf is the record of a grant, and of its use where that was observed.
func RecordOf(g *v1alpha1.AccessGrant, u Use, observed bool) Record {
	r := Record{
		Given: text.Moment(Given(g)), Requester: g.Spec.Requester.Username, Role: g.Spec.Summary.Role, Cluster: g.Spec.Cluster,
		Subjects:   Each(g.Spec.Subjects, func(s v1alpha1.GrantSubject) string { return text.Subject(s.Subject) }),
		Namespaces: Each(g.Spec.Namespaces, func(n v1alpha1.GrantNamespace) string { return n.Name }),
		ApprovedBy: Each(g.Spec.Decisions, func(d v1alpha1.Decision) string { return d.Username }),
		Phase:      cmp.Or(string(g.Status.Phase), string(v1alpha1.GrantPending)), Expires: text.Moment(g.Spec.ExpirationTime.Time),
		EndReason: string(g.Status.EndReason), EndedBy: g.Status.EndedBy,
		Removed: string(conditionOf(g.Status.Conditions, v1alpha1.ConditionAccessRemoved).Status),
		Policy:  g.Spec.PolicyRef.Name, Ticket: g.Spec.Ticket, Reason: g.Spec.Reason,
		Request: g.Spec.RequestRef.Namespace + "/" + g.Spec.RequestRef.Name, Grant: g.Name, Extends: extended(g),
	}
	if g.Status.EndedTime != nil {
		r.Ended = text.Moment(g.Status.EndedTime.Time)
	}
	if c := conditionOf(g.Status.Conditions, v1alpha1.ConditionStandingAccess); c.Status == metav1.ConditionTrue {
		r.Standing = c.Message
	}
	r.LeftBehind = leftBehind(g)
	r.Review, r.Reviewed = string(g.Status.Review), conditionOf(g.Status.Conditions, v1alpha1.ConditionReviewed).Message
	if observed {
		r.Calls, r.Refused, r.OpenSessions, r.Gaps, r.Suspicious = &u.Calls, &u.Refused, &u.Sessions, &u.Gaps, u.Suspicious
		r.LastCall, r.ObservedSince, r.ObservedUntil = momentOf(u.LastCall), momentOf(u.Since), momentOf(u.Until)
	}
	return r
}

// Row is the record with a cell for each column.
func (r Record) Row() []string {
	return []string{
		r.Given, r.Requester, strings.Join(r.Subjects, "; "), r.Role, fmt.Sprint(r.Cluster), strings.Join(r.Namespaces, "; "),
		r.Phase, r.Expires, r.Ended, r.EndReason, r.EndedBy, r.Removed, r.Standing, strings.Join(r.ApprovedBy, "; "),
		r.Policy, r.Ticket, r.Reason, r.Request, r.Grant, r.Extends,
		number(r.Calls), number(r.Refused), r.LastCall, strings.Join(r.Suspicious, "; "), r.LeftBehind, number(r.OpenSessions),
		r.ObservedSince, r.ObservedUntil, number(r.Gaps), r.Review, r.Reviewed,
	}
}

func number(n *int) string { return counted(n != nil, ptr.Deref(n, 0)) }

// momentOf is a time, and nothing where there was none.
func momentOf(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return text.Moment(t)
}
