package advice

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// observed is what is stored of calls: like a tally of them, with so many names of a
// right at most.
func observed(calls []*usage.Event, names int) *usage.Summary {
	tally := usage.NewTally()
	for i, e := range calls {
		one := *e
		one.ID, one.Stage = fmt.Sprint(i), "ResponseComplete"
		if one.Received.IsZero() {
			one.Received = day
		}
		tally.Add(&one)
	}
	s := tally.Summary()
	s.Window = usage.Window{Since: day.Add(-time.Hour), Until: day.Add(time.Hour)}
	for _, list := range [][]usage.RightUse{s.Used, s.Demanded} {
		for i := range list {
			// The tally says no more how often each was used: that of those that are
			// left is not less than one.
			if cut := len(list[i].Names) - names; cut > 0 {
				list[i].Names = list[i].Names[:names]
				list[i].MoreNames += cut
			}
		}
	}
	return &s
}

func held(name string, u *usage.Summary) Grant {
	return Grant{Name: name, From: day.Add(-time.Hour), To: day.Add(time.Hour), Usage: u}
}

func stored(o Options, grants ...Grant) Advice {
	c := Collect(o)
	for _, g := range grants {
		c.AddGrant(g)
	}
	return c.Advice()
}

// well are the calls that went well.
func well(calls []*usage.Event) []*usage.Event {
	return slices.DeleteFunc(slices.Clone(calls), func(e *usage.Event) bool { return e.Code >= 400 })
}

// Whatever was used, and however little of it is stored: the proposal denies no stored
// right, it says for which calls it cannot tell, and with the two steps for them it
// denies no call at all. Apart from them, it proposes the same as the log does.
func TestStoredAdviceKnowsWhatItDoesNotKnow(t *testing.T) {
	for seed := range int64(300) {
		r := rand.New(rand.NewSource(seed))
		var all []*usage.Event
		var grants []Grant
		for i := range 1 + r.Intn(3) {
			calls := anyCalls(r, 1+r.Intn(40))
			for _, e := range calls {
				if right, _ := usage.RightOf(e); e.Resource != "" && e.Name == "" && alwaysNamed(right) {
					e.Name = "x"
				}
				if e.Code == 201 && e.Verb != "create" && (e.Subresource != "" || e.Verb != "update" && e.Verb != "patch") {
					e.Code = 200 // no API server says that this created something
				}
			}
			all = append(all, calls...)
			grants = append(grants, held(fmt.Sprint("g", i), observed(calls, 1+r.Intn(3))))
		}
		a := stored(Options{}, grants...)
		if len(a.Denied) > 0 {
			t.Fatalf("seed %d: denied %v", seed, a.Denied)
		}
		unknown := set{}
		for _, u := range a.Unknown {
			unknown.add(u.Right)
		}
		for _, right := range Replay(a.Roles, slices.Values(well(all))) {
			if !unknown.allows(right) {
				t.Fatalf("seed %d: denies %v in silence; says %v", seed, right, a.Unknown)
			}
		}
		a = stored(Options{Widen: Widen{Steps: []string{UnknownNames}}}, grants...)
		for _, right := range Replay(a.Roles, slices.Values(well(all))) {
			t.Fatalf("seed %d: with all names, it denies %v", seed, right)
		}
		if a.Incomplete() > 0 {
			t.Fatalf("seed %d: incomplete: %+v", seed, a.Unknown)
		}
		a = stored(Options{Widen: Widen{Steps: []string{UnknownNames, FailedNames}}}, grants...)
		for _, right := range Replay(a.Roles, slices.Values(all)) {
			t.Fatalf("seed %d: with all steps, it denies %v", seed, right)
		}
		if len(a.Unknown) > 0 {
			t.Fatalf("seed %d: still unknown: %+v", seed, a.Unknown)
		}
		log := Advise(slices.Values(all), Options{})
		a = stored(Options{}, grants...)
		for right := range rightsOf(a.Roles) {
			if len(denied(log.Roles, set{right: {}})) > 0 {
				t.Fatalf("seed %d: proposes %v in %s, which the log does not", seed, right, right.Where())
			}
		}
	}
}

// What is stored says some things less exactly than a log: each of these is told.
func TestStoredAdvice(t *testing.T) {
	get := func(calls, failed, more int, names ...string) usage.RightUse {
		return usage.RightUse{Right: usage.Right{Verb: "get", Resource: "secrets", Namespace: "pay"}, Calls: calls, Failed: failed, Names: names, MoreNames: more}
	}
	use := func(list ...usage.RightUse) *usage.Summary {
		return &usage.Summary{
			First: day, Last: day, Calls: 9, Used: list, Callers: []usage.CallerUse{{Caller: usage.Caller{User: "alice"}}},
			Window: usage.Window{Since: day.Add(-time.Hour), Until: day.Add(time.Hour)},
		}
	}
	verb := func(verb string, u usage.RightUse) usage.RightUse { u.Verb = verb; return u }
	long := strings.Repeat("x", 250) + "..."
	present := []rbacv1.PolicyRule{{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"secrets", "pods"}}}
	for name, test := range map[string]struct {
		grants     []Grant
		options    Options
		want       []string
		unknown    string
		incomplete int
		says, not  string
	}{
		"names are kept": {grants: []Grant{held("a", use(get(5, 0, 0, "db", "tls")))}, want: []string{"pay: get secrets db,tls"}},
		"names are cut": {
			grants: []Grant{held("a", use(get(9, 0, 4, "db", "tls")))}, want: []string{"pay: get secrets db,tls"},
			unknown: "get secrets 4 0", incomplete: 4,
		},
		"names are cut, and all asked for": {
			grants:  []Grant{held("a", use(get(9, 0, 4, "db", "tls")))},
			options: Options{Widen: Widen{Steps: []string{UnknownNames}}}, want: []string{"pay: get secrets"},
			says: "get secrets in namespace pay: all names; for which others it was used, or whether for all, is not stored (calls: 4)",
		},
		// liggitt/audit2rbac#24 and kubectl apply: a get of what is not there yet fails,
		// and its name is not stored.
		"calls failed": {
			grants: []Grant{held("a", use(get(3, 1, 0, "db")))}, want: []string{"pay: get secrets db"}, unknown: "get secrets 0 1",
		},
		"all calls failed": {
			grants: []Grant{held("a", use(get(3, 3, 0)))}, unknown: "get secrets 0 3", options: Options{Present: present},
			not: "get secrets",
		},
		"all names are known to another grant": {
			grants: []Grant{held("a", use(verb("list", get(3, 0, 1, "db")))), held("b", use(verb("list", get(2, 0, 0))))}, want: []string{"pay: list secrets"},
		},
		"a list of one name, or of all": {
			grants: []Grant{held("a", use(verb("list", get(3, 0, 0, "db"))))}, want: []string{"pay: list secrets db"}, unknown: "list secrets 2 0", incomplete: 2,
		},
		"a list of one name":  {grants: []Grant{held("a", use(verb("list", get(1, 0, 0, "db"))))}, want: []string{"pay: list secrets db"}},
		"create has no names": {grants: []Grant{held("a", use(verb("create", get(3, 1, 0))))}, want: []string{"pay: create secrets"}},
		"deletecollection has none": {
			grants: []Grant{held("a", use(verb("deletecollection", get(3, 1, 0, "x"))))}, want: []string{"pay: deletecollection secrets"},
		},
		"a name was cut": {grants: []Grant{held("a", use(get(1, 0, 0, long)))}, unknown: "get secrets 1 0", incomplete: 1},
		"a resource was cut": {
			grants: []Grant{held("a", use(usage.RightUse{Right: usage.Right{Verb: "list", Resource: long, Namespace: "pay"}, Calls: 2}))},
			says:   "it was too long to be stored whole",
		},
		"rights are cut": {
			grants: []Grant{held("a", func() *usage.Summary { u := use(get(1, 0, 0, "db")); u.More.Used = 7; return u }())},
			want:   []string{"pay: get secrets db"}, incomplete: 7, says: "More rights were used than are stored, by 7 calls.",
		},
		"an apply that created": {
			grants: []Grant{held("a", func() *usage.Summary {
				u := use(verb("patch", get(2, 0, 0, "db")))
				u.Created = []usage.CreatedUse{{Object: usage.Object{Resource: "secrets", Namespace: "pay", Name: "db"}, Times: 1}}
				return u
			}())},
			want: []string{"pay: create,patch secrets db"}, says: applied,
		},
		// Netflix/repokid#18, #245: where nobody looked, nothing is unused. AWS says the
		// same of services that it does not track.
		"nobody observed it": {
			grants: []Grant{held("a", use(get(1, 0, 0, "db"))), held("b", nil), held("c", &usage.Summary{})},
			want:   []string{"pay: get secrets db"}, says: "Nobody observed the use of 2 of the 3 grants: b, c.",
		},
		// Netflix/repokid#27: what was given a moment ago has had no time to be used.
		"it is still held": {
			grants: []Grant{{Name: "a", From: day, To: day, Active: true, Usage: use(get(1, 0, 0, "db"))}},
			want:   []string{"pay: get secrets db"}, says: "Still held, so that more may come: 1 of the 1 grants.",
		},
		"observed in part": {
			grants: []Grant{held("a", func() *usage.Summary { u := use(get(1, 0, 0, "db")); u.Window.Gaps, u.Window.Lost = 2, 5; return u }())},
			want:   []string{"pay: get secrets db"}, says: "Of 1 grants not all was observed (gaps: 2, events that could not be read: 5): a.",
		},
		// AWS, "Things to know about last accessed information": attempts that were
		// denied count as accessed there. Here they do not.
		"refused is not used": {
			grants: []Grant{held("a", func() *usage.Summary {
				u := use()
				u.Refused, u.Demanded = 3, []usage.RightUse{get(3, 0, 0, "db")}
				return u
			}())},
			options: Options{Present: present}, says: "get,list pods,secrets",
		},
		"refused, and asked for": {
			grants: []Grant{held("a", func() *usage.Summary {
				u := use()
				u.Refused, u.Demanded = 3, []usage.RightUse{get(3, 0, 0, "db")}
				return u
			}())},
			options: Options{Refused: true}, want: []string{"pay: get secrets db"},
		},
		// superwerker/superwerker#127: what is covered by other access too is no reason
		// for this one.
		"shared": {
			grants: []Grant{held("a", use(usage.RightUse{Right: get(0, 0, 0).Right, Calls: 4, Shared: 3, Names: []string{"db"}}))},
			want:   []string{"pay: get secrets db"}, says: "Other access of the callers covers 3 of the calls too",
		},
		// GCP, role recommendations: used before the observation period.
		"used before": {
			grants:  []Grant{held("a", func() *usage.Summary { u := use(get(2, 0, 0, "db")); u.First = day.Add(-48 * time.Hour); return u }())},
			options: Options{Since: day.Add(-time.Hour)}, want: []string{"pay: get secrets db"}, says: "single calls are not stored: a. All of their calls count.",
		},
		"not used since": {
			grants: []Grant{held("a", use(get(2, 0, 0, "db")))}, options: Options{Since: day.Add(time.Minute)},
		},
		"of a user": {
			grants: []Grant{held("a", use(get(1, 0, 0, "db"))), held("b", func() *usage.Summary {
				u := use(get(1, 0, 0, "tls"))
				u.Callers = append(u.Callers, usage.CallerUse{Caller: usage.Caller{User: "bob"}})
				return u
			}())},
			options: Options{Of: Of{User: "alice"}}, want: []string{"pay: get secrets db"},
			says: "Used by others too, or by more callers than are stored: b. Which rights were whose is not stored, and they are left out.",
		},
		"of another user": {grants: []Grant{held("a", use(get(1, 0, 0, "db")))}, options: Options{Of: Of{User: "bob"}}},
		"of a namespace":  {grants: []Grant{held("a", use(get(1, 0, 0, "db")))}, options: Options{Of: Of{In: "shop"}}},
		"several callers": {
			grants: []Grant{held("a", func() *usage.Summary {
				u := use(get(1, 0, 0, "db"))
				u.Callers = append(u.Callers, usage.CallerUse{Caller: usage.Caller{User: "carol", As: "bob"}})
				u.More.Callers = 1
				return u
			}())},
			want: []string{"pay: get secrets db"}, says: "there are at least 2.",
		},
		"everybody may": {
			grants: []Grant{held("a", use(usage.RightUse{Right: usage.Right{Verb: "get", Path: "/version"}, Calls: 2}))},
		},
		"exec over WebSockets": {
			grants: []Grant{held("a", use(usage.RightUse{Right: usage.Right{Verb: "get", Resource: "pods", Subresource: "exec", Namespace: "pay"}, Calls: 1, Names: []string{"web"}}))},
			want:   []string{"pay: create,get pods/exec web"}, says: upgraded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := stored(test.options, test.grants...)
			if got := lines(a.Roles); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			var unknown []string
			for _, u := range a.Unknown {
				unknown = append(unknown, fmt.Sprint(u.Right, " ", u.Calls, " ", u.Failed))
			}
			if got := strings.Join(unknown, ", "); got != test.unknown || a.Incomplete() != test.incomplete {
				t.Errorf("unknown %q, incomplete %d", got, a.Incomplete())
			}
			said := strings.Join(a.Unseen, "\n")
			for _, step := range slices.Concat(a.Needed, a.Widened) {
				said += "\n" + step.Says
			}
			for _, odd := range a.Odd {
				said += "\n" + odd.Why
			}
			var unused []string
			if a.Unused != nil {
				unused = lines([]Role{{Rules: a.Unused.Rules}})
				said += "\n" + strings.Join(unused, "\n")
			}
			if !strings.Contains(said, test.says) {
				t.Errorf("does not say %q:\n%s", test.says, said)
			}
			if test.not != "" && strings.Contains(strings.Join(unused, "\n"), test.not) {
				t.Errorf("says that nobody used %q: %q", test.not, unused)
			}
			if len(a.Denied) > 0 {
				t.Errorf("denied: %v", a.Denied)
			}
		})
	}
}

// A right to names that are not stored may have been for the one that a rule names.
func TestUnknownNamesAreNotUnused(t *testing.T) {
	u := observed([]*usage.Event{call("get secrets pay/a"), call("get secrets pay/b")}, 1)
	present := []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"a", "b"}},
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: []string{"b"}},
	}
	a := stored(Options{Present: present}, held("g", u))
	if got := lines([]Role{{Rules: a.Unused.Rules}}); a.Unused.Unused != 1 || !slices.Equal(got, []string{"cluster: get pods b"}) {
		t.Errorf("%+v %q", a.Unused, got)
	}
}

func TestRoleUse(t *testing.T) {
	var role RoleUse
	for _, g := range []Grant{
		held("used", observed([]*usage.Event{call("get pods pay/x")}, 8)), held("unused", observed(nil, 8)), held("unobserved", nil),
		held("refused", observed([]*usage.Event{call("get pods pay/x", refused)}, 8)), held("no window", &usage.Summary{}),
	} {
		role.Count(g)
	}
	if role.Grants != 5 || role.Observed != 3 || role.Used != 1 {
		t.Errorf("%+v", role)
	}
}

// What an observer stores in parts comes to the same as the log, where all is stored.
func TestAdviceOfAnAccessUsage(t *testing.T) {
	calls := []*usage.Event{
		call("list pods pay"), call("get secrets pay/db"), call("get secrets pay/tls"), call("patch deployments.apps pay/web", code(201)),
		call("create pods pay/x", code(201)), call("get pods/exec pay/web", code(101)), call("get /metrics"), call("get nodes -/n1"),
		call("delete configmaps pay/old", refused),
	}
	var status v1alpha1.AccessUsageStatus
	for i, e := range calls {
		e.ID = fmt.Sprint(i)
		part := usage.NewPart()
		part.Add(e)
		part.AddTo(&status)
	}
	s := usage.SummaryOf(&status)
	s.Window.Since, s.Window.Until = day, day
	got, want := stored(Options{}, held("g", &s)), Advise(slices.Values(calls), Options{})
	if !slices.Equal(lines(got.Roles), lines(want.Roles)) || len(got.Unknown) > 0 || got.Calls != want.Calls {
		t.Errorf("%d calls, %q, unknown %v; the log has %d, %q", got.Calls, lines(got.Roles), got.Unknown, want.Calls, lines(want.Roles))
	}
	if len(got.Refused) != 1 || got.Refused[0].String() != want.Refused[0].String() {
		t.Errorf("%v, %v", got.Refused, want.Refused)
	}
}

// The order in which grants are read does not matter.
func TestOrderOfGrantsDoesNotMatter(t *testing.T) {
	for seed := range int64(30) {
		r := rand.New(rand.NewSource(seed))
		var grants []Grant
		for i := range 5 {
			grants = append(grants, held(fmt.Sprint("g", i), observed(anyCalls(r, 30), 2)))
		}
		o := Options{Widen: Widen{Steps: []string{GeneratedNames, UnknownNames}, MaxNames: 2}}
		before := stored(o, grants...)
		r.Shuffle(len(grants), func(i, j int) { grants[i], grants[j] = grants[j], grants[i] })
		after := stored(o, grants...)
		if fmt.Sprint(before.Roles, before.Unknown, before.Rights, before.Widened) != fmt.Sprint(after.Roles, after.Unknown, after.Rights, after.Widened) {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Whatever is stored, the proposal allows what it says that it knows, and no rule in it
// is for everything.
func FuzzAddGrant(f *testing.F) {
	f.Add("get", "", "pods", "log", "pay", "web", "", 3, 1, 2)
	f.Add("*", "*", "*", "*", "*", "*", "/*", -1, 9, -3)
	f.Add("list", "", "secrets", "", "a", strings.Repeat("x", 253)+"...", "", 1, 0, 0)
	f.Add("create", "", "pods", "exec", "a", "x\x00\u202e", "", 1, 0, 0)
	f.Fuzz(func(t *testing.T, verb, group, resource, subresource, namespace, name, path string, calls, failed, more int) {
		right := usage.Right{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: namespace, Path: path}
		u := &usage.Summary{Used: []usage.RightUse{
			{Right: right, Calls: calls, Failed: failed, Names: []string{name}, MoreNames: more},
			{Right: right, Calls: calls, Failed: failed, MoreNames: more},
		}, Created: []usage.CreatedUse{{Object: usage.Object{Group: group, Resource: resource, Namespace: namespace, Name: name}}}}
		for _, steps := range [][]string{nil, Widenings} {
			a := stored(Options{Widen: Widen{Steps: steps}, Present: []rbacv1.PolicyRule{right.Rule()}}, held("g", u))
			if len(a.Denied) > 0 {
				t.Errorf("denied %q", a.Denied)
			}
			for _, role := range a.Roles {
				for _, r := range []Right{{Verb: "never", Group: "never", Resource: "never", Namespace: "never"}, {Verb: "never", Path: "/never"}} {
					if r.Verb != verb && r.Resource != resource && covered(role.Rules, r) {
						t.Errorf("%+v allows %v", role.Rules, r)
					}
				}
			}
		}
	})
}
