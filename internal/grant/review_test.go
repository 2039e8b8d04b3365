package grant

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// A review is due so long after the end, and overdue from that moment until it is done.
func TestReviewDue(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	ended := func(state v1alpha1.ReviewState) *v1alpha1.AccessGrant {
		g := &v1alpha1.AccessGrant{}
		g.Spec.ReviewWithin, g.Spec.ExpirationTime = &metav1.Duration{Duration: time.Hour}, metav1.NewTime(end.Add(time.Hour))
		g.Status = v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantEnded, EndedTime: &metav1.Time{Time: end}, Review: state}
		return g
	}
	held, unasked, timeless := ended(v1alpha1.ReviewWaiting), ended(v1alpha1.ReviewWaiting), ended(v1alpha1.ReviewWaiting)
	held.Status.Phase, unasked.Spec.ReviewWithin, timeless.Status.EndedTime = v1alpha1.GrantActive, nil, nil
	for name, test := range map[string]struct {
		g       *v1alpha1.AccessGrant
		now     time.Time
		overdue bool
	}{
		"in time":               {ended(v1alpha1.ReviewWaiting), end.Add(time.Hour - 1), false},
		"past it":               {ended(v1alpha1.ReviewWaiting), end.Add(time.Hour), true},
		"recorded":              {ended(v1alpha1.ReviewOverdue), end.Add(2 * time.Hour), true},
		"done":                  {ended(v1alpha1.ReviewDone), end.Add(2 * time.Hour), false},
		"held":                  {held, end.Add(2 * time.Hour), false},
		"not asked for":         {unasked, end.Add(2 * time.Hour), false},
		"an end without a time": {timeless, end.Add(2*time.Hour - 1), false},
		"that is past":          {timeless, end.Add(2 * time.Hour), true},
	} {
		if got := ReviewOverdue(test.g, test.now); got != test.overdue {
			t.Errorf("%s: overdue is %v", name, got)
		}
	}
}
