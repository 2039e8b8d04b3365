package advice

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/usage"
)

var day = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// call reads VERB RESOURCE[.GROUP][/SUB] [NAMESPACE[/NAME]], where NAMESPACE is - for
// a call at the scope of the cluster; or VERB /path.
func call(line string, more ...func(*usage.Event)) *usage.Event {
	words := strings.Fields(line)
	e := &usage.Event{Allowed: true, User: "alice", Received: day, Stage: "ResponseComplete", Code: 200, Verb: words[0]}
	if strings.HasPrefix(words[1], "/") {
		e.Path = words[1]
	} else {
		var resource string
		resource, e.Subresource, _ = strings.Cut(words[1], "/")
		e.Resource, e.Group, _ = strings.Cut(resource, ".")
	}
	if len(words) > 2 {
		e.Namespace, e.Name, _ = strings.Cut(words[2], "/")
		e.Namespace = strings.TrimPrefix(e.Namespace, "-")
	}
	for _, set := range more {
		set(e)
	}
	return e
}

func by(user string) func(*usage.Event) { return func(e *usage.Event) { e.User = user } }
func as(user string) func(*usage.Event) { return func(e *usage.Event) { e.Impersonated = user } }
func code(n int) func(*usage.Event)     { return func(e *usage.Event) { e.Code = n } }
func path(p string) func(*usage.Event)  { return func(e *usage.Event) { e.Path = p } }
func named(n string) func(*usage.Event) { return func(e *usage.Event) { e.Name = n } }
func refused(e *usage.Event)            { e.Allowed, e.Code = false, 403 }
func after(d time.Duration) func(*usage.Event) {
	return func(e *usage.Event) { e.Received = e.Received.Add(d) }
}

// under is a RoleBinding NAMESPACE/NAME or a ClusterRoleBinding NAME, as the API
// server writes it.
func under(binding string) func(*usage.Event) {
	return func(e *usage.Event) {
		kind, name := "ClusterRoleBinding", binding
		if namespace, in, ok := strings.Cut(binding, "/"); ok {
			kind, name = "RoleBinding", in+"/"+namespace
		}
		e.Reason = `RBAC: allowed by ` + kind + ` "` + name + `" of ClusterRole "edit" to User "alice"`
	}
}

// lines are roles as text: where, and what.
func lines(roles []Role) []string {
	var out []string
	for _, role := range roles {
		where := cmp.Or(strings.Join(role.Namespaces, ","), "cluster")
		for _, line := range rules.Show(role.Rules, rules.Limit{Lines: 100, Bytes: 10000}).Lines {
			out = append(out, where+": "+line)
		}
	}
	return out
}

func TestAdvise(t *testing.T) {
	for name, test := range map[string]struct {
		calls []*usage.Event
		want  []string
	}{
		"names are kept": {
			[]*usage.Event{call("get pods pay/web"), call("delete pods pay/web"), call("get pods pay/db")},
			[]string{"pay: get pods db", "pay: delete,get pods web"},
		},
		"all names allow each name": {
			[]*usage.Event{call("list pods pay"), call("list pods pay/web"), call("get secrets pay/key")},
			[]string{"pay: list pods", "pay: get secrets key"},
		},
		"the whole cluster allows each namespace": {
			[]*usage.Event{call("list pods -"), call("list pods pay"), call("get nodes -/n1")},
			[]string{"cluster: get nodes n1", "cluster: list pods"},
		},
		"namespaces with the same rules share a role": {
			[]*usage.Event{call("list pods pay"), call("list pods shop"), call("list pods lab"), call("create pods lab")},
			[]string{"lab: create,list pods", "pay,shop: list pods"},
		},
		"subresources and groups": {
			[]*usage.Event{call("get pods/log pay/web"), call("patch deployments.apps/scale pay/web"), call("get deployments.apps pay/web")},
			[]string{"pay: get pods/log,deployments.apps web", "pay: patch deployments.apps/scale web"},
		},
		"paths are for the whole cluster": {
			[]*usage.Event{call("get /metrics"), call("get /logs/")},
			[]string{"cluster: get /logs/,/metrics"},
		},
		"what everybody may do needs no rule": {
			[]*usage.Event{call("get /api/v1"), call("get /version"), call("create selfsubjectaccessreviews.authorization.k8s.io -")},
			nil,
		},
		"what was refused is not proposed": {
			[]*usage.Event{call("get secrets pay/key", refused)},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := Advise(slices.Values(test.calls), Options{})
			got := lines(a.Roles)
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			if len(a.Widened) > 0 {
				t.Errorf("nobody asked for %v", a.Widened)
			}
		})
	}
}

// A session is in the log when it begins and when it ends, and is one call.
func TestCounts(t *testing.T) {
	begun := call("watch pods pay", under("pay/fix-1"))
	begun.ID, begun.Stage = "1", "ResponseStarted"
	ended := call("watch pods pay", under("pay/fix-1"), after(time.Hour))
	ended.ID = "1"
	a := Advise(slices.Values([]*usage.Event{
		begun, ended,
		call("list pods pay", under("pay/fix-1")),
		call("list pods shop", under("shop/fix-1")),
		call("list pods pay", under("pay/fix-2"), by("bob"), after(49*time.Hour)),
		call("get nodes -/n1", under("ops")),
		call("get secrets pay/key", refused, by("bob")),
		call("get secrets pay/key", refused, by("eve")),
	}), Options{Of: Of{Role: "edit", RoleKind: "ClusterRole"}})
	if a.Calls != 5 || a.People != 2 || a.Grants != 3 {
		t.Errorf("%d calls, %d people, %d grants", a.Calls, a.People, a.Grants)
	}
	i := slices.IndexFunc(a.Rights, func(u Used) bool { return u.String() == "list pods" && u.Namespace == "pay" })
	if u := a.Rights[i]; u.Calls != 2 || u.People != 2 || u.Grants != 2 || !u.Last.Equal(day.Add(49*time.Hour)) {
		t.Errorf("%+v", u)
	}
	if len(a.Refused) != 1 || a.Refused[0].Calls != 1 {
		t.Errorf("bob lacked one right once, eve has nothing to do with the role: %+v", a.Refused)
	}
	if a.Gap == nil || a.Gap.To.Sub(a.Gap.From) != 47*time.Hour {
		t.Errorf("gap %+v", a.Gap)
	}
}

func TestSelection(t *testing.T) {
	calls := []*usage.Event{
		call("list pods pay", under("pay/fix-1")), call("list services pay", under("pay/other")),
		call("list nodes -", under("fix-1")), call("list secrets pay", under("pay/fix-1"), by("bob"), as("carol")),
	}
	for name, test := range map[string]struct {
		of   Of
		want []string
	}{
		"everything":            {Of{}, []string{"cluster: list nodes", "pay: list pods,secrets,services"}},
		"a role":                {Of{Role: "edit"}, []string{"cluster: list nodes", "pay: list pods,secrets,services"}},
		"another role":          {Of{Role: "view"}, nil},
		"a Role of this name":   {Of{Role: "edit", RoleKind: "Role"}, nil},
		"a RoleBinding":         {Of{Namespace: "pay", Binding: "fix-1"}, []string{"pay: list pods,secrets"}},
		"a ClusterRoleBinding":  {Of{Binding: "fix-1"}, []string{"cluster: list nodes"}},
		"a namespace":           {Of{User: "alice", In: "pay"}, []string{"pay: list pods,services"}},
		"a user":                {Of{User: "alice"}, []string{"cluster: list nodes", "pay: list pods,services"}},
		"who was impersonated":  {Of{User: "carol"}, []string{"pay: list secrets"}},
		"who impersonated them": {Of{User: "bob"}, []string{"cluster: impersonate users carol"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lines(Advise(slices.Values(calls), Options{Of: test.of}).Roles); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	a := Advise(slices.Values(calls), Options{Of: Of{Namespace: "pay", Binding: "fix-1"}})
	if all := strings.Join(a.Unseen, "\n"); !strings.Contains(all, "do not count here (2): ClusterRoleBinding fix-1, RoleBinding pay/other") {
		t.Errorf("does not tell of the other bindings:\n%s", all)
	}
}
