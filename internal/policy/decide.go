package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

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
	// Stages of the approvals that are asked for; who has approved is not believed.
	Stages    []v1alpha1.StageApproval
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
	// Approvers whose approval counts, and Stages of the ballot with those whom each
	// stage has of them. An approval may come to more than the stages need.
	Approvers []string
	Stages    []v1alpha1.StageApproval
	// Caps are what the approvals that count allow at most, in their order.
	Caps []Cap
	// Message says what is missing, or who decided.
	Message string
}

// BallotOf makes a Ballot of a request, with the stages and the role as its status
// records them.
func BallotOf(request *v1alpha1.AccessRequest) Ballot {
	return Ballot{
		RequestUID: request.UID,
		RulesHash:  request.Status.RulesHash,
		HashBefore: request.Status.Pins.HashBefore(),
		Requester:  request.Spec.Requester,
		Subjects:   identity.Subjects(request.Asked()),
		Stages:     request.Status.Approvals,
		Decisions:  request.Status.Decisions,
	}
}

// Weigh counts decisions. It believes nothing that it can check again: people who
// decided must be approvers now, must not benefit, count once however their names
// are spelt and in however many stages they are, and must have seen this request and
// these rules. Who counts in which stage is a matching: the order in which people
// approve does not matter. A decision to take
// access away needs less: the requester or a subject may Release, and any approver
// may Revoke or Deny.
func Weigh(b Ballot) Outcome {
	var (
		out      Outcome
		ignored  []string
		people   = map[string]bool{}
		eligible [][]int
	)
	for _, d := range b.Decisions {
		if d.RequestUID != "" && d.RequestUID != b.RequestUID {
			ignored = append(ignored, d.Username+" decided on another request of this name")
			continue
		}
		stages := b.stagesOf(d)
		approver := len(stages) > 0
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
				eligible = append(eligible, stages)
				if d.MaxDuration != nil || d.NotAfter != nil {
					out.Caps = append(out.Caps, capOf(d))
				}
			}
		}
	}
	met, required := out.fill(b.Stages, eligible)
	if out.Denied || out.Withdrawn || out.Revoked {
		out.Message = out.verb() + " by " + out.By
		if out.Comment != "" {
			out.Message += ": " + text.Trim(out.Comment)
		}
		return out
	}
	out.Approved = met == required
	switch {
	case required == 0:
		out.Message = "the policy asks for no approval"
	case out.Approved:
		out.Message = "approved by " + strings.Join(out.Approvers, ", ")
	default:
		out.Message = fmt.Sprintf("%d of %d approvals; %s", met, required, b.ask(out.Stages, people))
	}
	if len(ignored) > 0 {
		out.Message += " (not counted: " + strings.Join(ignored, "; ") + ")"
	}
	return out
}

// Needs tells whether an approval of this person would bring the request nearer to
// what its stages need.
func (b Ballot) Needs(who v1alpha1.UserInfo) bool {
	given := func(o Outcome) (n int) {
		for _, stage := range o.Stages {
			n += len(stage.Approved)
		}
		return n
	}
	with := b
	with.Decisions = append(slices.Clip(b.Decisions), v1alpha1.Decision{
		Username: who.Username, Groups: who.Groups, Verdict: v1alpha1.VerdictApprove, RulesHash: b.RulesHash,
	})
	return given(Weigh(with)) > given(Weigh(b))
}

// stagesOf are the stages that the author of a decision is in.
func (b Ballot) stagesOf(d v1alpha1.Decision) []int {
	var in []int
	for i, stage := range b.Stages {
		if identity.Among(stage.From, d.Username, d.Groups) {
			in = append(in, i)
		}
	}
	return in
}

// fill says who counts in which stage; eligible are the stages of each of the
// approvers. It returns how many approvals are given that are needed, and how many
// are needed.
func (o *Outcome) fill(stages []v1alpha1.StageApproval, eligible [][]int) (met, required int) {
	counts := make([]int, len(stages))
	for i, stage := range stages {
		counts[i] = int(ptr.Deref(stage.Count, 1))
		required += counts[i]
	}
	o.Stages = slices.Clone(stages)
	for i, assigned := range assign(eligible, counts) {
		o.Stages[i].Approved = nil
		for _, person := range assigned {
			o.Stages[i].Approved = append(o.Stages[i].Approved, o.Approvers[person])
		}
		met += len(assigned)
	}
	return met, required
}

// ask says whom to ask for the approvals that are missing: those who may give
// one and have not.
func (b Ballot) ask(stages []v1alpha1.StageApproval, approved map[string]bool) string {
	var missing []string
	for _, stage := range stages {
		more := int(ptr.Deref(stage.Count, 1)) - len(stage.Approved)
		if more <= 0 {
			continue
		}
		left := slices.DeleteFunc(identity.Deciders(stage.From, b.Requester.Username, b.Subjects), func(a v1alpha1.PolicySubject) bool {
			name, isPerson := identity.Person(a)
			return isPerson && approved[identity.Fold(name)]
		})
		of := ", and nobody is left who may approve it"
		if len(left) > 0 {
			of = " of " + strings.Join(text.Subjects(left), ", ")
		}
		if len(stages) > 1 {
			of += " for " + stage.Name
		}
		missing = append(missing, fmt.Sprintf("%d more%s", more, of))
	}
	return strings.Join(missing, ", and ")
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
