package rbac

import (
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
		"wildcards": {
			[]rbacv1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
			[]string{"* *.*"},
		},
		"paths": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/api/*", "api"}}},
			[]string{`get /api/*,/metrics,"api"`},
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
			if !LinesFit(got) {
				t.Error("a line is too long")
			}
		})
	}
	if LinesFit(Lines([]rbacv1.PolicyRule{{Verbs: many(2, strings.Repeat("v", MaxLine)), APIGroups: []string{""}, Resources: []string{"pods"}}})) {
		t.Error("an item that is longer than a line fits")
	}
}

// Rules that differ must not look the same, whatever is in them, and nothing in
// a line may move the cursor or start another line.
func FuzzLines(f *testing.F) {
	f.Add("get", "", "pods", "a", "get", "", "pods", "b")
	f.Add("get", "apps", "pods", "", "get", "", "pods.apps", "")
	f.Add("get", "", "pods x", "", "get", "", "pods", "x")
	f.Add("get", "", "a,b", "", "get", "", "a", "")
	f.Add("get", "", `"a"`, "", "get", "", "a", "")
	f.Add("get", `""`, "a", "", "get", "", "a", "")
	f.Add("get", "", "a/b", "", "get", "b", "a", "")
	f.Fuzz(func(t *testing.T, verb1, group1, resource1, name1, verb2, group2, resource2, name2 string) {
		rule := func(verb, group, resource, name string) []rbacv1.PolicyRule {
			r := rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}}
			if name != "" {
				r.ResourceNames = []string{name}
			}
			return []rbacv1.PolicyRule{r}
		}
		a, b := rule(verb1, group1, resource1, name1), rule(verb2, group2, resource2, name2)
		one, two := Lines(a), Lines(b)
		if slices.Equal(one, two) && Hash(a) != Hash(b) {
			t.Errorf("%q and %q look the same: %q", a, b, one)
		}
		for _, line := range one {
			if fields := strings.Fields(line); len(fields) < 2 || len(fields) > 3 {
				t.Errorf("%q is not verbs, resources and names", line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }) {
				t.Errorf("%q is not printable ASCII", line)
			}
		}
	})
}
