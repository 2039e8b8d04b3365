package refusal

import (
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

func policyOf(name string, edit func(*v1alpha1.AccessPolicy)) v1alpha1.AccessPolicy {
	p := v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	p.Spec.Namespaces = &v1alpha1.PolicyNamespaces{Names: []string{"payments"}}
	edit(&p)
	return p
}

func offering(roles ...string) func(*v1alpha1.AccessPolicy) {
	return func(p *v1alpha1.AccessPolicy) {
		for _, role := range roles {
			p.Spec.Roles = append(p.Spec.Roles, v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: role})
		}
	}
}

func TestOffers(t *testing.T) {
	deletePod := []rbacv1.PolicyRule{Right{Verb: "delete", Resource: "pods", Name: "x"}.Rule()}
	getPod := []rbacv1.PolicyRule{Right{Verb: "get", Resource: "pods", Name: "x"}.Rule()}
	getSecret := []rbacv1.PolicyRule{Right{Verb: "get", Resource: "secrets"}.Rule()}
	path := []rbacv1.PolicyRule{Right{Verb: "get", Path: "/metrics"}.Rule()}
	rule := func(verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{Verbs: verbs, APIGroups: []string{""}, Resources: []string{"pods"}}
	}
	readable := map[string][]rbacv1.PolicyRule{
		"small": {rule("delete")}, "large": {rule("get", "list", "watch", "delete")}, "other": {rule("get")},
		"all": {{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}},
	}
	in := Where{Namespace: "payments"}
	both := func(a, b func(*v1alpha1.AccessPolicy)) func(*v1alpha1.AccessPolicy) {
		return func(p *v1alpha1.AccessPolicy) { a(p); b(p) }
	}
	adhoc := func(p *v1alpha1.AccessPolicy) {
		p.Spec.Rules = []v1alpha1.PolicyRule{v1alpha1.PolicyRule(rule("delete"))}
	}
	labelled := func(p *v1alpha1.AccessPolicy) {
		p.Spec.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "a"}}}
	}
	cluster := func(p *v1alpha1.AccessPolicy) {
		p.Spec.Namespaces, p.Spec.ClusterScope = nil, v1alpha1.ClusterScopeAllowed
		p.Spec.Roles = append(p.Spec.Roles, v1alpha1.RoleRef{Kind: v1alpha1.RoleKind, Name: "of-a-namespace"})
	}
	for name, tc := range map[string]struct {
		policy  func(*v1alpha1.AccessPolicy)
		where   Where
		missing []rbacv1.PolicyRule
		want    []string
	}{
		"the rights themselves come first":           {both(offering("small"), adhoc), in, deletePod, []string{"rules", "ClusterRole/small"}},
		"the smaller role before the larger":         {offering("all", "large", "small", "other"), in, deletePod, []string{"ClusterRole/small", "ClusterRole/large", "ClusterRole/all"}},
		"rules that do not cover":                    {adhoc, in, getSecret, nil},
		"what is known before what is not":           {offering("edit", "large"), in, deletePod, []string{"ClusterRole/large", "ClusterRole/edit"}},
		"by what is well known: to write":            {offering("cluster-admin", "view", "admin", "mine", "edit"), in, deletePod, []string{"ClusterRole/edit", "ClusterRole/mine", "ClusterRole/admin", "ClusterRole/cluster-admin"}},
		"by what is well known: to read":             {offering("edit", "view"), in, getPod, []string{"ClusterRole/view", "ClusterRole/edit"}},
		"by what is well known: Secrets":             {offering("edit", "view"), in, getSecret, []string{"ClusterRole/edit"}},
		"by what is well known: paths":               {offering("edit", "view", "cluster-admin"), in, path, []string{"ClusterRole/cluster-admin"}},
		"another namespace":                          {offering("small"), Where{Namespace: "shop"}, deletePod, nil},
		"no namespace at all":                        {both(offering("small"), func(p *v1alpha1.AccessPolicy) { p.Spec.Namespaces = nil }), in, deletePod, nil},
		"the whole cluster, which it forbids":        {offering("small"), Where{}, deletePod, nil},
		"the whole cluster, without Roles":           {both(offering("small"), cluster), Where{}, deletePod, []string{"ClusterRole/small"}},
		"labels that fit":                            {both(offering("small"), labelled), Where{Namespace: "x", Labels: map[string]string{"team": "a"}}, deletePod, []string{"ClusterRole/small"}},
		"labels that do not":                         {both(offering("small"), labelled), Where{Namespace: "x", Labels: map[string]string{}}, deletePod, nil},
		"labels that may not be read":                {both(offering("small"), labelled), Where{Namespace: "x"}, deletePod, []string{"ClusterRole/small"}},
		"a task is needed":                           {both(offering("small"), func(p *v1alpha1.AccessPolicy) { p.Spec.Task = v1alpha1.TaskRequired }), in, deletePod, nil},
		"a key is needed":                            {both(offering("small"), func(p *v1alpha1.AccessPolicy) { p.Spec.Credential = v1alpha1.CredentialIssued }), in, deletePod, nil},
		"the policy cannot be used":                  {both(offering("small"), unready), in, deletePod, nil},
		"a Role of the namespace, which is not read": {func(p *v1alpha1.AccessPolicy) { p.Spec.Roles = []v1alpha1.RoleRef{{Kind: "Role", Name: "r"}} }, in, deletePod, []string{"Role/r"}},
	} {
		t.Run(name, func(t *testing.T) {
			twice := []v1alpha1.AccessPolicy{policyOf("p", tc.policy), policyOf("q", tc.policy)}
			var got []string
			for _, o := range Offers(twice, tc.where, tc.missing, func(r v1alpha1.RoleRef) ([]rbacv1.PolicyRule, bool) {
				found, ok := readable[r.Name]
				return found, ok
			}) {
				got = append(got, text.Role(o.Role))
				if _, ok := readable[nameOf(o)]; o.Known != (o.Role == nil || ok) || !slices.Equal(o.Policies, []string{"p", "q"}) {
					t.Errorf("%+v", o)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func nameOf(o Offer) string {
	if o.Role == nil {
		return ""
	}
	return o.Role.Name
}

func unready(p *v1alpha1.AccessPolicy) {
	p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}}
}
