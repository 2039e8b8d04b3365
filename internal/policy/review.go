package policy

import (
	"slices"
	"strings"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Review is who looked back at access after its end.
type Review struct {
	// By is who did, empty while nobody has, and Comment what they say about it.
	By, Comment string
	// Ignored says which reviews do not count, and why.
	Ignored []string
}

// Reviewed finds the first review that counts. Like Weigh, it believes nothing that it
// can check again: whoever looks back is in a stage of the approvals, whatever its
// count, did not benefit, however their name is spelt, saw this request, and says
// something.
func Reviewed(b Ballot) Review {
	var out Review
	for _, d := range b.Decisions {
		if d.Verdict != v1alpha1.VerdictReview {
			continue
		}
		why := ""
		switch {
		case d.RequestUID != "" && d.RequestUID != b.RequestUID:
			why = "reviewed another request of this name"
		case identity.Issued(d.Username):
			why = "is an issued credential, which may be that of the requester"
		case identity.Benefits(d.Username, d.Groups, b.Requester.Username, b.Subjects):
			why = "benefited"
		case len(b.stagesOf(d)) == 0:
			why = "is no approver"
		case strings.TrimSpace(d.Comment) == "":
			why = "does not say what they found"
		default:
			out.By, out.Comment = d.Username, text.Trim(d.Comment)
			return out
		}
		out.Ignored = append(out.Ignored, d.Username+" "+why)
	}
	return out
}

// Reviewers are those who may look back at the access of a request.
func (b Ballot) Reviewers() []v1alpha1.PolicySubject {
	var out []v1alpha1.PolicySubject
	for _, stage := range b.Stages {
		for _, s := range identity.Deciders(stage.From, b.Requester.Username, b.Subjects) {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// unreviewable says, in words that go after "which", why nobody could look back at the
// access of this request; "" when somebody can, or when nobody has to.
func (p *Policy) unreviewable(stages []v1alpha1.StageApproval, r Request) string {
	if p.Spec.ReviewWithin == nil || len((Ballot{Stages: stages, Requester: r.Requester, Subjects: r.Subjects}).Reviewers()) > 0 {
		return ""
	}
	return "asks for a review after the end, which nobody could give: everybody in its approvals would have benefited"
}
