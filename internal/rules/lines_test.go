package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/component-helpers/auth/rbac/validation"
)

// roomy is a limit that no test reaches unless it means to.
var roomy = Limit{Lines: 1 << 20, Bytes: 1 << 30}

func TestShow(t *testing.T) {
	for name, test := range map[string]struct {
		rules []rbacv1.PolicyRule
		want  []string
	}{
		"nothing": {nil, nil},
		"core, groups and subresources": {
			[]rbacv1.PolicyRule{
				{Verbs: []string{"list", "get"}, APIGroups: []string{""}, Resources: []string{"pods/log", "pods"}},
				{Verbs: []string{"get", "list"}, APIGroups: []string{"apps", "extensions"}, Resources: []string{"deployments/scale"}},
				{Verbs: []string{"create"}, APIGroups: []string{""}, Resources: []string{"pods"}},
			},
			[]string{"create,get,list pods", "get,list pods/log,deployments.apps/scale,deployments.extensions/scale"},
		},
		"names keep apart": {
			[]rbacv1.PolicyRule{
				{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"b", "a:c.d"}},
				{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}},
			},
			[]string{"get pods", "get secrets a:c.d,b"},
		},
		"what allows nothing": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}}, {APIGroups: []string{""}, Resources: []string{"pods"}}, {Verbs: []string{"get"}, Resources: []string{"pods"}}},
			nil,
		},
		"wildcards": {
			[]rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
			[]string{"* *.*"},
		},
		"what a wildcard allows anyway": {
			[]rbacv1.PolicyRule{
				rule(words("get", "*"), words("*"), "example.com"),
				rule(words("get", "list"), words("widgets", "widgets/status"), "example.com"),
				rule(words("get"), words("widgets"), "other.com"),
				rule(words("get", "update"), words("widgets/scale"), "other.com"),
				rule(words("update"), words("*/scale"), "*"),
			},
			[]string{"update *.*/scale", "* *.example.com", "get widgets.other.com,widgets.other.com/scale"},
		},
		"all of a kind and some by name": {
			[]rbacv1.PolicyRule{
				rule(words("get"), words("secrets"), ""),
				rule(words("get", "update"), words("secrets"), "", "a"),
				rule(words("get"), words("secrets"), "", "b"),
				rule(words("*"), words("pods"), "", "*"), // a name * is no wildcard
				rule(words("get"), words("pods"), "", "c"),
			},
			[]string{`* pods "*"`, "get pods c", "get secrets", "update secrets a"},
		},
		"pods/* is nothing but itself": {
			[]rbacv1.PolicyRule{rule(words("get"), words("pods/*", "pods/log"), "")},
			[]string{"get pods/*,pods/log"},
		},
		"paths": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/api/*", "/api/v1", "api", "/metrics/*"}}},
			[]string{`get /api/*,/metrics,/metrics/*,url:api`},
		},
		"all paths": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/api/*", "*", "**"}}},
			[]string{`get url:*`},
		},
		"what looks like something else is quoted": {
			[]rbacv1.PolicyRule{{
				Verbs: []string{"get pods"}, APIGroups: []string{""}, Resources: []string{"pods.apps", "a,b", "/metrics"},
				ResourceNames: []string{"", "x\u202e", "ünlü", "a b"},
			}},
			[]string{`"get\x20pods" ""/metrics,"a\x2cb","pods.apps" "","a\x20b","x\u202e","\u00fcnl\u00fc"`},
		},
		"long lists go on": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{strings.Repeat("a", 200), strings.Repeat("b", 100)}, ResourceNames: []string{strings.Repeat("c", 200), strings.Repeat("d", 100)}}},
			[]string{
				"get " + strings.Repeat("a", 200) + " " + strings.Repeat("c", 200), "get " + strings.Repeat("a", 200) + " " + strings.Repeat("d", 100),
				"get " + strings.Repeat("b", 100) + " " + strings.Repeat("c", 200), "get " + strings.Repeat("b", 100) + " " + strings.Repeat("d", 100),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Show(test.rules, roomy)
			if !slices.Equal(got.Lines, test.want) || got.Left != 0 {
				t.Errorf("got:\n%s\nwant:\n%s\n%d left", strings.Join(got.Lines, "\n"), strings.Join(test.want, "\n"), got.Left)
			}
			checkSame(t, got.Lines, test.rules)
		})
	}
}

// checkSame: lines are read back as rules that allow exactly the same, as the
// API server compares rules.
func checkSame(t *testing.T, lines []string, rules []rbacv1.PolicyRule) {
	t.Helper()
	parsed, whole, err := ParseLines(lines)
	if err != nil || !whole {
		t.Fatalf("%q is read back as %v, %v, %v", lines, parsed, whole, err)
	}
	if ok, missing := validation.Covers(parsed, apart(rules)); !ok {
		t.Errorf("%q does not allow %v of %v", lines, missing, rules)
	}
	checkNoMore(t, lines, parsed, rules)
}

func checkNoMore(t *testing.T, lines []string, parsed, rules []rbacv1.PolicyRule) {
	t.Helper()
	if ok, more := validation.Covers(apart(rules), parsed); !ok {
		t.Errorf("%q allows %v beyond %v", lines, more, rules)
	}
}

// apart puts paths into rules of their own, as the API server requires. Names mean
// nothing for paths.
func apart(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, rule := range rules {
		out = append(out, rbacv1.PolicyRule{Verbs: rule.Verbs, NonResourceURLs: rule.NonResourceURLs})
		rule.NonResourceURLs = nil
		out = append(out, rule)
	}
	return out
}

// What does not fit is left out, the most dangerous last of all, and the last line
// says how much that is.
func TestShowWhatFits(t *testing.T) {
	var rules []rbacv1.PolicyRule
	for i := range 2000 {
		rules = append(rules, rule(read, words("widgets"), fmt.Sprintf("a%d.example.com", i)))
	}
	rules = append(rules, rule(words("create"), words("workflows"), "argoproj.io"), rule(words("get"), words("secrets"), ""), rule(words("impersonate"), words("users"), ""))
	shown := Show(rules, Limit{Lines: 3, Bytes: 1 << 20})
	if want := []string{"impersonate users", "create workflows.argoproj.io", "get secrets"}; !slices.Equal(shown.Lines, want) {
		t.Errorf("got %q, want %q", shown.Lines, want)
	}
	if shown.Left != 6000 || shown.All != 6003 {
		t.Errorf("%d of %d are left", shown.Left, shown.All)
	}
	stored := shown.Stored("see the role")
	if want := "... and 6,000 of 6,003 permissions more; see the role"; stored[3] != want || !IsLeftOut(stored[3]) {
		t.Errorf("got %q, want %q", stored[3], want)
	}
	parsed, whole, err := ParseLines(stored)
	if err != nil || whole || len(parsed) != 3 {
		t.Errorf("read back: %v, whole: %v, %v", parsed, whole, err)
	}
	for _, limit := range []Limit{{Lines: 512, Bytes: 100}, {Lines: 512, Bytes: 1000}, {Lines: 20, Bytes: 1 << 20}} {
		shown := Show(rules, limit)
		bytes := 0
		for _, line := range shown.Lines {
			bytes += len(line)
		}
		if len(shown.Lines) == 0 || len(shown.Lines) > limit.Lines || bytes > limit.Bytes || shown.Lines[0] != "impersonate users" {
			t.Errorf("%v: %d lines of %d bytes, %q", limit, len(shown.Lines), bytes, shown.Lines[:1])
		}
	}
	if whole := Show(rules, roomy); whole.Left != 0 || whole.All != 6003 || IsLeftOut(whole.Stored("")[len(whole.Lines)-1]) {
		t.Errorf("of everything %d of %d are left", whole.Left, whole.All)
	}
}

// An item that is longer than a line is left out, so nothing is too long to be
// granted.
func TestShowWhatIsTooLong(t *testing.T) {
	rules := []rbacv1.PolicyRule{
		rule(words("get", strings.Repeat("v", MaxLine)), words("pods"), ""),
		rule(words("get"), words("secrets"), "", strings.Repeat("n", 2000)),
	}
	shown := Show(rules, roomy)
	if want := []string{"get pods"}; !slices.Equal(shown.Lines, want) || shown.Left != 2 || shown.All != 3 {
		t.Errorf("got %q and %d of %d left", shown.Lines, shown.Left, shown.All)
	}
}

// A thousand million permissions are shown without making them all.
func TestShowOfMuch(t *testing.T) {
	var items []string
	for i := range 30_000 {
		items = append(items, fmt.Sprint("x", i))
	}
	rules := []rbacv1.PolicyRule{
		{Verbs: items, APIGroups: items, Resources: items, ResourceNames: items},
		rule(words("get"), words("secrets"), ""),
	}
	shown := Show(rules, Limit{Lines: 500, Bytes: 60_000})
	if len(shown.Lines) < 50 || shown.Lines[0] != "get secrets" || shown.Left != 1<<53 {
		t.Errorf("%d lines, the first %q, %d left", len(shown.Lines), shown.Lines[0], shown.Left)
	}
}

// permissions are all that rules allow, one by one.
func permissions(rules []rbacv1.PolicyRule) map[string]bool {
	out := map[string]bool{}
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{"\xff any"}
		}
		for _, verb := range rule.Verbs {
			for _, url := range rule.NonResourceURLs {
				out[fmt.Sprintf("%q %q", verb, url)] = true
			}
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, name := range names {
						out[fmt.Sprintf("%q %q %q %q", verb, group, resource, name)] = true
					}
				}
			}
		}
	}
	return out
}

func TestParseLinesRefuses(t *testing.T) {
	for _, line := range []string{"", "get", "get pods a b", `get "pods`, `get pods "a`, `"get pods`, `get pods."apps`, `get "a"b`, `get url:"a`} {
		if rules, _, err := ParseLines([]string{line}); err == nil {
			t.Errorf("%q is read as %v", line, rules)
		}
	}
}

// Lines are read back as the rules that they were made from, whatever these contain,
// so that rules that differ do not look the same. Nothing in a line may move the
// cursor or start another line.
func FuzzLines(f *testing.F) {
	f.Add("get", "", "pods", "a", "/metrics", "list")
	f.Add("get", "apps", "pods", "", "*", "list")
	f.Add("get,list", "", "pods x", "", "pods", "")
	f.Add("get", `""`, `"a"`, "\xff", `"/`, "url:a")
	f.Add("get", "b/c", "a/b/c", ",", "url:*", ".")
	f.Add("*", "*", "*", "*", "/*", "*/b")
	f.Add("...", "*", "... and", "/a**", "/a*", "*")
	f.Fuzz(func(t *testing.T, verb, group, resource, name, url, other string) {
		rules := []rbacv1.PolicyRule{
			{Verbs: []string{verb, other}, APIGroups: []string{group, other}, Resources: []string{resource, other}},
			{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{other + "/" + resource}, ResourceNames: []string{name, other}},
			{Verbs: []string{verb}, NonResourceURLs: []string{url, other}},
		}
		shown := Show(rules, roomy)
		lines := shown.Lines
		if shown.Left > 0 { // longer than a line
			return
		}
		checkSame(t, lines, rules)
		if shown.All > int64(len(permissions(rules))) {
			t.Errorf("%d permissions are shown as %d", len(permissions(rules)), shown.All)
		}
		if part := Show(rules, Limit{Lines: 1, Bytes: 1 << 20}); len(lines) > 1 {
			stored := part.Stored("x")
			if parsed, whole, err := ParseLines(stored); whole || err != nil || part.Left <= 0 || part.Left >= shown.All {
				t.Errorf("%q is read back as %v, whole: %v, %v; %d of %d left", stored, parsed, whole, err, part.Left, shown.All)
			} else {
				checkNoMore(t, stored, parsed, rules)
			}
		}
		for _, line := range lines {
			if IsLeftOut(line) {
				t.Errorf("%q of %v says that something is left out", line, rules)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
				t.Errorf("%q is not printable ASCII", line)
			}
		}
	})
}

// However rules repeat, overlap and cover each other, the lines allow exactly what
// the rules allow, and any part of the lines no more.
func FuzzShow(f *testing.F) {
	f.Add([]byte("abcdefghijklmnopqrst"), uint8(2))
	f.Add([]byte{1, 1, 1, 0, 0, 2, 2, 2, 1, 1, 3, 3, 3, 3, 3}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, lines uint8) {
		rules := rulesFrom(data)
		shown := Show(rules, roomy)
		if shown.Left != 0 {
			t.Fatalf("%d of %d are left", shown.Left, shown.All)
		}
		checkSame(t, shown.Lines, rules)
		part := Show(rules, Limit{Lines: int(lines), Bytes: 1 << 20})
		if len(part.Lines) > int(lines) || (part.Left == 0) != (int(lines) >= len(shown.Lines)) {
			t.Errorf("%d of %d lines, %d permissions left", len(part.Lines), len(shown.Lines), part.Left)
		}
		parsed, whole, err := ParseLines(part.Stored("x"))
		if err != nil || whole != (part.Left == 0) {
			t.Errorf("%q: whole: %v, %v", part.Lines, whole, err)
		}
		checkNoMore(t, part.Lines, parsed, rules)
	})
}
