package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// approvedInABurst: many requests approved at once, from the first approval to
// the last binding, beside plain workers who create as many.
func approvedInABurst(ctx context.Context, s *scene) ([]result, error) {
	n := s.n.burst
	floor, _, err := s.plainWorkers(ctx, n)
	if err != nil {
		return nil, err
	}
	requests := make([]*v1alpha1.AccessRequest, n)
	err = each(ctx, workers, n, func(ctx context.Context, i int) (err error) {
		who, namespace := s.pair(i)
		requests[i], err = s.pending(ctx, who, namespace, time.Hour)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.quiet(ctx); err != nil {
		return nil, err
	}
	last, err := s.lastOf(ctx, n, watch.Added, grantLabel)
	if err != nil {
		return nil, err
	}
	profiled := s.profile(ctx, "burst-cpu", "profile?seconds=20")
	begin := time.Now()
	err = each(ctx, workers, n, func(ctx context.Context, i int) error { return s.decide(ctx, requests[i], v1alpha1.VerdictApprove) })
	if err != nil {
		return nil, err
	}
	approved := time.Since(begin)
	at, err := last()
	if err != nil {
		return nil, err
	}
	r := result{What: fmt.Sprintf("%s requests approved in a burst: first approval → last access", thousands(n)), Unit: "ms", Value: millis(at.Sub(begin))}.beside(millis(floor))
	r.Note = fmt.Sprintf("the approvals alone, by %d workers, took %.0f ms", workers, millis(approved))
	return []result{r.aims("≤ 6 × 10 plain workers", r.Ratio <= 6)}, profiled()
}
