// Command promql holds PromQL expressions against what a program exports: it
// reads an exposition in the text format from a file, and from the standard
// input one expression a line, as JSON {"where": ..., "expr": ...}. It tells
// of each that does not parse, or that names a metric or a label which is not
// exported, and of each exported metric that begins with -own and that no
// expression names.
//
// It is a module of its own, so that Prometheus is no dependency of the broker.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// target are the labels that Prometheus itself puts on what it scrapes.
var target = []string{"instance", "job", "namespace", "pod"}

// synthetic are the metrics that Prometheus makes of a scrape.
var synthetic = []string{"up"}

type query struct{ Where, Expr string }

// exported are the labels, and their values, of each metric.
type exported map[string]map[string][]string

func main() {
	metrics := flag.String("metrics", "", "file with the exposition")
	own := flag.String("own", "", "beginning of the metrics that must all be used")
	flag.Parse()
	if err := run(*metrics, *own, os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(metrics, own string, queries io.Reader) error {
	file, err := os.Open(metrics)
	if err != nil {
		return err
	}
	defer file.Close()
	known, err := parse(file)
	if err != nil {
		return fmt.Errorf("%s: %w", metrics, err)
	}
	used := map[string]bool{}
	var errs []error
	lines := bufio.NewScanner(queries)
	for lines.Scan() {
		var q query
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		for _, err := range known.check(q.Expr, used) {
			errs = append(errs, fmt.Errorf("%s: %w in %s", q.Where, err, q.Expr))
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if base := family(name); own != "" && strings.HasPrefix(name, own) && !used[base] {
			used[base] = true
			errs = append(errs, fmt.Errorf("no expression uses %s", base))
		}
	}
	return errors.Join(errs...)
}

// family is the name of a histogram, for its series.
func family(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base
		}
	}
	return name
}

func parse(r io.Reader) (exported, error) {
	decoder := expfmt.NewTextParser(model.UTF8Validation)
	families, err := decoder.TextToMetricFamilies(r)
	if err != nil {
		return nil, err
	}
	out := exported{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			series := []string{name}
			if m.GetHistogram() != nil {
				series = []string{name + "_bucket", name + "_sum", name + "_count"}
			}
			for _, s := range series {
				if out[s] == nil {
					out[s] = map[string][]string{}
				}
				for _, l := range m.GetLabel() {
					out[s][l.GetName()] = append(out[s][l.GetName()], l.GetValue())
				}
			}
			for _, b := range m.GetHistogram().GetBucket() {
				le := out[name+"_bucket"]
				le["le"] = append(le["le"], fmt.Sprint(b.GetUpperBound()))
			}
		}
	}
	return out, nil
}

// check an expression: every selector names what is exported, and every
// grouping a label of a metric below it.
func (known exported) check(expr string, used map[string]bool) []error {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []error{err}
	}
	var errs []error
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			errs = append(errs, known.selector(n, used)...)
		case *parser.AggregateExpr:
			for _, label := range n.Grouping {
				if !known.below(n.Expr, label) {
					errs = append(errs, fmt.Errorf("there is no label %s to group by", label))
				}
			}
		}
		return nil
	})
	return errs
}

func (known exported) selector(n *parser.VectorSelector, used map[string]bool) []error {
	used[family(n.Name)] = true
	if slices.Contains(synthetic, n.Name) {
		return nil
	}
	series, ok := known[n.Name]
	if !ok {
		return []error{fmt.Errorf("%s is not exported", n.Name)}
	}
	var errs []error
	for _, m := range n.LabelMatchers {
		values, ok := series[m.Name]
		switch {
		case m.Name == labels.MetricName, slices.Contains(target, m.Name):
		case !ok:
			errs = append(errs, fmt.Errorf("%s has no label %s", n.Name, m.Name))
		case m.Type == labels.MatchEqual && !slices.Contains(values, m.Value):
			errs = append(errs, fmt.Errorf("no %s has %s=%q", n.Name, m.Name, m.Value))
		}
	}
	return errs
}

// below tells whether a metric in the expression has the label.
func (known exported) below(expr parser.Expr, label string) bool {
	found := slices.Contains(target, label)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if n, ok := node.(*parser.VectorSelector); ok {
			_, has := known[n.Name][label]
			found = found || has
		}
		return nil
	})
	return found
}
