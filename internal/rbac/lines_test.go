package rbac

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	rbacv1 "k8s.io/api/rbac/v1"
)

func TestLines(t *testing.T) {
	many := func(n int, text string) []string {
		var out []string
		for i := range n {
			out = append(out, text+strings.Repeat("x", i))
		}
		return out
	}
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
			[]string{"create pods", "get,list pods,pods/log,deployments.apps/scale,deployments.extensions/scale"},
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
		"paths": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/api/*", "api", "*"}}},
			[]string{`get url:*,/api/*,/metrics,url:api`},
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
			got := Lines(test.rules)
			if !slices.Equal(got, test.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			if parsed, err := ParseLines(got); err != nil || !maps.Equal(permissions(parsed), permissions(test.rules)) {
				t.Errorf("read back: %v, %v", parsed, err)
			}
			if !LinesFit(got) {
				t.Error("a line is too long")
			}
		})
	}
	if LinesFit(Lines([]rbacv1.PolicyRule{{Verbs: many(2, strings.Repeat("v", MaxLine)), APIGroups: []string{""}, Resources: []string{"pods"}}})) {
		t.Error("an item that is longer than a line fits")
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
		if rules, err := ParseLines([]string{line}); err == nil {
			t.Errorf("%q is read as %v", line, rules)
		}
	}
}

// Lines are read back as what they were made from, whatever is in it, so that
// rules that differ do not look the same; and nothing in a line may move the
// cursor or start another line.
func FuzzLines(f *testing.F) {
	f.Add("get", "", "pods", "a", "/metrics", "list")
	f.Add("get", "apps", "pods", "", "*", "list")
	f.Add("get,list", "", "pods x", "", "pods", "")
	f.Add("get", `""`, `"a"`, "\xff", `"/`, "url:a")
	f.Add("get", "b/c", "a/b/c", ",", "url:*", ".")
	f.Fuzz(func(t *testing.T, verb, group, resource, name, url, other string) {
		rules := []rbacv1.PolicyRule{
			{Verbs: []string{verb, other}, APIGroups: []string{group, other}, Resources: []string{resource, other}},
			{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{other + "/" + resource}, ResourceNames: []string{name, other}},
			{Verbs: []string{verb}, NonResourceURLs: []string{url, other}},
		}
		lines := Lines(rules)
		parsed, err := ParseLines(lines)
		if err != nil || !maps.Equal(permissions(parsed), permissions(rules)) {
			t.Errorf("%q is read back as %q, %v", lines, parsed, err)
		}
		for _, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
				t.Errorf("%q is not printable ASCII", line)
			}
		}
	})
}
