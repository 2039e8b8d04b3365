package request

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/text"
)

// DefaultSettle is how long a new request waits for objects that it names and that
// do not exist yet: one `kubectl apply` creates its objects one after another.
const DefaultSettle = time.Minute

// settle ends a request that cannot be granted as it is, or lets a new one wait when
// everything that it lacks may be on its way. It returns all other errors.
func (r *Reconciler) settle(s *step, err error) error {
	var missing []*resolve.Impossible
	var others []error
	for _, cause := range causes(err) {
		no := (*resolve.Impossible)(nil)
		switch {
		case !errors.As(cause, &no):
			others = append(others, cause)
		case no.Waits == "":
			s.end(v1alpha1.RequestFailed, no.Reason, no.Message)
			return nil
		default:
			missing = append(missing, no)
		}
	}
	switch {
	case len(missing) == 0:
		return err
	case !r.awaits(s, missing...):
		s.end(v1alpha1.RequestFailed, missing[0].Reason, missing[0].Message)
		return nil
	}
	return errors.Join(others...)
}

// awaits lets a new request wait for what is missing, and says so. Nothing was
// missing when a request was matched and people were asked, so it does not wait
// again.
func (r *Reconciler) awaits(s *step, missing ...*resolve.Impossible) bool {
	until := s.CreationTimestamp.Add(r.Settle)
	if s.Status.Policy != nil || r.Settle <= 0 || !s.now.Before(until) {
		return false
	}
	what := make([]string, len(missing))
	for i, m := range missing {
		what[i] = m.Message
	}
	s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionUnknown, missing[0].Waits, fmt.Sprintf(
		"%s; waits until %s, in case it is on its way", strings.Join(what, "; "), text.Moment(until)))
	s.until(until)
	// Watches report most of what may come. The rest is looked for less and less
	// often.
	s.until(s.now.Add(max(time.Second, s.now.Sub(s.CreationTimestamp.Time))))
	return true
}

// causes are the errors that were joined to one.
func causes(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, causes(e)...)
	}
	return out
}
