package grant

import (
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// ReviewDue is the moment by which somebody must have looked back at the access of a
// grant that has ended; ok is false when nobody has to.
func ReviewDue(g *v1alpha1.AccessGrant) (due time.Time, ok bool) {
	if g.Spec.ReviewWithin == nil || g.Status.Phase != v1alpha1.GrantEnded {
		return time.Time{}, false
	}
	ended := g.Spec.ExpirationTime // an end that somebody forged may have no time
	if g.Status.EndedTime != nil {
		ended = *g.Status.EndedTime
	}
	return ended.Add(g.Spec.ReviewWithin.Duration), true
}

// ReviewOverdue tells whether nobody looked back in time at the access of a grant, and
// still has not.
func ReviewOverdue(g *v1alpha1.AccessGrant, now time.Time) bool {
	due, ok := ReviewDue(g)
	return ok && g.Status.Review.Open() && !now.Before(due)
}
