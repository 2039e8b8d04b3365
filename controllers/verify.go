package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// maxQuestions bounds how often the API server is asked about one grant. A
// role may hold a thousand permissions; beyond the bound an even sample of
// them is asked for, and the condition says so.
const maxQuestions = 200

// maxListed bounds how much standing access a condition lists.
const maxListed = 20

// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// remaining is what the API server answered when it was asked, for the
// subjects of a grant that was taken away, whether they still have the access.
type remaining struct {
	// ours is true while the authorizer still goes by a binding of the grant.
	ours bool
	// others is what is allowed by other means, and by which.
	others []string
	// asked of possible questions.
	asked, possible int
}

// askForAccess asks the API server whether the subjects of a grant still have
// its access. A subject that is the requester is asked for with his groups;
// the groups of any other user are not known.
func askForAccess(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant) (remaining, error) {
	var out remaining
	questions := questionsOf(g)
	out.possible = len(questions)
	if len(questions) > maxQuestions {
		sample := make([]authorizationv1.SubjectAccessReviewSpec, maxQuestions)
		for i := range sample {
			sample[i] = questions[i*len(questions)/maxQuestions]
		}
		questions = sample
	}
	for _, question := range questions {
		review := &authorizationv1.SubjectAccessReview{Spec: question}
		if err := c.Create(ctx, review); err != nil {
			return out, fmt.Errorf("ask whether the access is gone: %w", err)
		}
		out.asked++
		if !review.Status.Allowed {
			continue
		}
		if byGrant(review.Status.Reason, g) {
			out.ours = true
			return out, nil
		}
		out.others = append(out.others, describeQuestion(question)+": "+review.Status.Reason)
	}
	return out, nil
}

// byGrant tells whether the RBAC authorizer names a binding of the grant as its
// reason ('RBAC: allowed by RoleBinding "name/namespace" of ...').
func byGrant(reason string, g *v1alpha1.AccessGrant) bool {
	for _, b := range grant.Bindings(g) {
		name := fmt.Sprintf("%s %q", b.Kind, b.Name)
		if b.Namespace != "" {
			name = fmt.Sprintf("%s %q", b.Kind, b.Name+"/"+b.Namespace)
		}
		if strings.Contains(reason, name) {
			return true
		}
	}
	return false
}

// report writes the answers as conditions.
func (r remaining) report(conditions *[]metav1.Condition, now time.Time) {
	asked := fmt.Sprintf("the API server was asked for all %d permissions", r.possible)
	if r.asked < r.possible {
		asked = fmt.Sprintf("the API server was asked for %d of %d permissions", r.asked, r.possible)
	}
	if len(r.others) == 0 {
		setCondition(conditions, now, v1alpha1.ConditionAccessRemoved, metav1.ConditionTrue, v1alpha1.ReasonVerified, "no binding is left; "+asked+" and allows none")
		setCondition(conditions, now, v1alpha1.ConditionStandingAccess, metav1.ConditionFalse, v1alpha1.ReasonNone, asked+" and allows none")
		return
	}
	setCondition(conditions, now, v1alpha1.ConditionAccessRemoved, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings,
		fmt.Sprintf("no binding of the grant is left; %s and allows %d by other means, listed under StandingAccess", asked, len(r.others)))
	listed := strings.Join(r.others[:min(len(r.others), maxListed)], "; ")
	if more := len(r.others) - maxListed; more > 0 {
		listed += fmt.Sprintf("; and %d more", more)
	}
	setCondition(conditions, now, v1alpha1.ConditionStandingAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings, listed)
}

// questionsOf expands a grant into one question for each permission, in each
// namespace, for each subject.
func questionsOf(g *v1alpha1.AccessGrant) []authorizationv1.SubjectAccessReviewSpec {
	namespaces := []string{metav1.NamespaceAll}
	if !g.Spec.Cluster {
		namespaces = namespaces[:0]
		for _, ns := range g.Spec.Namespaces {
			namespaces = append(namespaces, ns.Name)
		}
	}
	var out []authorizationv1.SubjectAccessReviewSpec
	for _, s := range g.Spec.Subjects {
		who := reviewOf(g, s.Subject)
		for _, rule := range g.Spec.Rules {
			for _, verb := range rule.Verbs {
				for _, path := range rule.NonResourceURLs {
					if g.Spec.Cluster {
						who.ResourceAttributes, who.NonResourceAttributes = nil, &authorizationv1.NonResourceAttributes{Path: path, Verb: verb}
						out = append(out, who)
					}
				}
				for _, a := range attributes(rule, verb) {
					for _, namespace := range namespaces {
						a.Namespace = namespace
						who.NonResourceAttributes, who.ResourceAttributes = nil, a.DeepCopy()
						out = append(out, who)
					}
				}
			}
		}
	}
	return out
}

func attributes(rule v1alpha1.PolicyRule, verb string) []authorizationv1.ResourceAttributes {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var out []authorizationv1.ResourceAttributes
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			resource, subresource, _ := strings.Cut(resource, "/")
			for _, name := range names {
				out = append(out, authorizationv1.ResourceAttributes{Verb: verb, Group: group, Version: "*", Resource: resource, Subresource: subresource, Name: name})
			}
		}
	}
	return out
}

// reviewOf is a subject as the API server would authenticate him.
func reviewOf(g *v1alpha1.AccessGrant, s v1alpha1.Subject) authorizationv1.SubjectAccessReviewSpec {
	username, _ := identity.Username(s)
	review := authorizationv1.SubjectAccessReviewSpec{User: username, Groups: identity.Groups(s)}
	if requester := g.Spec.Requester; username == requester.Username {
		review.UID, review.Groups = requester.UID, requester.Groups
		review.Extra = make(map[string]authorizationv1.ExtraValue, len(requester.Extra))
		for key, value := range requester.Extra {
			review.Extra[key] = authorizationv1.ExtraValue(value)
		}
	}
	return review
}

func describeQuestion(q authorizationv1.SubjectAccessReviewSpec) string {
	who := cmp.Or(q.User, strings.Join(slices.Clone(q.Groups), ","))
	if n := q.NonResourceAttributes; n != nil {
		return fmt.Sprintf("%s may %s %s", who, n.Verb, n.Path)
	}
	a := q.ResourceAttributes
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	if a.Group != "" {
		resource += "." + a.Group
	}
	if a.Name != "" {
		resource += " " + a.Name
	}
	where := "in " + a.Namespace
	if a.Namespace == "" {
		where = "everywhere"
	}
	return fmt.Sprintf("%s may %s %s %s", who, a.Verb, resource, where)
}
