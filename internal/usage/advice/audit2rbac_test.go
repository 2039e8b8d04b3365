package advice

import (
	"slices"
	"testing"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// audit2rbacDefaults proposes what the public tool audit2rbac does by its defaults, as
// its options say them: list, watch and get together when one of the first two was
// seen; update, patch and get when one of the first two was; all names once a second
// one was seen, the whole cluster once a second namespace was. Broader calls come first,
// and what is allowed by then adds nothing.
func audit2rbacDefaults(calls []*usage.Event) set {
	seen := set{}
	for _, e := range calls {
		r := Right{Verb: e.Verb, Group: e.Group, Resource: e.Resource, Namespace: e.Namespace, Name: e.Name}
		if e.Subresource != "" {
			r.Resource += "/" + e.Subresource
		}
		if e.Resource != "" && e.Allowed {
			if e.Verb == "create" && e.Subresource == "" {
				r.Name = "" // as it does in its demo; with names it would only be wrong
			}
			seen.add(r)
		}
	}
	breadth := func(r Right) int {
		n := 0
		if r.Namespace != "" {
			n += 4
		}
		if r.Name != "" {
			n += 2
		}
		if r.Verb == "get" {
			n++
		}
		return n
	}
	order := seen.sorted()
	slices.SortStableFunc(order, func(a, b Right) int { return breadth(a) - breadth(b) })
	names, namespaces := map[Right]map[string]struct{}{}, map[Right]map[string]struct{}{}
	alike := func(r Right) Right { r.Name, r.Namespace = "", ""; return r }
	for r := range seen {
		k := alike(r)
		if names[k] == nil {
			names[k], namespaces[k] = map[string]struct{}{}, map[string]struct{}{}
		}
		if r.Name != "" {
			names[k][r.Name] = struct{}{}
		}
		if r.Namespace != "" {
			namespaces[k][r.Namespace] = struct{}{}
		}
	}
	with := map[string][]string{
		"watch": {"get", "list"}, "list": {"get", "watch"}, "update": {"get", "patch"}, "patch": {"get", "update"},
	}
	out := set{}
	for _, r := range order {
		if out.allows(r) {
			continue
		}
		if len(names[alike(r)]) > 1 {
			r.Name = ""
		}
		if len(namespaces[alike(r)]) > 1 {
			r.Namespace = ""
		}
		out.add(r)
		for _, verb := range with[r.Verb] {
			also := r
			also.Verb = verb
			out.add(also)
		}
	}
	return out
}

// The model does what the documentation of the tool shows: whoever watched one
// namespace gets get, list and watch there; a second one gets them the whole cluster.
func TestAudit2rbacDefaults(t *testing.T) {
	one := audit2rbacDefaults([]*usage.Event{call("watch secrets ns1"), call("list pods ns1"), call("get configmaps ns1/a")})
	if got := lines(one.roles()); !slices.Equal(got, []string{"ns1: get,list,watch pods,secrets", "ns1: get configmaps a"}) &&
		!slices.Equal(got, []string{"ns1: get configmaps a", "ns1: get,list,watch pods,secrets"}) {
		t.Errorf("%q", got)
	}
	two := audit2rbacDefaults([]*usage.Event{call("get secrets ns1/a"), call("get secrets ns2/b"), call("patch pods ns1/x")})
	if got := lines(two.roles()); !slices.Equal(got, []string{"cluster: get secrets", "ns1: get,patch,update pods x"}) {
		t.Errorf("%q", got)
	}
}
