package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// startWithEnded: grants that have ended are kept for 90 days, requests for 7.
// The most memory that the broker ever had, from its start until it has gone
// through all of them, and how soon it is ready.
func startWithEnded(ctx context.Context, s *scene) ([]result, error) {
	if err := s.cut(ctx); err != nil {
		return nil, err
	}
	s.stopBroker()
	grants := s.n.kept
	requests := grants * 7 / 90
	fmt.Fprintf(os.Stderr, "writing %d grants and %d requests that have ended ...\n", grants, requests)
	err := each(ctx, stockWorkers, grants, func(ctx context.Context, i int) error { return s.castEnded(ctx, i, i < requests) })
	if err != nil {
		return nil, err
	}
	ready, err := s.timedStart(ctx)
	if err != nil {
		return nil, err
	}
	settled, err := s.settledMemory(ctx)
	if err != nil {
		return nil, err
	}
	peak, err := s.peak()
	if err != nil {
		return nil, err
	}
	with := fmt.Sprintf("start with %s grants and %s requests that have ended: ", thousands(grants), thousands(requests))
	return []result{
		result{
			What: with + "most resident memory", Unit: "MiB", Value: peak / (1 << 20),
			Note: fmt.Sprintf("%.0f MiB once it is idle, %.0f MiB without any", settled.resident/(1<<20), s.idleMemory.resident/(1<<20)),
		}.aims("< 200 MiB", peak < 200<<20),
		{What: with + "ready", Unit: "ms", Value: millis(ready)},
	}, s.profile(ctx, "ended-heap", "heap?gc=1")()
}

// timedStart starts the broker and tells after how long it was ready.
func (s *scene) timedStart(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	err := s.startBroker(ctx, direct)
	return time.Since(begin), err
}
