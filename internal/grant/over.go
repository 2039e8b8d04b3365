package grant

import (
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// End is why a grant is over, and who ended it when that is known.
type End struct {
	Reason v1alpha1.EndReason
	By     string
	// Message for people, with what the reason alone does not say.
	Message string
}

// Expired is the end of a grant whose time is up, nil before. It needs
// nothing but the stored deadline and the clock, so that nothing can stand
// between the deadline and the revocation.
func Expired(g *v1alpha1.AccessGrant, now time.Time) *End {
	if now.Before(g.Spec.ExpirationTime.Time) {
		return nil
	}
	return &End{Reason: v1alpha1.EndExpired, Message: "the access was given until " + text.Moment(g.Spec.ExpirationTime.Time)}
}

// RequestPhase is the phase of a request whose grant ended.
func (e End) RequestPhase() v1alpha1.RequestPhase { return RequestPhase(e.Reason) }

// RequestPhase is the phase of a request whose grant ended for a reason.
func RequestPhase(reason v1alpha1.EndReason) v1alpha1.RequestPhase {
	switch reason {
	case v1alpha1.EndExpired:
		return v1alpha1.RequestExpired
	case v1alpha1.EndTaskCompleted, v1alpha1.EndTaskFailed, v1alpha1.EndTaskGone, v1alpha1.EndReleased:
		return v1alpha1.RequestCompleted
	case v1alpha1.EndDenied:
		return v1alpha1.RequestDenied
	case v1alpha1.EndNameTaken, v1alpha1.EndNotGrantable, v1alpha1.EndNotApproved:
		return v1alpha1.RequestFailed
	}
	return v1alpha1.RequestRevoked
}
