package access

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
)

// Every permission is asked for once, in each namespace, for each subject; if they
// are too many, an even sample of them.
func TestQuestions(t *testing.T) {
	g := &v1alpha1.AccessGrant{}
	g.Spec.RoleRef = &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "r"}
	g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}, {Subject: v1alpha1.Subject{Kind: "Group", Name: "dev"}}}
	g.Spec.Namespaces = []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "a"}}, {ObjectRef: v1alpha1.ObjectRef{Name: "b"}}, {ObjectRef: v1alpha1.ObjectRef{Name: "c"}}}
	asked := []rbacv1.PolicyRule{
		{Verbs: []string{"get", "list"}, APIGroups: []string{"", "apps"}, Resources: []string{"pods/log", "deployments"}},
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"x", "y"}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/healthz"}},
	}
	g.Spec.RoleRules = rules.Show(asked, rules.Limit{Lines: 100, Bytes: 10_000}).Lines
	for _, test := range []struct {
		cluster bool
		want    int
	}{{false, 2 * 3 * (8 + 2)}, {true, 2 * (8 + 2 + 2)}} {
		g.Spec.Cluster = test.cluster
		q, err := questionsOf(g)
		if err != nil || !q.whole || q.count() != test.want {
			t.Fatalf("%d questions, whole: %v, %v, want %d", q.count(), q.whole, err, test.want)
		}
		seen := map[string]bool{}
		for _, question := range q.sample(1000) {
			seen[describeQuestion(question)] = true
		}
		if len(seen) != test.want {
			t.Errorf("%d different questions, want %d: %v", len(seen), test.want, seen)
		}
		few := map[string]bool{}
		for _, question := range q.sample(7) {
			few[describeQuestion(question)] = true
		}
		if len(few) != 7 {
			t.Errorf("%d different questions in a sample of 7: %v", len(few), few)
		}
	}
}

// A few rules can mean thousands of millions of questions: a sample of them is still
// made. When the grant lists only part of the role, the sample does not claim to
// cover all of it.
func TestQuestionsOfMuch(t *testing.T) {
	var items []string
	for i := range 20_000 {
		items = append(items, fmt.Sprint("x", i))
	}
	g := &v1alpha1.AccessGrant{}
	g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}}
	g.Spec.Cluster = true
	g.Spec.Rules = []v1alpha1.PolicyRule{{Verbs: items, APIGroups: items, Resources: items, ResourceNames: items, NonResourceURLs: items}}
	q, err := questionsOf(g)
	if err != nil || q.count() != maxCounted || len(q.sample(100)) != 100 {
		t.Errorf("%d questions, %v", q.count(), err)
	}

	g.Spec.RoleRef = &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "r"}
	g.Spec.RoleRules = rules.Show(v1alpha1.RBACRules(g.Spec.Rules), rules.Limit{Lines: 10, Bytes: 10_000}).Stored("the role")
	if q, err := questionsOf(g); err != nil || q.whole {
		t.Errorf("whole: %v, %v", q.whole, err)
	}
	g.Spec.RoleRules = nil
	if q, err := questionsOf(g); err != nil || q.count() != 0 || len(q.sample(100)) != 0 {
		t.Errorf("%d questions about nothing, %v", q.count(), err)
	}
}
