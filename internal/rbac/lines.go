package rbac

import (
	"errors"
	"fmt"
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
// RESOURCE[.GROUP][/SUBRESOURCE] or a path (url: before a non-resource URL that
// is none). What has the same verbs and names stands together. Every list is cut
// to a few hundred characters and goes on in a line of its own.
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
		items := resources(rule)
		if len(verbs) == 0 || len(items) == 0 {
			continue // it allows nothing
		}
		b, known := buckets[key]
		if !known {
			b = &bucket{verbs: verbs, names: names}
			buckets[key] = b
			order = append(order, b)
		}
		b.items = append(b.items, items...)
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
			out = append(out, notAPath+quote(path, "*"))
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

// notAPath is before a non-resource URL that could be taken for a resource.
const notAPath = "url:"

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

// ParseLines are the rules that lines were made from: they allow the same, but
// need not be as many.
func ParseLines(lines []string) ([]rbacv1.PolicyRule, error) {
	var rules []rbacv1.PolicyRule
	for _, line := range lines {
		parsed, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%q is not a rule: %w", line, err)
		}
		rules = append(rules, parsed...)
	}
	return Normalize(rules), nil
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
	groups := map[string]*rbacv1.PolicyRule{}
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
		if groups[group] == nil {
			groups[group] = &rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{group}, ResourceNames: names}
		}
		groups[group].Resources = append(groups[group].Resources, resource)
	}
	var rules []rbacv1.PolicyRule
	for _, rule := range groups {
		rules = append(rules, *rule)
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
func token(text, ends string) (word, rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", "", err
		}
		word, err = strconv.Unquote(quoted)
		return word, text[len(quoted):], err
	}
	end := strings.IndexAny(text, ends)
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:], nil
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

// LinesFit tells whether all lines are short enough to be shown.
func LinesFit(lines []string) bool {
	return !slices.ContainsFunc(lines, func(line string) bool { return len(line) > MaxLine })
}
