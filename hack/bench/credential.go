package main

import (
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
)

// approvalToCredential: from just before the approval is sent until the requester
// has opened the issued credential, beside approval → access of one's own, in turn.
func approvalToCredential(ctx context.Context, s *scene) ([]result, error) {
	if err := s.writeIssuing(ctx); err != nil {
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
	}, nil
}

// writeIssuing: the policy of the bench, but that it issues credentials.
func (s *scene) writeIssuing(ctx context.Context) error {
	p := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "bench-issued"}, Spec: policySpec()}
	p.Spec.Credential = v1alpha1.CredentialIssued
	return s.Admin.Create(ctx, p)
}

// memoryPerIssued is memoryPerGrant of grants that have credentials of their own.
func memoryPerIssued(ctx context.Context, s *scene) ([]result, error) {
	key, err := credential.NewKey()
	if err != nil {
		return nil, err
	}
	if err := s.writeIssuing(ctx); err != nil {
		return nil, err
	}
	s.issued = key.Public()
	results, err := memoryPerGrant(ctx, s)
	for i := range results {
		results[i].What = "issued credentials, " + results[i].What
	}
	return results, err
}

func (s *scene) issuedOnce(ctx context.Context) (time.Duration, error) {
	key, err := credential.NewKey()
	if err != nil {
		return 0, err
	}
	s.issued = key.Public()
	defer func() { s.issued = "" }()
	request, err := s.pending(ctx, s.alice, s.namespaces[1], time.Hour)
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
