package advice

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// anyCalls are random calls from few words, so that they meet.
func anyCalls(r *rand.Rand, n int) []*usage.Event {
	pick := func(words ...string) string { return words[r.Intn(len(words))] }
	calls := make([]*usage.Event, n)
	for i := range calls {
		e := &usage.Event{Allowed: true, User: pick("alice", "bob"), Code: []int{200, 201, 404}[r.Intn(3)]}
		calls[i] = e
		if r.Intn(8) == 0 {
			e.Verb, e.Path = pick("get", "post", "*"), pick("/metrics", "/logs/", "/api", "/debug/*")
			continue
		}
		e.Verb = pick("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
		e.Group, e.Resource = pick("", "apps"), pick("pods", "deployments", "secrets")
		e.Subresource = pick("", "", "", "exec", "status", "log")
		e.Namespace = pick("", "a", "b", "c")
		e.Name = pick("", "x", "y", "web-7d4b9c6f5-x2x7k", "web-7d4b9c6f5-z9bcd")
	}
	return calls
}

// Whatever the calls and the steps, the proposal denies none of them.
func TestNoObservedCallIsDenied(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		calls := anyCalls(r, 1+r.Intn(60))
		var steps []string
		for _, kind := range Widenings {
			if r.Intn(2) == 0 {
				steps = append(steps, kind)
			}
		}
		a := Advise(slices.Values(calls), Options{Widen: Widen{Steps: steps, MaxNames: 1 + r.Intn(3)}})
		if denied := Replay(a.Roles, slices.Values(calls)); len(denied)+len(a.Denied) > 0 {
			t.Fatalf("seed %d: denied %v %v by %+v", seed, denied, a.Denied, a.Roles)
		}
	}
}

// Without widening, nothing can be taken from the proposal: each rule, and each item
// of a rule, is what some call needs.
func TestNothingCanBeTakenAway(t *testing.T) {
	for seed := range int64(150) {
		r := rand.New(rand.NewSource(seed))
		calls := anyCalls(r, 1+r.Intn(40))
		a := Advise(slices.Values(calls), Options{})
		for i := range a.Roles {
			for less := range without(a.Roles[i].Rules) {
				roles := slices.Clone(a.Roles)
				roles[i].Rules = less
				if len(Replay(roles, slices.Values(calls))) == 0 {
					t.Fatalf("seed %d: %+v can be %+v", seed, a.Roles[i], less)
				}
			}
			for j := range a.Roles[i].Namespaces {
				roles := slices.Clone(a.Roles)
				roles[i].Namespaces = slices.Delete(slices.Clone(roles[i].Namespaces), j, j+1)
				if len(roles[i].Namespaces) > 0 && len(Replay(roles, slices.Values(calls))) == 0 {
					t.Fatalf("seed %d: %+v can do without %s", seed, a.Roles[i], a.Roles[i].Namespaces[j])
				}
			}
		}
	}
}

// without yields the rules with one rule, or one item of a rule, left out. A list is
// never emptied: without names, a rule allows all of them.
func without(rules []rbacv1.PolicyRule) func(func([]rbacv1.PolicyRule) bool) {
	return func(yield func([]rbacv1.PolicyRule) bool) {
		for i := range rules {
			if !yield(slices.Delete(slices.Clone(rules), i, i+1)) {
				return
			}
			for _, list := range []func(*rbacv1.PolicyRule) *[]string{
				func(r *rbacv1.PolicyRule) *[]string { return &r.Verbs },
				func(r *rbacv1.PolicyRule) *[]string { return &r.APIGroups },
				func(r *rbacv1.PolicyRule) *[]string { return &r.Resources },
				func(r *rbacv1.PolicyRule) *[]string { return &r.ResourceNames },
				func(r *rbacv1.PolicyRule) *[]string { return &r.NonResourceURLs },
			} {
				items := *list(&rules[i])
				for j := range items {
					if len(items) == 1 {
						continue
					}
					less := slices.Clone(rules)
					*list(&less[i]) = slices.Delete(slices.Clone(items), j, j+1)
					if !yield(less) {
						return
					}
				}
			}
		}
	}
}

// The proposal does not depend on the order of the calls.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range int64(50) {
		r := rand.New(rand.NewSource(seed))
		calls := anyCalls(r, 40)
		o := Options{Widen: Widen{Steps: Widenings, MaxNames: 2}}
		before := fmt.Sprintf("%+v", Advise(slices.Values(calls), o))
		r.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
		if after := fmt.Sprintf("%+v", Advise(slices.Values(calls), o)); before != after {
			t.Fatalf("seed %d:\n%s\n%s", seed, before, after)
		}
	}
}

// Callers choose methods, paths, resources and names. Whatever these are, the proposal
// allows the calls, and no rule in it allows everything.
func FuzzAdvise(f *testing.F) {
	f.Add("get", "", "pods", "log", "payments", "web", "", 200)
	f.Add("*", "*", "*", "*", "*", "*", "", 201)
	f.Add("get", "", "*", "log", "a", "b", "", 200)
	f.Add("get", "", "pods", "", "a", "x\x00y", "", 200)
	f.Add("post", "", "", "", "", "", "/*", 200)
	f.Add("create", "", "pods", "", "a", "x", "/api/v1/namespaces/%61/pods", 201)
	f.Fuzz(func(t *testing.T, verb, group, resource, subresource, namespace, name, path string, code int) {
		call := &usage.Event{
			Allowed: true, User: "u", Verb: verb, Group: group, Resource: resource, Subresource: subresource,
			Namespace: namespace, Name: name, Path: path, Code: code,
		}
		other := &usage.Event{Allowed: true, User: "u", Verb: "get", Resource: "pods", Namespace: "a", Name: "z"}
		calls := []*usage.Event{call, other}
		a := Advise(slices.Values(calls), Options{Widen: Widen{Steps: Widenings}, Present: []rbacv1.PolicyRule{{
			Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"},
		}}})
		if denied := Replay(a.Roles, slices.Values(calls)); len(denied) > 0 {
			t.Errorf("denied %q", denied)
		}
		for _, role := range a.Roles {
			for _, r := range []Right{
				{Verb: "never", Group: "never", Resource: "never", Namespace: "never"},
				{Verb: "never", Path: "/never"},
				{Verb: "get", Resource: "secrets", Namespace: "a", Name: "never"},
			} {
				if r.Verb != verb && r.Resource != resource && covered(role.Rules, r) {
					t.Errorf("%+v allows %v", role.Rules, r)
				}
			}
		}
	})
}
