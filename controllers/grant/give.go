package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// give creates the objects that the grant wants, or returns an end when they can
// never be created.
func (r *Reconciler) give(ctx context.Context, s *step) (*ending, error) {
	enforced, reason, message, err := r.Admission.Condition(ctx)
	if err != nil {
		return nil, err
	}
	if second, err := r.secondToExtend(ctx, s); err != nil || second != nil {
		return second, err
	}
	status := s.Status.DeepCopy()
	record.SetCondition(&status.Conditions, s.now, v1alpha1.ConditionAdmissionEnforced, enforced, reason, message)
	status.Bindings = nil
	issued := r.issuing(ctx, s)
	if enforced != metav1.ConditionTrue { // somebody else may have made the ServiceAccount, and hold its token
		if _, err := issued(); err != nil {
			return r.cannot(s, err)
		}
	}
	for _, want := range append(grant.Roles(s.AccessGrant), grant.Bindings(s.AccessGrant)...) {
		uid, err := access.Apply(ctx, r.Client, r.Live, want)
		if err != nil {
			_, _ = issued() // what it makes must be there when it is taken
			return r.cannot(s, err)
		}
		status.Bindings = append(status.Bindings, want.Ref(uid))
	}
	own, err := issued()
	if err != nil {
		return r.cannot(s, err)
	}
	status.Bindings = append(own.refs, status.Bindings...)
	status.Credential = own.credential
	status.Phase = v1alpha1.GrantActive
	status.GrantedTime = &metav1.Time{Time: s.now}
	record.SetCondition(&status.Conditions, s.now, v1alpha1.ConditionAccessGiven, metav1.ConditionTrue, v1alpha1.ReasonGranted,
		fmt.Sprintf("%d bindings exist", len(status.Bindings)))
	s.Status = *status
	r.memory.note(s.Name, s.UID, func(m *remembered) { m.given = status.DeepCopy() })
	r.Metrics.Active(s.Name, r.Clock.Now())
	return nil, nil
}

// cannot returns an end when what a grant needs can never be made, and an error when
// it may be made later.
func (r *Reconciler) cannot(s *step, err error) (*ending, error) {
	end, later := notGrantable(err, s.now.Sub(s.Spec.NotBefore.Time))
	if end == nil {
		return nil, later
	}
	if grant.Issued(s.AccessGrant) && end.Reason == v1alpha1.EndNamespaceGone {
		switch {
		case errors.Is(err, errNoIdentity):
			end.Reason, end.Message = v1alpha1.EndNotGrantable, resolve.NoGrantsNamespace
		case errors.Is(err, errNoToken):
			return nil, err // somebody deleted the ServiceAccount a moment ago
		}
	}
	r.Metrics.MustEnd(s.Name, end, s.now)
	return &ending{End: *end}, nil
}

// startingUp is how long an API server may forbid what is allowed: while it starts,
// it does not know the roles and the admission policies yet.
const startingUp = 10 * time.Second

// notGrantable sorts the errors of a creation: one that will never succeed ends the
// grant, any other is returned and tried again. tried is for how long the broker has
// tried.
func notGrantable(err error, tried time.Duration) (*grant.End, error) {
	reason := v1alpha1.EndNotGrantable
	switch {
	case errors.Is(err, access.ErrNameTaken):
		reason = v1alpha1.EndNameTaken
	case apierrors.IsNotFound(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		reason = v1alpha1.EndNamespaceGone
	case apierrors.IsForbidden(err) && tried >= startingUp, apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
	default:
		return nil, err
	}
	return &grant.End{Reason: reason, Message: err.Error()}, nil
}
