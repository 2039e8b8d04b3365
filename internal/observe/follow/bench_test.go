package follow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"
)

// BenchmarkFollow catches up with a log of several files, with events of 1 KB.
func BenchmarkFollow(b *testing.B) {
	for _, zipped := range []bool{false, true} {
		name := "plain"
		if zipped {
			name = "compressed"
		}
		b.Run(name, func(b *testing.B) {
			w := newWriter(b)
			const files, events = 4, 25_000
			var total int64
			for i := range files {
				if i > 0 {
					backup := w.rotate()
					if zipped {
						w.compress(backup)
					}
				}
				all := make([]byte, 0, events*1024)
				for range events {
					// Half of it repeats, as in a real log; the rest does not compress.
					unlike := fmt.Sprintf("%0350x", rand.Uint64())
					for range 20 {
						unlike += fmt.Sprintf("%016x", rand.Uint64())
					}
					all = append(all, strings.Replace(w.event(0), `"userAgent":"`, `"userAgent":"`+unlike, 1)...)
				}
				w.raw(string(all))
				total += int64(len(all))
			}
			if zipped {
				w.compress(w.rotate())
			}
			log := &Log{Path: w.path, Clock: clocktesting.NewFakeClock(began), Log: logr.Discard()}
			var bytes int64
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithCancel(b.Context())
				bytes = 0
				if err := log.Follow(ctx, Position{}, func(_ context.Context, c Chunk) error {
					bytes += int64(len(c.Data))
					if bytes == total {
						cancel()
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
			b.SetBytes(bytes)
			b.ReportMetric(float64(files*events*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
