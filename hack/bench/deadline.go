package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// deadlineToDenied: how long after its deadline, a whole second, a user is
// first told that they may no longer. The grants end one after another, two
// seconds apart, so that the end of one is written down before the next.
func deadlineToDenied(ctx context.Context, s *scene) ([]result, error) {
	const (
		lead  = 20 * time.Second // all of them are made before the first ends
		apart = 2 * time.Second
		early = 50 * time.Millisecond // before the deadline we begin to ask
	)
	requests := make([]*v1alpha1.AccessRequest, s.n.deadlines)
	for i := range requests {
		who, namespace := s.pair(i)
		request, err := s.pending(ctx, who, namespace, lead+time.Duration(i)*apart)
		if err != nil {
			return nil, err
		}
		if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
			return nil, err
		}
		if err := s.active(ctx, request); err != nil {
			return nil, err
		}
		requests[i] = request
	}
	var l life
	for i, request := range requests {
		deadline := request.Status.ExpirationTime.Time
		if time.Until(deadline) < early {
			continue // this machine was too busy with the one before
		}
		if err := pause(ctx, time.Until(deadline.Add(-early))); err != nil {
			return nil, err
		}
		who, namespace := s.pair(i)
		allowed, err := may(ctx, who, namespace.Name)
		if err != nil {
			return nil, err
		}
		if !allowed && time.Now().Before(deadline) {
			return nil, fmt.Errorf("access was taken before its deadline %s", deadline)
		}
		at, err := answered(ctx, who, namespace.Name, false)
		if err != nil {
			return nil, err
		}
		l.taken = append(l.taken, at.Sub(deadline))
		if err := s.ended(ctx, request); err != nil { // or its verification would disturb the floor
			return nil, err
		}
		if err := s.floorOnce(ctx, &l); err != nil {
			return nil, err
		}
	}
	if len(l.taken) == 0 {
		return nil, errors.New("this machine is too busy to look at any deadline in time")
	}
	taken := spread("deadline → access denied", l.taken).beside(percentile(l.floorTaken, 50))
	taken.Note = fmt.Sprintf("%d samples", len(l.taken))
	return []result{taken.aims("p50 ≤ 2 × floor, p99 < 50 ms", taken.Ratio <= 2 && taken.P99 < 50)}, nil
}
