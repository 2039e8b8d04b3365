package install

import (
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/accessbroker/accessbroker/test/kit"
)

// userRoles asks the API server, as the people themselves, what each of the
// roles for people lets them do: exactly this.
func (c *cluster) userRoles(t *testing.T) {
	var (
		read = []string{"get", "list", "watch"}
		all  = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	)
	c.bind(t, "access-approver", "sre")
	c.bind(t, "access-auditor", "audit")
	c.bind(t, "access-policy-admin", "security")
	c.bind(t, "access-locker", "guards")
	for group, may := range map[string]map[string][]string{
		"dev": { // access-requester
			"accessrequests":        {"get", "list", "watch", "create", "patch", "delete"},
			"accessrequests/status": {"get", "patch"},
			"accesspolicies":        read,
		},
		"sre": { // access-approver
			"accessrequests":        read,
			"accessrequests/status": {"get", "patch", "update"},
			"accesspolicies":        read,
		},
		"audit":    {"accessrequests": read, "accesspolicies": read, "accessgrants": read, "accessusages": read, "accesslocks": read},
		"guards":   {"accesslocks": {"get", "list", "watch", "create", "delete"}},
		"security": {"accesspolicies": all},
	} {
		user := c.Person(t, "somebody", group)
		for _, resource := range []string{"accessrequests", "accesspolicies", "accessgrants", "accessusages", "accesslocks"} {
			for _, subresource := range []string{"", "status"} {
				name := resource
				if subresource != "" {
					name += "/" + subresource
				}
				for _, verb := range all {
					got := kit.CanDo(t, user, authorizationv1.ResourceAttributes{
						Namespace: c.namespace, Verb: verb, Group: "jit.accessbroker.dev", Resource: resource, Subresource: subresource,
					})
					if want := slices.Contains(may[name], verb); got != want {
						t.Errorf("%s may %s %s: %t, want %t", group, verb, name, got, want)
					}
				}
			}
		}
		for _, beyond := range []authorizationv1.ResourceAttributes{
			{Namespace: c.namespace, Verb: "get", Resource: "pods"},
			{Namespace: c.namespace, Verb: "get", Resource: "secrets"},
			{Namespace: c.namespace, Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "rolebindings"},
			{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: "view"},
			{Verb: "impersonate", Resource: "users"},
		} {
			if kit.CanDo(t, user, beyond) {
				t.Errorf("%s may %s %s", group, beyond.Verb, beyond.Resource)
			}
		}
	}
}
