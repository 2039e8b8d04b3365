package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// rights sum up what rules allow, for people who have no time to read them all.
type rights struct {
	// all counts the rights, and reading those that only read. Each verb on each
	// resource is one.
	all, reading int
	// wildcard: some rights stand for any number of rights.
	wildcard bool
	// leftOut: there are more rights than the lines show.
	leftOut bool
	// written and deleted resources.
	written, deleted []string
}

var (
	readingVerbs  = []string{"get", "list", "watch"}
	deletingVerbs = []string{"delete", "deletecollection"}
)

// count sums up rules as they are shown: verbs, resources and, if the rule is for
// some objects only, their names.
func count(lines []string) rights {
	var out rights
	for _, line := range lines {
		fields := strings.SplitN(line, " ", 3)
		if rules.IsLeftOut(line) || len(fields) < 2 {
			out.leftOut = out.leftOut || rules.IsLeftOut(line)
			continue
		}
		verbs, resources := strings.Split(fields[0], ","), strings.Split(fields[1], ",")
		if len(fields) == 3 {
			for i := range resources {
				resources[i] += " (some)"
			}
		}
		for _, verb := range verbs {
			out.all += len(resources)
			switch {
			case slices.Contains(readingVerbs, verb):
				out.reading += len(resources)
			case slices.Contains(deletingVerbs, verb):
				out.deleted = append(out.deleted, resources...)
			case verb == "*":
				out.written, out.deleted = append(out.written, resources...), append(out.deleted, resources...)
			default:
				out.written = append(out.written, resources...)
			}
		}
		out.wildcard = out.wildcard || strings.Contains(fields[0], "*") || strings.Contains(fields[1], "*")
	}
	out.written, out.deleted = distinct(out.written), distinct(out.deleted)
	return out
}

// distinct keeps the first of each, in their order.
func distinct(items []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, item := range items {
		if !seen[item] {
			seen[item] = true
			out = append(out, item)
		}
	}
	return out
}

// changes are the resources that can be written and deleted, in one line.
func (r rights) changes() string {
	switch {
	case r.all == 0:
		return ""
	case len(r.written) == 0 && len(r.deleted) == 0:
		return "nothing, it only reads"
	case slices.Equal(r.written, r.deleted):
		return "writes and deletes " + several(r.written)
	}
	var parts []string
	if len(r.written) > 0 {
		parts = append(parts, "writes "+several(r.written))
	}
	if len(r.deleted) > 0 {
		parts = append(parts, "deletes "+several(r.deleted))
	}
	return strings.Join(parts, "; ")
}

// rights says how many there are.
func (r rights) rights() string {
	if r.all == 0 {
		return ""
	}
	out := fmt.Sprintf("%d, %d of them to read", r.all, r.reading)
	if r.reading == r.all {
		out = fmt.Sprintf("%d, all to read", r.all)
	}
	if r.wildcard {
		out += "; with wildcards (*), which stand for any number"
	}
	if r.leftOut {
		return out + ", and many more: the most dangerous are listed below"
	}
	return out + "; all are listed below"
}

// maxSeveral is how many names a line has room for.
const maxSeveral = 5

func several(names []string) string {
	most := maxSeveral
	if len(names) == most+1 {
		most++ // "and 1 more" takes as much room
	}
	return text.List(names, most)
}
