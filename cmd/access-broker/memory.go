package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare of the container's limit is what Go tries to stay within: the rest
// is for what the collector does not see, and for the moment that it takes.
const memoryShare = .9

// limitMemory makes the collector work harder near the container's limit, so that
// the broker is not killed. GOMEMLIMIT overrides it.
func limitMemory(container memlimit.Provider) (limit int64, err error) {
	return memlimit.Set(memlimit.WithProvider(container), memlimit.WithRatio(memoryShare))
}

// The heap may grow by minPercent before it is collected, or by minHeadroom,
// whichever is more.
const (
	minPercent  = 25
	maxPercent  = 200
	minHeadroom = 32 << 20
)

// tuneGC keeps the memory near what is in use. Most of a large heap is the cache,
// which lives on: letting it double, as Go does, would cost twice the memory for
// nothing. With the same percentage, a small heap would be collected more often than
// need be, which would slow down approvals. GOGC overrides it.
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent := 100
	for range time.Tick(time.Second) {
		metrics.Read(live)
		next := gcPercent(live[0].Value.Uint64())
		if next < percent-percent/8 || next > percent+percent/8 { // setting it stops the world
			debug.SetGCPercent(next)
			percent = next
		}
	}
}

// gcPercent is the percentage for a heap with live bytes in use.
func gcPercent(live uint64) int {
	return int(max(minPercent, min(maxPercent, minHeadroom*100/max(live, 1))))
}
