package main

import (
	"context"
	"fmt"
	"time"
)

// memoryPerGrant: the broker's resident memory with a stock of active grants,
// each with its request and binding, over what it was without any; the most that
// it ever was, and how soon the broker is ready with them.
func memoryPerGrant(ctx context.Context, s *scene) ([]result, error) {
	if err := s.stockUp(ctx, s.n.stock()); err != nil {
		return nil, err
	}
	ready, err := s.timedStart(ctx)
	if err != nil {
		return nil, err
	}
	full, err := s.settledMemory(ctx)
	if err != nil {
		return nil, err
	}
	peak, err := s.peak()
	if err != nil {
		return nil, err
	}
	perGrant := func(full, idle float64) float64 { return (full - idle) / 1024 / float64(s.stocked) }
	resident, heap := perGrant(full.resident, s.idleMemory.resident), perGrant(full.heap, s.idleMemory.heap)
	with := thousands(s.stocked) + " active grants: "
	return []result{
		result{
			What: with + "resident memory a grant", Unit: "KB", Value: resident,
			Note: fmt.Sprintf("%.0f MB idle, %.0f MB with them", s.idleMemory.resident/1e6, full.resident/1e6),
		}.aims("≤ 12 KB", resident <= 12),
		{What: with + "heap in use a grant", Unit: "KB", Value: heap},
		{What: with + "most resident memory", Unit: "MiB", Value: peak / (1 << 20)},
		result{What: with + "start → ready", Unit: "ms", Value: millis(ready)}.aims("≤ 5 s", ready <= 5*time.Second),
	}, s.profile(ctx, "memory-heap", "heap?gc=1")()
}
