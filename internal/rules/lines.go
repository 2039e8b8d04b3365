package rules

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/text"
)

// MaxLine bounds a line in characters.
const MaxLine = 1024

// maxList bounds each of the lists in a line, so that people can read it.
const maxList = 240

// Limit bounds how much of rules is shown.
type Limit struct{ Lines, Bytes int }

// Shown is what rules allow, as far as it fits into a limit.
type Shown struct {
	Lines []string
	// Left is how many permissions are in none of the lines, and All how many there
	// are. A permission is a verb on a resource, or on an object of that name.
	Left, All int64
}

// Show says what rules allow as people read it, and as kubectl access takes it
// for --rules: VERBS RESOURCES [NAMES], each a list with commas, a resource as
// RESOURCE[.GROUP][/SUBRESOURCE] or a path (url: before a non-resource URL that
// is none). All verbs on a resource stand together, and all resources with the
// same verbs and names; what a wildcard allows anyway is not repeated. Every
// list is cut to a few hundred characters and goes on in a line of its own.
//
// A line means one thing only: an item with anything in it but the letters that
// names are made of is quoted as Go quotes it, spaces and commas escaped.
//
// Show leaves out what does not fit into the limit, or into a line. The most
// dangerous then comes first, in the order of the powers.
func Show(rules []rbacv1.PolicyRule, limit Limit) Shown {
	allowed := merged(Normalize(rules))
	shown := fill(allowed.buckets(unranked), limit)
	if shown.Left > 0 {
		shown = fill(allowed.buckets(rank), limit)
	}
	return shown
}

// unranked are all permissions as long as all of them fit.
func unranked(rbacv1.PolicyRule) int { return 0 }

// rank is how dangerous a permission is: the first power that it gives.
func rank(rule rbacv1.PolicyRule) int {
	if i := slices.IndexFunc(powers, func(p power) bool { return p.givenBy(rule) }); i >= 0 {
		return i
	}
	return len(powers)
}

// fill writes the lines of buckets into a limit. It never makes more of them
// than fit: a rule of a thousand groups and resources would be a million items.
func fill(buckets []bucket, limit Limit) Shown {
	all, shown := 0.0, 0.0
	for _, b := range buckets {
		all += b.permissions
	}
	var lines []string
	for line, permissions := range linesOf(buckets) {
		if len(line) > MaxLine {
			continue
		}
		if len(lines) == limit.Lines || len(line) > limit.Bytes {
			break
		}
		lines = append(lines, line)
		limit.Bytes -= len(line)
		shown += permissions
	}
	return Shown{Lines: lines, Left: count(all - shown), All: count(all)}
}

// linesOf yields the lines of buckets, with how many permissions each is.
func linesOf(buckets []bucket) iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, b := range buckets {
			for verbs, ofVerbs := range chunks(slices.Values(b.verbs)) {
				for items, ofItems := range chunks(b.items) {
					for names, ofNames := range chunks(slices.Values(b.names)) {
						line := strings.TrimRight(verbs+" "+items+" "+names, " ")
						if !yield(line, float64(ofVerbs)*float64(ofItems)*float64(max(1, ofNames))) {
							return
						}
					}
				}
			}
		}
	}
}

func count(permissions float64) int64 { return int64(min(permissions, 1<<53)) }

// chunks joins items with commas into lists of bounded length, and tells how
// many are in each; nothing is one empty list.
func chunks(items iter.Seq[string]) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		list, n := "", 0
		for item := range items {
			if n > 0 && len(list)+1+len(item) > maxList {
				if !yield(list, n) {
					return
				}
				list, n = "", 0
			}
			if n > 0 {
				list += ","
			}
			list, n = list+item, n+1
		}
		yield(list, n)
	}
}

func quoted(items []string, also string) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = quote(item, also)
	}
	return out
}

// quote quotes an item, unless it consists of letters, digits, -, _ and the
// characters in also.
func quote(item, also string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || strings.ContainsRune(also, r)
	}
	if item != "" && !strings.ContainsFunc(item, func(r rune) bool { return r == utf8.RuneError || !plain(r) }) {
		return item
	}
	return separators.Replace(text.Quote(item))
}

// notAPath is before a non-resource URL that could be taken for a resource.
const notAPath = "url:"

// separators of a line never stand inside an item.
var separators = strings.NewReplacer(" ", `\x20`, ",", `\x2c`)

// leftOut begins a line that says how much is left out. No line of a rule begins
// like that: a verb with a dot in it is quoted.
const leftOut = "... "

// Stored are the lines in the form in which they are kept, with a last one that
// says how much is left out, if anything is, and where to read it.
func (s Shown) Stored(where string) []string {
	if s.Left == 0 {
		return s.Lines
	}
	return append(slices.Clip(s.Lines), fmt.Sprintf("%sand %s of %s permissions more; %s", leftOut, thousands(s.Left), thousands(s.All), where))
}

// IsLeftOut tells whether a line is no rule but says how much is left out.
func IsLeftOut(line string) bool { return strings.HasPrefix(line, leftOut) }

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// ParseLines turns lines into rules that allow the same as those that they were made
// from, but need not be as many. whole is false when the last line says that
// something was left out.
func ParseLines(lines []string) (rules []rbacv1.PolicyRule, whole bool, err error) {
	whole = true
	if last := len(lines) - 1; last >= 0 && IsLeftOut(lines[last]) {
		whole, lines = false, lines[:last]
	}
	for _, line := range lines {
		parsed, err := parseLine(line)
		if err != nil {
			return nil, false, fmt.Errorf("%q is not a rule: %w", line, err)
		}
		rules = append(rules, parsed...)
	}
	return Normalize(rules), whole, nil
}

func parseLine(line string) ([]rbacv1.PolicyRule, error) {
	fields := strings.Split(line, " ")
	if len(fields) < 2 || len(fields) > 3 {
		return nil, errors.New("it consists of verbs, resources and, if any, names")
	}
	verbs, err := unquoted(fields[0])
	if err != nil {
		return nil, err
	}
	var names []string
	if len(fields) == 3 {
		if names, err = unquoted(fields[2]); err != nil {
			return nil, err
		}
	}
	paths := rbacv1.PolicyRule{Verbs: verbs}
	resources := map[string][]string{} // by their group
	for _, item := range strings.Split(fields[1], ",") {
		if url, isURL := strings.CutPrefix(item, notAPath); isURL || strings.HasPrefix(item, "/") || strings.HasPrefix(item, `"/`) {
			path, err := unquote(url)
			if err != nil {
				return nil, err
			}
			paths.NonResourceURLs = append(paths.NonResourceURLs, path)
			continue
		}
		group, resource, err := parseItem(item)
		if err != nil {
			return nil, err
		}
		resources[group] = append(resources[group], resource)
	}
	var rules []rbacv1.PolicyRule
	for group, inGroup := range resources {
		rules = append(rules, rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, Resources: inGroup, ResourceNames: names})
	}
	if paths.NonResourceURLs != nil {
		rules = append(rules, paths)
	}
	return rules, nil
}

// parseItem reads RESOURCE[.GROUP][/SUBRESOURCE], each quoted if need be.
func parseItem(item string) (group, resource string, err error) {
	resource, rest, err := token(item, "./")
	if err != nil {
		return "", "", err
	}
	if after, ok := strings.CutPrefix(rest, "."); ok {
		if group, rest, err = token(after, "/"); err != nil {
			return "", "", err
		}
	}
	if after, ok := strings.CutPrefix(rest, "/"); ok {
		subresource, err := unquote(after)
		return group, resource + "/" + subresource, err
	}
	if rest != "" {
		return "", "", fmt.Errorf("%q follows a resource", rest)
	}
	return group, resource, nil
}

// token reads a word up to one of the characters that end it.
func token(item, ends string) (word, rest string, err error) {
	if strings.HasPrefix(item, `"`) {
		quoted, err := strconv.QuotedPrefix(item)
		if err != nil {
			return "", "", err
		}
		word, err = strconv.Unquote(quoted)
		return word, item[len(quoted):], err
	}
	end := strings.IndexAny(item, ends)
	if end < 0 {
		end = len(item)
	}
	return item[:end], item[end:], nil
}

func unquoted(list string) ([]string, error) {
	words := strings.Split(list, ",")
	for i := range words {
		var err error
		if words[i], err = unquote(words[i]); err != nil {
			return nil, err
		}
	}
	return words, nil
}

func unquote(word string) (string, error) {
	if strings.HasPrefix(word, `"`) {
		return strconv.Unquote(word)
	}
	return word, nil
}
