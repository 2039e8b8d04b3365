package plugin

import (
	"fmt"
	"os"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// readLogs hands on the events of audit logs that the filter asks for, log by log. -
// is standard input. A log without any audit event is an error.
func (o *options) readLogs(names []string, f *usage.Filter, visit func(*usage.Event) error) (all usage.Skipped, err error) {
	for _, name := range names {
		n, skipped, err := o.readLog(name, f, visit)
		if err != nil {
			return all, err
		}
		if n == 0 && skipped.Stages+skipped.Unasked == 0 {
			return all, noEvents(name, skipped)
		}
		all.Add(skipped)
	}
	return all, nil
}

// readLog reads one log and counts its events.
func (o *options) readLog(name string, f *usage.Filter, visit func(*usage.Event) error) (n int, skipped usage.Skipped, err error) {
	in := o.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return 0, skipped, err
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return 0, skipped, hintf("Name each log in it with an --audit-log of its own.", "%s is a folder", name)
		}
		in = file
	}
	skipped, err = usage.Read(in, f, func(e *usage.Event) error {
		n++
		return visit(e)
	})
	if err != nil {
		return n, skipped, fmt.Errorf("read %s: %w", shownName(name), err)
	}
	return n, skipped, nil
}

func shownName(name string) string {
	if name == "-" {
		return "standard input"
	}
	return name
}

// noEvents says what a log holds instead of audit events.
func noEvents(name string, skipped usage.Skipped) error {
	name = shownName(name)
	what := "it is empty"
	switch broken := skipped.Broken + skipped.TooLong; {
	case broken > 0:
		what = fmt.Sprintf("%d lines or objects in it are something else, %d are not whole and %d too long", skipped.Foreign, skipped.Broken, skipped.TooLong)
	case skipped.Foreign > 0:
		what = fmt.Sprintf("%d lines or objects in it are something else", skipped.Foreign)
	}
	return hintf("See 'kubectl access usage --help' for the formats. An API server writes none without --audit-policy-file.",
		"%s holds no audit events: %s", name, what)
}
