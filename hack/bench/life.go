package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// ask makes a request for edit in a namespace, for a credential when there is a key.
func ask(ctx context.Context, who person, namespace corev1.Namespace, duration time.Duration, key string) (*v1alpha1.AccessRequest, error) {
	request := lab.NewRequest(namespace.Name, func(s *v1alpha1.AccessRequestSpec) {
		s.Duration = &metav1.Duration{Duration: duration}
		s.Reason, s.Ticket, s.CredentialKey = "checkout is overloaded and needs more replicas", "INC-42", key
	})
	return request, who.Create(ctx, request)
}

// decide is the approver's decision.
func (s *scene) decide(ctx context.Context, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) error {
	return lab.Decide(ctx, s.approver, request, verdict)
}

// pending makes a request and waits until the broker has told whom to ask.
func (s *scene) pending(ctx context.Context, who person, namespace corev1.Namespace, duration time.Duration) (*v1alpha1.AccessRequest, error) {
	request, err := ask(ctx, who, namespace, duration, s.issued)
	if err != nil {
		return nil, err
	}
	return request, s.until(ctx, request, "a policy", func() bool { return request.Status.Policy != nil })
}

// active waits until a request is.
func (s *scene) active(ctx context.Context, request *v1alpha1.AccessRequest) error {
	return s.until(ctx, request, "the access", func() bool { return request.Status.Phase == v1alpha1.RequestActive })
}

// ended waits until a request is.
func (s *scene) ended(ctx context.Context, request *v1alpha1.AccessRequest) error {
	return s.until(ctx, request, "the end", func() bool { return request.Status.Phase.Ended() })
}

// until reads an object again and again until something holds of it.
func (s *scene) until(ctx context.Context, object client.Object, what string, holds func() bool) error {
	err := lab.Until(ctx, patience, func(ctx context.Context) (bool, error) {
		err := s.Admin.Get(ctx, client.ObjectKeyFromObject(object), object)
		return err == nil && holds(), err
	})
	if err != nil {
		return fmt.Errorf("wait for %s of %s: %w", what, object.GetName(), err)
	}
	return nil
}

// life is how long it took to give access and to take it away on somebody's
// word, each beside the floor, measured in turn so that both have the same noise.
type life struct {
	given, taken []time.Duration
	// patched is how long the approval itself took, a part of given.
	patched                []time.Duration
	floorGiven, floorTaken []time.Duration
}

// live lets alice have and lose access again and again, one at a time.
func (s *scene) live(ctx context.Context, times int) (life, error) {
	var l life
	for range times {
		if err := s.liveOnce(ctx, &l); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (s *scene) liveOnce(ctx context.Context, l *life) error {
	if err := s.floorOnce(ctx, l); err != nil {
		return err
	}
	who, namespace := s.alice, s.namespaces[0]
	request, err := s.pending(ctx, who, namespace, time.Hour)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
		return err
	}
	l.patched = append(l.patched, time.Since(begin))
	at, err := answered(ctx, who, namespace.Name, true)
	if err != nil {
		return err
	}
	l.given = append(l.given, at.Sub(begin))
	if err := s.active(ctx, request); err != nil {
		return err
	}
	begin = time.Now()
	if err := s.decide(ctx, request, v1alpha1.VerdictRevoke); err != nil {
		return err
	}
	if at, err = answered(ctx, who, namespace.Name, false); err != nil {
		return err
	}
	l.taken = append(l.taken, at.Sub(begin))
	return s.ended(ctx, request)
}
