package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Requests lists requests, the newest last.
func Requests(requests []v1alpha1.AccessRequest, now time.Time, everywhere, toApprove, wide bool) Table {
	byAge := slices.SortedStableFunc(slices.Values(requests), func(a, b v1alpha1.AccessRequest) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return tableOf(byAge, func(r *v1alpha1.AccessRequest) []cell {
		var row []cell
		add := func(when bool, header, value string) {
			if when {
				row = append(row, cell{header, value})
			}
		}
		add(everywhere, "NAMESPACE", r.Namespace)
		add(true, "NAME", r.Name)
		add(true, "REQUESTER", r.Spec.Requester.Username)
		add(true, "ROLE", roleOf(r))
		add(true, "SCOPE", scopeOf(r))
		add(true, "FOR", durationOf(r.Asked()))
		add(true, "PHASE", phaseOf(r))
		add(true, "AGE", ago(r.CreationTimestamp.Time, now))
		add(toApprove, "REASON", r.Spec.Reason)
		add(!toApprove, "EXPIRES", expiresOf(r, now))
		add(wide, "SUBJECTS", strings.Join(text.Subjects(identity.Subjects(r.Asked())), ","))
		add(wide, "EXTENDS", r.Spec.Extends)
		add(wide, "POLICY", ptr.Deref(r.Status.Policy, v1alpha1.PolicyRef{}).Name)
		add(wide, "TICKET", r.Spec.Ticket)
		add(wide && !toApprove, "REASON", r.Spec.Reason)
		add(wide, "REVIEW", string(r.Status.Review))
		add(wide, "STATE", Progress(r, now))
		return row
	})
}

func phaseOf(r *v1alpha1.AccessRequest) string {
	return string(cmp.Or(r.Status.Phase, v1alpha1.RequestPending))
}

func durationOf(spec *v1alpha1.AccessRequestSpec) string {
	var parts []string
	if spec.Duration != nil {
		long := text.Duration(spec.Duration.Duration)
		if spec.Extends != "" {
			long += " more"
		}
		parts = append(parts, long)
	}
	if spec.Task != nil {
		parts = append(parts, strings.ToLower(spec.Task.Kind)+"/"+spec.Task.Name)
	}
	return strings.Join(parts, ", ")
}

func expiresOf(r *v1alpha1.AccessRequest, now time.Time) string {
	if r.Status.ExpirationTime == nil {
		return ""
	}
	if r.Status.Phase.Ended() {
		return text.Moment(r.Status.ExpirationTime.Time)
	}
	return left(r.Status.ExpirationTime.Time, now)
}

// RequestLine says in one line what a request is for.
func RequestLine(r *v1alpha1.AccessRequest) string {
	return r.Spec.Requester.Username + ", " + roleOf(r) + " in " + scopeOf(r) + ", " + phaseOf(r)
}

// roleOf is what a request asks for. Until the broker has looked, one for more time
// says only whose.
func roleOf(r *v1alpha1.AccessRequest) string {
	if r.Spec.Extends != "" && r.Status.Extended == nil {
		return "more of " + r.Spec.Extends
	}
	return text.Role(r.Asked().RoleRef)
}

func scopeOf(r *v1alpha1.AccessRequest) string { return text.Scope(r.Namespace, r.Asked().Scope) }
