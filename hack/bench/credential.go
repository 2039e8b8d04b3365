package main

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// approvalToCredential: from just before the approval is sent until the requester
// has opened the issued credential, beside approval → access of one's own, in turn.
func approvalToCredential(ctx context.Context, s *scene) ([]result, error) {
	issuing := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "bench-issued"}, Spec: policySpec()}
	issuing.Spec.Credential = v1alpha1.CredentialIssued
	if err := s.Admin.Create(ctx, issuing); err != nil {
		return nil, err
	}
	var own life
	var inHand []time.Duration
	for range s.n.approvals {
		if err := s.liveOnce(ctx, &own); err != nil {
			return nil, err
		}
		took, err := s.issuedOnce(ctx)
		if err != nil {
			return nil, err
		}
		inHand = append(inHand, took)
	}
	given := percentile(own.given, 50)
	issued := spread("approval sent → issued credential in hand", inHand).beside(given)
	return []result{
		issued.aims("p50 ≤ 1.3 × approval → access allowed", issued.Ratio <= 1.3),
		spread("approval sent → access allowed, in turn with it", own.given),
	}, s.Admin.Delete(ctx, issuing)
}

func (s *scene) issuedOnce(ctx context.Context) (time.Duration, error) {
	key, err := credential.NewKey()
	if err != nil {
		return 0, err
	}
	request, err := s.pendingIssued(ctx, s.alice, s.namespaces[1], key)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
		return 0, err
	}
	if err := opened(ctx, s.alice, request, key); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if err := s.active(ctx, request); err != nil {
		return 0, err
	}
	if err := s.decide(ctx, request, v1alpha1.VerdictRevoke); err != nil {
		return 0, err
	}
	return took, s.ended(ctx, request)
}

// pendingIssued is pending with a credential of its own.
func (s *scene) pendingIssued(ctx context.Context, who person, namespace corev1.Namespace, key *credential.Key) (*v1alpha1.AccessRequest, error) {
	request := lab.NewRequest(namespace.Name, func(spec *v1alpha1.AccessRequestSpec) {
		spec.Duration = &metav1.Duration{Duration: time.Hour}
		spec.Reason, spec.Ticket, spec.CredentialKey = "checkout is overloaded and needs more replicas", "INC-42", key.Public()
	})
	if err := who.Create(ctx, request); err != nil {
		return nil, err
	}
	return request, s.until(ctx, request, "a policy", func() bool { return request.Status.Policy != nil })
}

// opened asks for a request, as its requester, until its credential opens.
func opened(ctx context.Context, who person, request *v1alpha1.AccessRequest, key *credential.Key) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("no credential came"))
	defer cancel()
	for {
		if err := who.Get(ctx, client.ObjectKeyFromObject(request), request); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if c := request.Status.Credential; c != nil && c.Sealed != "" {
			_, err := credential.Open(key, credential.Grant{Name: request.Status.GrantName, UID: c.GrantUID}, c.Sealed)
			return err
		}
		if err := pause(ctx, betweenQuestions); err != nil {
			return err
		}
	}
}
