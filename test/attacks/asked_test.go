package attacks

import (
	"context"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

func rule(group string, resources, verbs []string, names ...string) v1alpha1.PolicyRule {
	return v1alpha1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs, ResourceNames: names}
}

func list(items ...string) []string { return items }

// askForRules asks for rules of one's own under a policy with that ceiling.
func askForRules(t *testing.T, ceiling []v1alpha1.PolicyRule, asked ...v1alpha1.PolicyRule) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	p := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Roles, s.Rules = nil, ceiling })
	return ns, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef, s.Rules, s.PolicyName = nil, asked, p.Name })
}

func TestRules(t *testing.T) {
	t.Parallel()
	deletePods := rule("", list("pods"), list("get", "delete"))

	// No attack: what is allowed works, or the refusals below prove nothing.
	t.Run("rules are given, held and gone with their Role", func(t *testing.T) {
		t.Parallel()
		ns, request := askForRules(t, []v1alpha1.PolicyRule{deletePods}, rule("", list("pods"), list("delete")))
		kit.MustDecide(t, bob, e.WaitMatched(t, request), v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
		if kit.CanDo(t, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "pods"}) {
			t.Error("alice has more than was asked for")
		}
		g := e.GrantOf(t, request)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil || role.OwnerReferences[0].UID != g.UID {
			t.Errorf("the grant does not own its Role: %v, %+v", err, role.OwnerReferences)
		}
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
		mustNot(t, alice, ns)
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(role), role); !apierrors.IsNotFound(err) {
			t.Errorf("the Role is left: %v", err)
		}
	})
	uncovered := func(t *testing.T, ceiling []v1alpha1.PolicyRule, asked v1alpha1.PolicyRule) {
		ns, request := askForRules(t, ceiling, asked)
		mustEnd(t, request, v1alpha1.RequestDenied, "does not cover all of the rules")
		mustNot(t, alice, ns)
	}
	attack(t, "omitted resourceNames inside named ones", func(t *testing.T) {
		uncovered(t, []v1alpha1.PolicyRule{rule("", list("pods"), list("delete"), "one")}, rule("", list("pods"), list("delete")))
	})
	attack(t, "verbs of one rule on resources of another", func(t *testing.T) {
		uncovered(t, []v1alpha1.PolicyRule{rule("", list("pods"), list("get", "delete")), rule("", list("configmaps"), list("get"))},
			rule("", list("configmaps"), list("delete")))
	})
	attack(t, "resource of another API group", func(t *testing.T) {
		uncovered(t, []v1alpha1.PolicyRule{deletePods}, rule("metrics.k8s.io", list("pods"), list("delete")))
	})
	attack(t, "subresource of a covered resource", func(t *testing.T) {
		uncovered(t, []v1alpha1.PolicyRule{rule("", list("pods"), list("get", "create"))}, rule("", list("pods/exec"), list("create")))
	})
	attack(t, "rules above what the broker holds", func(t *testing.T) {
		rules := []v1alpha1.PolicyRule{rule("", list("secrets"), list("get"))}
		_, request := askForRules(t, rules, rules...)
		mustEnd(t, request, v1alpha1.RequestFailed, "access-broker-adhoc-ceiling")
	})
	attack(t, "URL paths in a namespace", func(t *testing.T) {
		rules := []v1alpha1.PolicyRule{{NonResourceURLs: list("/metrics"), Verbs: list("get")}}
		_, request := askForRules(t, rules, rules...)
		mustEnd(t, request, v1alpha1.RequestFailed, "belong to no namespace")
	})
}

// never asks for what is never given, though the policy allows just that.
func never(t *testing.T, name string, asked v1alpha1.PolicyRule) {
	t.Helper()
	attack(t, name, func(t *testing.T) {
		_, request := askForRules(t, []v1alpha1.PolicyRule{asked}, asked)
		ended := e.WaitFor(t, request, v1alpha1.RequestFailed)
		if !kit.HasReason(ended.Status.Conditions, v1alpha1.ReasonNeverGrantable) {
			t.Errorf("want %s in: %s", v1alpha1.ReasonNeverGrantable, kit.Describe(ended.Status.Conditions))
		}
	})
}

func TestNeverGrantable(t *testing.T) {
	t.Parallel()
	const rbac, admission, certificates, ours = "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io", "jit.accessbroker.dev"
	never(t, "all verbs", rule("", list("pods"), list("*")))
	never(t, "all resources", rule("", list("*"), list("get")))
	never(t, "all API groups", rule("*", list("pods"), list("get")))
	never(t, "all subresources of a name", rule("apps", list("*/scale"), list("get")))
	never(t, "escalate", rule(rbac, list("roles"), list("escalate")))
	never(t, "bind", rule(rbac, list("clusterroles"), list("bind"), "view"))
	never(t, "impersonate a user", rule("", list("users"), list("impersonate")))
	never(t, "impersonate a ServiceAccount", rule("", list("serviceaccounts"), list("impersonate")))
	never(t, "impersonate by uid", rule("authentication.k8s.io", list("uids"), list("impersonate")))
	never(t, "constrained impersonation of a user", rule("authentication.k8s.io", list("users"), list("impersonate:user-info")))
	never(t, "constrained impersonation for an action", rule("", list("pods"), list("impersonate-on:user-info:list")))
	never(t, "tokens of ServiceAccounts", rule("", list("serviceaccounts/token"), list("create")))
	never(t, "nodes/proxy", rule("", list("nodes/proxy"), list("get")))
	never(t, "approval of certificates", rule(certificates, list("certificatesigningrequests/approval"), list("update")))
	never(t, "signing of certificates", rule(certificates, list("signers"), list("sign")))
	never(t, "writes to Roles", rule(rbac, list("roles"), list("patch")))
	never(t, "writes to RoleBindings", rule(rbac, list("rolebindings"), list("create")))
	never(t, "deletion of ClusterRoleBindings", rule(rbac, list("clusterrolebindings"), list("deletecollection")))
	never(t, "writes to admission policies", rule(admission, list("validatingadmissionpolicybindings"), list("delete")))
	never(t, "writes to webhooks", rule(admission, list("mutatingwebhookconfigurations"), list("create")))
	never(t, "writes to decisions", rule(ours, list("accessrequests/status"), list("patch")))
	never(t, "writes to policies", rule(ours, list("accesspolicies"), list("update")))
	never(t, "writes to grants", rule(ours, list("accessgrants"), list("delete")))
	never(t, "writes to usage", rule(ours, list("accessusages"), list("update")))
	never(t, "writes to the definitions of kinds", rule("apiextensions.k8s.io", list("customresourcedefinitions"), list("delete")))
	never(t, "writes to who serves an API", rule("apiregistration.k8s.io", list("apiservices"), list("update")))
}

func TestSubjects(t *testing.T) {
	t.Parallel()
	reserved := func(s v1alpha1.Subject) func(*testing.T) error {
		return func(t *testing.T) error {
			return alice.Create(t.Context(), lab.NewRequest("default", func(r *v1alpha1.AccessRequestSpec) { r.Subjects = []v1alpha1.Subject{s} }))
		}
	}
	const rule = "belong to Kubernetes and cannot be given access"
	refused(t, "system:masters as a subject", rule, reserved(v1alpha1.Subject{Kind: "Group", Name: "system:masters"}))
	refused(t, "everybody as a subject", rule, reserved(v1alpha1.Subject{Kind: "Group", Name: "system:authenticated"}))
	refused(t, "anonymous users as a subject", rule, reserved(v1alpha1.Subject{Kind: "User", Name: "system:anonymous"}))
	refused(t, "user named like a ServiceAccount", rule, reserved(v1alpha1.Subject{Kind: "User", Name: "system:serviceaccount:default:default"}))
	attack(t, "system: in capitals", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny })
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "Group", Name: "System:masters"}}
		})
		mustEnd(t, request, v1alpha1.RequestFailed, "belongs to Kubernetes itself")
	})
	foreign := func(t *testing.T, subjects v1alpha1.SubjectsRule) (home string, worker client.Client, request *v1alpha1.AccessRequest) {
		home, away := e.NewNamespace(t, nil), e.NewNamespace(t, nil)
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: away, Name: "worker"}})
		p := newPolicy(t, home, func(s *v1alpha1.AccessPolicySpec) { s.Subjects, s.Approvals[0].Count = subjects, new(int32) })
		worker, err := e.AsServiceAccount(t.Context(), away, "worker")
		if err != nil {
			t.Fatal(err)
		}
		return home, worker, e.Ask(t, alice, home, func(s *v1alpha1.AccessRequestSpec) {
			s.PolicyName = p.Name
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: away, Name: "worker"}}
		})
	}
	attack(t, "ServiceAccount of another namespace", func(t *testing.T) {
		home, worker, request := foreign(t, v1alpha1.SubjectsServiceAccounts)
		mustEnd(t, request, v1alpha1.RequestDenied, "only when they are ServiceAccounts of namespace "+home)
		mustNot(t, worker, home)
		// It takes a policy that says so.
		home, worker, request = foreign(t, v1alpha1.SubjectsAny)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, worker, home)
	})
	attack(t, "group as a subject of a policy for oneself", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, nil)
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.PolicyName = p.Name
			s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "alice"}, {Kind: "Group", Name: "mischief"}}
		})
		mustEnd(t, request, v1alpha1.RequestDenied, "for the requester only, not for group:mischief")
		mustNot(t, mallory, ns)
	})
}

// grantable lists a ClusterRole among those that the broker may bind.
func grantable(t *testing.T, role string) {
	t.Helper()
	grantableIn(t, "", "clusterroles", role)
}

// grantableIn lists a role among those that the broker may bind; namespace is
// one in which it may, if it is a Role.
func grantableIn(t *testing.T, namespace, resource, name string) {
	t.Helper()
	bind := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "bind-" + resource + "-" + name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: list(rbacv1.GroupName), Resources: list(resource), ResourceNames: list(name), Verbs: list("bind")}},
	}
	kit.Create(t, e.Admin, bind)
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: bind.Name}, RoleRef: clusterRole(bind.Name),
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: lab.BrokerNamespace, Name: lab.BrokerServiceAccount}},
	})
	kit.Eventually(t, "the broker to be allowed to bind "+name, func(context.Context) (bool, error) {
		return kit.CanDo(t, stolen, authorizationv1.ResourceAttributes{Namespace: namespace, Group: rbacv1.GroupName, Resource: resource, Name: name, Verb: "bind"}), nil
	})
}

// heldRole is access of alice by a role of its own, and how to make that anew
// under the same name.
func heldRole(t *testing.T, kind, name string) (ns string, g *v1alpha1.AccessGrant, recreate func()) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	var role client.Object = &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: may("delete")}
	resource := "clusterroles"
	if kind == "Role" {
		role = &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Rules: may("delete")}
		resource = "roles"
	}
	create := func() { kit.Create(t, e.Admin, role.DeepCopyObject().(client.Object)) }
	create()
	grantableIn(t, ns, resource, name)
	ref := v1alpha1.RoleRef{Kind: kind, Name: name}
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles, s.Approvals[0].Count = []v1alpha1.RoleRef{ref}, new(int32)
	})
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef = &ref })
	e.WaitFor(t, request, v1alpha1.RequestActive)
	must(t, alice, ns)
	return ns, e.GrantOf(t, request), func() {
		kit.Delete(t, e.Admin, role.DeepCopyObject().(client.Object))
		create()
	}
}

func may(verbs ...string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: list(""), Resources: list("pods"), Verbs: verbs}}
}

// ofRole is a policy for one role, changed by edit, and a request for it.
func ofRole(t *testing.T, role string, edit func(*v1alpha1.AccessPolicySpec)) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles = []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: role}}
		if edit != nil {
			edit(s)
		}
	})
	return ns, e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = role }))
}

func TestRoles(t *testing.T) {
	t.Parallel()
	attack(t, "harmless-looking role", func(t *testing.T) {
		_, request := matched(t, nil)
		var kinds []string
		for _, risk := range request.Status.Risks {
			kinds = append(kinds, risk.Kind)
		}
		// edit, before anybody has approved.
		for _, want := range list("Impersonate", "MintTokens", "RunPods", "ReadSecrets", "Exec", "Persist") {
			if !slices.Contains(kinds, want) {
				t.Errorf("bob is not told of %s, only of %v", want, kinds)
			}
		}
	})
	attack(t, "role that does not exist yet", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Roles = append(s.Roles, v1alpha1.RoleRef{Kind: "ClusterRole", Name: "later"})
		})
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "later" })
		mustEnd(t, request, v1alpha1.RequestFailed, "ClusterRole later does not exist")
	})
	attack(t, "cluster-admin by a policy that allows it", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Roles, s.Approvals[0].Count = []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "cluster-admin"}}, new(int32)
		})
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "cluster-admin" })
		mustEnd(t, request, v1alpha1.RequestFailed, "access-broker-grantable-roles")
		mustNot(t, alice, ns)
	})

	// The role of a grant that is active.
	active := func(t *testing.T, role *rbacv1.ClusterRole, edit func(*v1alpha1.AccessPolicySpec)) (ns string, g *v1alpha1.AccessGrant) {
		kit.Create(t, e.Admin, role)
		grantable(t, role.Name)
		ns, request := ofRole(t, role.Name, edit)
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
		return ns, e.GrantOf(t, request)
	}
	widen := func(t *testing.T, name string, verbs ...string) {
		t.Helper()
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(role), role); err != nil {
			t.Fatal(err)
		}
		role.Rules = may(verbs...)
		if err := e.Admin.Update(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
	attack(t, "role widened while it is held", func(t *testing.T) {
		ns, g := active(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "widened"}, Rules: may("get", "delete")}, nil)
		widen(t, "widened", "get", "delete", "create")
		e.WaitEnded(t, g.Name, v1alpha1.EndRoleWidened)
		mustNot(t, alice, ns)
	})
	attack(t, "aggregated role widened by another part", func(t *testing.T) {
		part := func(name string, verbs ...string) *rbacv1.ClusterRole {
			return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"part-of": "sum"}}, Rules: may(verbs...)}
		}
		kit.Create(t, e.Admin, part("sum-one", "get", "delete"))
		sum := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "sum"}, AggregationRule: &rbacv1.AggregationRule{
			ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"part-of": "sum"}}},
		}}
		kit.Create(t, e.Admin, sum)
		kit.Eventually(t, "the sum of the parts", func(ctx context.Context) (bool, error) {
			err := e.Admin.Get(ctx, client.ObjectKeyFromObject(sum), sum)
			return err == nil && len(sum.Rules) > 0, err
		})
		grantable(t, "sum")
		ns, request := ofRole(t, "sum", nil)
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
		kit.Create(t, e.Admin, part("sum-two", "create"))
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndRoleWidened)
		mustNot(t, alice, ns)
	})
	attack(t, "role narrowed, then widened", func(t *testing.T) {
		ns, g := active(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "narrowed"}, Rules: may("get", "list", "delete")}, nil)
		widen(t, "narrowed", "delete") // no reason to end
		kit.Eventually(t, "the role to be narrowed", func(context.Context) (bool, error) {
			return !kit.CanDo(t, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "pods"}), nil
		})
		must(t, alice, ns)
		widen(t, "narrowed", "delete", "create")
		e.WaitEnded(t, g.Name, v1alpha1.EndRoleWidened)
		mustNot(t, alice, ns)
	})
	attack(t, "role widened under a policy that keeps", func(t *testing.T) {
		ns, g := active(t, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Rules: may("get", "delete")}, func(s *v1alpha1.AccessPolicySpec) {
			s.OnRoleWidened = v1alpha1.OnRoleWidenedKeep
		})
		widen(t, "kept", "get", "delete", "create")
		kit.Eventually(t, "the role to be widened", func(context.Context) (bool, error) {
			return kit.CanDo(t, alice, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "create", Resource: "pods"}), nil
		})
		must(t, alice, ns)
		// Replaced is not widened.
		kit.Delete(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "kept"}})
		kit.Create(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Rules: may("get", "delete")})
		e.WaitEnded(t, g.Name, v1alpha1.EndRoleGone)
		mustNot(t, alice, ns)
	})

	attack(t, "role changed between approval and grant", func(t *testing.T) {
		kit.Create(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "changed"}, Rules: may("delete")})
		ns, request := halfApproved(t, "changed")
		widen(t, "changed", "delete", "create")
		approveAnew(t, ns, request)
	})
}

// halfApproved is a request for a role that bob has approved and carol has not.
func halfApproved(t *testing.T, role string) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	grantable(t, role)
	ns, request = ofRole(t, role, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	return ns, says(t, request, "1 of 2 approvals")
}

// approveAnew: the role is another than bob saw, so that carol's approval is
// the first, until bob approves what it is now.
func approveAnew(t *testing.T, ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	e.WaitUntil(t, request, "another hash", func(r *v1alpha1.AccessRequest) bool { return r.Status.RulesHash != request.Status.RulesHash })
	kit.MustDecide(t, carol, request, v1alpha1.VerdictApprove)
	says(t, request, "1 of 2 approvals")
	says(t, request, "bob approved before the role changed, or something it is for was replaced, and must approve again")
	mustNot(t, alice, ns)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)
	must(t, alice, ns)
}
