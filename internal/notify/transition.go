package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

const (
	requestPrefix = "dev.accessbroker.request."
	grantPrefix   = "dev.accessbroker.grant."
	usagePrefix   = "dev.accessbroker.usage."
	reviewPrefix  = "dev.accessbroker.review."
)

// Types of events: a prefix and the phase that was entered, what was observed of the
// use of a grant, or where its review stands.
var Types = []string{
	requestType(v1alpha1.RequestPending), requestType(v1alpha1.RequestApproved), requestType(v1alpha1.RequestActive),
	requestType(v1alpha1.RequestCompleted), requestType(v1alpha1.RequestExpired), requestType(v1alpha1.RequestRevoked),
	requestType(v1alpha1.RequestDenied), requestType(v1alpha1.RequestLapsed), requestType(v1alpha1.RequestFailed),
	grantType(v1alpha1.GrantActive), grantType(expiring), grantType(v1alpha1.GrantEnded),
	usageType(v1alpha1.ConditionSuspicious), usageType(string(v1alpha1.EndIdle)),
	usageType(v1alpha1.ConditionLeftBehind), usageType(v1alpha1.ConditionSessionsOpen),
	reviewType(v1alpha1.ReviewWaiting), reviewType(v1alpha1.ReviewOverdue), reviewType(v1alpha1.ReviewDone),
}

// expiring is the phase of an event in the last minutes of a grant.
const expiring v1alpha1.GrantPhase = "Expiring"

func requestType(phase v1alpha1.RequestPhase) string {
	return requestPrefix + strings.ToLower(string(phase))
}

func grantType(phase v1alpha1.GrantPhase) string {
	return grantPrefix + strings.ToLower(string(phase))
}

func usageType(what string) string { return usagePrefix + strings.ToLower(what) }

func reviewType(state v1alpha1.ReviewState) string {
	return reviewPrefix + strings.ToLower(string(state))
}

// transition is one step in the life of a request or a grant. Present and past
// ones are all read from the stored object.
type transition struct {
	eventType string
	phase     string
	at        time.Time
	// id of the transition is always the same, whoever tells of it and when.
	id string
}

func newTransition(uid types.UID, eventType, phase string, at time.Time) transition {
	return transition{eventType: eventType, phase: phase, at: at, id: fmt.Sprintf("%s.%s.%d", uid, strings.ToLower(phase), at.Unix())}
}

// isEnd tells whether it is the end of a request or a grant, after which the cache does
// not have it.
func (t transition) isEnd() bool {
	return t.eventType == grantType(v1alpha1.GrantEnded) || (strings.HasPrefix(t.eventType, requestPrefix) && v1alpha1.RequestPhase(t.phase).Ended())
}

// has tells whether a transition is one of all.
func has(all []transition, t transition) bool {
	return slices.ContainsFunc(all, func(known transition) bool { return known.id == t.id })
}

// ofRequest lists a request's transitions so far, in order. given is its grant, or
// nil: it knows when the access was given.
func ofRequest(r *v1alpha1.AccessRequest, given *v1alpha1.AccessGrant) []transition {
	var out []transition
	add := func(phase v1alpha1.RequestPhase, at time.Time) {
		out = append(out, newTransition(r.UID, requestType(phase), string(phase), at))
	}
	condition := func(kind string) metav1.Condition {
		return ptr.Deref(meta.FindStatusCondition(r.Status.Conditions, kind), metav1.Condition{LastTransitionTime: r.CreationTimestamp})
	}
	matched, approved := condition(v1alpha1.ConditionPolicyMatched), condition(v1alpha1.ConditionApproved)
	granted, ended := condition(v1alpha1.ConditionGranted), condition(v1alpha1.ConditionEnded)

	// It waits for decisions as soon as somebody can be asked, and again when a
	// changed policy needs more. One that needs no approval waits for nobody.
	if r.Status.Policy != nil && r.Status.Required() > 0 {
		since := matched.LastTransitionTime.Time
		if approved.Status == metav1.ConditionFalse {
			since = approved.LastTransitionTime.Time
		}
		add(v1alpha1.RequestPending, since)
	}
	if approved.Status == metav1.ConditionTrue {
		add(v1alpha1.RequestApproved, approved.LastTransitionTime.Time)
	}
	// At the end the condition turns False and its time changes. When the grant
	// is gone, too late a moment is safe; one that is too early could be taken
	// for a transition that the sink has been told of.
	if granted.Status != "" {
		at := granted.LastTransitionTime.Time
		if given != nil && given.Spec.RequestRef.UID == r.UID && given.Status.GrantedTime != nil {
			at = given.Status.GrantedTime.Time
		}
		add(v1alpha1.RequestActive, at)
	}
	if r.Status.Phase.Ended() {
		add(r.Status.Phase, ended.LastTransitionTime.Time)
	}
	return out
}

// ofGrant lists a grant's transitions so far, in order. Each condition about its use is
// one while it is True, and the review the state that it is in.
func ofGrant(g *v1alpha1.AccessGrant) []transition {
	var out []transition
	add := func(phase v1alpha1.GrantPhase, at *metav1.Time) {
		out = append(out, newTransition(g.UID, grantType(phase), string(phase), at.Time))
	}
	if g.Status.GrantedTime != nil {
		add(v1alpha1.GrantActive, g.Status.GrantedTime)
	}
	observed := func(what string, at metav1.Time) {
		out = append(out, newTransition(g.UID, usageType(what), what, at.Time))
	}
	found := func(kind string) {
		if c := meta.FindStatusCondition(g.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			observed(kind, c.LastTransitionTime)
		}
	}
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionExpiresSoon); c != nil {
		add(expiring, &c.LastTransitionTime)
	}
	found(v1alpha1.ConditionSuspicious)
	if g.Status.Phase == v1alpha1.GrantEnded && g.Status.EndedTime != nil {
		if g.Status.EndReason == v1alpha1.EndIdle {
			observed(string(v1alpha1.EndIdle), *g.Status.EndedTime)
		}
		add(v1alpha1.GrantEnded, g.Status.EndedTime)
	}
	found(v1alpha1.ConditionLeftBehind)
	found(v1alpha1.ConditionSessionsOpen)
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionReviewed); c != nil {
		state := g.Status.Review
		if c.Reason == v1alpha1.ReasonRequestGone {
			state = v1alpha1.ReviewOverdue // nobody can be in time
		}
		out = append(out, newTransition(g.UID, reviewType(state), string(state), c.LastTransitionTime.Time))
	}
	slices.SortStableFunc(out, func(a, b transition) int { return a.at.Compare(b.at) })
	return out
}
