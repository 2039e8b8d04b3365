package view

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// aGrant was given to alice from one hour of the day to another, in payments.
func aGrant(name string, change ...func(*v1alpha1.AccessGrant)) v1alpha1.AccessGrant {
	g := v1alpha1.AccessGrant{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AccessGrantSpec{
			Requester:  v1alpha1.UserInfo{Username: "alice"},
			Subjects:   []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}},
			RoleRef:    &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"},
			Namespaces: []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "payments"}}},
			PolicyRef:  v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "on-call"}},
			Summary:    v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments"},
		},
	}
	lasts(8, 12)(&g)
	for _, f := range change {
		f(&g)
	}
	return g
}

// at is a moment of the day, in hours.
func at(hours float64) time.Time {
	return noon.Add(time.Duration((hours - 12) * float64(time.Hour)))
}

// lasts: from an hour of the day until another, at most.
func lasts(from, until float64) func(*v1alpha1.AccessGrant) {
	return func(g *v1alpha1.AccessGrant) {
		g.Spec.NotBefore, g.Spec.ExpirationTime = metav1.NewTime(at(from)), metav1.NewTime(at(until))
	}
}

func given(hours float64) func(*v1alpha1.AccessGrant) {
	return func(g *v1alpha1.AccessGrant) {
		g.Status.Phase, g.Status.GrantedTime = v1alpha1.GrantActive, &metav1.Time{Time: at(hours)}
	}
}

func ends(hours float64, why v1alpha1.EndReason, by string) func(*v1alpha1.AccessGrant) {
	return func(g *v1alpha1.AccessGrant) {
		g.Status.Phase, g.Status.EndReason, g.Status.EndedBy = v1alpha1.GrantEnded, why, by
		g.Status.EndedTime = &metav1.Time{Time: at(hours)}
	}
}

func clusterWide(g *v1alpha1.AccessGrant) {
	g.Spec.Cluster, g.Spec.Namespaces, g.Spec.RoleRef = true, nil, nil
	g.Spec.Requester.Username = "system:serviceaccount:payments:migrator"
	g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "ServiceAccount", Namespace: "payments", Name: "migrator"}}}
	g.Spec.PolicyRef.Name = "jobs"
	g.Spec.Summary = v1alpha1.GrantSummary{Subjects: "sa:payments/migrator", Role: "rules", Scope: "*"}
}

func TestFilter(t *testing.T) {
	grants := []v1alpha1.AccessGrant{
		aGrant("released", given(8), ends(9, v1alpha1.EndReleased, "alice")),
		aGrant("held", lasts(11, 13), given(11), clusterWide),
		aGrant("never", ends(10, v1alpha1.EndNameTaken, "")),
		aGrant("waits", lasts(12, 14)),
	}
	for name, tc := range map[string]struct {
		filter Filter
		want   string
	}{
		"all":                      {Filter{}, "released held never waits"},
		"active":                   {Filter{Active: true}, "held"},
		"alice":                    {Filter{User: "alice"}, "released never waits"},
		"a ServiceAccount":         {Filter{User: "sa:payments/migrator"}, "held"},
		"by its username":          {Filter{User: "system:serviceaccount:payments:migrator"}, "held"},
		"nobody":                   {Filter{User: "eve"}, ""},
		"not a part of a name":     {Filter{User: "ali"}, ""},
		"namespace":                {Filter{Namespace: "payments"}, "released held never waits"},
		"the cluster's only":       {Filter{Namespace: "billing"}, "held"},
		"role":                     {Filter{Role: "edit"}, "released never waits"},
		"role of a kind":           {Filter{Role: "ClusterRole/edit"}, "released never waits"},
		"role of another kind":     {Filter{Role: "Role/edit"}, ""},
		"rules":                    {Filter{Role: "rules"}, "held"},
		"policy":                   {Filter{Policy: "jobs"}, "held"},
		"no policy":                {Filter{Policy: "job"}, ""},
		"held in the last hour":    {Filter{Since: at(11)}, "held waits"},
		"ended in that moment":     {Filter{Since: at(9)}, "released held never waits"},
		"given until then":         {Filter{Until: at(10)}, "released never"},
		"given in that moment":     {Filter{Until: at(11)}, "released held never"},
		"in a window":              {Filter{Since: at(9.5), Until: at(11.5)}, "held never"},
		"between two":              {Filter{Since: at(13), Until: at(13)}, "held waits"},
		"before all":               {Filter{Until: at(1)}, ""},
		"given back":               {Filter{Outcome: Done}, "released"},
		"never given":              {Filter{Outcome: NeverGiven}, "never"},
		"waiting":                  {Filter{Outcome: Pending}, "waits"},
		"held, as an outcome":      {Filter{Outcome: Held}, "held"},
		"several":                  {Filter{User: "alice", Active: true}, ""},
		"active, of no such class": {Filter{Outcome: Expired, Active: true}, ""},
	} {
		var names []string
		for _, g := range Keep(grants, tc.filter.Picks) {
			names = append(names, g.Name)
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

// noSpace takes some bytes and no more.
type noSpace struct{ left int }

var errNoSpace = errors.New("no space left")

func (w *noSpace) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errNoSpace
	}
	return len(p), nil
}

func TestWriteCSV(t *testing.T) {
	grants := []v1alpha1.AccessGrant{aGrant("a"), aGrant("b")}
	grants[0].Spec.Reason, grants[1].Spec.Reason = "=1+1\n\"x\", y", "-2"
	var out strings.Builder
	if err := WriteCSV(&out, Refs(grants), map[string]Use{"b": {Calls: 0}}, true); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(out.String(), "\n")
	if lines[0] != strings.Join(RecordColumns, ",")+"\n" || !strings.Contains(out.String(), `,"'=1+1\n""x"", y",`) || !strings.Contains(out.String(), ",'-2,") {
		t.Errorf("%q", out.String())
	}
	many := make([]*v1alpha1.AccessGrant, 100)
	for i := range many {
		many[i] = &grants[0]
	}
	for _, space := range []int{0, 5000} {
		if err := WriteCSV(&noSpace{space}, many, nil, true); !errors.Is(err, errNoSpace) {
			t.Errorf("with room for %d bytes: %v", space, err)
		}
	}
}
