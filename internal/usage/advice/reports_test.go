package advice

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/usage"
)

// What people reported of roles made from logs, and of rules that do not do what they
// say.
func TestReports(t *testing.T) {
	for name, test := range map[string]struct {
		calls []*usage.Event
		of    Of
		want  []string
		says  string // of what is needed or unseen
		not   []Right
	}{
		// liggitt/audit2rbac#24, kubernetes/kubernetes#80295, #132213: the log has the
		// name of a created object, a rule with it allows no create.
		"create has no name": {
			calls: []*usage.Event{call("create secrets pay/key", code(201), path("/api/v1/namespaces/pay/secrets"))},
			want:  []string{"pay: create secrets"},
		},
		// kubernetes/kubernetes#80295: an apply that creates is asked for create with
		// the name. kcp-dev/kcp#3439: it is not patch alone.
		"an apply that creates": {
			calls: []*usage.Event{call("patch configmaps pay/app", code(201)), call("patch configmaps pay/app")},
			want:  []string{"pay: create,patch configmaps app"},
			says:  "create configmaps in namespace pay, on app: " + applied,
			not:   []Right{{Verb: "create", Resource: "configmaps", Namespace: "pay"}},
		},
		"a put that creates": {
			calls: []*usage.Event{call("update leases.coordination.k8s.io pay/lock", code(201))},
			want:  []string{"pay: create,update leases.coordination.k8s.io lock"},
			says:  applied,
		},
		// kubernetes/kubernetes#54079, #89772: list and watch of one name, by a field
		// selector, which the API server tells as the name.
		"list and watch of one name": {
			calls: []*usage.Event{call("list secrets pay/singleton"), call("watch secrets pay/singleton")},
			want:  []string{"pay: list,watch secrets singleton"},
			not:   []Right{{Verb: "list", Resource: "secrets", Namespace: "pay"}},
		},
		// tektoncd/pipeline#3023, humio/humio-operator#504: deletecollection is a verb of
		// its own, and has no name.
		"deletecollection": {
			calls: []*usage.Event{call("deletecollection pipelineruns.tekton.dev pay/old")},
			want:  []string{"pay: deletecollection pipelineruns.tekton.dev"},
		},
		// kubernetes/kubernetes#78741, #134577: a session over WebSockets is a get, and
		// since 1.35 needs create.
		"exec over WebSockets": {
			calls: []*usage.Event{call("get pods/exec pay/web", code(101))},
			want:  []string{"pay: create,get pods/exec web"},
			says:  upgraded,
			not:   []Right{{Verb: "create", Resource: "pods/attach", Namespace: "pay", Name: "web"}},
		},
		"exec over SPDY": {
			calls: []*usage.Event{call("create pods/exec pay/web", code(101))},
			want:  []string{"pay: create pods/exec web"},
		},
		// kubernetes/website#50455: create on a subresource has a name in its path.
		"a token of one ServiceAccount": {
			calls: []*usage.Event{call("create serviceaccounts/token pay/ci", code(201))},
			want:  []string{"pay: create serviceaccounts/token ci"},
		},
		// kubernetes/kubernetes#29675: a path that ends in * is a pattern. Whoever may
		// ask for any path must not have all of them proposed by asking for /*.
		"a path with a star": {
			calls: []*usage.Event{call("get /*"), call("get /logs/%2A"), call("get /m%65trics")},
			want:  []string{"cluster: get /metrics"},
			not:   []Right{{Verb: "get", Path: "/debug"}},
		},
		"a resource, a group and a method with a star": {
			calls: []*usage.Event{call("get * pay/x"), call("get pods.* pay/x"), call("* /metrics"), call("get */log pay/x")},
		},
		// kubernetes/website#3231: who acts as somebody else needs that name, not all.
		"impersonation": {
			calls: []*usage.Event{
				call("list pods pay", by("helpdesk"), as("carol")),
				call("list pods pay", by("helpdesk"), as("system:serviceaccount:pay:ci")),
			},
			of:   Of{User: "helpdesk"},
			want: []string{"cluster: impersonate users carol", "pay: impersonate serviceaccounts ci"},
			says: "groups, UID and extra values need impersonate as well",
		},
		// kubernetes/kubernetes#86933, proofpoint/kapprover#30: approve on the signer.
		"approval of certificates": {
			calls: []*usage.Event{call("update certificatesigningrequests.certificates.k8s.io/approval -/csr-1")},
			want:  []string{"cluster: update certificatesigningrequests.certificates.k8s.io/approval csr-1"},
			says:  "approve on the signer",
		},
		// PaloAltoNetworks/rbac-police#22: bind and escalate.
		"a binding was written": {
			calls: []*usage.Event{call("create rolebindings.rbac.authorization.k8s.io pay/b", code(201))},
			want:  []string{"pay: create rolebindings.rbac.authorization.k8s.io"},
			says:  "bind on the role",
		},
		// A namespace is in the namespace of its own name.
		"one namespace": {
			calls: []*usage.Event{call("get namespaces pay/pay", path("/api/v1/namespaces/pay"))},
			want:  []string{"pay: get namespaces pay"},
			not:   []Right{{Verb: "get", Resource: "namespaces", Namespace: "shop", Name: "shop"}},
		},
		// The API server fills the namespace in from the body, too.
		"a namespace in the body alone": {
			calls: []*usage.Event{call("create nodes pay/n1", path("/api/v1/nodes"), code(400))},
			want:  []string{"cluster: create nodes"},
		},
		"an escaped namespace in the path": {
			calls: []*usage.Event{call("create pods pay/p", path("/api/v1/namespaces/p%61y/pods"))},
			want:  []string{"pay: create pods"},
		},
		"a name that ends names": {
			calls: []*usage.Event{call("get pods pay/a\x00b"), call("get pods pay/a,b"), call("list secrets pay")},
			want:  []string{`pay: get pods "a\x00b","a\x2cb"`, "pay: list secrets"},
			not:   []Right{{Verb: "get", Resource: "pods", Namespace: "pay", Name: "a"}},
		},
		"a name that looks like two": {
			calls: []*usage.Event{call("get pods pay/", named("a b")), call("get secrets pay/a"), call("get secrets pay/b")},
			want:  []string{`pay: get pods "a\x20b"`, "pay: get secrets a,b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := Advise(slices.Values(test.calls), Options{Of: test.of})
			if got := lines(a.Roles); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			said := strings.Join(a.Unseen, "\n")
			for _, step := range a.Needed {
				said += "\n" + step.Says
			}
			if !strings.Contains(said, test.says) {
				t.Errorf("does not say %q:\n%s", test.says, said)
			}
			for _, r := range test.not {
				if len(denied(a.Roles, set{r: {}})) == 0 {
					t.Errorf("%s in %s is proposed", r, r.Where())
				}
			}
			if want := strings.Contains(name, "star"); (len(a.Odd) > 0) != want {
				t.Errorf("odd calls: %+v", a.Odd)
			}
		})
	}
}

func TestWiden(t *testing.T) {
	calls := []*usage.Event{
		call("get pods pay/web-7d4b9c6f5-x2x7k"), call("delete pods pay/web-7d4b9c6f5-x2x7k"), call("get pods pay/web-7d4b9c6f5-z9bcd"),
		call("get secrets pay/key"), call("patch deployments.apps pay/web"), call("list services -"),
	}
	for name, test := range map[string]struct {
		steps      []string
		want, says []string
	}{
		"none": {nil, []string{
			"cluster: list services", "pay: delete,get pods web-7d4b9c6f5-x2x7k", "pay: get pods web-7d4b9c6f5-z9bcd", "pay: get secrets key", "pay: patch deployments.apps web",
		}, nil},
		GeneratedNames: {[]string{GeneratedNames}, []string{
			"cluster: list services", "pay: delete,get pods", "pay: get secrets key", "pay: patch deployments.apps web",
		}, []string{"delete, get pods in namespace pay: all names, also those to come; they look generated (2 in the log, such as web-7d4b9c6f5-x2x7k)"}},
		Reads: {[]string{Reads}, []string{
			"cluster: get,list,watch services", "pay: delete,get,list,watch pods web-7d4b9c6f5-x2x7k", "pay: get,list,watch pods web-7d4b9c6f5-z9bcd",
			"pay: get,list,watch secrets key", "pay: patch deployments.apps web",
		}, []string{
			"get, list, watch services in the whole cluster: also get, watch, on all names",
			"get, list, watch pods in namespace pay: also list, watch, on web-7d4b9c6f5-x2x7k, web-7d4b9c6f5-z9bcd",
			"get, list, watch secrets in namespace pay: also list, watch, on key",
		}},
		Writes: {[]string{Writes}, []string{
			"cluster: list services", "pay: delete,get pods web-7d4b9c6f5-x2x7k", "pay: get pods web-7d4b9c6f5-z9bcd", "pay: get secrets key", "pay: patch,update deployments.apps web",
		}, []string{"patch, update deployments.apps in namespace pay: also update, on web"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := Advise(slices.Values(calls), Options{Widen: Widen{Steps: test.steps}})
			got := lines(a.Roles)
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
			var said []string
			for _, step := range a.Widened {
				said = append(said, step.Says)
			}
			if !slices.Equal(said, test.says) {
				t.Errorf("says %q", said)
			}
			if name == "none" && len(a.Offered) < 3 {
				t.Errorf("offers %v", a.Offered)
			}
		})
	}
	t.Run("refused, when asked for", func(t *testing.T) {
		a := Advise(slices.Values([]*usage.Event{call("list pods pay"), call("get secrets pay/key", refused)}), Options{Refused: true})
		if got := lines(a.Roles); !slices.Equal(got, []string{"pay: list pods", "pay: get secrets key"}) || len(a.Widened) != 1 {
			t.Errorf("%q %v", got, a.Widened)
		}
	})
	t.Run("nobody may become everybody", func(t *testing.T) {
		a := Advise(slices.Values([]*usage.Event{call("list pods pay", by("h"), as("u-7d4b9c6f5-x2x7k"))}), Options{
			Of: Of{User: "h"}, Widen: Widen{Steps: Widenings}, Present: []rbacv1.PolicyRule{},
		})
		if got := lines(a.Roles); !slices.Equal(got, []string{"cluster: impersonate users u-7d4b9c6f5-x2x7k"}) {
			t.Errorf("%q", got)
		}
	})
}

func TestLooksGenerated(t *testing.T) {
	for name, want := range map[string]bool{
		"web-7d4b9c6f5-x2x7k": true, "web-7d4b9c6f5": true, "job-x2x7k": true, "backup-28457290": true, "backup-28457290-x2x7k": true,
		"web.17abcdef01234567": true, "sh.helm.release.v1.web.v3": true, "lock-3f2504e0-4f89-11d3-9a0c-0305e82c3301": true,
		"config-3f2504e04f89": true,
		"web":                 false, "web-0": false, "db-https": false, "kube-root-ca.crt": false, "postgres-config": false, "web-2024": false,
		"ip-10-0-1-7": false, "cache-decade": false, "node-1": false, "app-v2": false,
	} {
		if got := looksGenerated(name, stemsOf([]string{name})); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if names := []string{"job-bcdfg", "job-qrstv"}; !looksGenerated(names[0], stemsOf(names)) {
		t.Error("two names with the same beginning and random endings")
	}
}
