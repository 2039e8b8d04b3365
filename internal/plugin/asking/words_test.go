package asking

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// aMapper knows some kinds, as discovery would tell of them.
func aMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	m.Add(batchv1.SchemeGroupVersion.WithKind("Job"), meta.RESTScopeNamespace)
	m.Add(appsv1.SchemeGroupVersion.WithKind("Deployment"), meta.RESTScopeNamespace)
	return m
}

func fails(t *testing.T, err error, input string) {
	t.Helper()
	if err == nil {
		t.Errorf("%q is accepted", input)
	}
}

func TestDuration(t *testing.T) {
	for input, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "30m": 30 * time.Minute, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute,
		"2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "1s": time.Second,
	} {
		if got, err := Duration(input); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", input, got, err, want)
		}
	}
	for _, input := range []string{"", "1", "h", "0s", "-1h", "+1h", "1500ms", "1ns", "d", "1d-1h", "99999d", "1w", "1h ", "１h"} {
		_, err := Duration(input)
		fails(t, err, input)
	}
}

func TestMoment(t *testing.T) {
	for input, want := range map[string]time.Time{
		"+10m":                      now.Add(10 * time.Minute),
		"2026-05-04T22:00:00Z":      now.Add(12 * time.Hour),
		"2026-05-04T22:00:00+02:00": now.Add(10 * time.Hour),
	} {
		if got, err := Moment(input, now.Add(time.Millisecond)); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", input, got, err, want)
		}
	}
	for _, input := range []string{"", "10m", "+", "+x", "tomorrow", "2026-05-04"} {
		_, err := Moment(input, now)
		fails(t, err, input)
	}
}

func TestSince(t *testing.T) {
	for input, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "7d": now.Add(-7 * 24 * time.Hour), "2026-05-01T00:00:00Z": time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		"2026-05-01": time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), "2026-05-01T00:00:00+02:00": time.Date(2026, 4, 30, 22, 0, 0, 0, time.UTC),
	} {
		if got, err := Since(input, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", input, got, err, want)
		}
	}
	for _, input := range []string{"yesterday", "2026-02-30", "1.5.2026", "05/01/2026", "2026-05-01 10:00"} {
		_, err := Since(input, now)
		fails(t, err, input)
	}
}

func TestUntil(t *testing.T) {
	for input, want := range map[string]time.Time{
		"24h": now.Add(-24 * time.Hour), "2026-05-01T00:00:00Z": time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
		"2026-05-01": time.Date(2026, 5, 1, 23, 59, 59, 999999999, time.UTC),
	} {
		if got, err := Until(input, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", input, got, err, want)
		}
	}
}

func TestRole(t *testing.T) {
	for _, tc := range []struct{ word, kind, want string }{
		{"edit", "", "ClusterRole/edit"},
		{"edit", "Role", "Role/edit"},
		{"edit", "clusterrole", "ClusterRole/edit"},
		{"Role/deployer", "", "Role/deployer"},
		{"role/deployer", "Role", "Role/deployer"},
		{"ClusterRole/system:node", "", "ClusterRole/system:node"},
	} {
		got, err := Role(tc.word, tc.kind)
		if err != nil || got.Kind+"/"+got.Name != tc.want {
			t.Errorf("%q %q is %v, %v; want %s", tc.word, tc.kind, got, err, tc.want)
		}
	}
	for _, tc := range []struct{ word, kind string }{
		{"x", "Pod"}, {"Pod/x", ""}, {"Role/", ""}, {"/x", ""}, {"Role/x", "ClusterRole"},
	} {
		_, err := Role(tc.word, tc.kind)
		fails(t, err, tc.word)
	}
}

func TestSubject(t *testing.T) {
	for input, want := range map[string]v1alpha1.Subject{
		"user:alice":                 {Kind: "User", Name: "alice"},
		"user:https://idp#a:b":       {Kind: "User", Name: "https://idp#a:b"},
		"group:dev":                  {Kind: "Group", Name: "dev"},
		"sa:payments/migrator":       {Kind: "ServiceAccount", Namespace: "payments", Name: "migrator"},
		"group:system:authenticated": {Kind: "Group", Name: "system:authenticated"}, // refused by the API server, in its words
	} {
		if got, err := Subject(input); err != nil || got != want {
			t.Errorf("%q is %v, %v", input, got, err)
		}
	}
	for _, input := range []string{"", "alice", "user:", "sa:migrator", "sa:/x", "sa:x/", "User:alice", "serviceaccount:a/b"} {
		_, err := Subject(input)
		fails(t, err, input)
	}
}

func TestSelector(t *testing.T) {
	for input, want := range map[string]string{
		"team=a":                     "team=a",
		"team=a,tier=b":              "team=a,tier=b",
		"team in (a,b),!prod,canary": "canary,!prod,team in (a,b)",
		"env notin (prod)":           "env notin (prod)",
	} {
		got, err := Selector(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		if got := text.Selector(got); got != want {
			t.Errorf("%q is %q, want %q", input, got, want)
		}
	}
	_, err := Selector("a=b=c")
	fails(t, err, "a=b=c")
}

func TestTask(t *testing.T) {
	job := v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
	for input, want := range map[string]v1alpha1.TaskRef{
		"job/migrate": job, "jobs/migrate": job, "Job/migrate": job, "Job.batch/migrate": job, "jobs.v1.batch/migrate": job,
		"pod/fix": {APIVersion: "v1", Kind: "Pod", Name: "fix"},
	} {
		if got, err := Task(input, aMapper()); err != nil || *got != want {
			t.Errorf("%q is %v, %v", input, got, err)
		}
	}
	for _, input := range []string{"", "migrate", "job/", "/migrate", "workflow/x", "job.example.com/x", "node/n1"} {
		_, err := Task(input, aMapper())
		fails(t, err, input)
	}
}

func TestRule(t *testing.T) {
	for input, want := range map[string][]v1alpha1.PolicyRule{
		"get,list pods/log":         {{Verbs: []string{"get", "list"}, APIGroups: []string{""}, Resources: []string{"pods/log"}}},
		"patch deployments api,web": {{Verbs: []string{"patch"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"}, ResourceNames: []string{"api", "web"}}},
		"get pod":                   {{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}},
		"get pods,jobs,pods/log": {
			{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}},
			{Verbs: []string{"get"}, APIGroups: []string{"batch"}, Resources: []string{"jobs"}},
		},
		// A group that is named need not be there yet.
		"get widgets.example.com/status": {{Verbs: []string{"get"}, APIGroups: []string{"example.com"}, Resources: []string{"widgets/status"}}},
		"get *.apps":                     {{Verbs: []string{"get"}, APIGroups: []string{"apps"}, Resources: []string{"*"}}},
		"* *":                            {{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"*"}}},
		"get /metrics,/healthz":          {{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics", "/healthz"}}},
	} {
		got, err := Rule(input, aMapper())
		if err != nil {
			t.Errorf("%q: %v", input, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", input, diff)
		}
	}
	for _, input := range []string{"", "get", "get, list pods", "get pods, jobs", ",get pods", "get pods a b", "get gadgets", "get /metrics a"} {
		_, err := Rule(input, aMapper())
		fails(t, err, input)
	}
}

func TestSpec(t *testing.T) {
	discover := func() (meta.RESTMapper, error) { return aMapper(), nil }
	f := Form{
		Role: "edit", Reason: "why", Duration: "1h", Start: "+10m", Subjects: []string{"sa:payments/migrator"}, Task: "job/migrate",
		CompleteWhen: "true", Namespaces: []string{"b", "a", "b"}, Ticket: "INC-42", Policy: "p",
	}
	got, err := f.Spec(now)
	if err == nil {
		err = f.LookUp(&got, discover)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.AccessRequestSpec{
		RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Reason: "why", Ticket: "INC-42", PolicyName: "p",
		Subjects:  []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: "payments", Name: "migrator"}},
		Scope:     &v1alpha1.Scope{Namespaces: []string{"a", "b"}},
		Duration:  &metav1.Duration{Duration: time.Hour},
		StartTime: &metav1.Time{Time: now.Add(10 * time.Minute)},
		Task:      &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate", CompleteWhen: "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for name, f := range map[string]Form{
		"nothing":               {Reason: "r"},
		"role and rules":        {Role: "edit", Rules: []string{"get pods"}, Reason: "r"},
		"no reason":             {Role: "edit", Reason: " "},
		"two scopes":            {Role: "edit", Reason: "r", Cluster: true, Selector: "a=b"},
		"complete without task": {Role: "edit", Reason: "r", CompleteWhen: "true"},
		"bad duration":          {Role: "edit", Reason: "r", Duration: "1"},
		"bad start":             {Role: "edit", Reason: "r", Start: "1"},
		"bad subject":           {Role: "edit", Reason: "r", Subjects: []string{"x"}},
		"bad selector":          {Role: "edit", Reason: "r", Selector: "a=b=c"},
	} {
		_, err := f.Spec(now)
		fails(t, err, name)
	}
	for _, f := range []Form{
		{Task: "x"},
		{Rules: []string{"x"}},
		{Task: "deployment/api"}, // when is it over?
		{Task: "job/migrate", CompleteWhen: "object.status ="},
		{Task: "job/migrate", CompleteWhen: "object.status.phase + 1"},
	} {
		fails(t, f.LookUp(&v1alpha1.AccessRequestSpec{}, discover), f.Task)
	}
}

func TestNamePrefix(t *testing.T) {
	for role, want := range map[string]string{
		"edit": "edit-", "system:node-Proxier": "system-node-proxier-", "ÄÖ": "role-",
		"abcdefghijklmnopqrstuvwxyz-abcdefghijkl-x-abcdefgh": "abcdefghijklmnopqrstuvwxyz-abcdefghijkl-",
	} {
		if got := NamePrefix(&v1alpha1.AccessRequestSpec{RoleRef: &v1alpha1.RoleRef{Name: role}}); got != want {
			t.Errorf("%q: %q, want %q", role, got, want)
		}
	}
	if got := NamePrefix(&v1alpha1.AccessRequestSpec{}); got != "rules-" {
		t.Error(got)
	}
}

func TestUser(t *testing.T) {
	for word, want := range map[string]string{
		"alice": "alice", "": "", "user:alice": "user:alice", // a name may look like a subject of --for
		"sa:ci/deployer":                    "system:serviceaccount:ci:deployer",
		"system:serviceaccount:ci:deployer": "system:serviceaccount:ci:deployer",
	} {
		if got, err := User(word); err != nil || got != want {
			t.Errorf("%q: %q, %v", word, got, err)
		}
	}
	for _, word := range []string{"sa:", "sa:ci", "sa:/deployer", "sa:ci/"} {
		if got, err := User(word); err == nil {
			t.Errorf("%q is %q", word, got)
		}
	}
}

func TestBinding(t *testing.T) {
	for word, want := range map[string][2]string{"sre": {"", "sre"}, "payments/fix": {"payments", "fix"}, "": {"", ""}} {
		if namespace, name, err := Binding(word); err != nil || [2]string{namespace, name} != want {
			t.Errorf("%q: %q %q, %v", word, namespace, name, err)
		}
	}
	for _, word := range []string{"/fix", "payments/", "/"} {
		if namespace, name, err := Binding(word); err == nil {
			t.Errorf("%q is %q %q", word, namespace, name)
		}
	}
}
