package view

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Given is when the access was given.
func Given(g *v1alpha1.AccessGrant) time.Time {
	if g.Status.GrantedTime != nil {
		return g.Status.GrantedTime.Time
	}
	return g.Spec.NotBefore.Time
}

// Grants lists who had which access.
func Grants(grants []v1alpha1.AccessGrant, now time.Time, wide bool) Table {
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
		if wide {
			row = append(row,
				cell{"POLICY", g.Spec.PolicyRef.Name},
				cell{"TICKET", g.Spec.Ticket},
				cell{"REASON", g.Spec.Reason},
				cell{"GRANT", g.Name})
		}
		return row
	})
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
}

// RecordColumns are the headers of a row.
var RecordColumns = []string{
	"given", "requester", "subjects", "role", "cluster", "namespaces", "phase", "expires", "ended", "endReason", "endedBy",
	"accessRemoved", "standingAccess", "approvedBy", "policy", "ticket", "reason", "request", "grant",
}

// RecordOf is the record of a grant.
func RecordOf(g *v1alpha1.AccessGrant) Record {
	r := Record{
		Given: text.Moment(Given(g)), Requester: g.Spec.Requester.Username, Role: g.Spec.Summary.Role, Cluster: g.Spec.Cluster,
		Subjects:   Each(g.Spec.Subjects, func(s v1alpha1.GrantSubject) string { return text.Subject(s.Subject) }),
		Namespaces: Each(g.Spec.Namespaces, func(n v1alpha1.GrantNamespace) string { return n.Name }),
		ApprovedBy: Each(g.Spec.Decisions, func(d v1alpha1.Decision) string { return d.Username }),
		Phase:      cmp.Or(string(g.Status.Phase), string(v1alpha1.GrantPending)), Expires: text.Moment(g.Spec.ExpirationTime.Time),
		EndReason: string(g.Status.EndReason), EndedBy: g.Status.EndedBy,
		Removed: string(conditionOf(g.Status.Conditions, v1alpha1.ConditionAccessRemoved).Status),
		Policy:  g.Spec.PolicyRef.Name, Ticket: g.Spec.Ticket, Reason: g.Spec.Reason,
		Request: g.Spec.RequestRef.Namespace + "/" + g.Spec.RequestRef.Name, Grant: g.Name,
	}
	if g.Status.EndedTime != nil {
		r.Ended = text.Moment(g.Status.EndedTime.Time)
	}
	if c := conditionOf(g.Status.Conditions, v1alpha1.ConditionStandingAccess); c.Status == metav1.ConditionTrue {
		r.Standing = c.Message
	}
	return r
}

// Row is the record with a cell for each column.
func (r Record) Row() []string {
	return []string{
		r.Given, r.Requester, strings.Join(r.Subjects, "; "), r.Role, fmt.Sprint(r.Cluster), strings.Join(r.Namespaces, "; "),
		r.Phase, r.Expires, r.Ended, r.EndReason, r.EndedBy, r.Removed, r.Standing, strings.Join(r.ApprovedBy, "; "),
		r.Policy, r.Ticket, r.Reason, r.Request, r.Grant,
	}
}
