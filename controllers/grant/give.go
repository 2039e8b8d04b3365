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
	status := s.Status.DeepCopy()
	record.SetCondition(&status.Conditions, s.now, v1alpha1.ConditionAdmissionEnforced, enforced, reason, message)
	status.Bindings = nil
	credential := func() (*v1alpha1.SealedCredential, error) { return nil, nil }
	for _, want := range grant.Objects(s.AccessGrant) {
		uid, err := access.Apply(ctx, r.Client, r.Live, want)
		if err != nil {
			return r.cannot(s, want.Kind, err)
		}
		status.Bindings = append(status.Bindings, want.Ref(uid))
		if want.Kind == grant.ServiceAccountKind {
			credential = r.issuing(ctx, s)
		}
	}
	if status.Credential, err = credential(); err != nil {
		return r.cannot(s, "", err)
	}
	status.Phase = v1alpha1.GrantActive
	status.GrantedTime = &metav1.Time{Time: s.now}
	record.SetCondition(&status.Conditions, s.now, v1alpha1.ConditionAccessGiven, metav1.ConditionTrue, v1alpha1.ReasonGranted,
		fmt.Sprintf("%d bindings exist", len(status.Bindings)))
	s.Status = *status
	r.memory.note(s.Name, s.UID, func(m *remembered) { m.given = status.DeepCopy() })
	r.Metrics.Active(s.Name, r.Clock.Now())
	return nil, nil
}

// issuing asks for the token of an issued credential while the bindings are made: it
// needs the ServiceAccount alone. The result waits for it.
func (r *Reconciler) issuing(ctx context.Context, s *step) func() (*v1alpha1.SealedCredential, error) {
	var issued *v1alpha1.SealedCredential
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		issued, err = access.Issue(ctx, r.Client, s.AccessGrant, s.now)
	}()
	return func() (*v1alpha1.SealedCredential, error) {
		<-done
		return issued, err
	}
}

// cannot returns an end when what a grant needs can never be made, and an error when
// it may be made later. kind is that of the object; a token has none.
func (r *Reconciler) cannot(s *step, kind string, err error) (*ending, error) {
	if kind == "" && apierrors.IsNotFound(err) {
		return nil, err // somebody deleted the ServiceAccount a moment ago
	}
	end, err := notGrantable(err, s.now.Sub(s.Spec.NotBefore.Time))
	if end == nil {
		return nil, err
	}
	if kind == grant.ServiceAccountKind && end.Reason == v1alpha1.EndNamespaceGone {
		end.Reason, end.Message = v1alpha1.EndNotGrantable, resolve.NoGrantsNamespace
	}
	r.Metrics.MustEnd(s.Name, end, s.now)
	return &ending{End: *end}, nil
}

// renew asks for the next token of held access when the last one is near its end and
// ends before the deadline. It returns when to look again, zero for never.
func (r *Reconciler) renew(ctx context.Context, s *step) (time.Time, error) {
	at, needed := grant.RenewAt(s.AccessGrant)
	if !needed || s.now.Before(at) {
		return at, nil
	}
	issued, err := access.Issue(ctx, r.Client, s.AccessGrant, s.now)
	if err != nil {
		return time.Time{}, fmt.Errorf("renew the credential: %w", err)
	}
	s.Status.Credential = issued
	at, _ = grant.RenewAt(s.AccessGrant)
	return at, r.write(ctx, s)
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
