package main

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Go stays within nine tenths of the container's limit. What an administrator sets
// comes first, and without a limit there is none.
func TestMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	limits := func(container memlimit.Provider, want int64) {
		t.Helper()
		if _, err := limitMemory(container); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetMemoryLimit(-1); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
	limits(memlimit.Limit(1000<<20), 900<<20)
	limits(func() (uint64, error) { return 0, memlimit.ErrNoLimit }, math.MaxInt64)
	t.Setenv("GOMEMLIMIT", "700MiB") // read when a process starts
	debug.SetMemoryLimit(700 << 20)
	limits(memlimit.Limit(1000<<20), 700<<20)
}

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: maxPercent, 1 << 20: maxPercent, 32 << 20: 100, 64 << 20: 50, 128 << 20: minPercent, 1 << 40: minPercent} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes: %d %%, want %d", live, got, want)
		}
	}
}
