package rules

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

func TestCovers(t *testing.T) {
	numbered := func(n int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = fmt.Sprint("x", i)
		}
		return out
	}
	many := rbacv1.PolicyRule{Verbs: numbered(64), APIGroups: numbered(64), Resources: numbered(256), ResourceNames: numbered(256)}
	url := func(verb string, urls ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: words(verb), NonResourceURLs: urls}
	}
	for name, test := range map[string]struct {
		ceiling, asked, uncovered []rbacv1.PolicyRule
	}{
		"nothing asked":      {nil, nil, nil},
		"nothing allowed":    {nil, []rbacv1.PolicyRule{rule(words("get"), words("pods"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("pods"), "")}},
		"the same":           {viewRole, viewRole, nil},
		"less":               {editRole, viewRole, nil},
		"one of the verbs":   {[]rbacv1.PolicyRule{rule(read, words("pods"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("pods"), "")}, nil},
		"one verb more":      {[]rbacv1.PolicyRule{rule(read, words("pods"), "")}, []rbacv1.PolicyRule{rule(words("get", "delete"), words("pods"), "")}, []rbacv1.PolicyRule{rule(words("delete"), words("pods"), "")}},
		"another group":      {[]rbacv1.PolicyRule{rule(read, words("jobs"), "batch")}, []rbacv1.PolicyRule{rule(words("get"), words("jobs"), "other")}, []rbacv1.PolicyRule{rule(words("get"), words("jobs"), "other")}},
		"subresource":        {[]rbacv1.PolicyRule{rule(words("create"), words("pods"), "")}, []rbacv1.PolicyRule{rule(words("create"), words("pods/exec"), "")}, []rbacv1.PolicyRule{rule(words("create"), words("pods/exec"), "")}},
		"names within all":   {[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a")}, nil},
		"names within names": {[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a", "b")}, []rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "b")}, nil},
		"all within names":   {[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a")}, []rbacv1.PolicyRule{rule(words("get"), words("secrets"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("secrets"), "")}},
		"another name":       {[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a")}, []rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a", "b")}, []rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "b")}},
		"a name of * is no wildcard": {
			[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "*")},
			[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a")},
			[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), "", "a")},
		},
		"several rules add up": {
			[]rbacv1.PolicyRule{rule(words("get"), words("pods"), ""), rule(words("list"), words("pods"), ""), rule(words("get", "list"), words("services"), "")},
			[]rbacv1.PolicyRule{rule(words("get", "list"), words("pods", "services"), "")},
			nil,
		},
		"verbs of one and resources of another do not": {
			[]rbacv1.PolicyRule{rule(words("get"), words("secrets"), ""), rule(words("delete"), words("pods"), "")},
			[]rbacv1.PolicyRule{rule(words("delete"), words("secrets"), "")},
			[]rbacv1.PolicyRule{rule(words("delete"), words("secrets"), "")},
		},
		"groups of one and resources of another do not": {
			[]rbacv1.PolicyRule{rule(words("get"), words("jobs"), "batch"), rule(words("get"), words("pods"), "")},
			[]rbacv1.PolicyRule{{Verbs: words("get"), APIGroups: words("", "batch"), Resources: words("pods", "jobs")}},
			[]rbacv1.PolicyRule{rule(words("get"), words("jobs"), ""), rule(words("get"), words("pods"), "batch")},
		},
		"wildcards cover":              {clusterAdminRole, adminRole, nil},
		"wildcards are not covered":    {adminRole, []rbacv1.PolicyRule{rule(words("get"), words("*"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("*"), "")}},
		"a verb of * is not covered":   {adminRole, []rbacv1.PolicyRule{rule(words("*"), words("pods"), "")}, []rbacv1.PolicyRule{rule(words("*"), words("pods"), "")}},
		"*/scale covers a scale":       {[]rbacv1.PolicyRule{rule(words("get"), words("*/scale"), "apps")}, []rbacv1.PolicyRule{rule(words("get"), words("deployments/scale"), "apps")}, nil},
		"pods/* covers no subresource": {[]rbacv1.PolicyRule{rule(words("get"), words("pods/*"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("pods/log"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("pods/log"), "")}},
		"paths":                        {[]rbacv1.PolicyRule{url("get", "/healthz", "/api/*")}, []rbacv1.PolicyRule{url("get", "/api/v1", "/healthz")}, nil},
		"a path beside":                {[]rbacv1.PolicyRule{url("get", "/healthz")}, []rbacv1.PolicyRule{url("get", "/healthz/etcd")}, []rbacv1.PolicyRule{url("get", "/healthz/etcd")}},
		"paths are no resources":       {[]rbacv1.PolicyRule{url("get", "*")}, []rbacv1.PolicyRule{rule(words("get"), words("pods"), "")}, []rbacv1.PolicyRule{rule(words("get"), words("pods"), "")}},
		"the same, however much":       {[]rbacv1.PolicyRule{many}, []rbacv1.PolicyRule{many}, nil},
		"too much to compare":          {clusterAdminRole, []rbacv1.PolicyRule{many}, Normalize([]rbacv1.PolicyRule{many})},
		"too much for an empty ceiling": {
			nil, []rbacv1.PolicyRule{many}, Normalize([]rbacv1.PolicyRule{many}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			ok, uncovered := Covers(test.ceiling, test.asked)
			if ok != (len(test.uncovered) == 0) {
				t.Errorf("covered: %v", ok)
			}
			if diff := cmp.Diff(Normalize(test.uncovered), Normalize(uncovered)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzCovers: rules cover themselves, and more rules cover no less. What is not
// covered is named, and is all that is missing. What is covered is no more dangerous
// than the ceiling.
func FuzzCovers(f *testing.F) {
	f.Add([]byte("abcdefghij"), []byte("abcdefghik"), []byte("klmno"))
	f.Add([]byte{1, 1, 1, 0, 0, 2, 2, 2, 1, 1}, []byte{3, 3, 3, 3, 3}, []byte{})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		ceiling, asked, more := rulesFrom(a), rulesFrom(b), rulesFrom(c)
		if ok, uncovered := Covers(ceiling, ceiling); !ok {
			t.Errorf("%v does not cover its own %v", ceiling, uncovered)
		}
		ok, uncovered := Covers(ceiling, asked)
		if ok != (len(uncovered) == 0) {
			t.Errorf("covered: %v, but for %v", ok, uncovered)
		}
		if wider, _ := Covers(slices.Concat(more, ceiling), asked); ok && !wider {
			t.Errorf("%v covers %v, but not together with %v", ceiling, asked, more)
		}
		if all, _ := Covers(slices.Concat(ceiling, uncovered), asked); !all {
			t.Errorf("%v and %v do not cover %v", ceiling, uncovered, asked)
		}
		for _, kind := range kinds(Risks(asked)) {
			// A ceiling with all verbs on pods covers impersonate-on pods, which is shown
			// as a risk but gives nothing alone. A ceiling with a name in all groups is
			// shown as unknown, but covers that name in a group that is known.
			held := kinds(Risks(ceiling))
			if ok && kind != Impersonate && !slices.Contains(held, kind) && !slices.Contains(held, WriteUnknownKinds) {
				t.Errorf("%v has the risk %s, and %v, which covers it, has not", asked, kind, ceiling)
			}
		}
	})
}
