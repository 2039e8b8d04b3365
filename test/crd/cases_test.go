package crd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The parts that several kinds share, each tested wherever it occurs.

// unseen are characters that are not seen, break the line, or turn the
// direction of what follows.
var unseen = map[string]string{
	"NUL": "\x00", "tab": "\t", "newline": "\n", "carriage return": "\r", "escape": "\x1b", "delete": "\x7f", "next line": "\u0085",
	"soft hyphen": "\u00ad", "Arabic letter mark": "\u061c", "zero width space": "\u200b", "zero width non-joiner": "\u200c",
	"zero width joiner": "\u200d", "left-to-right mark": "\u200e", "right-to-left mark": "\u200f", "line separator": "\u2028",
	"paragraph separator": "\u2029", "left-to-right embedding": "\u202a", "right-to-left embedding": "\u202b", "pop direction": "\u202c",
	"left-to-right override": "\u202d", "right-to-left override": "\u202e", "word joiner": "\u2060", "left-to-right isolate": "\u2066",
	"right-to-left isolate": "\u2067", "first strong isolate": "\u2068", "pop isolate": "\u2069", "byte order mark": "\ufeff",
	"tag": "\U000e0041",
}

// languages are texts that people write.
var languages = []string{
	"x", "Zoë Müller, 日本語 😀 <a href=x>'\"\\$(id)", "INC-42\n", "déploiement\u00a0: urgent",
	"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", // Persian, with a non-joiner
	"\u0915\u094d\u200d\u0937",                         // Hindi, with a joiner
	"👩\u200d🚒 👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 ❤\ufe0f 1\ufe0f\u20e3 👍🏽", "葛\U000e0100城",
}

// deceits are texts that are read other than they are written.
var deceits = []string{
	"\n\nx", "x\n\n", "INC-4\u200d2", "ad\u200cmin", "а\u200dб", "INC-4\ufe0f2", "😀\ufe0f\ufe0e", "\ufe0f", "a\u3164", "\u2800x", "a\u034fb", "🏴\U000e0067\U000e007f",
}

// visible are cases of one line of text that shows what it holds. The API
// server says of each what the plugin does.
func visible(path string, size int) []testCase {
	out := cases(
		ok(path, strings.Repeat("x", size)),
		ok(path, strings.Repeat("日", size)), // characters, not bytes
		no(path, strings.Repeat("x", size+1), "Too long"),
		no(path, strings.Repeat("日", size+1), "Too long"),
	)
	add := func(name, value string) {
		want := accepted
		if fault := text.Fault(value); fault != "" {
			want = field(path) + ": …" + fault
		}
		out = append(out, testCase{path + " with " + name, set(path, value), want})
	}
	for _, value := range slices.Concat(languages, deceits) {
		add(show(value), value)
	}
	for name, character := range unseen {
		add(name+" at the end", "x"+character)
		add(name+" inside", "a"+character+"b")
		if character != "\n" { // which alone is blank
			add(name+" alone", character)
		}
	}
	return out
}

// named are cases of the name of somebody.
func named(path string, size int) []testCase {
	out := cases(
		ok(path, "x"),
		ok(path, "Zoë Müller, 日本語 😀 <a href=x>'\"\\$(id)"),
		ok(path, strings.Repeat("x", size)),
		ok(path, strings.Repeat("日", size)),
		no(path, strings.Repeat("x", size+1), "Too long"),
		no(path, strings.Repeat("日", size+1), "Too long"),
	)
	for name, character := range unseen {
		for where, value := range map[string]string{"at the end": "x" + character, "inside": "a" + character + "b", "alone": character} {
			out = append(out, testCase{path + " with " + name + " " + where, set(path, value), field(path) + ": …must be a name of visible characters"})
		}
	}
	return out
}

// bounded are cases of the length of a string.
func bounded(path string, least, most int) []testCase {
	out := cases(
		ok(path, strings.Repeat("x", most)),
		no(path, strings.Repeat("x", most+1), "Too long"),
	)
	if least > 0 {
		return append(out, ok(path, strings.Repeat("x", least)), no(path, strings.Repeat("x", least-1), "should be at least"))
	}
	return append(out, ok(path, ""))
}

// lengths are cases of the number of items.
func lengths[T any](path string, least, most int, item func(i int) T) []testCase {
	items := func(n int) []T {
		out := make([]T, n)
		for i := range out {
			out[i] = item(i)
		}
		return out
	}
	name := func(n int) string { return fmt.Sprintf("%s with %d items", path, n) }
	out := []testCase{
		{name(most), set(path, items(most)), accepted},
		{name(most + 1), set(path, items(most+1)), field(path) + ": …Too many"},
	}
	if least > 0 {
		return append(out, testCase{name(least - 1), set(path, items(least-1)), field(path) + ": …should have at least"})
	}
	return append(out, testCase{name(0), set(path, items(0)), accepted})
}

// properties are cases of the number of entries of a map.
func properties(path string, most int, value any) []testCase {
	entries := func(n int) object {
		out := object{}
		for i := range n {
			out[fmt.Sprintf("key-%d", i)] = value
		}
		return out
	}
	return []testCase{
		{fmt.Sprintf("%s with %d entries", path, most), set(path, entries(most)), accepted},
		{fmt.Sprintf("%s with %d entries", path, most+1), set(path, entries(most+1)), field(path) + ": …Too many"},
	}
}

// choice are cases of a field with few values, spelt exactly.
func choice(path string, values ...string) []testCase {
	out := cases(no(path, "", "Unsupported value"), no(path, "Other", "Unsupported value"))
	for _, v := range values {
		out = append(out, ok(path, v), no(path, strings.ToLower(v), "Unsupported value"), no(path, v+" ", "Unsupported value"))
	}
	return out
}

// number are cases of a whole number in a range.
func number(path string, least, most int64) []testCase {
	return cases(
		ok(path, least), ok(path, most),
		no(path, least-1, "should be greater than or equal to"),
		no(path, most+1, "should be less than or equal to"),
		no(path, 1.5, "must be of type int"),
		no(path, "1", "must be of type int"),
		no(path, true, "must be of type int"),
	)
}

func numbered(prefix string) func(int) string {
	return func(i int) string { return fmt.Sprintf("%s%d", prefix, i) }
}

// durations are cases of a duration between 1s and 720h, and what is said of
// one outside.
func durations(path, tooShort, tooLong string) []testCase {
	var out []testCase
	for _, v := range []string{
		"90s", "30m", "1h30m", "1h30m0s", "1s", "01s", "0h0m1s", "0m90s", "1h1s", "9999s", "9999m", "720h", "720h0m0s", "719h59m60s", "0000h0001m0000s",
	} {
		out = append(out, ok(path, v))
	}
	for _, v := range []string{
		"1d", "1.5h", "1,5h", ".5h", "-1h", "+1h", " 1h", "1h ", "1 h", "1h 30m", "1h\n", "\n1h", "1h\x00", "1ms", "1us", "1µs", "1μs", "1ns", "1h1ms",
		"1H", "1M", "1h30", "hm", "30m1h", "1h1h", "1w", "PT1H", "1h30m0.5s", "99999s", "10000h", "2592000s", "1e3s", "0x1h", "1_0h", "inf",
		"forever", "١h", "１h", "1ℎ", "1һ", "1\u200bh", "0h0h", "1h;2h", "30m00m",
	} {
		out = append(out, no(path, v, "must be written like 90s, 30m or 1h30m"))
	}
	for _, v := range []string{"", "1", "0", "h", "∞"} {
		out = append(out, no(path, v, "must be written like 90s, 30m or 1h30m"))
	}
	for _, v := range []string{"0s", "0h", "00s", "0h0m0s"} {
		out = append(out, testCase{path + " = " + show(v), set(path, v), tooShort})
	}
	for _, v := range []string{"721h", "720h1s", "720h0m1s", "719h59m61s", "9999h", "9999h9999m9999s"} {
		out = append(out, testCase{path + " = " + show(v), set(path, v), tooLong})
	}
	return append(out, cases(
		no(path, "1111111111111111h", "Too long"),
		no(path, strings.Repeat("9", 1<<20)+"s", "Too long"),
		no(path, 90, "must be of type string"),
		no(path, 1.5, "must be of type string"),
		no(path, true, "must be of type string"),
		no(path, []string{"1h"}, "must be of type string"),
	)...)
}

// reviews are cases of the time within which a review is due.
func reviews(path string) []testCase {
	const bounds = "reviewWithin must be between 1s and 2160h"
	return cases(
		ok(path, "1s"), ok(path, "24h"), ok(path, "2160h"), no(path, "0s", bounds), no(path, "2161h", bounds),
		no(path, "1d", "must be written like 90s, 30m or 1h30m"), no(path, "", "must be written like 90s, 30m or 1h30m"), no(path, "1111111111111111h", "Too long"),
	)
}

// moments are cases of every field that holds a time: those that people write
// and those of the broker alone.
func moments(path, rule string) []testCase {
	var out []testCase
	for _, v := range []string{
		"2026-10-01T08:00:00Z", "2026-10-01T08:00:00+00:00", "2026-10-01T08:00:00-00:00", "2026-10-01T08:00:00+02:00", "2026-10-01T08:00:00-11:30",
		"2026-10-01T08:00:00+14:00", "2028-02-29T23:59:59Z", "2000-01-01T00:00:00Z", "2999-12-31T23:59:59Z",
	} {
		out = append(out, ok(path, v))
	}
	for _, v := range []string{
		"", "now", "2026", "2026-10-01", "08:00:00", "2026-10-01T08:00Z", "2026-10-01 08:00:00Z", "2026-10-01T08:00:00", "20261001T080000Z",
		"2026-10-01T8:00:00Z", "2026-10-01T24:00:00Z", "2026-10-01T08:60:00Z", "2026-06-30T23:59:60Z", "2016-12-31T23:59:61Z",
		"2026-02-30T08:00:00Z", "2027-02-29T08:00:00Z", "2026-13-01T08:00:00Z", "2026-00-01T08:00:00Z", "2026-01-00T08:00:00Z", "2026-1-1T08:00:00Z",
		"2026-10-01T08:00:00+1400", "2026-10-01T08:00:00+14", "2026-10-01T08:00:00Z+01:00", "2026-10-01T08:00:00 +01:00", "2026-10-01T08:00:00 UTC",
		"10000-01-01T00:00:00Z", "+2026-10-01T08:00:00Z", "-2026-10-01T08:00:00Z", "226-10-01T08:00:00Z", "2026-W40-4T08:00:00Z",
		" 2026-10-01T08:00:00Z", "2026-10-01T08:00:00Z ", "2026-10-01T08:00:00Z\n", "٢٠٢٦-10-01T08:00:00Z", "2026‐10‐01T08:00:00Z",
		// The format date-time lets these through, and Go does not decode them.
		"2026-10-01t08:00:00Z", "2026-10-01T08:00:00z", "2026-10-01t08:00:00z", "2026-10-01T08:00:00ZT", "2026-10-01T08:00:00Zt and so on",
		"2026-10-01T08:00:00x5Z", "2026-10-01T08:00:00 123Z", "2026-10-01T08:00:00+99:99", "2026-10-01T08:00:00+25:00", "2026-10-01T08:00:00+01:61",
		// These Go decodes, and then writes what it does not decode any more.
		"0000-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
		// Out of range, here or where the clock shows UTC.
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2000-01-01T00:00:00+00:01",
		"3000-01-01T00:00:00Z", "2999-12-31T23:59:59-00:01", "9999-12-31T23:59:59Z",
	} {
		out = append(out, testCase{path + " = " + show(v), set(path, v), field(rule)})
	}
	return append(out, cases(
		no(path, 1790000000, "must be of type"),
		no(path, true, "must be of type"),
		// The schema alone lets this through: the type is not looked at where
		// there is a format.
		testCase{path + " = a list", set(path, []string{"2026-10-01T08:00:00Z"}), field(rule)},
	)...)
}

// subjects are cases of one RBAC subject.
func subjects(path string) []testCase {
	to := func(fields ...any) edit {
		return func(o object) {
			subject := object{}
			for i := 0; i < len(fields); i += 2 {
				subject[fields[i].(string)] = fields[i+1]
			}
			set(path, subject)(o)
		}
	}
	const rbac = "rbac.authorization.k8s.io"
	const wrongNamespace = ": …namespace is required for a ServiceAccount and not allowed for "
	const wrongGroup = ": …apiGroup must be rbac.authorization.k8s.io for a User or Group, and empty for "
	at := field(path)
	out := []testCase{
		{"a user", to("kind", "User", "name", "carol"), accepted},
		{"a user with the group of RBAC", to("kind", "User", "name", "carol", "apiGroup", rbac), accepted},
		{"a group", to("kind", "Group", "name", "dev"), accepted},
		{"a group with the group of RBAC", to("kind", "Group", "name", "dev", "apiGroup", rbac), accepted},
		{"a ServiceAccount", to("kind", "ServiceAccount", "name", "robot", "namespace", "ops"), accepted},
		{"a ServiceAccount with the core group", to("kind", "ServiceAccount", "name", "robot", "namespace", "ops", "apiGroup", ""), accepted},
		{"a ServiceAccount with the longest names", to("kind", "ServiceAccount", "name", strings.Repeat("a.b-", 63)+"z", "namespace", strings.Repeat("n", 63)), accepted},
		{"a user as some directories name them", to("kind", "User", "name", "oidc:CN=Zoë Müller,O=x@example.com#1/2"), accepted},

		{"a user with a namespace", to("kind", "User", "name", "carol", "namespace", "ops"), at + wrongNamespace},
		{"a group with a namespace", to("kind", "Group", "name", "dev", "namespace", "ops"), at + wrongNamespace},
		{"a ServiceAccount without a namespace", to("kind", "ServiceAccount", "name", "robot"), at + wrongNamespace},
		{"a user with an empty namespace", to("kind", "User", "name", "carol", "namespace", ""), at},
		{"a ServiceAccount with an empty namespace", to("kind", "ServiceAccount", "name", "robot", "namespace", ""), at},
		{"a user with another apiGroup", to("kind", "User", "name", "carol", "apiGroup", "apps"), at + wrongGroup},
		{"a group with an empty apiGroup", to("kind", "Group", "name", "dev", "apiGroup", ""), at + wrongGroup},
		{"a ServiceAccount with the group of RBAC", to("kind", "ServiceAccount", "name", "robot", "namespace", "ops", "apiGroup", rbac), at + wrongGroup},
		{"an apiGroup that is too long", to("kind", "User", "name", "carol", "apiGroup", strings.Repeat("x", 65)), at + ".apiGroup: …Too long"},
		{"a namespace that is too long", to("kind", "ServiceAccount", "name", "robot", "namespace", strings.Repeat("n", 64)), at + ".namespace: …Too long"},
		{"an empty name", to("kind", "User", "name", ""), at + ".name: …should be at least 1 chars long"},
		{"no name", to("kind", "User"), at + ".name: …Required value"},
		{"no kind", to("name", "carol"), at + ".kind: …Required value"},
		{"a text", set(path, "carol"), at + ": …must be of type object"},
	}
	for _, name := range []string{"a/b", "..", ".", "Robot", "a_b", "a b", "a:b", "-a", "a-", strings.Repeat("a", 254)} {
		out = append(out, testCase{
			"a ServiceAccount named " + show(name), to("kind", "ServiceAccount", "name", name, "namespace", "ops"),
			at + ": …the name of a ServiceAccount must be a DNS subdomain",
		})
	}
	for _, namespace := range []string{"Ops", "a/b", "a.b", "-a", "a b", "a\nb", "a:b", "*"} {
		out = append(out, testCase{
			"namespace " + show(namespace), to("kind", "ServiceAccount", "name", "robot", "namespace", namespace),
			at + ".namespace: …must be the name of a namespace, such as payments",
		})
	}
	for i := range out {
		out[i].name = path + ": " + out[i].name
	}
	plain := to("kind", "User", "name", "carol")
	for _, tc := range cases(choice(path+".kind", "User", "Group"), named(path+".name", 2048)) {
		out = append(out, testCase{tc.name, both(plain, tc.edit), tc.want})
	}
	return out
}

// exactSubjects are cases of a subject who gets access, which no pattern names.
func exactSubjects(path string) []testCase {
	return append(subjects(path), testCase{
		path + ": a pattern", set(path, object{"kind": "SPIFFE", "name": "spiffe://example.org/ns/*/sa/deployer"}),
		field(path) + ".kind: …Unsupported value",
	})
}

// policySubjects are cases of somebody whom a policy names, maybe by a pattern. The
// table of patterns is internal/identity's.
func policySubjects(t *testing.T, path string) []testCase {
	t.Helper()
	workload := func(name string, more ...any) edit {
		subject := object{"kind": "SPIFFE", "name": name}
		for i := 0; i < len(more); i += 2 {
			subject[more[i].(string)] = more[i+1]
		}
		return set(path, subject)
	}
	const (
		prefix   = "spiffe://example.org/"
		deployer = prefix + "ns/*/sa/deployer"
		wrong    = ": …the name of a SPIFFE subject must be a SPIFFE ID with a path"
		aPattern = ": …a User is named exactly: for all workloads that match a pattern, write kind: SPIFFE"
	)
	at, user := field(path), func(name string) edit { return set(path, object{"kind": "User", "name": name}) }
	out := []testCase{
		{"a pattern with an empty apiGroup", workload(deployer, "apiGroup", ""), accepted},
		{"a pattern with the group of RBAC", workload(deployer, "apiGroup", "rbac.authorization.k8s.io"), at + ": …apiGroup must be"},
		{"a pattern with a namespace", workload(deployer, "namespace", "ops"), at + ": …namespace is required for a ServiceAccount"},
		{"the longest pattern", workload(prefix + strings.Repeat("a", 512-len(prefix))), accepted},
		{"a pattern that is too long", workload(prefix + strings.Repeat("a", 513-len(prefix))), at + wrong},
		{"an exact workload as a user", user(prefix + "ns/payments/sa/deployer"), accepted},
		{"a pattern as a user", user(deployer), at + aPattern},
		{"a star in another name", user("oidc:*"), accepted},
		{"a pattern as a group", set(path, object{"kind": "Group", "name": deployer}), accepted},
	}
	patterns, refused := kit.Patterns(t)
	for _, p := range patterns {
		out = append(out, testCase{"pattern " + p.Pattern, workload(p.Pattern), accepted})
	}
	for _, name := range append(refused, prefix+"x\n", prefix+"*\n") {
		out = append(out, testCase{"no pattern " + show(name), workload(name), at})
	}
	for i := range out {
		out[i].name = path + ": " + out[i].name
	}
	return append(subjects(path), out...)
}

// roleRefs are cases of a RoleRef.
func roleRefs(path string) []testCase {
	name := path + ".name"
	out := cases(
		missing(path+".kind"), missing(name),
		choice(path+".kind", "Role", "ClusterRole"),
		no(name, "", "should be at least 1 chars long"),
		no(name, strings.Repeat("x", 254), "Too long"),
		no(name, ".", "name must not be . or .."),
		no(name, "..", "name must not be . or .."),
		no(path, "edit", "must be of type object"),
	)
	for _, v := range []string{"view", "system:aggregate-to-view", "my.role_2", "Übung", "...", strings.Repeat("x", 253)} {
		out = append(out, ok(name, v))
	}
	for _, v := range []string{"*", "pod*", "a/b", "../x", "a%2fb", "a b", "a\u00a0b", " ", "a\nb", "a\x00b", "a\u202eb", "a\u200bb", "a\ue000b"} {
		out = append(out, no(name, v, "name must be that of one role, such as edit"))
	}
	return out
}

// policyRules are cases of one rule of a role.
func policyRules(path string) []testCase {
	out := cases(
		missing(path+".verbs"),
		lengths(path+".verbs", 1, 64, numbered("verb-")),
		no(path, "get pods", "must be of type object"),
		testCase{path + " with verbs only", set(path, object{"verbs": []string{"get"}}), accepted},
	)
	for name, most := range map[string]int{"apiGroups": 64, "resources": 256, "resourceNames": 256, "nonResourceURLs": 64} {
		out = append(out, lengths(path+"."+name, 0, most, numbered("x"))...)
	}
	for _, name := range []string{"verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"} {
		out = append(out,
			testCase{path + "." + name + " with the longest item", set(path+"."+name, []string{strings.Repeat("x", 256)}), accepted},
			testCase{path + "." + name + " with an item that is too long", set(path+"."+name, []string{strings.Repeat("x", 257)}), field(path) + "." + name + "[0]: …Too long"},
			testCase{path + "." + name + " with a number", set(path+"."+name, []any{1}), field(path) + "." + name + "[0]: …must be of type string"},
			testCase{path + "." + name + " as a text", set(path+"."+name, "x"), field(path) + "." + name + ": …must be of type array"},
		)
	}
	return out
}

// selectors are cases of a NamespaceSelector.
func selectors(path string) []testCase {
	labels, expressions := path+".matchLabels", path+".matchExpressions"
	first := expressions + ".0"
	const values = "values are required for In and NotIn, and not allowed for Exists and DoesNotExist"
	expression := func(fields object) edit { return set(expressions, []any{fields}) }
	longest := strings.Repeat("a", 63)
	prefix := strings.Repeat("a.b-", 63) + "z" // 253 characters, the longest
	out := []testCase{
		{path + " selects all", set(path, object{}), accepted},
		{path + " with empty parts", set(path, object{"matchLabels": object{}, "matchExpressions": []any{}}), accepted},
		{"matchLabels", set(labels, object{"a": "", "A_b.c-1": "A_b.c-1", "example.com/team": longest, prefix + "/" + longest: "x"}), accepted},
		{"In", expression(object{"key": "env", "operator": "In", "values": []string{"prod", "", longest}}), accepted},
		{"NotIn", expression(object{"key": "env", "operator": "NotIn", "values": []string{"prod"}}), accepted},
		{"Exists", expression(object{"key": prefix + "/" + longest, "operator": "Exists"}), accepted},
		{"DoesNotExist with empty values", expression(object{"key": "env", "operator": "DoesNotExist", "values": []string{}}), accepted},

		{"In without values", expression(object{"key": "env", "operator": "In"}), field(first) + ": …" + values},
		{"In with empty values", expression(object{"key": "env", "operator": "In", "values": []string{}}), field(first) + ": …" + values},
		{"NotIn without values", expression(object{"key": "env", "operator": "NotIn"}), field(first) + ": …" + values},
		{"Exists with values", expression(object{"key": "env", "operator": "Exists", "values": []string{"prod"}}), field(first) + ": …" + values},
		{"DoesNotExist with values", expression(object{"key": "env", "operator": "DoesNotExist", "values": []string{"prod"}}), field(first) + ": …" + values},
		{"operator Gt", expression(object{"key": "env", "operator": "Gt", "values": []string{"1"}}), field(first) + ".operator: …Unsupported value"},
		{"operator in", expression(object{"key": "env", "operator": "in", "values": []string{"1"}}), field(first) + ".operator: …Unsupported value"},
		{"no operator", expression(object{"key": "env"}), field(first) + ".operator: …Required value"},
		{"no key", expression(object{"operator": "Exists"}), field(first) + ".key: …Required value"},
		{"empty key", expression(object{"key": "", "operator": "Exists"}), field(first) + ".key: …should be at least 1 chars long"},
		{"a key as a number", expression(object{"key": 1, "operator": "Exists"}), field(first) + ".key: …must be of type string"},
		{"matchLabels as a list", set(labels, []string{"a"}), field(labels) + ": …must be of type object"},
		{"matchLabels with a number", set(labels, object{"a": 1}), field(labels) + ".a: …must be of type string"},
	}
	for _, key := range badKeys(prefix, longest) {
		out = append(out,
			testCase{"key " + show(key), expression(object{"key": key, "operator": "Exists"}), field(first) + ".key: "},
			testCase{"matchLabels key " + show(key), set(labels, object{key: "x"}), field(labels) + ": …keys must be the keys of labels"},
		)
	}
	for _, value := range []string{"a b", "-a", "a-", "a/b", "ä", "a\n", "*"} {
		out = append(out,
			testCase{"value " + show(value), expression(object{"key": "env", "operator": "In", "values": []string{value}}), field(first) + ".values[0]: …must be the value of a label"},
			testCase{"matchLabels value " + show(value), set(labels, object{"a": value}), field(labels) + "[a]: …must be the value of a label"},
		)
	}
	out = append(out,
		testCase{"value that is too long", expression(object{"key": "env", "operator": "In", "values": []string{longest + "a"}}), field(first) + ".values[0]: …Too long"},
		testCase{"matchLabels value that is too long", set(labels, object{"a": longest + "a"}), field(labels) + ".a: …Too long"},
	)
	for i := range out {
		out[i].name = path + ": " + out[i].name
	}
	many := func(o object) {
		set(expressions, []any{object{"key": "env", "operator": "In", "values": []string{"x"}}})(o)
	}
	for _, tc := range cases(
		properties(labels, 16, "x"),
		lengths(expressions, 0, 16, func(int) object { return object{"key": "env", "operator": "Exists"} }),
		lengths(first+".values", 0, 32, numbered("v"))[:2],
		no(path, "env=prod", "must be of type object"),
	) {
		out = append(out, testCase{tc.name, both(many, tc.edit), tc.want})
	}
	return out
}

func badKeys(prefix, longest string) []string {
	return []string{
		"/a", "a/", "a/b/c", "-a", "a-", ".a", "a b", "ä", "a\n", "*", "A.com/a", "a..b/c", "a.-b/c", ".a/b", "a./b", "a-/b", "a_b/c",
		longest + "a", "a.com/" + longest + "a", "a" + prefix + "/x", strings.Repeat("a", 260) + "/x", strings.Repeat("a", 318),
	}
}

// labelKeys are cases of the key of a label.
func labelKeys(path string) []testCase {
	var out []testCase
	for _, v := range []string{"team", "Team_1.x", "example.com/team", "a-b.c/d", strings.Repeat("k", 317)} {
		out = append(out, ok(path, v))
	}
	for _, v := range []string{"a b", "/team", "example.com/", "a/b/c", "-team", "team-", "Example.com/team", "team\n", "tëam"} {
		out = append(out, no(path, v, "key must be the key of a label"))
	}
	return append(out, no(path, "", "should be at least 1 chars long"), no(path, strings.Repeat("k", 318), "Too long"))
}

// namespaceNames are cases of a set of names of namespaces.
func namespaceNames(path string, most int) []testCase {
	out := cases(
		lengths(path, 1, most, numbered("ns-")),
		testCase{path + " twice the same", set(path, []string{"a", "b", "a"}), field(path) + "[2]: …Duplicate value"},
		testCase{path + " with the longest name", set(path, []string{strings.Repeat("n", 63)}), accepted},
		testCase{path + " with a name that is too long", set(path, []string{strings.Repeat("n", 64)}), field(path) + "[0]: …Too long"},
		testCase{path + " with a number", set(path, []any{1}), field(path) + "[0]: …must be of type string"},
		testCase{path + " with 0", set(path, []string{"0"}), accepted},
		testCase{path + " with an empty name", set(path, []string{""}), field(path) + "[0]: …should be at least 1 chars long"},
		no(path, "payments", "must be of type array"),
	)
	for _, v := range []string{"Payments", "a.b", "a_b", "a/b", "-a", "a-", "a b", "a\n", "ä", "*", "a\u200b"} {
		out = append(out, testCase{path + " with " + show(v), set(path, []string{v}), field(path) + "[0]: …must be the name of a namespace, such as payments"})
	}
	return out
}

// users are cases of a UserInfo.
func users(path string) []testCase {
	groups, extra := path+".groups", path+".extra"
	return cases(
		missing(path+".username"),
		no(path+".username", "", "should be at least 1 chars long"),
		named(path+".username", 2048),
		bounded(path+".uid", 0, 1024),
		lengths(groups, 0, 1024, numbered("g")),
		testCase{"longest group", set(groups, []string{strings.Repeat("g", 2048)}), accepted},
		testCase{"group that is too long", set(groups, []string{strings.Repeat("g", 2049)}), field(groups) + "[0]: …Too long"},
		ok(path+".omittedGroups", 5),
		no(path+".omittedGroups", -1, "should be greater than or equal to 0"),
		no(path+".omittedGroups", 1<<31, "should be less than or equal to 2147483647"),
		lengths(path+".omittedExtra", 0, 64, numbered("k")),
		testCase{"longest left-out key", set(path+".omittedExtra", []string{strings.Repeat("k", 256)}), accepted},
		testCase{"left-out key that is too long", set(path+".omittedExtra", []string{strings.Repeat("k", 257)}), field(path+".omittedExtra") + "[0]: …Too long"},
		testCase{"left-out key twice", set(path+".omittedExtra", []string{"k", "k"}), field(path+".omittedExtra") + "[1]: …Duplicate value"},
		properties(extra, 64, []string{"x"}),
		testCase{"longest key of extra", set(extra, object{strings.Repeat("k", 256): []string{}}), accepted},
		testCase{"key of extra that is too long", set(extra, object{strings.Repeat("k", 257): []string{}}), field(extra) + ": …keys must not be longer than 256 characters"},
		lengths(extra+".k", 0, 64, numbered("v")),
		testCase{"longest value of extra", set(extra, object{"k": []string{strings.Repeat("v", 1024)}}), accepted},
		testCase{"value of extra that is too long", set(extra, object{"k": []string{strings.Repeat("v", 1025)}}), field(extra) + ".k[0]: …Too long"},
		testCase{"extra with a text", set(extra, object{"k": "v"}), field(extra) + ".k: …must be of type array"},
	)
}

// decisions are cases of one decision.
func decisions(path string) []testCase {
	groups := path + ".groups"
	return cases(
		missing(path+".username"),
		missing(path+".verdict"),
		no(path+".username", "", "should be at least 1 chars long"),
		named(path+".username", 2048),
		choice(path+".verdict", "Approve", "Deny", "Revoke", "Release", "Review"),
		ok(path+".comment", ""),
		visible(path+".comment", 1024),
		durations(path+".maxDuration", field(path)+".maxDuration: …maxDuration must be between 1s and 720h", field(path)+".maxDuration: …maxDuration must be between 1s and 720h"),
		moments(path+".notAfter", path+".notAfter"), zonedMoments(path+".notAfter"),
		bounded(path+".requestUID", 0, 64),
		bounded(path+".rulesHash", 0, 128),
		ok(path+".omittedGroups", 5),
		no(path+".omittedGroups", -1, "should be greater than or equal to 0"),
		no(path+".omittedGroups", 1<<31, "should be less than or equal to 2147483647"),
		lengths(groups, 0, 640, numbered("g")),
		testCase{path + ": longest group", set(groups, []string{strings.Repeat("g", 2048)}), accepted},
		testCase{path + ": group that is too long", set(groups, []string{strings.Repeat("g", 2049)}), field(groups) + "[0]: …Too long"},
	)
}

// tasks are cases of a TaskRef.
func tasks(path string) []testCase {
	version, kind, name := path+".apiVersion", path+".kind", path+".name"
	out := cases(
		missing(version), missing(kind), missing(name),
		no(version, "", "apiVersion must be written like v1 or batch/v1"), no(kind, "", "kind must be one word, such as Job"),
		no(version, strings.Repeat("a", 316)+"/v1", "Too long"), no(kind, strings.Repeat("K", 64), "Too long"),
		ok(kind, strings.Repeat("K", 63)),
		no(name, "", "should be at least 1 chars long"), no(name, strings.Repeat("n", 254), "Too long"), ok(name, strings.Repeat("n", 253)),
		no(name, ".", "name must not be . or .."), no(name, "..", "name must not be . or .."),
		bounded(path+".completeWhen", 1, 2048),
		no(path, "job/migrate", "must be of type object"),
	)
	for _, v := range []string{"v1", "batch/v1", "example.com/v1alpha1", "a-b.c/v2beta3"} {
		out = append(out, ok(version, v))
	}
	for _, v := range []string{"batch", "batch/1", "/v1", "batch/", "a/b/v1", "Batch/v1", "batch/V1", "batch/v1 ", "batch/v", "-a/v1", "a../v1", "batch/v1\n"} {
		out = append(out, no(version, v, "apiVersion must be written like v1 or batch/v1"))
	}
	for _, v := range []string{"jobs/status", "1Job", "Job ", "J-b", "Jöb", "Job\n"} {
		out = append(out, no(kind, v, "kind must be one word, such as Job"))
	}
	for _, v := range []string{"migrate", "A:b", "...", "a.b"} {
		out = append(out, ok(name, v))
	}
	for _, v := range []string{"a/b", "../x", "a%2fb", "a b", "a\n", "a\u202eb", "a\u200bb"} {
		out = append(out, no(name, v, "name must be that of one object, such as migrate"))
	}
	return out
}

// references are cases of an ObjectRef.
func references(path string) []testCase {
	return cases(
		missing(path+".name"), missing(path+".uid"),
		bounded(path+".name", 1, 253),
		bounded(path+".uid", 1, 64),
	)
}

// policyRefs are cases of a PolicyRef.
func policyRefs(path string) []testCase {
	return cases(
		references(path), missing(path+".generation"),
		number(path+".generation", 1, 1<<53-1),
	)
}

// conditions are cases of the list of conditions.
func conditions(path string, most int) []testCase {
	first := path + ".0"
	condition := func(i int) object {
		return object{"type": fmt.Sprintf("T%d", i), "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-10-01T08:00:00Z"}
	}
	return cases(
		missing(first+".type"), missing(first+".status"), missing(first+".reason"), missing(first+".message"), missing(first+".lastTransitionTime"),
		choice(first+".status", "True", "False", "Unknown"),
		ok(first+".type", strings.Repeat("T", 63)), no(first+".type", strings.Repeat("T", 317), "Too long"), no(first+".type", "a b", "should match"),
		no(first+".reason", "", "should be at least 1 chars long"), no(first+".reason", "a b", "should match"), no(first+".reason", strings.Repeat("R", 1025), "Too long"),
		ok(first+".reason", strings.Repeat("R", 1024)),
		bounded(first+".message", 0, 32768),
		ok(first+".observedGeneration", 0), no(first+".observedGeneration", -1, "should be greater than or equal to"),
		lengths(path, 0, most, condition),
		testCase{path + " with one type twice", set(path, []any{condition(1), condition(2), condition(1)}), field(path) + "[2]: …Duplicate value"},
		// A list of conditions is checked as a whole, so the rule names the list.
		moments(first+".lastTransitionTime", path),
		ok(first+".lastTransitionTime", "2026-10-01T08:00:00.123456Z"),
	)
}

// someKey is an X25519 public key.
const someKey = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="

func credentialKeys(path string) []testCase {
	const none = "credentialKey must be an X25519 public key: 32 bytes in base64"
	return cases(
		ok(path, someKey), ok(path, strings.Repeat("A", 43)+"="), // the broker refuses points to which nothing can be sealed
		testCase{path + ": left out", unset(path), accepted},
		no(path, "", none),
		no(path, strings.Repeat("A", 42)+"B=", none), no(path, strings.Repeat("A", 44), none), no(path, someKey[:43], none),
		no(path, someKey[:20]+"\n"+someKey[21:], none), no(path, strings.ReplaceAll(someKey, "+", "-"), none), no(path, " "+someKey[1:], none),
		no(path, someKey+"=", "Too long"),
		no(path, []string{someKey}, "must be of type string"),
	)
}

func credentials(path string) []testCase {
	return cases(
		missing(path+".grantUID"), bounded(path+".grantUID", 1, 64),
		bounded(path+".sealed", 0, 16384),
		missing(path+".issuedTime"), moments(path+".issuedTime", path+".issuedTime"),
		missing(path+".expirationTime"), moments(path+".expirationTime", path+".expirationTime"),
	)
}

// zonedMoments are cases of a moment that people write, with its zone.
func zonedMoments(path string) []testCase {
	return cases(
		// Go would drop the fraction, and the offset is not one of a place on Earth.
		no(path, "2027-02-29T08:00:00Z", "must be a time with its zone"), no(path, "2100-02-29T08:00:00Z", "must be a time with its zone"),
		ok(path, "2400-02-29T08:00:00Z"), ok(path, "2024-02-29T08:00:00Z"), no(path, "2026-04-31T08:00:00Z", "must be a time with its zone"),
		no(path, "1999-12-31T23:59:59Z", "must be a time with its zone"), no(path, "2000-01-01T00:00:00+00:01", "must be in the years 2000 to 2999"),
		no(path, "2026-10-01T08:00:00.5Z", "must be a time with its zone, such as 2026-05-04T22:00:00Z"),
		no(path, "2026-10-01T08:00:00,5Z", "must be a time with its zone, such as 2026-05-04T22:00:00Z"),
		no(path, "2026-10-01T08:00:00.000000001Z", "Too long"),
		no(path, "2026-10-01T08:00:00+15:00", "must be a time with its zone, such as 2026-05-04T22:00:00Z"),
		no(path, "2026-10-01T08:00:00-24:00", "must be a time with its zone, such as 2026-05-04T22:00:00Z"),
	)
}
