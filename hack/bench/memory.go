package main

import (
	"context"
	"fmt"
)

// memoryPerGrant: the broker's resident memory with a stock of active grants,
// each with its request and binding, over what it was without any.
func memoryPerGrant(ctx context.Context, s *scene) ([]result, error) {
	if err := s.stockUp(ctx, s.n.stock()); err != nil {
		return nil, err
	}
	if err := s.startBroker(ctx, direct); err != nil {
		return nil, err
	}
	full, err := s.settledMemory(ctx)
	if err != nil {
		return nil, err
	}
	perGrant := func(full, idle float64) float64 { return (full - idle) / 1024 / float64(s.stocked) }
	resident, heap := perGrant(full.resident, s.idleMemory.resident), perGrant(full.heap, s.idleMemory.heap)
	return []result{
		result{
			What: thousands(s.stocked) + " active grants: resident memory a grant", Unit: "KB", Value: resident,
			Note: fmt.Sprintf("%.0f MB idle, %.0f MB with them", s.idleMemory.resident/1e6, full.resident/1e6),
		}.aims("≤ 12 KB", resident <= 12),
		{What: thousands(s.stocked) + " active grants: heap in use a grant", Unit: "KB", Value: heap},
	}, s.profile(ctx, "memory-heap", "heap?gc=1")()
}
