package main

import "context"

// approvalToAccess: from just before the last approval is sent to the first
// answer that the user may, one at a time. The floors are rows of their own.
func approvalToAccess(ctx context.Context, s *scene) ([]result, error) {
	profiled := s.profile(ctx, "approval-cpu", "profile?seconds=20")
	l, err := s.live(ctx, s.n.approvals)
	if err != nil {
		return nil, err
	}
	given := spread("last approval sent → access allowed", l.given).beside(percentile(l.floorGiven, 50))
	return []result{
		spread("floor: RoleBinding created → access allowed", l.floorGiven),
		spread("floor: RoleBinding deleted → access denied", l.floorTaken),
		given.aims("p50 ≤ 4 × floor", given.Ratio <= 4),
		spread("of that until the approver has an answer", l.patched).beside(percentile(l.floorGiven, 50)),
		spread("Revoke sent → access denied", l.taken).beside(percentile(l.floorTaken, 50)),
	}, profiled()
}
