package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// DefaultSettle is how long a new request waits for what it names and what is
// not there: one `kubectl apply` makes its objects one after another.
const DefaultSettle = time.Minute

// impossible says why a request can never be granted as it is: a mistake of
// the one who asked, not an error.
type impossible struct {
	reason, message string
	// waits is the reason for which a new request waits before that is its end;
	// empty when nothing that comes can change it.
	waits string
}

func (e *impossible) Error() string { return e.message }

func impossiblef(reason, format string, args ...any) error {
	return &impossible{reason: reason, message: fmt.Sprintf(format, args...)}
}

// missingf is impossiblef for what may be on its way.
func missingf(waits, reason, format string, args ...any) error {
	return &impossible{reason: reason, message: fmt.Sprintf(format, args...), waits: waits}
}

// settle ends a request that cannot be granted as it is, or lets a new one wait
// when all that it lacks may be on its way. It returns the errors that are
// neither.
func (r *RequestReconciler) settle(s *requestStep, err error) error {
	var missing []*impossible
	var others []error
	for _, cause := range causes(err) {
		no := (*impossible)(nil)
		switch {
		case !errors.As(cause, &no):
			others = append(others, cause)
		case no.waits == "":
			s.end(v1alpha1.RequestFailed, no.reason, no.message)
			return nil
		default:
			missing = append(missing, no)
		}
	}
	switch {
	case len(missing) == 0:
		return err
	case !r.awaits(s, missing...):
		s.end(v1alpha1.RequestFailed, missing[0].reason, missing[0].message)
		return nil
	}
	return errors.Join(others...)
}

// awaits lets a new request wait for what is missing, and says so. Nobody is
// asked to decide before it is there, so one that was matched waits no more.
func (r *RequestReconciler) awaits(s *requestStep, missing ...*impossible) bool {
	until := s.CreationTimestamp.Add(r.Settle)
	if s.Status.Policy != nil || r.Settle <= 0 || !s.now.Before(until) {
		return false
	}
	what := make([]string, len(missing))
	for i, m := range missing {
		what[i] = m.message
	}
	s.set(v1alpha1.ConditionPolicyMatched, metav1.ConditionUnknown, missing[0].waits, fmt.Sprintf(
		"%s; waits until %s, in case it is on its way", strings.Join(what, "; "), until.UTC().Format(time.RFC3339)))
	s.until(until)
	// Most of what may come is watched. What is not is looked for less and less often.
	s.until(s.now.Add(max(time.Second, s.now.Sub(s.CreationTimestamp.Time))))
	return true
}

// awaiting tells whether a request waits for what is missing.
func awaiting(request *v1alpha1.AccessRequest) bool {
	c := meta.FindStatusCondition(request.Status.Conditions, v1alpha1.ConditionPolicyMatched)
	return c != nil && c.Status == metav1.ConditionUnknown
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

// anyNamespace is the key of requests that wait for a namespace by its labels.
const anyNamespace = "/"

// awaitedObjects are the keys of the namespaces and ServiceAccounts that a
// waiting request names.
func awaitedObjects(request *v1alpha1.AccessRequest) []string {
	if !awaiting(request) {
		return nil
	}
	var keys []string
	if scope := request.Spec.Scope; scope != nil {
		for _, name := range scope.Namespaces {
			keys = append(keys, objectKey("", name))
		}
		if scope.NamespaceSelector != nil {
			keys = append(keys, anyNamespace)
		}
	}
	for _, s := range request.Spec.Subjects {
		if s.Kind == v1alpha1.ServiceAccountKind {
			keys = append(keys, objectKey(s.Namespace, s.Name))
		}
	}
	return keys
}

// requestsAwaiting are the requests that wait for such a namespace or
// ServiceAccount.
func (w wiring) requestsAwaiting(ctx context.Context, o client.Object) []reconcile.Request {
	waiting := w.requestsBy(indexAwaited)(ctx, objectKey(o.GetNamespace(), o.GetName()))
	if o.GetNamespace() == "" {
		waiting = append(waiting, w.requestsBy(indexAwaited)(ctx, anyNamespace)...)
	}
	return waiting
}

func objectKey(namespace, name string) string { return namespace + "/" + name }
