package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// maxQuestions bounds how often the API server is asked about one grant. A
// role may hold a thousand permissions; beyond the bound an even sample of
// them is asked for, and the condition says so.
const maxQuestions = 100

// maxQuestionsBefore bounds how often it is asked about a request, to tell
// whether its subjects hold the access already.
const maxQuestionsBefore = 20

// questionsAtOnce bounds how many questions are under way at a time.
const questionsAtOnce = 4

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

// askForAccess asks the API server whether the subjects of a grant have its
// access, by at most that many questions. A subject that is the requester is
// asked for with their groups; the groups of any other user are not known.
func askForAccess(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant, most int) (remaining, error) {
	questions, err := questionsOf(g)
	if err != nil {
		return remaining{}, err
	}
	out := remaining{possible: len(questions)}
	if len(questions) > most {
		sample := make([]authorizationv1.SubjectAccessReviewSpec, most)
		for i := range sample {
			sample[i] = questions[i*len(questions)/most]
		}
		questions = sample
	}
	out.asked = len(questions)
	reasons := make([]string, len(questions)) // "" where it is not allowed
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(questionsAtOnce)
	for i, question := range questions {
		group.Go(func() error {
			review := &authorizationv1.SubjectAccessReview{Spec: question}
			if err := c.Create(groupCtx, review); err != nil {
				return fmt.Errorf("ask for the access of the subjects: %w", err)
			}
			if review.Status.Allowed {
				reasons[i] = cmp.Or(review.Status.Reason, "allowed")
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return out, err
	}
	for i, reason := range reasons {
		if reason == "" {
			continue
		}
		ours, err := byGrant(ctx, live, reason, g)
		if err != nil {
			return out, err
		}
		if ours {
			out.ours = true
			return out, nil
		}
		out.others = append(out.others, describeQuestion(questions[i])+": "+reason)
	}
	return out, nil
}

// byGrant tells whether the RBAC authorizer names a binding of the grant as its
// reason ('RBAC: allowed by RoleBinding "name/namespace" of ...') that is not
// somebody else's object of that name.
func byGrant(ctx context.Context, live client.Reader, reason string, g *v1alpha1.AccessGrant) (bool, error) {
	for _, b := range grant.Bindings(g) {
		name := b.Name
		if b.Namespace != "" {
			name += "/" + b.Namespace
		}
		if !strings.Contains(reason, fmt.Sprintf("%s %q", b.Kind, name)) {
			continue
		}
		seen, err := rbac.Get(ctx, live, b)
		return err == nil && (seen == nil || b.Ours(*seen)), err
	}
	return false, nil
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
	setCondition(conditions, now, v1alpha1.ConditionStandingAccess, metav1.ConditionTrue, v1alpha1.ReasonOtherBindings, r.listed())
}

// listed is what is allowed by other means, in words.
func (r remaining) listed() string {
	listed := strings.Join(r.others[:min(len(r.others), maxListed)], "; ")
	if more := len(r.others) - maxListed; more > 0 {
		listed += fmt.Sprintf("; and %d more", more)
	}
	return listed
}

// questionsOf expands a grant into one question for each permission, in each
// namespace, for each subject.
func questionsOf(g *v1alpha1.AccessGrant) ([]authorizationv1.SubjectAccessReviewSpec, error) {
	rules, err := approvedRules(g)
	if err != nil {
		return nil, err
	}
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
		for _, rule := range rules {
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
	return out, nil
}

func attributes(rule rbacv1.PolicyRule, verb string) []authorizationv1.ResourceAttributes {
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

// reviewOf is a subject as the API server would authenticate them.
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
