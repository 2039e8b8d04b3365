package view

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Seen is what somebody who asks may read of what their request names. The broker
// may read more.
type Seen struct {
	Namespaces []SeenNamespace
	// Unlisted is true when a selector selects namespaces that may not be listed.
	Unlisted bool
	// Rules of the role that is asked for, as far as Unread is "".
	Rules []rbacv1.PolicyRule
	// Unread says why the rules are not known.
	Unread string
}

// SeenNamespace is one in which the access would hold; Object is nil when it may not
// be read.
type SeenNamespace struct {
	Name   string
	Object *metav1.PartialObjectMetadata
}

// Preview is what would come of a request that was sent now, as far as it can be told.
type Preview struct {
	Answer policy.Answer
	// Policy that would decide, when it is Allowed.
	Policy string
	// Says what would come of it, in a line.
	Says string
	// Facts are those of the page of the request.
	Facts []Part
	// Risks are what its holder could turn it into, the most dangerous first, and Allows
	// all that it allows; none when they are not known.
	Risks, Allows []Item
	// Warns are what stands in the way now.
	Warns []string
	// Untold is what cannot be told, and why.
	Untold []string
}

// PreviewOf foresees what the broker would do with a request, from what somebody who
// asks may see. The request has its requester.
func PreviewOf(ctx context.Context, policies []v1alpha1.AccessPolicy, request *v1alpha1.AccessRequest, seen Seen, now time.Time) (Preview, error) {
	ask, err := askOf(request, seen)
	if err != nil {
		return Preview{}, err
	}
	begin := now
	if start := request.Spec.StartTime; start != nil && start.After(begin) {
		begin = start.Time
	}
	doubts := map[string][]string{}
	var candidates []*policy.Policy
	for i := range policies {
		if policies[i].DeletionTimestamp != nil {
			continue
		}
		candidate, doubt := assumed(&policies[i], request, seen)
		candidates = append(candidates, candidate)
		doubts[policies[i].Name] = doubt
	}
	match := policy.Find(ctx, candidates, ask, begin)
	would := request.DeepCopy()
	would.CreationTimestamp = metav1.NewTime(now)
	would.Status = v1alpha1.AccessRequestStatus{}
	out := Preview{Answer: match.Answer, Says: sentence(match.Message)}
	if match.Answer == policy.Allowed {
		out.Policy = match.Policy.Name
		out.Untold = append(out.Untold, doubts[out.Policy]...)
		would.Status.Policy = &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: out.Policy}}
		would.Status.Approvals = match.Stages
		would.Spec.Duration = &metav1.Duration{Duration: match.Duration}
		out.Says = decidedBy(would)
		if !match.Latest.IsZero() {
			out.Untold = append(out.Untold, fmt.Sprintf("Whether it is approved in time: it can begin no later than %s, because you may use the policy for no longer.", text.Moment(match.Latest)))
		}
		if ready := conditionOf(match.Policy.Status.Conditions, v1alpha1.ConditionReady); ready.Status == metav1.ConditionFalse {
			out.Warns = append(out.Warns, sentence("nothing comes of policy "+word(out.Policy)+" now: "+ready.Message))
		}
	}
	if never := neverGrantable(request); never != "" {
		out.Answer, out.Policy, out.Says, out.Warns, out.Untold = policy.NotAllowed, "", never, nil, nil
	}
	out.describe(would, seen, now)
	return out, nil
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// decidedBy says who decides, in a line.
func decidedBy(r *v1alpha1.AccessRequest) string {
	if r.Status.Required() == 0 {
		return fmt.Sprintf("Policy %s gives it at once: no approval is needed.", word(r.Status.Policy.Name))
	}
	return fmt.Sprintf("Policy %s decides, with %s.", word(r.Status.Policy.Name), approvals(r.Status.Required()))
}

// describe says what would be asked for, as the page of the request will.
func (p *Preview) describe(r *v1alpha1.AccessRequest, seen Seen, now time.Time) {
	if seen.Unread == "" {
		all := rules.Normalize(seen.Rules)
		r.Status.Rules = rules.Show(all, ownLimit).Stored("the role has all of them")
		p.Allows = allowed(r)
		p.Risks = Each(rules.Risks(all), func(risk rules.Risk) Item { return Item{Text: risk.Message, Danger: true} })
		if len(p.Risks) == 0 {
			p.Risks = []Item{{Text: rules.NoneKnown.Message}}
		}
	} else {
		p.Untold = append(p.Untold, "What it allows, and what its holder could turn it into: "+seen.Unread+". Whoever decides sees it.")
	}
	var page Page
	subjects := identity.Subjects(r.Asked())
	if len(r.Asked().Subjects) > 0 {
		page.fact("For whom", strings.Join(text.Subjects(subjects), ", "))
	}
	page.fact("What", roleOf(r))
	page.fact("Where", whereOf(r))
	page.fact("How long", howLong(r, now))
	page.Facts = append(page.Facts, stages(r, subjects)...)
	if seen.Unread == "" {
		what := count(r.Status.Rules)
		page.fact("Can change", what.changes())
		page.fact("Rights", what.rights())
	}
	p.Facts = page.Facts
}

// askOf is the request as policies see it.
func askOf(r *v1alpha1.AccessRequest, seen Seen) (policy.Request, error) {
	spec := r.Asked()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	if err != nil {
		return policy.Request{}, err
	}
	ask := policy.Request{
		Object: object, Namespace: r.Namespace, Requester: spec.Requester, Subjects: identity.Subjects(spec),
		RoleRef: spec.RoleRef, Rules: spec.Rules, Cluster: spec.Scope != nil && spec.Scope.Cluster != nil,
		PolicyName: spec.PolicyName, HasTask: spec.Task != nil, Issued: spec.CredentialKey != "",
	}
	if spec.Duration != nil {
		ask.Duration = &spec.Duration.Duration
	}
	for _, ns := range seen.Namespaces {
		known := policy.Namespace{Name: ns.Name}
		if ns.Object != nil {
			known.Labels = ns.Object.Labels
			if known.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(ns.Object); err != nil {
				return policy.Request{}, err
			}
		}
		ask.Namespaces = append(ask.Namespaces, known)
	}
	return ask, nil
}

// assumed is a policy for which everything that may not be read is as it should be,
// and what that is.
func assumed(p *v1alpha1.AccessPolicy, r *v1alpha1.AccessRequest, seen Seen) (*policy.Policy, []string) {
	var doubts []string
	unread := Each(Keep(seen.Namespaces, func(ns *SeenNamespace) bool { return ns.Object == nil }), func(ns SeenNamespace) string { return ns.Name })
	blind := len(unread) > 0 || seen.Unlisted
	where := "the namespaces that the labels select, which you may not list"
	if len(unread) > 0 {
		where = "namespace " + several(unread) + ", whose labels you may not read"
	}
	p = p.DeepCopy()
	if of := p.Spec.Namespaces; blind && of != nil && of.Selector != nil {
		unnamed := Keep(unread, func(name *string) bool { return !slices.Contains(of.Names, *name) })
		if len(unnamed) > 0 || seen.Unlisted {
			of.Names = append(of.Names, unnamed...)
			doubts = append(doubts, fmt.Sprintf("Whether policy %s is for %s: it wants %s.", word(p.Name), where, text.Selector(of.Selector)))
		}
	}
	for i := range p.Spec.Approvals {
		stage := &p.Spec.Approvals[i]
		if stage.FromNamespaceLabel == nil || !blind {
			continue
		}
		doubts = append(doubts, fmt.Sprintf("Which group decides in stage %q: the label %s of %s names it.", stage.Name, stage.FromNamespaceLabel.Key, where))
		stage.From = []v1alpha1.PolicySubject{{Kind: v1alpha1.GroupKind, Name: strings.TrimPrefix(stageFrom(*stage), "group:")}}
		stage.FromNamespaceLabel = nil
	}
	variables := []string{"cluster"}
	if r.Asked().Task != nil {
		variables = append(variables, "task")
	}
	if blind {
		variables = append(variables, "namespaceObject")
	}
	compiled, left := policy.Compile(p).Without(variables...)
	for _, name := range left {
		doubts = append(doubts, fmt.Sprintf("Whether the condition %q of policy %s holds: it reads what only the broker looks up.", name, word(p.Name)))
	}
	if conditionOf(p.Status.Conditions, v1alpha1.ConditionReady).Reason == v1alpha1.ReasonNotConfirmed {
		compiled.MustBeConfirmed()
	}
	return compiled, doubts
}

// neverGrantable says why the broker gives nobody what is asked for, whatever a policy
// says; "" when that is not so.
func neverGrantable(r *v1alpha1.AccessRequest) string {
	spec := r.Asked()
	whole := spec.Scope != nil && spec.Scope.Cluster != nil
	if spec.RoleRef != nil {
		if spec.RoleRef.Kind == v1alpha1.RoleKind && whole {
			return "A Role cannot be granted in the whole cluster: name a ClusterRole."
		}
		return ""
	}
	own := rules.Normalize(v1alpha1.RBACRules(spec.Rules))
	reasons := distinct(Each(rules.Forbidden(own), func(f rules.Finding) string { return f.Reason }))
	if !whole && slices.ContainsFunc(own, func(r rbacv1.PolicyRule) bool { return len(r.NonResourceURLs) > 0 }) {
		reasons = append(reasons, "paths belong to no namespace: ask for the whole cluster")
	}
	if len(reasons) == 0 {
		return ""
	}
	return "These permissions are given to nobody: " + strings.Join(reasons, "; ") + "."
}
