// Command bench measures how fast Access Broker gives and takes access, and
// what it costs, on a real control plane of its own: a real API server, the
// broker's own binary, users with client certificates. Each figure stands
// beside what a plain client needs for the same in the same run: the floor.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := runUnlessInterrupted(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is one measurement.
type row struct {
	name    string
	measure func(context.Context, *scene) ([]result, error)
}

// scenes are measured one after another, each on a fresh control plane: what
// one leaves behind would slow the next. The rows of a scene share it.
var scenes = [][]row{
	{{"approval", approvalToAccess}, {"credential", approvalToCredential}, {"deadline", deadlineToDenied}, {"writes", writesOfOneLife}},
	{{"due", dueInOneSecond}},
	{{"ended", endedByOneCause}},
	{{"burst", approvedInABurst}},
	{{"cost", costByStock}, {"memory", memoryPerGrant}, {"idle", requestsWhenIdle}, {"restart", restartWithOverdue}},
	{{"issued", memoryPerIssued}},
	{{"kept", startWithEnded}},
	{{"page", recordOnAPage}},
	{{"events", readEvents}, {"usage", callToUsage}},
}

// counts say how much is measured.
type counts struct {
	approvals, deadlines, lives, due, burst int
	// samples at each of the levels of active grants; the last is the stock
	// for the rows about memory, idleness and restart.
	samples, overdue int
	levels           []int
	// ended early by one cause.
	ended []int
	// kept grants that have ended.
	kept int
	// events of an audit log.
	events int
	idle   time.Duration
}

var (
	full  = counts{approvals: 200, deadlines: 100, lives: 10, due: 5000, burst: 1000, samples: 50, overdue: 1000, levels: []int{1000, 5000, 10000}, ended: []int{200, 1000}, kept: 50000, events: 10_000_000, idle: time.Minute}
	quick = counts{approvals: 30, deadlines: 15, lives: 3, due: 500, burst: 100, samples: 15, overdue: 100, levels: []int{100, 500, 1000}, ended: []int{50, 200}, kept: 5000, events: 1_000_000, idle: 20 * time.Second}
)

func (c counts) stock() int { return c.levels[len(c.levels)-1] }

func runUnlessInterrupted() error {
	var (
		only     = flag.String("only", "", "names of the rows to measure, with commas between: "+strings.Join(names(), ", "))
		isQuick  = flag.Bool("quick", false, "measure less: a look, not a result")
		jsonPath = flag.String("json", "", "file to write the results to")
		profiles = flag.String("profiles", "", "folder to write the broker's pprof profiles to; taking them costs a little speed")
	)
	flag.Parse()
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	n := full
	if *isQuick {
		n = quick
	}
	if *profiles != "" {
		if err := os.MkdirAll(*profiles, 0o755); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	report := newReport(*isQuick)
	for _, rows := range chosen {
		results, playErr := play(ctx, rows, n, *profiles)
		report.Results = append(report.Results, results...)
		if err = playErr; err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		err = errors.New("stopped before the end; everything is cleaned away")
	}
	// What was measured before an error, or before a Ctrl-C, is worth having.
	report.print(os.Stdout)
	if *jsonPath != "" {
		err = errors.Join(err, report.write(*jsonPath))
	}
	return err
}

func names() []string {
	var out []string
	for _, rows := range scenes {
		for _, r := range rows {
			out = append(out, r.name)
		}
	}
	return out
}

// choose keeps the rows that are named, all when none is.
func choose(only string) ([][]row, error) {
	if only == "" {
		return scenes, nil
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return nil, fmt.Errorf("there is no row %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	var out [][]row
	for _, rows := range scenes {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !slices.Contains(wanted, r.name) })
		if len(rows) > 0 {
			out = append(out, rows)
		}
	}
	return out, nil
}

// play measures rows on a control plane of their own.
func play(ctx context.Context, rows []row, n counts, profiles string) (results []result, err error) {
	s, err := setScene(ctx, n, profiles, slices.ContainsFunc(rows, func(r row) bool { return r.name == "usage" }))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.strike()) }()
	for _, r := range rows {
		begin := time.Now()
		measured, err := r.measure(ctx, s)
		if err != nil {
			return results, fmt.Errorf("%s: %w\n\nThe end of the broker's log:\n%s", r.name, err, s.broker.LogTail())
		}
		for i := range measured {
			measured[i].Row = r.name
		}
		results = append(results, measured...)
		fmt.Fprintf(os.Stderr, "%s, measured in %.0fs:\n", r.name, time.Since(begin).Seconds())
		for _, result := range measured {
			fmt.Fprintln(os.Stderr, "  "+result.String())
		}
	}
	return results, nil
}
