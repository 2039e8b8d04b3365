package text

import (
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestRole(t *testing.T) {
	if got := Role(&v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}); got != "ClusterRole/edit" {
		t.Error(got)
	}
	if got := Role(nil); got != "rules" {
		t.Error(got)
	}
}

func TestScope(t *testing.T) {
	for want, scope := range map[string]*v1alpha1.Scope{
		"payments":        nil,
		"*":               {Cluster: &v1alpha1.ClusterScope{}},
		"a,b":             {Namespaces: []string{"a", "b"}},
		"every namespace": {NamespaceSelector: &v1alpha1.NamespaceSelector{}},
		"namespaces with env in (prod),team=a": {NamespaceSelector: &v1alpha1.NamespaceSelector{
			MatchLabels:      map[string]v1alpha1.LabelValue{"team": "a"},
			MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{{Key: "env", Operator: "In", Values: []v1alpha1.LabelValue{"prod"}}},
		}},
		"namespaces with !env,env notin (a,b),tier,tier=x": {NamespaceSelector: &v1alpha1.NamespaceSelector{
			MatchLabels: map[string]v1alpha1.LabelValue{"tier": "x"},
			MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{
				{Key: "tier", Operator: "Exists"}, {Key: "env", Operator: "NotIn", Values: []v1alpha1.LabelValue{"a", "b"}}, {Key: "env", Operator: "DoesNotExist"},
			},
		}},
	} {
		if got := Scope("payments", scope); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSubjects(t *testing.T) {
	got := Subjects([]v1alpha1.Subject{{Kind: "User", Name: "alice"}, {Kind: "Group", Name: "dev"}, {Kind: "ServiceAccount", Namespace: "payments", Name: "migrate"}})
	if strings.Join(got, " ") != "alice group:dev sa:payments/migrate" {
		t.Errorf("%q", got)
	}
	if got := Subjects[v1alpha1.Subject](nil); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestPerson(t *testing.T) {
	for want, groups := range map[string][]string{
		"alice":                          {"system:authenticated"},
		"alice (group dev)":              {"system:authenticated", "dev"},
		"alice (groups dev, sre)":        {"dev", "system:masters", "sre"},
		"alice (groups a, b and 2 more)": {"a", "b", "c", "d"},
	} {
		if got := Person("alice", groups, 2); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", time.Minute: "1m", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s", 10 * time.Minute: "10m",
		time.Hour + time.Second: "1h0m1s", 30 * time.Second: "30s", 720 * time.Hour: "720h", 0: "0s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	if got := Moment(time.Date(2026, 5, 4, 12, 0, 0, 5, time.FixedZone("", 7200))); got != "2026-05-04T10:00:00Z" {
		t.Error(got)
	}
}
