package grant

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxClockSkew between two replicas, for a grant that another one wrote.
const maxClockSkew = time.Minute

// Approval is what the request of a grant, its policy and the decisions allow.
type Approval struct {
	Request *v1alpha1.AccessRequest
	// PolicyUID of the policy of that name; Match says whether it allows the request.
	PolicyUID types.UID
	Match     policy.Match
	// Outcome of the decisions; Grant is the grant that follows from them.
	Outcome policy.Outcome
	Grant   *v1alpha1.AccessGrant
	// Before is the grant that it extends, nil when it extends none.
	Before *v1alpha1.AccessGrant
}

// NotApproved returns an end when a grant is not what was approved; it is asked
// before anything is given. The admission policies let only the broker write grants,
// but somebody may have removed them: a grant that somebody else wrote gives
// nothing.
func NotApproved(g *v1alpha1.AccessGrant, a Approval, now time.Time) *End {
	no := func(format string, args ...any) *End {
		return endf(v1alpha1.EndNotApproved, "the grant is not what was approved: %s", fmt.Sprintf(format, args...))
	}
	if a.Match.Answer != policy.Allowed {
		return no("%s", a.Match.Message)
	}
	if end := decidedTo(a.Outcome); end != nil {
		return end
	}
	request, approved := a.Request, a.Grant
	same := equality.Semantic.DeepEqual
	switch {
	case !a.Outcome.Approved:
		return no("%s", a.Outcome.Message)
	case g.Name != approved.Name:
		return no("its name is not that of the request's grant")
	case g.Spec.PolicyRef.UID != a.PolicyUID:
		return no("its policy was replaced")
	case request.Status.Phase.Ended():
		return no("the request is over (%s)", request.Status.Phase)
	case request.Spec.StartTime != nil && g.Spec.NotBefore.Before(request.Spec.StartTime):
		return no("it begins before the startTime of the request")
	case request.CreationTimestamp.Sub(g.Spec.NotBefore.Time) > maxClockSkew, g.Spec.ExpirationTime.After(approved.Spec.ExpirationTime.Time), g.Spec.NotBefore.Sub(now) > maxClockSkew:
		return no("it lasts from %s until %s", text.Moment(g.Spec.NotBefore.Time), text.Moment(g.Spec.ExpirationTime.Time))
	case approved.Spec.ReviewWithin != nil && (g.Spec.ReviewWithin == nil || g.Spec.ReviewWithin.Duration > approved.Spec.ReviewWithin.Duration):
		return no("its policy asks for a review after the end, and it does not, or for a later one")
	case request.Asked().Task != nil && approved.Spec.Task == nil:
		return no("its task does not exist")
	case !same(g.Spec.Requester, approved.Spec.Requester), !same(g.Spec.Subjects, approved.Spec.Subjects), !same(g.Spec.Task, approved.Spec.Task):
		return no("requester, subjects or task differ from the request's")
	case g.Spec.CredentialKey != approved.Spec.CredentialKey:
		return no("its credential is for another key than the request's")
	case !same(g.Spec.RoleRef, approved.Spec.RoleRef), !same(g.Spec.Rules, approved.Spec.Rules), !same(g.Spec.RoleRules, approved.Spec.RoleRules), g.Spec.RulesHash != approved.Spec.RulesHash:
		return no("its role is not the request's, or has changed")
	case g.Spec.Cluster != approved.Spec.Cluster, slices.ContainsFunc(g.Spec.Namespaces, func(ns v1alpha1.GrantNamespace) bool {
		return !slices.Contains(approved.Spec.Namespaces, ns)
	}):
		return no("its scope is not the request's")
	case !same(g.Spec.Extends, approved.Spec.Extends):
		return no("it extends another grant than its request does")
	}
	if a.Before != nil {
		if why := NotTheSame(g, a.Before); why != "" {
			return no("%s", why)
		}
	}
	return nil
}
