package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// bindable lets the broker bind a ClusterRole, as an administrator who lists it
// in a role of its own.
func bindable(t *testing.T, name string) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "bind-" + name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{name}, Verbs: []string{"bind"}}},
	}
	kit.Create(t, e.Admin, role)
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: lab.BrokerNamespace, Name: lab.BrokerServiceAccount}},
	})
}

// readied waits until a policy is Ready with a status and a reason, and returns
// what it says.
func readied(t *testing.T, p *v1alpha1.AccessPolicy, status metav1.ConditionStatus, reason string) string {
	t.Helper()
	var last *metav1.Condition
	err := lab.Until(t.Context(), kit.Patience, func(ctx context.Context) (bool, error) {
		current := &v1alpha1.AccessPolicy{}
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), current); err != nil {
			return false, err
		}
		last = meta.FindStatusCondition(current.Status.Conditions, v1alpha1.ConditionReady)
		return last != nil && last.Status == status && last.Reason == reason, nil
	})
	if err != nil {
		t.Fatalf("waiting for Ready=%s %s: %v; it is %+v", status, reason, err, last)
	}
	return last.Message
}

// withRole is a role that the broker may bind, a policy for it, and alice's
// access by it.
func withRole(t *testing.T, name string, rules []rbacv1.PolicyRule, edit func(*v1alpha1.AccessPolicySpec)) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules})
	bindable(t, name)
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles = []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: name}}
		if edit != nil {
			edit(s)
		}
	})
	readied(t, p, metav1.ConditionTrue, v1alpha1.ReasonCompiles)
	request = e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = name }))
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	return ns, e.WaitFor(t, request, v1alpha1.RequestActive)
}

// changeRules of a ClusterRole.
func changeRules(t *testing.T, name string, change func([]rbacv1.PolicyRule) []rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: name}, role); err != nil {
		t.Fatal(err)
	}
	role.Rules = change(role.Rules)
	if err := e.Admin.Update(t.Context(), role); err != nil {
		t.Fatal(err)
	}
}

func rule(verbs, group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: strings.Split(verbs, ","), APIGroups: []string{group}, Resources: resources}
}

// The APIs of 121 operators in one role, as they are aggregated into admin: 513
// rules, all of which are shown, and known when the role changes.
func TestRoleOfManyOperators(t *testing.T) {
	t.Parallel()
	rules := []rbacv1.PolicyRule{rule("get,list,watch,delete", "", "pods")}
	for i := range 128 {
		group := fmt.Sprintf("operator%d.example.com", i)
		rules = append(rules, rule("*", group, "widgets"), rule("get,list,watch", group, "widgets", "widgets/status"),
			rule("create,delete,deletecollection,patch,update", group, "widgets", "gadgets"), rule("get,list,watch", group, "gadgets"))
	}
	ns, active := withRole(t, "operators", rules, nil)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	lines := active.Status.Rules
	if len(lines) > 100 || strings.Contains(strings.Join(lines, "\n"), "...") || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "* widgets.operator0.example.com,") }) {
		t.Errorf("%d lines, such as %q", len(lines), lines[0])
	}
	if g := e.GrantOf(t, active); !slices.Equal(g.Spec.RoleRules, lines) {
		t.Error("the grant does not keep what was shown")
	}
	// Narrower is no reason to end it, wider is.
	changeRules(t, "operators", func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule { return rules[:len(rules)-1] })
	changeRules(t, "operators", func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
		return append(rules, rule("get", "operator127.example.com", "widgets/scale"))
	})
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndRoleWidened)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}

// One rule over more groups, names or letters than fit into a line takes no
// role away.
func TestRoleOfLongRules(t *testing.T) {
	t.Parallel()
	groups := rule("get,list,watch", "", "pods")
	for i := range 65 {
		groups.APIGroups = append(groups.APIGroups, fmt.Sprintf("g%d.example.com", i))
	}
	named := rule("get", "", "configmaps")
	for i := range 300 {
		named.ResourceNames = append(named.ResourceNames, fmt.Sprint("config-", i))
	}
	ns, active := withRole(t, "long-rules", []rbacv1.PolicyRule{groups, named, rule("delete", "", "pods")}, nil)
	if !kit.Can(t, alice, ns) || !kit.CanDo(t, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "configmaps", Name: "config-299"}) {
		t.Error("alice has no access")
	}
	if text := strings.Join(active.Status.Rules, "\n"); !strings.Contains(text, "pods.g64.example.com") || !strings.Contains(text, "config-299") {
		t.Errorf("not all is shown: %s", text)
	}

	endless := rule("get", "", "configmaps")
	endless.ResourceNames = []string{strings.Repeat("n", 3000)}
	ns, active = withRole(t, "endless", []rbacv1.PolicyRule{endless, rule("delete", "", "pods")}, nil)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	if want := []string{"delete pods", "... and 1 of 2 permissions more; kubectl get clusterrole endless -o yaml shows all of them"}; !slices.Equal(active.Status.Rules, want) {
		t.Errorf("shown: %q, want %q", active.Status.Rules, want)
	}
}

// More rules than can be shown are granted all the same. What the grant does not
// list it cannot tell from what was added: after a change the role may allow no
// more than the lines, unless the policy keeps.
func TestRoleTooLongToShow(t *testing.T) {
	t.Parallel()
	var rules []rbacv1.PolicyRule
	for i := range 4000 {
		rules = append(rules, rule("get,list,watch", fmt.Sprintf("operator%d.example.com", i), "widgets"))
	}
	rules = append(rules, rule("delete", "", "pods"), rule("create", "tekton.dev", "taskruns"))
	ns, active := withRole(t, "too-long", rules, nil)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	lines, size := active.Status.Rules, 0
	for _, line := range lines {
		size += len(line)
	}
	if lines[0] != "create taskruns.tekton.dev" || len(lines) > 512 || size > 64<<10 {
		t.Errorf("%d lines of %d bytes, the first %q", len(lines), size, lines[0])
	}
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "... and ") || !strings.HasSuffix(last, " of 12,002 permissions more; kubectl get clusterrole too-long -o yaml shows all of them") {
		t.Errorf("the last line is %q", last)
	}
	may := func(what authorizationv1.ResourceAttributes, want bool) {
		t.Helper()
		what.Namespace = ns
		err := lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) {
			return kit.CanDo(t, alice, what) == want, nil
		})
		if err != nil {
			t.Fatalf("alice may %s %s: not %v", what.Verb, what.Resource, want)
		}
	}
	hidden := authorizationv1.ResourceAttributes{Verb: "get", Group: "operator3999.example.com", Resource: "widgets"}
	may(hidden, true)
	changeRules(t, "too-long", func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule { return rules[4000:] })
	may(hidden, false)
	if !kit.Can(t, alice, ns) {
		t.Error("alice lost what was shown and approved")
	}
	// What was approved and not listed looks like anything else.
	changeRules(t, "too-long", func(narrow []rbacv1.PolicyRule) []rbacv1.PolicyRule { return append(narrow, rules[3999]) })
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndRoleWidened)

	ns, active = withRole(t, "too-long-kept", rules, func(s *v1alpha1.AccessPolicySpec) { s.OnRoleWidened = v1alpha1.OnRoleWidenedKeep })
	changeRules(t, "too-long-kept", func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule { return rules[1:] })
	kit.MustDecide(t, alice, active, v1alpha1.VerdictRelease)
	ended := e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	if !kit.HasMessage(ended.Status.Conditions, "that the grant lists, and for none that it leaves out, and allows none") {
		t.Errorf("the proof claims too much: %s", kit.Describe(ended.Status.Conditions))
	}
}

// A policy says in Ready which of its roles cannot be granted and what to do,
// goes on with the others, and is Ready once an administrator has done it.
func TestPolicyTellsWhatCannotBeGranted(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles = append(s.Roles, v1alpha1.RoleRef{Kind: "ClusterRole", Name: "comes-later"}, v1alpha1.RoleRef{Kind: "Role", Name: "own"})
	})
	why := readied(t, p, metav1.ConditionFalse, v1alpha1.ReasonRoleNotGrantable)
	if want := "ClusterRole comes-later does not exist; Role " + ns + "/own does not exist; everything else that the policy allows can be asked for"; why != want {
		t.Errorf("it says %q, want %q", why, want)
	}
	request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)

	kit.Create(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "comes-later"}, Rules: []rbacv1.PolicyRule{rule("get", "", "pods")}})
	kit.Create(t, e.Admin, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "own"}, Rules: []rbacv1.PolicyRule{rule("get", "", "pods")}})
	says := func(part string) {
		t.Helper()
		err := lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) {
			why = readied(t, p, metav1.ConditionFalse, v1alpha1.ReasonRoleNotGrantable)
			return strings.Contains(why, part), nil
		})
		if err != nil {
			t.Fatalf("it says %q, not %q", why, part)
		}
	}
	says("the broker may not bind ClusterRole comes-later: an administrator lists the roles it may bind in the ClusterRole access-broker-grantable-roles")
	says("the broker may not bind Role own")

	// Listed where the page says, in the one role that is there for it.
	changeRules(t, "access-broker-grantable-roles", func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
		rules[0].ResourceNames = append(rules[0].ResourceNames, "comes-later")
		return append(rules, rbacv1.PolicyRule{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: []string{"own"}, Verbs: []string{"bind"}})
	})
	readied(t, p, metav1.ConditionTrue, v1alpha1.ReasonCompiles)

	kit.Delete(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "comes-later"}})
	readied(t, p, metav1.ConditionFalse, v1alpha1.ReasonRoleNotGrantable)
}

// What is in the status is never an empty list: no risk that is known is told
// as that.
func TestNoKnownRisk(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "view" }))
	want := []v1alpha1.Risk{{Kind: "NoneKnown", Message: "do nothing more that is known here, which does not mean that there is nothing"}}
	if !slices.Equal(request.Status.Risks, want) {
		t.Errorf("bob is told %v, want %v", request.Status.Risks, want)
	}
}
