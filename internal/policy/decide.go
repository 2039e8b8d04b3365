package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Ballot is all that Weigh needs to know.
type Ballot struct {
	RequestUID types.UID
	// RulesHash of the request as it is resolved now.
	RulesHash string
	// HashBefore is what it was before the task existed; empty without a task.
	HashBefore string
	Requester  v1alpha1.UserInfo
	Subjects   []v1alpha1.Subject
	Approvers  []v1alpha1.PolicySubject
	// Required approvals by different people.
	Required  int
	Decisions []v1alpha1.Decision
}

// Outcome of weighing the decisions.
type Outcome struct {
	// Approved: enough people approved, and nobody denied.
	Approved bool
	// Denied: somebody denied; By is who.
	Denied bool
	// Withdrawn: the requester or a subject released the request; By is who.
	Withdrawn bool
	// Revoked: an approver took the access away; By is who.
	Revoked bool
	// By is who denied, withdrew or revoked, with their comment.
	By, Comment string
	// Approvers whose approval counts.
	Approvers []string
	// Message says what is missing, or who decided.
	Message string
}

// BallotOf makes a Ballot of a request, with the policy and the role as its status
// records them.
func BallotOf(request *v1alpha1.AccessRequest, required int) Ballot {
	return Ballot{
		RequestUID: request.UID,
		RulesHash:  request.Status.RulesHash,
		HashBefore: request.Status.Pins.HashBefore(),
		Requester:  request.Spec.Requester,
		Subjects:   identity.Subjects(&request.Spec),
		Approvers:  request.Status.Approvers,
		Required:   required,
		Decisions:  request.Status.Decisions,
	}
}

// Weigh counts decisions. It believes nothing that it can check again: people who
// decided must be approvers now, must not benefit, count once however their names
// are spelt, and must have seen this request and these rules. A decision to take
// access away needs less: the requester or a subject may Release, and any approver
// may Revoke or Deny.
func Weigh(b Ballot) Outcome {
	var (
		out     Outcome
		ignored []string
		people  = map[string]bool{}
	)
	for _, d := range b.Decisions {
		if d.RequestUID != "" && d.RequestUID != b.RequestUID {
			ignored = append(ignored, d.Username+" decided on another request of this name")
			continue
		}
		approver := identity.Among(b.Approvers, d.Username, d.Groups)
		benefits := identity.Benefits(d.Username, d.Groups, b.Requester.Username, b.Subjects)
		switch d.Verdict {
		case v1alpha1.VerdictDeny:
			if approver {
				out.Denied, out.By, out.Comment = true, d.Username, d.Comment
			}
		case v1alpha1.VerdictRevoke:
			if approver && !out.Denied {
				out.Revoked, out.By, out.Comment = true, d.Username, d.Comment
			}
		case v1alpha1.VerdictRelease:
			if benefits && !out.Denied && !out.Revoked {
				out.Withdrawn, out.By, out.Comment = true, d.Username, d.Comment
			}
		case v1alpha1.VerdictApprove:
			person := identity.Fold(d.Username)
			switch {
			case identity.Issued(d.Username):
				ignored = append(ignored, d.Username+" is an issued credential, which may be that of the requester")
			case benefits:
				ignored = append(ignored, d.Username+" would benefit")
			case !approver:
				ignored = append(ignored, d.Username+" is not an approver")
			case d.RulesHash == "", d.RulesHash != b.RulesHash && d.RulesHash != b.HashBefore:
				ignored = append(ignored, d.Username+" approved before the role changed, or something it is for was replaced, and must approve again")
			case people[person]:
				ignored = append(ignored, d.Username+" has approved already")
			default:
				people[person] = true
				out.Approvers = append(out.Approvers, d.Username)
			}
		}
	}
	if out.Denied || out.Withdrawn || out.Revoked {
		out.Message = out.verb() + " by " + out.By
		if out.Comment != "" {
			out.Message += ": " + text.Trim(out.Comment)
		}
		return out
	}
	out.Approved = len(out.Approvers) >= b.Required
	switch missing := b.Required - len(out.Approvers); {
	case b.Required == 0:
		out.Message = "the policy asks for no approval"
	case out.Approved:
		out.Message = "approved by " + strings.Join(out.Approvers, ", ")
	default:
		out.Message = fmt.Sprintf("%d of %d approvals; %s", len(out.Approvers), b.Required, b.ask(missing, people))
	}
	if len(ignored) > 0 {
		out.Message += " (not counted: " + strings.Join(ignored, "; ") + ")"
	}
	return out
}

// ask says whom to ask for the approvals that are missing: those who may give
// one and have not.
func (b Ballot) ask(missing int, approved map[string]bool) string {
	left := slices.DeleteFunc(identity.Deciders(b.Approvers, b.Requester.Username, b.Subjects), func(a v1alpha1.PolicySubject) bool {
		name, isPerson := identity.Person(a)
		return isPerson && approved[identity.Fold(name)]
	})
	if len(left) == 0 {
		return fmt.Sprintf("%d more, and nobody is left who may approve it", missing)
	}
	return fmt.Sprintf("%d more of %s", missing, strings.Join(text.Subjects(left), ", "))
}

func (o Outcome) verb() string {
	switch {
	case o.Denied:
		return "denied"
	case o.Revoked:
		return "revoked"
	}
	return "released"
}
