package rules

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

func TestForbidden(t *testing.T) {
	for name, test := range map[string]struct {
		rule rbacv1.PolicyRule
		want map[string]string // kind to reason
	}{
		"plain":           {rule(words("get", "create", "delete"), words("pods", "pods/exec"), ""), nil},
		"wildcard verb":   {rule(words("*"), words("pods"), ""), map[string]string{Wildcard: "* on pods has a wildcard in verbs"}},
		"wildcard group":  {rule(words("get"), words("pods"), "*"), map[string]string{Wildcard: "get on pods of * has a wildcard in apiGroups"}},
		"wildcard":        {rule(words("get"), words("*"), "apps"), map[string]string{Wildcard: "get on * of apps has a wildcard in resources"}},
		"any scale":       {rule(words("update"), words("*/scale"), "apps"), map[string]string{Wildcard: "update on */scale of apps has a wildcard in resources"}},
		"all of pods":     {rule(words("get"), words("pods/*"), ""), map[string]string{Wildcard: "get on pods/* has a wildcard in resources"}},
		"wildcard path":   {rbacv1.PolicyRule{Verbs: words("get"), NonResourceURLs: words("/api/*")}, map[string]string{Wildcard: "get on /api/* has a wildcard in nonResourceURLs"}},
		"a path":          {rbacv1.PolicyRule{Verbs: words("get"), NonResourceURLs: words("/metrics")}, nil},
		"a name of *":     {rule(words("get"), words("pods"), "", "*"), nil},
		"create requests": {rule(words("create"), words("accessrequests"), "jit.accessbroker.dev"), map[string]string{ControlBroker: "with create on accessrequests of jit.accessbroker.dev the holder could ask for, decide or rule over access through the broker itself"}},
		"a name is no excuse": {
			rule(words("create"), words("serviceaccounts/token"), "", "builder"),
			map[string]string{MintTokens: "with create on serviceaccounts/token named builder the holder could make tokens of ServiceAccounts and act as them from anywhere"},
		},
		"words that lie": {
			rule(words("impersonate", "\u202eteg\n"), words("users"), ""),
			map[string]string{Impersonate: `with impersonate, "\u202eteg\n" on users the holder could act as other users, groups or ServiceAccounts, with all of their permissions`},
		},
		"two at once": {
			rule(words("*"), words("nodes/proxy"), ""),
			map[string]string{
				Wildcard:     "* on nodes/proxy has a wildcard in verbs",
				ControlNodes: "with * on nodes/proxy the holder could run commands in every pod of a node, past admission and the audit log",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got map[string]string
			for _, finding := range Forbidden([]rbacv1.PolicyRule{test.rule}) {
				if got == nil {
					got = map[string]string{}
				}
				got[finding.Kind] = finding.Reason
				if diff := cmp.Diff(test.rule, finding.Rule); diff != "" {
					t.Error(diff)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestForbiddenInRoles: what Kubernetes' own roles contain that no requester may
// write. The caller chooses from it.
func TestForbiddenInRoles(t *testing.T) {
	for name, test := range map[string]struct {
		rules []rbacv1.PolicyRule
		want  []string
	}{
		"view":  {viewRole, nil},
		"edit":  {editRole, words(Impersonate, MintTokens)},
		"admin": {adminRole, words(Impersonate, MintTokens, ChangeRBAC)},
		"cluster-admin": {clusterAdminRole, words(Wildcard, Wildcard, Wildcard, Escalate, Impersonate, ChangeRBAC, ChangeAdmission,
			ControlNodes, RunOnNodes, IssueCertificates, ControlBroker, MintTokens, Wildcard, Wildcard)},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, finding := range Forbidden(test.rules) {
				got = append(got, finding.Kind)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
