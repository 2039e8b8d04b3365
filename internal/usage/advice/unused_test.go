package advice

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/usage"
)

func TestUnused(t *testing.T) {
	calls := []*usage.Event{call("get pods pay/web"), call("list pods pay"), call("get /metrics"), call("patch deployments.apps/scale pay/web")}
	for name, test := range map[string]struct {
		present     []rbacv1.PolicyRule
		never       []string
		unused, all int
		wild        int
	}{
		"exact": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"pods", "secrets"}}},
			[]string{"watch pods", "get,list,watch secrets"},
			4, 6, 0,
		},
		"names": {
			[]rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"web", "db"}}},
			[]string{"get pods db"},
			1, 2, 0,
		},
		"wildcards": {
			[]rbacv1.PolicyRule{
				{Verbs: []string{"*"}, APIGroups: []string{"apps"}, Resources: []string{"*/scale", "*/status"}},
				{Verbs: []string{"get", "post"}, NonResourceURLs: []string{"/m*"}},
			},
			[]string{`"*" "*"/status.apps`, "post /m*"},
			2, 4, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := Advise(slices.Values(calls), Options{Present: test.present}).Unused
			if u.Unused != test.unused || u.All != test.all || len(u.Wild) != test.wild {
				t.Errorf("%d of %d, %d wild", u.Unused, u.All, len(u.Wild))
			}
			if got := len(rules.Show(u.Rules, rules.Limit{Lines: 100, Bytes: 10000}).Lines); got != len(test.never) {
				t.Errorf("never used: %+v, want %q", u.Rules, test.never)
			}
		})
	}
	huge := rbacv1.PolicyRule{Verbs: many("v"), APIGroups: many("g"), Resources: many("r")}
	if u := Advise(slices.Values(calls), Options{Present: []rbacv1.PolicyRule{huge}}).Unused; !u.TooMany || u.Unused != 1 {
		t.Errorf("%+v", u)
	}
}

func many(prefix string) []string {
	var out []string
	for i := range 1000 {
		out = append(out, prefix+strings.Repeat("x", i))
	}
	return out
}

// A log of too many rights costs bounded memory, and the advice says so. What everybody
// may do is counted by its pattern.
func TestTooManyRights(t *testing.T) {
	var calls []*usage.Event
	for _, name := range many("n") {
		calls = append(calls, call("get pods pay/"+name), call("get /apis/"+name))
	}
	a := Advise(slices.Values(calls), Options{MaxRights: 10})
	if len(a.Everybody) != 1 || a.Everybody[0].Calls != 1000 || a.Everybody[0].Path != "/apis/*" {
		t.Errorf("%+v", a.Everybody)
	}
	if len(a.Rights) != 10 || a.Left != 990 || !strings.Contains(strings.Join(a.Unseen, "\n"), "Calls were left out (990)") {
		t.Errorf("%d rights, %d left out: %q", len(a.Rights), a.Left, a.Unseen)
	}
}
