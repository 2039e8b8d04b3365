package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// dueInOneSecond: many grants with one deadline, until the last binding is
// gone, beside plain workers who delete as many.
func dueInOneSecond(ctx context.Context, s *scene) ([]result, error) {
	n := s.n.due
	_, floor, err := s.plainWorkers(ctx, n)
	if err != nil {
		return nil, err
	}
	// All get one deadline, so it must be known beforehand how long they take
	// to be written; after that the broker needs a while to start and to settle.
	const first = 100
	if err := s.cut(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := s.stock(ctx, first, begin.Add(time.Hour)); err != nil {
		return nil, err
	}
	writing := time.Since(begin) * time.Duration(n) / first
	deadline := time.Now().Add(writing*3/2 + 45*time.Second).Truncate(time.Second)
	if err := s.stock(ctx, n, deadline); err != nil {
		return nil, err
	}
	if err := s.startBroker(ctx, direct); err != nil {
		return nil, err
	}
	if err := s.quiet(ctx); err != nil {
		return nil, err
	}
	last, err := s.lastOf(ctx, n, watch.Deleted, grantLabel)
	if err != nil {
		return nil, err
	}
	if time.Until(deadline) < 2*time.Second {
		return nil, fmt.Errorf("this machine is too slow: %d grants could not be written in time", n)
	}
	if err := pause(ctx, time.Until(deadline.Add(-time.Second))); err != nil {
		return nil, err
	}
	profiled := s.profile(ctx, "due-cpu", "profile?seconds=20")
	at, err := last()
	if err != nil {
		return nil, err
	}
	r := result{What: fmt.Sprintf("%s grants due in one second: deadline → last binding gone", thousands(n)), Unit: "ms", Value: millis(at.Sub(deadline))}.beside(millis(floor))
	return []result{r.aims("≤ 2 × 10 plain workers", r.Ratio <= 2)}, profiled()
}
