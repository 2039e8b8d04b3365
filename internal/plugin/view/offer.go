package view

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Offer is a policy for somebody who may ask by it.
type Offer struct {
	Name string
	// Roles as `request` takes them; Rules tells that permissions may be asked for
	// instead.
	Roles []string
	Rules bool
	// Where the access may hold, a line for each kind of place.
	Where []string
	// AtMost and Default are how long.
	AtMost, Default string
	// Approvals that are needed, and From whom, a line for each stage.
	Approvals string
	From      []string
	// Rest is what else the policy wants or gives, a line each.
	Rest []string
	// NotReady says why nothing comes of it now, "" when something does.
	NotReady string
}

// OfferOf is what a policy offers to somebody at a moment.
func OfferOf(p *v1alpha1.AccessPolicy, me v1alpha1.UserInfo, now time.Time) Offer {
	spec := &p.Spec
	o := Offer{
		Name: p.Name, Roles: Each(spec.Roles, RoleArgument), Rules: len(spec.Rules) > 0,
		AtMost: text.Duration(spec.MaxDuration.Duration), From: Each(spec.Approvals, stageFrom),
	}
	o.Default = o.AtMost
	if spec.DefaultDuration != nil {
		o.Default = text.Duration(spec.DefaultDuration.Duration)
	}
	n := v1alpha1.RequiredBy(Each(spec.Approvals, func(s v1alpha1.ApprovalStage) v1alpha1.StageApproval {
		return v1alpha1.StageApproval{Count: s.Count}
	}))
	if n == 0 {
		o.From = nil // who only watches, and may look back
	}
	if o.Approvals = approvals(n); spec.Approvals == nil {
		o.Approvals = "missing"
	}
	if of := spec.Namespaces; of != nil {
		if len(of.Names) > 0 {
			o.Where = append(o.Where, "namespace "+strings.Join(slices.Sorted(slices.Values(of.Names)), ", "))
		}
		if of.Selector != nil {
			o.Where = append(o.Where, "namespaces with "+text.Selector(of.Selector))
		}
	}
	if spec.ClusterScope == v1alpha1.ClusterScopeAllowed {
		o.Where = append(o.Where, "the whole cluster")
	}
	if until := lastDay(spec, me, now); until != "" {
		o.Rest = append(o.Rest, "You may use it until "+until+".")
	}
	if spec.Task == v1alpha1.TaskRequired {
		o.Rest = append(o.Rest, "It wants a task, with which the access ends.")
	}
	if spec.Credential == v1alpha1.CredentialIssued {
		o.Rest = append(o.Rest, "It gives a credential of its own, which opens on this machine alone.")
	}
	if spec.ReviewWithin != nil {
		o.Rest = append(o.Rest, "Somebody looks back at it within "+text.Duration(spec.ReviewWithin.Duration)+".")
	}
	for _, c := range spec.Conditions {
		o.Rest = append(o.Rest, "Condition "+inWords(c))
	}
	if ready := conditionOf(p.Status.Conditions, v1alpha1.ConditionReady); ready.Status == metav1.ConditionFalse {
		o.NotReady = ready.Message
	}
	return o
}

// lastDay is until when somebody may use a policy, "" when nothing limits it.
func lastDay(spec *v1alpha1.AccessPolicySpec, me v1alpha1.UserInfo, now time.Time) string {
	var last time.Time
	for _, r := range spec.Requesters {
		if !identity.Among([]v1alpha1.PolicySubject{r.PolicySubject}, me.Username, me.Groups) {
			continue
		}
		if r.Until == nil {
			return ""
		}
		if r.Until.After(last) {
			last = r.Until.Time
		}
	}
	if !last.After(now) {
		return ""
	}
	return text.Moment(last)
}
