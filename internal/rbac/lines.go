package rbac

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	rbacv1 "k8s.io/api/rbac/v1"
)

// MaxLine bounds a line of Lines in characters, for items that are not longer
// than that themselves.
const MaxLine = 1024

// maxList bounds each of the lists in a line, so that people can read it.
const maxList = 240

// Lines say what rules allow as people read it, and as kubectl access takes it
// for --rules: VERBS RESOURCES [NAMES], each a list with commas, a resource as
// RESOURCE[.GROUP][/SUBRESOURCE] or a path. What has the same verbs and names
// stands together. Every list is cut to a few hundred characters and goes on in
// a line of its own.
//
// A line means one thing only: an item with anything in it but the letters that
// names are made of is quoted as Go quotes it, spaces and commas escaped.
func Lines(rules []rbacv1.PolicyRule) []string {
	type holder struct{ verbs, names string }
	type bucket struct{ verbs, names, items []string }
	var order []*bucket
	buckets := map[holder]*bucket{}
	for _, rule := range Normalize(rules) {
		verbs, names := quoted(rule.Verbs, "*"), quoted(rule.ResourceNames, ".:")
		key := holder{strings.Join(verbs, ","), strings.Join(names, ",")}
		b, known := buckets[key]
		if !known {
			b = &bucket{verbs: verbs, names: names}
			buckets[key] = b
			order = append(order, b)
		}
		b.items = append(b.items, resources(rule)...)
	}
	var lines []string
	for _, b := range order {
		for _, verbs := range chunks(b.verbs) {
			for _, items := range chunks(b.items) {
				for _, names := range chunks(b.names) {
					lines = append(lines, strings.TrimRight(verbs+" "+items+" "+names, " "))
				}
			}
		}
	}
	return lines
}

func resources(rule rbacv1.PolicyRule) []string {
	var out []string
	for _, group := range quoted(rule.APIGroups, ".*") {
		for _, resource := range rule.Resources {
			name, subresource, has := strings.Cut(resource, "/")
			item := quote(name, "*")
			if group != `""` {
				item += "." + group
			}
			if has {
				item += "/" + quote(subresource, "*")
			}
			out = append(out, item)
		}
	}
	for _, path := range rule.NonResourceURLs {
		if strings.HasPrefix(path, "/") {
			out = append(out, quote(path, "/.*"))
		} else {
			// No path, and not to be taken for a resource.
			out = append(out, separators.Replace(strconv.QuoteToASCII(path)))
		}
	}
	return out
}

func quoted(items []string, also string) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = quote(item, also)
	}
	return out
}

// quote leaves alone what consists of letters, digits, - and _, and of what is
// allowed besides.
func quote(item, also string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || strings.ContainsRune(also, r)
	}
	if item != "" && !strings.ContainsFunc(item, func(r rune) bool { return r == utf8.RuneError || !plain(r) }) {
		return item
	}
	return separators.Replace(strconv.QuoteToASCII(item))
}

// separators of a line never stand inside an item.
var separators = strings.NewReplacer(" ", `\x20`, ",", `\x2c`)

// chunks joins items with commas into lists of bounded length; nothing is one
// empty list.
func chunks(items []string) []string {
	out := []string{""}
	for _, item := range items {
		last := &out[len(out)-1]
		switch {
		case *last == "":
			*last = item
		case len(*last)+1+len(item) > maxList:
			out = append(out, item)
		default:
			*last += "," + item
		}
	}
	return out
}

// LinesFit tells whether all lines are short enough to be shown.
func LinesFit(lines []string) bool {
	return !slices.ContainsFunc(lines, func(line string) bool { return len(line) > MaxLine })
}
