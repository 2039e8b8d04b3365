package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// memory of the broker, in bytes.
type memory struct{ resident, heap float64 }

// pause waits, unless it is interrupted.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// quiet waits until the broker has used next to no processor time for a while.
func (s *scene) quiet(ctx context.Context) error {
	const (
		tick = time.Second
		most = 4 // hundredths of a second of processor time in a tick
		need = 3 // ticks
	)
	before, err := s.processorTime()
	if err != nil {
		return err
	}
	for idle, deadline := 0, time.Now().Add(patience); idle < need; {
		if time.Now().After(deadline) {
			return fmt.Errorf("the broker is still at work after %s", patience)
		}
		if err := pause(ctx, tick); err != nil {
			return err
		}
		after, err := s.processorTime()
		if err != nil {
			return err
		}
		idle++
		if after-before > most {
			idle = 0
		}
		before = after
	}
	return nil
}

// processorTime that the broker has used, in hundredths of a second.
func (s *scene) processorTime() (int, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.broker.PID()))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything; fields are counted after it.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return user + system, err
}

// settledMemory waits until the broker has handed back what it does not need.
func (s *scene) settledMemory(ctx context.Context) (memory, error) {
	if err := s.quiet(ctx); err != nil {
		return memory{}, err
	}
	var m memory
	for last := 0.0; ; last = m.resident {
		heap, err := s.getPprof(ctx, "heap?gc=1&debug=1")
		if err != nil {
			return m, err
		}
		if m.resident, err = s.resident(); err != nil {
			return m, err
		}
		_, after, _ := strings.Cut(string(heap), "# HeapInuse = ")
		inUse, _, _ := strings.Cut(after, "\n")
		if m.heap, err = strconv.ParseFloat(inUse, 64); err != nil {
			return m, fmt.Errorf("the profile does not tell the heap in use: %w", err)
		}
		if last > 0 && m.resident > .995*last {
			return m, nil
		}
		if err := pause(ctx, 5*time.Second); err != nil {
			return m, err
		}
	}
}

// resident memory of the broker in bytes, and peak the most that it ever was, as
// the kernel tells them.
func (s *scene) resident() (float64, error) { return kernel(s.broker.PID(), "VmRSS:") }
func (s *scene) peak() (float64, error)     { return kernel(s.broker.PID(), "VmHWM:") }

func kernel(process int, field string) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0, err
	}
	var kib float64
	_, after, _ := strings.Cut(string(content), field)
	if _, err := fmt.Sscanf(after, "%g kB", &kib); err != nil {
		return 0, fmt.Errorf("the kernel does not tell %s: %w", field, err)
	}
	return kib * 1024, nil
}

func (s *scene) getPprof(ctx context.Context, what string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.pprof+"/debug/pprof/"+what, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("pprof answers %s", response.Status)
	}
	return io.ReadAll(response.Body)
}

// profile saves a profile of the broker, if profiles are wanted, and beside one
// of its processor time one of the API server's. The function that it returns
// waits for them.
func (s *scene) profile(ctx context.Context, name, what string) func() error {
	if s.profiles == "" {
		return func() error { return nil }
	}
	group, ctx := errgroup.WithContext(ctx)
	save := func(name string, get func() ([]byte, error)) {
		group.Go(func() error {
			content, err := get()
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(s.profiles, name+".pprof"), content, 0o644)
		})
	}
	save(name, func() ([]byte, error) { return s.getPprof(ctx, what) })
	if path, seconds, ok := strings.Cut(what, "?seconds="); ok {
		save(name+"-apiserver", func() ([]byte, error) {
			return s.Clientset.RESTClient().Get().AbsPath("/debug/pprof/", path).Param("seconds", seconds).DoRaw(ctx)
		})
	}
	return group.Wait
}
