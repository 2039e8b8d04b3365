package main

import (
	"context"
	"fmt"
)

// flat is by how much a grant may cost more with the most active grants than
// with the fewest, for the cost to be called flat on a machine that others use.
const flat = 1.5

// costByStock: whether a grant costs more the more of them there are.
func costByStock(ctx context.Context, s *scene) ([]result, error) {
	var results []result
	var given, taken []float64
	for _, level := range s.n.levels {
		if err := s.stockUp(ctx, level); err != nil {
			return nil, err
		}
		if err := s.startBroker(ctx, direct); err != nil {
			return nil, err
		}
		if err := s.quiet(ctx); err != nil {
			return nil, err
		}
		l, err := s.live(ctx, s.n.samples)
		if err != nil {
			return nil, err
		}
		with := " with " + thousands(level) + " active grants"
		results = append(results,
			spread("approval sent → access allowed,"+with, l.given).beside(percentile(l.floorGiven, 50)),
			spread("Revoke sent → access denied,"+with, l.taken).beside(percentile(l.floorTaken, 50)))
		given, taken = append(given, percentile(l.given, 50)), append(taken, percentile(l.taken, 50))
	}
	growth := max(given[len(given)-1]/given[0], taken[len(taken)-1]/taken[0])
	return append(results, result{
		What:  fmt.Sprintf("cost of a grant at %s beside %s", thousands(s.n.stock()), thousands(s.n.levels[0])),
		Value: growth, Unit: "times",
	}.aims(fmt.Sprintf("flat (≤ %g times)", flat), growth <= flat)), nil
}
