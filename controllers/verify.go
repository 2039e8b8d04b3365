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
	// unlisted is true when the role allowed more than the grant lists.
	unlisted bool
}

// askForAccess asks the API server whether the subjects of a grant have its
// access, by at most that many questions. A subject that is the requester is
// asked for with his groups; the groups of any other user are not known.
func askForAccess(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant, most int) (remaining, error) {
	all, err := questionsOf(g)
	if err != nil {
		return remaining{}, err
	}
	out := remaining{possible: all.count(), unlisted: !all.whole}
	questions := all.sample(most)
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
	if r.unlisted {
		asked += " that the grant lists, for none of those that it leaves out,"
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
