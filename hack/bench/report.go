package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// result is one line of the table.
type result struct {
	Row  string `json:"row"`
	What string `json:"what"`
	Unit string `json:"unit"`
	// Value is the median, or the one thing that was measured.
	Value float64 `json:"value"`
	P99   float64 `json:"p99,omitempty"`
	// Floor is the same for a plain client, measured in the same run.
	Floor  float64 `json:"floor,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
	Target string  `json:"target,omitempty"`
	// Met is nil for what has no target.
	Met  *bool  `json:"met,omitempty"`
	Note string `json:"note,omitempty"`
}

// beside puts a floor beside a result.
func (r result) beside(floor float64) result {
	r.Floor = floor
	if floor > 0 {
		r.Ratio = r.Value / floor
	}
	return r
}

// aims says what was aimed at and whether it was met.
func (r result) aims(target string, met bool) result {
	r.Target, r.Met = target, &met
	return r
}

// spread is the result of many samples of a time.
func spread(what string, samples []time.Duration) result {
	return result{What: what, Unit: "ms", Value: percentile(samples, 50), P99: percentile(samples, 99)}
}

// percentile in milliseconds: the smallest sample that p percent do not exceed.
func percentile(samples []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	rank := (len(sorted)*p + 99) / 100
	return millis(sorted[max(rank, 1)-1])
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// report is all that was measured, and on what.
type report struct {
	Machine machine  `json:"machine"`
	Quick   bool     `json:"quick,omitempty"`
	Results []result `json:"results"`
}

type machine struct {
	Cores     int    `json:"cores"`
	MemoryGiB int    `json:"memoryGiB,omitempty"`
	System    string `json:"system"`
	Go        string `json:"go"`
}

func newReport(isQuick bool) *report {
	return &report{Quick: isQuick, Machine: machine{
		Cores: runtime.NumCPU(), MemoryGiB: memoryGiB(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
	}}
}

// memoryGiB is 0 where the kernel does not tell in Linux's way.
func memoryGiB() int {
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kib int
	if _, err := fmt.Sscanf(string(content), "MemTotal: %d kB", &kib); err != nil {
		return 0
	}
	return (kib + 1<<19) >> 20
}

func (r *report) write(path string) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// print writes a table that is Markdown too.
func (r *report) print(w io.Writer) {
	if len(r.Results) == 0 {
		return
	}
	m := r.Machine
	fmt.Fprintf(w, "\n%d cores, %d GiB, %s, %s\n\n", m.Cores, m.MemoryGiB, m.System, m.Go)
	lines := [][]string{{"what", "value or p50", "p99", "floor", "ratio", "target", "met"}, nil}
	for _, result := range r.Results {
		lines = append(lines, []string{
			result.What, figure(result.Value, result.Unit), unlessZero(result.P99, result.Unit), unlessZero(result.Floor, result.Unit),
			unlessZero(result.Ratio, ""), result.Target, yesNo(result.Met),
		})
	}
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines[1] = make([]string, len(widths))
	for i, width := range widths {
		lines[1][i] = strings.Repeat("-", width)
	}
	for _, line := range lines {
		for i, cell := range line {
			fmt.Fprintf(w, "| %-*s ", widths[i], cell)
		}
		fmt.Fprintln(w, "|")
	}
	for _, result := range r.Results {
		if result.Note != "" {
			fmt.Fprintf(w, "\n%s: %s\n", result.What, result.Note)
		}
	}
}

// String is one line for those who wait for the table.
func (r result) String() string {
	line := r.What + ": " + figure(r.Value, r.Unit)
	if r.Ratio > 0 {
		line += fmt.Sprintf(", %.1f times the floor", r.Ratio)
	}
	return line
}

func figure(value float64, unit string) string {
	format := "%.1f %s"
	if value >= 100 {
		format = "%.0f %s"
	}
	return strings.TrimSpace(fmt.Sprintf(format, value, unit))
}

// unlessZero prints nothing for what was not measured.
func unlessZero(value float64, unit string) string {
	if value == 0 {
		return ""
	}
	return figure(value, unit)
}

func yesNo(met *bool) string {
	switch {
	case met == nil:
		return ""
	case *met:
		return "yes"
	}
	return "no"
}
