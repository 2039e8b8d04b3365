package request

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// extends finds, once, the access that a request asks more time of, and ends the
// request as soon as that access is over, or when it cannot be extended at all.
func (r *Reconciler) extends(ctx context.Context, s *step) error {
	if s.Spec.Extends == "" {
		return nil
	}
	was, err := r.extended(ctx, s)
	if err != nil || s.Status.Phase.Ended() {
		return err
	}
	if why := grant.NotExtendable(was, s.now); why != "" {
		s.notExtendable(v1alpha1.RequestFailed, why)
		return nil
	}
	s.until(was.Spec.ExpirationTime.Time)
	return nil
}

func (s *step) notExtendable(phase v1alpha1.RequestPhase, why string) {
	s.end(phase, v1alpha1.ReasonNotExtendable, fmt.Sprintf("AccessRequest %s, which it extends, %s", s.Spec.Extends, why))
}

// extended reads the grant that is to be extended, nil when there is none. The first
// look asks the API server alone: whoever asks has seen what they extend, and the
// cache may not have it yet.
func (r *Reconciler) extended(ctx context.Context, s *step) (*v1alpha1.AccessGrant, error) {
	if from := s.Status.Extended; from != nil {
		was := &v1alpha1.AccessGrant{}
		err := r.Names.Get(ctx, client.ObjectKey{Name: from.Grant.Name}, was)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read the grant that is to be extended: %w", err)
		}
		if err != nil || was.UID != from.Grant.UID {
			return nil, nil
		}
		return was, nil
	}
	named := &v1alpha1.AccessRequest{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Spec.Extends}, named)
	if apierrors.IsNotFound(err) {
		s.notExtendable(v1alpha1.RequestFailed, "does not exist in this namespace")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the request that is to be extended: %w", err)
	}
	if named.Spec.Requester.Username != s.Spec.Requester.Username {
		s.notExtendable(v1alpha1.RequestDenied, "is somebody else's: only its requester asks for more time")
		return nil, nil
	}
	was, err := r.readGrant(ctx, r.Live, named)
	if err != nil || was == nil || grant.NotExtendable(was, s.now) != "" {
		return was, err
	}
	asked := named.Asked()
	s.found = true
	s.Status.Extended = &v1alpha1.Extended{
		RequestUID:     named.UID,
		Grant:          v1alpha1.ObjectRef{Name: was.Name, UID: was.UID},
		ExpirationTime: was.Spec.ExpirationTime,
		PolicyName:     was.Spec.PolicyRef.Name,
		Subjects:       asked.Subjects,
		RoleRef:        asked.RoleRef,
		Rules:          asked.Rules,
		Scope:          asked.Scope,
		Task:           asked.Task,
	}
	return was, nil
}

// sameAsBefore ends a request for more time that would come to something else: a
// selector selects other namespaces now, say.
func sameAsBefore(s *step, want *resolve.Resolved, match *policy.Match) bool {
	if want.Before == nil {
		return true
	}
	why := grant.NotTheSame(resolve.NewGrant(s.AccessRequest, want, match, policy.Outcome{}, s.now), want.Before)
	if why != "" {
		s.end(v1alpha1.RequestFailed, v1alpha1.ReasonNotExtendable, why)
	}
	return why == ""
}
