package attribution

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/usage"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

const suffix = "-93a9a96315c30a04"

// granted is a grant of lines of rules to a subject: in namespaces, or in the cluster
// without any.
func granted(name string, subject v1alpha1.Subject, lines []string, namespaces ...string) *v1alpha1.AccessGrant {
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: name + suffix}}
	g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: subject}}
	g.Spec.RoleRef = &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"}
	g.Spec.RoleRules = lines
	g.Spec.Cluster = len(namespaces) == 0
	for _, ns := range namespaces {
		g.Spec.Namespaces = append(g.Spec.Namespaces, v1alpha1.GrantNamespace{ObjectRef: v1alpha1.ObjectRef{Name: ns}})
	}
	g.Spec.NotBefore = metav1.NewTime(noon)
	return g
}

func ended(g *v1alpha1.AccessGrant, after time.Duration) *v1alpha1.AccessGrant {
	g.Status.EndedTime = &metav1.Time{Time: noon.Add(after)}
	return g
}

func user(name string) v1alpha1.Subject { return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: name} }

// call is alice's for a Pod in payments, a minute after noon, changed.
func call(reason string, changes ...func(*usage.Event)) *usage.Event {
	e := &usage.Event{
		User: "alice", Verb: "get", Resource: "pods", Namespace: "payments", Name: "api-0",
		Received: noon.Add(time.Minute), Code: 200, Allowed: true, Reason: reason,
	}
	for _, change := range changes {
		change(e)
	}
	return e
}

// issued is a grant of alice's with a credential of its own.
func issued(name string, lines []string) *v1alpha1.AccessGrant {
	g := granted(name, user("alice"), lines, "payments")
	g.Spec.CredentialKey = "key"
	return g
}

func asIssued(name string) func(*usage.Event) {
	return func(e *usage.Event) { e.User = "system:serviceaccount:access-broker-grants:" + name + suffix }
}

func by(kind, name string) string {
	return fmt.Sprintf(`RBAC: allowed by %s %q of ClusterRole "edit" to User "alice"`, kind, name)
}

func TestOf(t *testing.T) {
	pods, secrets := []string{"get,list pods"}, []string{"get secrets"}
	alice := user("alice")
	one := []*v1alpha1.AccessGrant{granted("a", alice, pods, "payments")}
	two := append(slices.Clone(one), granted("b", alice, pods, "payments", "billing"))
	for name, c := range map[string]struct {
		grants []*v1alpha1.AccessGrant
		event  *usage.Event
		want   string
	}{
		"by its binding":                  {one, call(by("RoleBinding", "a"+suffix+"/payments")), "a"},
		"two cover it":                    {two, call(by("RoleBinding", "b"+suffix+"/payments")), "a~ b~"},
		"two, of which one does not":      {append(slices.Clone(one), granted("b", alice, secrets, "payments")), call(by("RoleBinding", "a"+suffix+"/payments")), "a"},
		"two, one elsewhere":              {append(slices.Clone(one), granted("b", alice, pods, "billing")), call(by("RoleBinding", "a"+suffix+"/payments")), "a"},
		"two, one of somebody else":       {append(slices.Clone(one), granted("b", user("bob"), pods, "payments")), call(by("RoleBinding", "a"+suffix+"/payments")), "a"},
		"two, one over":                   {append(slices.Clone(one), ended(granted("b", alice, pods, "payments"), time.Second)), call(by("RoleBinding", "a"+suffix+"/payments")), "a"},
		"cluster and namespace":           {append(slices.Clone(one), granted("c", alice, pods)), call(by("ClusterRoleBinding", "c"+suffix)), "a~ c~"},
		"a standing binding":              {one, call(by("ClusterRoleBinding", "admins")), "a~"},
		"a standing one, not covered":     {one, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.Resource = "nodes"; e.Namespace = "" }), ""},
		"another authorizer":              {one, call(""), "a~"},
		"a copy of the binding elsewhere": {one, call(by("RoleBinding", "a"+suffix+"/billing"), func(e *usage.Event) { e.Namespace = "billing" }), ""},
		"a ClusterRoleBinding of its name": {
			one, call(by("ClusterRoleBinding", "a"+suffix), func(e *usage.Event) { e.Namespace = "billing" }), "",
		},
		"its name in a user agent and a path": {one, call(by("RoleBinding", "x/payments"), func(e *usage.Event) {
			e.User, e.UserAgent, e.Path = "mallory", by("RoleBinding", "a"+suffix+"/payments"), by("RoleBinding", "a"+suffix+"/payments")
		}), ""},
		"of another user": {one, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.User = "bob" }), ""},
		"impersonated":    {one, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.User, e.Impersonated = "root", "alice" }), "a~"},
		"alice as bob":    {one, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.Impersonated = "bob" }), ""},
		"refused":         {two, call("", func(e *usage.Event) { e.Allowed, e.Code, e.Verb = false, 403, "delete" }), "a b"},
		"refused elsewhere": {
			one, call("", func(e *usage.Event) { e.Allowed, e.Code, e.Namespace = false, 403, "kube-system" }), "a",
		},
		"refused before the grant": {one, call("", func(e *usage.Event) { e.Allowed, e.Code, e.Received = false, 403, noon.Add(-time.Second) }), ""},
		"the end of a session": {
			[]*v1alpha1.AccessGrant{ended(granted("a", alice, pods, "payments"), time.Second)},
			call(by("RoleBinding", "a"+suffix+"/payments")), "a",
		},
		"a group": {
			[]*v1alpha1.AccessGrant{granted("g", v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: "sre"}, pods, "payments")},
			call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.Groups = []string{"dev", "sre", "sre"} }), "g~",
		},
		"a ServiceAccount": {
			[]*v1alpha1.AccessGrant{granted("s", v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: "ci", Name: "deployer"}, pods, "payments")},
			call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.User = "system:serviceaccount:ci:deployer" }), "s~",
		},
		"an issued credential":           {[]*v1alpha1.AccessGrant{issued("i", pods)}, call(by("RoleBinding", "i"+suffix+"/payments"), asIssued("i")), "i"},
		"an issued one, by another way":  {[]*v1alpha1.AccessGrant{issued("i", pods)}, call(by("ClusterRoleBinding", "system:discovery"), asIssued("i"), func(e *usage.Event) { e.Resource, e.Namespace, e.Path = "", "", "/api" }), "i~"},
		"an issued one, refused":         {[]*v1alpha1.AccessGrant{issued("i", pods)}, call("", asIssued("i"), func(e *usage.Event) { e.Allowed, e.Code, e.Verb = false, 403, "delete" }), "i"},
		"the requester of an issued one": {[]*v1alpha1.AccessGrant{issued("i", pods)}, call(by("ClusterRoleBinding", "admins")), ""},
		"an issued one beside one's own": {append(slices.Clone(one), issued("i", pods)), call(by("RoleBinding", "i"+suffix+"/payments"), asIssued("i")), "i"},
		"an issued one of another grant": {[]*v1alpha1.AccessGrant{issued("i", pods)}, call("", asIssued("j"), func(e *usage.Event) { e.Allowed, e.Code = false, 403 }), ""},
		"an issued one before its grant": {[]*v1alpha1.AccessGrant{issued("i", pods)}, call("", asIssued("i"), func(e *usage.Event) { e.Allowed, e.Code, e.Received = false, 403, noon.Add(-time.Second) }), ""},
		"for one name":                   {[]*v1alpha1.AccessGrant{granted("n", alice, []string{"get pods api-0"}, "payments")}, call(by("ClusterRoleBinding", "admins")), "n~"},
		"for one name, of all":           {[]*v1alpha1.AccessGrant{granted("n", alice, []string{"get pods api-0"}, "payments")}, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.Name = "api-1" }), ""},
		"a path":                         {[]*v1alpha1.AccessGrant{granted("p", alice, []string{"get /metrics"})}, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.Resource, e.Namespace, e.Name, e.Path = "", "", "", "/metrics" }), "p~"},
		"everything":                     {[]*v1alpha1.AccessGrant{granted("p", alice, []string{"* *.*"})}, call(by("ClusterRoleBinding", "admins"), func(e *usage.Event) { e.Resource, e.Subresource = "pods", "exec" }), "p~"},
		"a long session's path": {
			[]*v1alpha1.AccessGrant{granted("e", alice, []string{"create pods/exec"}, "payments")},
			call(by("RoleBinding", "e"+suffix+"/payments"), func(e *usage.Event) { e.Verb, e.Subresource = "create", "exec" }), "e",
		},
	} {
		var got []string
		for _, share := range New(c.grants, nil).Of(c.event) {
			mark := ""
			if share.Shared {
				mark = "~"
			}
			got = append(got, strings.TrimSuffix(share.Grant, suffix)+mark)
		}
		slices.SortFunc(got, cmp.Compare)
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// The filter lets through whatever Of could attribute, also by a grant that is not
// known yet.
func TestFilter(t *testing.T) {
	grants := New([]*v1alpha1.AccessGrant{
		granted("a", user("alice"), nil, "payments"), granted("g", v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: "sre"}, nil, "payments"),
	}, nil)
	line := func(user, groups, reason string) string {
		return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"1","stage":"ResponseComplete","verb":"get","requestURI":"/x",`+
			`"user":{"username":%q,"groups":[%s]},"requestReceivedTimestamp":"2026-11-26T12:00:00.000000Z","stageTimestamp":"2026-11-26T12:00:00.000000Z",`+
			`"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":%q}}`, user, groups, reason)
	}
	for name, c := range map[string]struct {
		line string
		want int
	}{
		"by the user":            {line("alice", "", ""), 1},
		"by the group":           {line("bob", `"dev","sre"`, ""), 1},
		"by a binding":           {line("bob", "", by("RoleBinding", "a"+suffix+"/payments")), 1},
		"by a grant not known":   {line("bob", "", by("RoleBinding", "new-0123456789abcdef/payments")), 1},
		"by another binding":     {line("bob", "", by("RoleBinding", "admins/payments")), 0},
		"by nobody's":            {line("bob", `"dev"`, ""), 0},
		"by the observer itself": {line("observer", "", ""), 1},
	} {
		n := 0
		_, err := usage.Read(strings.NewReader(c.line), grants.Filter("observer"), func(*usage.Event) error { n++; return nil })
		if err != nil || n != c.want {
			t.Errorf("%s: %d events, want %d; %v", name, n, c.want, err)
		}
	}
}
