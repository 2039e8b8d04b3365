package resolve

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The verbs that the administrator's list lacks for a kind.
func TestKindList(t *testing.T) {
	rule := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	named := rule("batch", "jobs", "get", "list", "watch")
	named.ResourceNames = []string{"migrate"}
	for name, tc := range map[string]struct {
		list              kindList
		group, kind, want string
	}{
		"listed":                       {kindList{rule("batch", "jobs", "get", "list", "watch")}, "batch", "Job", ""},
		"in two rules":                 {kindList{rule("batch", "jobs", "get"), rule("batch", "jobs", "list", "watch")}, "batch", "Job", ""},
		"any verb":                     {kindList{rule("batch", "jobs", "*")}, "batch", "Job", ""},
		"not listed":                   {kindList{rule("batch", "cronjobs", "*")}, "batch", "Job", "get list watch"},
		"in another group":             {kindList{rule("batch.volcano.sh", "jobs", "*")}, "batch", "Job", "get list watch"},
		"its status alone":             {kindList{rule("batch", "jobs/status", "*")}, "batch", "Job", "get list watch"},
		"no watch":                     {kindList{rule("batch", "jobs", "get", "list")}, "batch", "Job", "watch"},
		"some objects by name":         {kindList{named}, "batch", "Job", "get list watch"},
		"all of a group of others":     {kindList{rule("example.com", "*", "*")}, "example.com", "Migration", ""},
		"all, of others":               {kindList{rule("*", "*", "*")}, "example.com", "Migration", ""},
		"all, a known task":            {kindList{rule("*", "*", "*")}, "", "Pod", ""},
		"all of the core, a Pod":       {kindList{rule("", "*", "*")}, "", "Pod", ""},
		"all of the core, a ConfigMap": {kindList{rule("", "*", "*")}, "", "ConfigMap", "get list watch"},
		"a ConfigMap by name":          {kindList{rule("", "configmaps", "*")}, "", "ConfigMap", ""},
		"all, a Lease":                 {kindList{rule("*", "*", "*")}, "coordination.k8s.io", "Lease", "get list watch"},
		"a Lease by name":              {kindList{rule("coordination.k8s.io", "leases", "*")}, "coordination.k8s.io", "Lease", ""},
		"all, a RoleBinding":           {kindList{rule("*", "*", "*")}, "rbac.authorization.k8s.io", "RoleBinding", "get list watch"},
		"all, a JobSet":                {kindList{rule("*", "*", "*")}, "jobset.x-k8s.io", "JobSet", ""},
	} {
		t.Run(name, func(t *testing.T) {
			missing := tc.list.missing(schema.GroupKind{Group: tc.group, Kind: tc.kind}, strings.ToLower(tc.kind)+"s")
			if got := strings.Join(missing, " "); got != tc.want {
				t.Errorf("missing is %q, want %q", got, tc.want)
			}
		})
	}
	for kind, never := range map[schema.GroupKind]bool{
		{Group: "jit.accessbroker.dev", Kind: "AccessGrant"}:   true,
		{Group: "jit.accessbroker.dev", Kind: "AccessRequest"}: true,
		{Group: "jit.accessbroker.dev", Kind: "Whatever"}:      true,
		{Kind: "Secret"}:                       true,
		{Group: "example.com", Kind: "Secret"}: false,
		{Group: "batch", Kind: "Job"}:          false,
	} {
		if got := neverTask(kind) != ""; got != never {
			t.Errorf("%s is never a task: %v, want %v", kind, got, never)
		}
	}
}
