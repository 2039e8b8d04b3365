package main

import (
	"context"
	"time"
)

// requestsWhenIdle: what the broker asks of the API server while nothing
// happens. Lease renewals are counted apart.
func requestsWhenIdle(ctx context.Context, s *scene) ([]result, error) {
	if err := s.stockUp(ctx, s.n.stock()); err != nil {
		return nil, err
	}
	s.proxy.reset()
	if err := s.startBroker(ctx, viaProxy); err != nil {
		return nil, err
	}
	if err := s.quiet(ctx); err != nil {
		return nil, err
	}
	_, atStart := s.proxy.counted(func(_, resource string) bool { return !isLease(resource) })
	s.proxy.reset()
	if err := pause(ctx, s.n.idle); err != nil {
		return nil, err
	}
	requests, list := s.proxy.counted(func(_, resource string) bool { return !isLease(resource) })
	leases, _ := s.proxy.counted(func(_, resource string) bool { return isLease(resource) })
	a := float64(time.Minute) / float64(s.n.idle)
	idle := result{What: "idle with " + thousands(s.stocked) + " active grants: API requests", Unit: "a minute", Value: float64(requests) * a, Note: "at the start " + atStart}
	if list != "" {
		idle.Note += "; idle " + list
	}
	return []result{
		idle.aims("≤ 20 a minute", idle.Value <= 20),
		{What: "idle: lease renewals, reads included", Unit: "a minute", Value: float64(leases) * a},
	}, s.startBroker(ctx, direct)
}
