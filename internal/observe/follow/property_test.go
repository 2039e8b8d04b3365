package follow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	clocktesting "k8s.io/utils/clock/testing"
)

// logrotate renames the log, and those before it, and creates a new one.
func (w *writer) logrotate() {
	for n := 20; n > 0; n-- {
		for _, zip := range []string{"", ".gz"} {
			from := fmt.Sprintf("%s.%d%s", w.path, n, zip)
			if _, err := os.Stat(from); err == nil {
				ok(w.t, os.Rename(from, fmt.Sprintf("%s.%d%s", w.path, n+1, zip)))
			}
		}
	}
	ok(w.t, os.Rename(w.path, w.path+".1"))
	ok(w.t, os.WriteFile(w.path, nil, 0o600))
}

// compressAny compresses a file that is not written to.
func (w *writer) compressAny(rand *rand.Rand) {
	old := must[[]string](w.t)(filepath.Glob(strings.TrimSuffix(w.path, ".log") + `[.\-]*`))
	rotated := slices.DeleteFunc(old, func(path string) bool {
		if path == w.path || strings.HasSuffix(path, ".gz") {
			return true
		}
		if w.out == nil {
			return false
		}
		out, in := must[os.FileInfo](w.t)(w.out.Stat()), must[os.FileInfo](w.t)(os.Stat(path))
		return os.SameFile(out, in)
	})
	if len(rotated) > 0 {
		w.compress(rotated[rand.IntN(len(rotated))])
	}
}

// Whatever is written, rotated and compressed, and whenever the follower stops and
// starts: each line comes once and in order, as long as no file is deleted.
func TestEachLineOnce(t *testing.T) {
	for seed := range uint64(60) {
		rand := rand.New(rand.NewPCG(seed, 12))
		w, r := setUp(t)
		half := ""
		for range 80 {
			switch what := rand.IntN(20); {
			case what < 6:
				for range rand.IntN(10) {
					w.line(half + w.event(rand.IntN(300)))
					half = ""
				}
			case what == 6:
				line := half + w.event(rand.IntN(2)*chunkSize)
				half = ""
				n := rand.IntN(len(line))
				w.raw(line[:n])
				for range rand.IntN(4) {
					r.step()
				}
				w.raw(line[n:])
				w.want = append(w.want, line)
			case what < 9 && w.n > 0:
				w.open()
				w.rotate()
			case what < 11 && w.n > 0:
				w.open()
				w.logrotate()
				if rand.IntN(2) == 0 {
					w.close() // it reopens the log
				}
			case what == 11:
				w.compressAny(rand)
			case what == 12:
				r.stop()
			default:
				for range rand.IntN(6) {
					r.step()
				}
			}
		}
		r.expect(w.want, 0, 0)
		r.stop()
		w.close()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// The same while both run at the same time, so that files are renamed and compressed
// while they are being looked for.
func TestEachLineOnceAtTheSameTime(t *testing.T) {
	w := newWriter(t)
	clock := clocktesting.NewFakeClock(began)
	log := &Log{Path: w.path, Clock: clock, Log: logr.Discard()}
	whole, end := context.WithCancel(t.Context())
	var total atomic.Int64
	type result struct {
		got        []string
		gaps, runs int
		lost       int64
		err        error
	}
	done := make(chan result)
	go func() {
		var r result
		var from Position
		rand := rand.New(rand.NewPCG(1, 12))
		for whole.Err() == nil && r.err == nil {
			ctx, cancel := context.WithCancel(whole)
			stop := rand.IntN(20)
			r.runs++
			r.err = log.Follow(ctx, from, func(_ context.Context, c Chunk) error {
				r.got = append(r.got, slices.Collect(strings.Lines(string(c.Data)))...)
				from, r.lost = c.To, r.lost+c.Lost
				if c.Gap {
					r.gaps++
				}
				if n := total.Load(); n > 0 && len(r.got) >= int(n) {
					end()
				}
				if stop--; stop < 0 {
					cancel()
				}
				return nil
			})
			cancel()
		}
		done <- r
	}()
	go func() {
		for whole.Err() == nil {
			if clock.HasWaiters() {
				clock.Step(poll)
			}
			runtime.Gosched()
		}
	}()
	rand := rand.New(rand.NewPCG(2, 12))
	var plain []string
	for range 1500 {
		w.write(rand.IntN(20))
		switch rand.IntN(12) {
		case 0:
			w.open()
			plain = append(plain, w.rotate())
		case 1:
			if len(plain) > 0 {
				w.compress(plain[0])
				plain = plain[1:]
			}
		}
		runtime.Gosched()
	}
	total.Store(int64(len(w.want) + 1))
	w.write(1)
	r := <-done
	if r.err != nil || r.gaps > 0 || r.lost > 0 {
		t.Errorf("%v, %d gaps, %d lost", r.err, r.gaps, r.lost)
	}
	if !slices.Equal(r.got, w.want) {
		t.Errorf("%d lines of %d are not those that were written", len(r.got), len(w.want))
	}
	t.Logf("%d lines in %d runs", len(r.got), r.runs)
}
