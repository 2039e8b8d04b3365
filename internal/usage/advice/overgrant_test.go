package advice

import (
	"maps"
	"slices"
	"testing"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// universe is everything that occurs in a log: each verb, resource, namespace and name
// of its calls. A right is one of each; an empty name stands for a call to all, such as
// list.
type universe struct {
	verbs, namespaces map[string]struct{}
	names             map[[2]string]map[string]struct{} // by group and resource
	// objects are the names in the namespaces in which they occur.
	objects map[place]map[string]struct{}
}

func universeOf(calls []*usage.Event) universe {
	u := universe{map[string]struct{}{}, map[string]struct{}{"": {}}, map[[2]string]map[string]struct{}{}, map[place]map[string]struct{}{}}
	for _, e := range calls {
		wanted, err := needs(e)
		if err != nil {
			continue
		}
		for _, n := range wanted {
			if n.Resource == "" {
				continue
			}
			u.verbs[n.Verb] = struct{}{}
			u.namespaces[n.Namespace] = struct{}{}
			at := [2]string{n.Group, n.Resource}
			if u.names[at] == nil {
				u.names[at] = map[string]struct{}{"": {}}
			}
			u.names[at][n.Name] = struct{}{}
			if u.objects[n.place()] == nil {
				u.objects[n.place()] = map[string]struct{}{"": {}}
			}
			u.objects[n.place()][n.Name] = struct{}{}
		}
	}
	return u
}

// count is how many rights of the universe a set allows: any name in any namespace, and
// those of names where they occur.
func (u universe) count(s set) (anywhere, objects int) {
	for at, names := range u.names {
		for verb := range u.verbs {
			for namespace := range u.namespaces {
				here := u.objects[place{namespace, at[0], at[1]}]
				for name := range names {
					if s.allows(Right{Verb: verb, Group: at[0], Resource: at[1], Namespace: namespace, Name: name}) {
						anywhere++
						if _, occurs := here[name]; occurs {
							objects++
						}
					}
				}
			}
		}
	}
	return anywhere, objects
}

// rightsOf are roles as single rights.
func rightsOf(roles []Role) set {
	out := set{}
	for _, role := range roles {
		namespaces := role.Namespaces
		if role.Cluster() {
			namespaces = []string{""}
		}
		for _, rule := range role.Rules {
			for _, namespace := range namespaces {
				for _, verb := range rule.Verbs {
					for _, path := range rule.NonResourceURLs {
						out.add(Right{Verb: verb, Path: path})
					}
					for _, group := range rule.APIGroups {
						for _, resource := range rule.Resources {
							names := rule.ResourceNames
							if len(names) == 0 {
								names = []string{""}
							}
							for _, name := range names {
								out.add(Right{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name})
							}
						}
					}
				}
			}
		}
	}
	return out
}

// atMost is the part of audit2rbac's over-grant that ours may be.
const atMost = 1.0 / 5

// TestOverGrant prints how many rights are proposed beyond the observed ones, over the
// names and namespaces of a mixed log; and how many later calls each would refuse, when
// it is made from the first two thirds of the log.
func TestOverGrant(t *testing.T) {
	log := mixedLog()
	u := universeOf(log)
	byUser := map[string][]*usage.Event{}
	for _, e := range log {
		if e.Allowed {
			byUser[e.User] = append(byUser[e.User], e)
		}
	}
	advised := func(steps ...string) func([]*usage.Event) set {
		return func(calls []*usage.Event) set {
			return rightsOf(Advise(slices.Values(calls), Options{Widen: Widen{Steps: steps}}).Roles)
		}
	}
	ways := []struct {
		name    string
		propose func([]*usage.Event) set
		bounded bool
	}{
		{"audit2rbac, defaults", audit2rbacDefaults, false},
		{"advise", advised(), true},
		{"advise --widen generated-names", advised(GeneratedNames), false},
		{"advise --widen generated-names,writes", advised(GeneratedNames, Writes), false},
		{"advise --widen generated-names,reads,writes", advised(Widenings...), false},
	}
	var theirs, theirObjects int
	t.Logf("%d calls of %d people; %d verbs, %d resources, %d namespaces", len(log), len(byUser), len(u.verbs), len(u.names), len(u.namespaces)-1)
	for _, way := range ways {
		var over, overObjects, observed, denies, later int
		for _, user := range slices.Sorted(maps.Keys(byUser)) {
			calls := byUser[user]
			used, usedObjects := u.count(advised()(calls))
			all, allObjects := u.count(way.propose(calls))
			observed, over, overObjects = observed+used, over+all-used, overObjects+allObjects-usedObjects
			early := way.propose(calls[:len(calls)*2/3])
			for _, e := range calls[len(calls)*2/3:] {
				later++
				wanted, err := needs(e)
				if err == nil && slices.ContainsFunc(wanted, func(n need) bool { return !early.allows(n.Right) && !covered(everybody, n.Right) }) {
					denies++
				}
			}
		}
		if theirs == 0 {
			theirs, theirObjects = over, overObjects
		}
		part := float64(over) / float64(theirs)
		t.Logf("%-44s %6d rights beyond the %d observed, %5.1f %% of audit2rbac's; on objects that occur %5d, %5.1f %%; would refuse %3d of %d later calls",
			way.name, over, observed, 100*part, overObjects, 100*float64(overObjects)/float64(theirObjects), denies, later)
		if way.bounded && part > atMost {
			t.Errorf("%s: more than %.0f %% of audit2rbac's", way.name, 100*atMost)
		}
	}
}

func BenchmarkAdvise(b *testing.B) {
	log := mixedLog()
	for _, user := range []string{"", "ana"} {
		b.Run("user="+user, func(b *testing.B) {
			for b.Loop() {
				Advise(slices.Values(log), Options{Of: Of{User: user}, Widen: Widen{Steps: Widenings}})
			}
			b.ReportMetric(float64(len(log)*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
