package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const exposition = `# TYPE own_requests gauge
own_requests{phase="Active"} 1
# TYPE own_lag_seconds histogram
own_lag_seconds_bucket{le="1"} 1
own_lag_seconds_bucket{le="+Inf"} 1
own_lag_seconds_sum 1
own_lag_seconds_count 1
`

func TestRun(t *testing.T) {
	metrics := filepath.Join(t.TempDir(), "metrics")
	if err := os.WriteFile(metrics, []byte(exposition), 0o600); err != nil {
		t.Fatal(err)
	}
	const lag = `histogram_quantile(0.9, sum by (le) (rate(own_lag_seconds_bucket[5m])))`
	for _, c := range []struct {
		name    string
		queries []string
		want    string
	}{
		{"all is well", []string{`sum(own_requests{phase="Active"})`, lag, `up{job="x"} == 0`}, ""},
		{"syntax", []string{`sum(own_requests`, lag}, "unclosed"},
		{"metric", []string{`own_request`, `own_requests`, lag}, "own_request is not exported"},
		{"label", []string{`own_requests{state="Active"}`, lag}, "has no label state"},
		{"value", []string{`own_requests{phase="active"}`, lag}, `phase="active"`},
		{"grouping", []string{`sum by (state) (own_requests)`, lag}, "no label state to group by"},
		{"unused", []string{`own_requests`}, "no expression uses own_lag_seconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lines strings.Builder
			for _, q := range c.queries {
				lines.WriteString(`{"where":"here","expr":"` + strings.ReplaceAll(q, `"`, `\"`) + "\"}\n")
			}
			err := run(metrics, "own_", strings.NewReader(lines.String()))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
