package access

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// questionsAtOnce bounds how many questions are under way at a time.
const questionsAtOnce = 4

// maxListed bounds how much standing access a condition lists.
const maxListed = 20

// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Remaining is what the API server answered when it was asked whether the
// subjects of a grant have its access.
type Remaining struct {
	// Ours is true while the authorizer still allows something by a binding of the
	// grant.
	Ours bool
	// Standing lists the other bindings that allow it, each once, in words.
	Standing []string
	// Grants are other grants that allow it, in words, each with its deadline.
	Grants []string
	// Asked is how many of the Possible questions were asked.
	Asked, Possible int
	// Without says what the questions left out about the requester, in words.
	Without string
	// Unlisted is true when the role allowed more than the grant lists.
	Unlisted bool
}

// Ask asks the API server whether those whom the bindings of a grant name have its
// access, with no more questions than most. Questions about the requester include their groups; the
// groups of other users are not known.
func Ask(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant, most int) (Remaining, error) {
	all, err := questionsOf(g)
	if err != nil {
		return Remaining{}, err
	}
	out := Remaining{Possible: all.count(), Unlisted: !all.whole, Without: notStored(g)}
	questions := all.sample(most)
	out.Asked = len(questions)
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
	found := map[string]*allowance{}
	var order []*allowance
	for i, reason := range reasons {
		if reason == "" {
			continue
		}
		if found[reason] == nil {
			ours, err := byGrant(ctx, live, reason, g)
			if err != nil {
				return out, err
			}
			if ours {
				out.Ours = true
				return out, nil
			}
			found[reason] = &allowance{reason: reason, example: describeQuestion(questions[i])}
			order = append(order, found[reason])
		}
		found[reason].permissions++
	}
	for _, a := range order {
		other, err := a.grant(ctx, c)
		switch {
		case err != nil:
			return out, err
		case other != nil:
			out.Grants = append(out.Grants, fmt.Sprintf("grant %s for %s, until %s", other.Name, other.Spec.Summary.Subjects, text.Moment(other.Spec.ExpirationTime.Time)))
		default:
			out.Standing = append(out.Standing, a.String())
		}
	}
	return out, nil
}

// allowance is one reason that the authorizer gave (with RBAC, one binding), and
// what it allows of what was asked for.
type allowance struct {
	reason, example string
	permissions     int
}

func (a *allowance) String() string {
	if a.permissions == 1 {
		return a.reason + ": " + a.example
	}
	return fmt.Sprintf("%s: %d permissions, such as %s", a.reason, a.permissions, a.example)
}

// namesBinding is how the RBAC authorizer names the binding that allows
// something: RoleBinding "name/namespace", ClusterRoleBinding "name".
var namesBinding = regexp.MustCompile(`allowed by (RoleBinding|ClusterRoleBinding) "([^"/]+)(?:/([^"]+))?"`)

// grant returns the grant that the binding belongs to, nil when it belongs to none.
func (a *allowance) grant(ctx context.Context, c client.Reader) (*v1alpha1.AccessGrant, error) {
	named := namesBinding.FindStringSubmatch(a.reason)
	if named == nil {
		return nil, nil
	}
	binding := grant.Object{Kind: named[1], Name: named[2], Namespace: named[3]}
	seen, err := Get(ctx, c, binding)
	if err != nil || seen == nil {
		return nil, err // the cache has all bindings with a grant's label, and no others
	}
	name := seen.Meta.Labels[v1alpha1.LabelGrant]
	if name == "" {
		return nil, nil // without a cache, others are seen, too
	}
	other := &v1alpha1.AccessGrant{}
	if err := c.Get(ctx, client.ObjectKey{Name: name}, other); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if binding.Grant, binding.GrantUID = other.Name, other.UID; !binding.Ours(*seen) {
		return nil, nil
	}
	return other, nil
}

// byGrant tells whether the reason of the RBAC authorizer ('RBAC: allowed by
// RoleBinding "name/namespace" of ...') names a binding of the grant, and not
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
		seen, err := Get(ctx, live, b)
		return err == nil && (seen == nil || b.Ours(*seen)), err
	}
	return false, nil
}

// Reason says which other means allow the access, as the reason of a condition;
// empty when none do.
func (r Remaining) Reason() string {
	switch {
	case len(r.Standing) > 0:
		return v1alpha1.ReasonOtherBindings
	case len(r.Grants) > 0:
		return v1alpha1.ReasonOtherGrants
	}
	return ""
}

// Listed names the other means that allow the access, in words.
func (r Remaining) Listed() string {
	if len(r.Grants) == 0 {
		return List(r.Standing)
	}
	return strings.TrimPrefix(List(r.Standing)+"; and by other grants: "+List(r.Grants), "; and ")
}

// List writes items as one line, cut to as many as people read.
func List(items []string) string {
	text := strings.Join(items[:min(len(items), maxListed)], "; ")
	if more := len(items) - maxListed; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// reviewOf is a subject as the API server would authenticate them.
func reviewOf(g *v1alpha1.AccessGrant, s v1alpha1.Subject) authorizationv1.SubjectAccessReviewSpec {
	username, _ := identity.Username(s)
	review := authorizationv1.SubjectAccessReviewSpec{User: username, Groups: identity.Groups(s)}
	if requester := g.Spec.Requester; username == requester.Username {
		review.UID, review.Groups = requester.UID, requester.Groups
		if everybody := "system:authenticated"; requester.OmittedGroups > 0 && !slices.Contains(review.Groups, everybody) {
			review.Groups = append(slices.Clone(review.Groups), everybody) // it comes last, and is left out first
		}
		review.Extra = make(map[string]authorizationv1.ExtraValue, len(requester.Extra))
		for key, value := range requester.Extra {
			review.Extra[key] = authorizationv1.ExtraValue(value)
		}
	}
	return review
}

// credentialID is the one key of extra that no authorizer uses.
const credentialID = "authentication.kubernetes.io/credential-id"

// notStored says what the grant does not store about a requester who is a subject:
// access that they hold only through that is not found.
func notStored(g *v1alpha1.AccessGrant) string {
	requester := g.Spec.Requester
	if !slices.ContainsFunc(grant.Bound(g), func(s v1alpha1.Subject) bool {
		username, _ := identity.Username(s)
		return username == requester.Username
	}) {
		return ""
	}
	var parts []string
	if requester.OmittedGroups > 0 {
		parts = append(parts, fmt.Sprintf("%d of the groups", requester.OmittedGroups))
	}
	for _, key := range requester.OmittedExtra {
		if key != credentialID {
			parts = append(parts, key)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf(" (without what the grant does not store about %s: %s)", requester.Username, strings.Join(parts, ", "))
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
