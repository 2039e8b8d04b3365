package main

import (
	"context"
	"fmt"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// writesOfOneLife counts what the broker writes for one request in one
// namespace, from its creation to its end at the deadline.
func writesOfOneLife(ctx context.Context, s *scene) ([]result, error) {
	if err := s.startBroker(ctx, viaProxy); err != nil {
		return nil, err
	}
	if err := s.quiet(ctx); err != nil {
		return nil, err
	}
	s.proxy.reset()
	for i := range s.n.lives {
		who, namespace := s.pair(i)
		request, err := s.pending(ctx, who, namespace, 2*time.Second)
		if err != nil {
			return nil, err
		}
		if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
			return nil, err
		}
		if err := s.ended(ctx, request); err != nil {
			return nil, err
		}
	}
	if err := s.quiet(ctx); err != nil { // Events are sent a little later
		return nil, err
	}
	lives := float64(s.n.lives)
	writes, list := s.proxy.counted(func(verb, resource string) bool { return isWrite(verb) && !isAside(resource) && !isLease(resource) })
	aside, asideList := s.proxy.counted(func(verb, resource string) bool { return isWrite(verb) && isAside(resource) })
	reads, readList := s.proxy.counted(func(verb, _ string) bool { return !isWrite(verb) })
	each := float64(writes) / lives
	return []result{
		result{
			What: "the broker's writes for one life", Unit: "writes", Value: each,
			Note: fmt.Sprintf("in %d lives %s; apart from that %s", s.n.lives, list, asideList),
		}.aims("≤ 8", each <= 8),
		{What: "Events and access reviews for one life", Unit: "requests", Value: float64(aside) / lives},
		{What: "reads from the API server for one life", Unit: "requests", Value: float64(reads) / lives, Note: readList},
	}, s.startBroker(ctx, direct)
}
