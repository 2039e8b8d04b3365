package policy

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/version"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func ofConditions(c ...v1alpha1.PolicyCondition) ofPolicy {
	return func(s *v1alpha1.AccessPolicySpec) { s.Conditions = c }
}

// What API servers of distributions and clouds answer at /version.
func TestVersionOf(t *testing.T) {
	for _, test := range []struct {
		major, minor, git string
		want              int64
	}{
		{"1", "37", "v1.37.2", 37},
		{"1", "36", "v1.36.0-rc.1", 36},
		{"1", "31+", "v1.31.13-eks-113cf36", 31},
		{"1", "33+", "v1.33.5-gke.1080000", 33},
		{"1", "32", "v1.32.9", 32},
		{"1", "34", "v1.34.1+k3s1", 34},
		{"1", "33", "v1.33.5+rke2r1", 33},
		{"1", "32", "v1.32.9-aliyun.1", 32},
		{"1", "30", "v1.30.14+openshift-40c3c5f", 30},
	} {
		v := VersionOf(&version.Info{Major: test.major, Minor: test.minor, GitVersion: test.git})
		if v.Err != nil || v.Version != test.git || v.Major != 1 || v.Minor != test.want {
			t.Errorf("%s: %+v", test.git, v)
		}
	}
	for _, minor := range []string{"", "+", "x", "3 7", "-1x", "37++", "99999999999999999999"} {
		if v := VersionOf(&version.Info{Major: "1", Minor: minor, GitVersion: "v1"}); v.Err == nil {
			t.Errorf("minor %q: %+v", minor, v)
		}
	}
}

func TestConditionsOverTheCluster(t *testing.T) {
	for expression, want := range map[string]Answer{
		"cluster.version == 'v1.37.2'":                                   Allowed,
		"cluster.major == 1 && cluster.minor >= 37":                      Allowed,
		"cluster.version.startsWith('v1.36.')":                           NotAllowed,
		"cluster.minor < 37":                                             NotAllowed,
		"cluster.minor == '37'":                                          NotAllowed,
		"cluster.patch == 2":                                             Unknown,
		"cluster.version.matches('^v1[.]37[.]') && request.spec != null": Allowed,
	} {
		r := newRequest()
		r.Object = map[string]any{"spec": map[string]any{}}
		r.Version = Version{Version: "v1.37.2", Major: 1, Minor: 37}
		p := compiled("p", ofConditions(v1alpha1.PolicyCondition{Name: "c", Expression: expression}))
		if err := p.Err(); err != nil {
			t.Errorf("%s: %v", expression, err)
		}
		if m := Find(t.Context(), list(p), r, noon); m.Answer != want {
			t.Errorf("%s: %s (%s), want %s", expression, m.Answer, m.Message, want)
		}
	}
}

// Only a condition that reads the version waits for it.
func TestVersionIsNotKnown(t *testing.T) {
	r := newRequest()
	r.Object = map[string]any{}
	r.Version = Version{Err: errors.New("no answer")}
	for expression, want := range map[string]Answer{
		"cluster.minor >= 37":                     Unknown,
		"true || cluster.minor >= 37":             Unknown,
		"now > timestamp('2026-01-01T00:00:00Z')": Allowed,
	} {
		m := Find(t.Context(), list(compiled("p", ofConditions(v1alpha1.PolicyCondition{Name: "c", Expression: expression}))), r, noon)
		if m.Answer != want || want == Unknown && !strings.Contains(m.Message, "no answer") {
			t.Errorf("%s: %s (%s), want %s", expression, m.Answer, m.Message, want)
		}
	}
}

// The conditions to copy let through what they are for, and nothing else.
func TestTaskConditionsToCopy(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", "verified-task.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	object := &v1alpha1.AccessPolicy{}
	first, _, _ := strings.Cut(string(content), "\n---\n")
	if err := yaml.UnmarshalStrict([]byte(first), object); err != nil {
		t.Fatal(err)
	}
	all := object.Spec.Conditions
	type vars = map[string]any
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	good := func() vars {
		return vars{"metadata": vars{"name": "migrate"}, "spec": vars{"template": vars{
			"metadata": vars{"labels": vars{"app.kubernetes.io/version": "v42"}},
			"spec": vars{
				"serviceAccountName": "migrator",
				"containers":         []any{vars{"image": "registry.example.com/team/migrate" + digest}},
				"initContainers":     []any{vars{"image": "registry.example.com/team/wait" + digest}},
			},
		}}}
	}
	pod := func(task vars) vars { return task["spec"].(vars)["template"].(vars)["spec"].(vars) }
	image := func(key, image string) func(vars) {
		return func(task vars) {
			pod(task)[key] = []any{vars{"image": "registry.example.com/team/a" + digest}, vars{"image": image}}
		}
	}
	settled := Version{Version: "v1.37.2", Major: 1, Minor: 37}
	for name, test := range map[string]struct {
		change  func(vars)
		version Version
		want    string // the condition that does not hold
	}{
		"what is wanted":                     {},
		"another ServiceAccount":             {change: func(task vars) { pod(task)["serviceAccountName"] = "admin" }, want: "own-job"},
		"the default ServiceAccount":         {change: func(task vars) { delete(pod(task), "serviceAccountName") }, want: "own-job"},
		"without initContainers":             {change: func(task vars) { delete(pod(task), "initContainers") }},
		"a tag":                              {change: image("containers", "registry.example.com/team/a:v1"), want: "only-digests"},
		"a tag and a short digest":           {change: image("containers", "registry.example.com/team/a:v1@sha256:0123"), want: "only-digests"},
		"a tag of an initContainer":          {change: image("initContainers", "registry.example.com/team/a:v1"), want: "only-digests"},
		"no tag at all":                      {change: image("containers", "registry.example.com/team/a"), want: "only-digests"},
		"a digest in upper case":             {change: image("containers", "registry.example.com/team/a"+strings.ToUpper(digest)), want: "only-digests"},
		"another registry":                   {change: image("containers", "registry.example.org/team/a"+digest), want: "only-our-registry"},
		"a registry that begins like ours":   {change: image("containers", "registry.example.com.evil.example/team/a"+digest), want: "only-our-registry"},
		"our registry with a port":           {change: image("containers", "registry.example.com:5000/team/a"+digest), want: "only-our-registry"},
		"another registry of initContainers": {change: image("initContainers", "docker.io/library/a"+digest), want: "only-our-registry"},
		"no registry":                        {change: image("containers", "migrate"+digest), want: "only-our-registry"},
		"another revision": {change: func(task vars) {
			task["spec"].(vars)["template"].(vars)["metadata"].(vars)["labels"].(vars)["app.kubernetes.io/version"] = "v41"
		}, want: "only-this-revision"},
		"no labels":                            {change: func(task vars) { delete(task["spec"].(vars)["template"].(vars)["metadata"].(vars), "labels") }, want: "only-this-revision"},
		"the next version of the API server":   {version: Version{Version: "v1.38.0", Major: 1, Minor: 38}, want: "not-during-an-upgrade"},
		"the version before of the API server": {version: Version{Version: "v1.36.3", Major: 1, Minor: 36}, want: "not-during-an-upgrade"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest()
			task := good()
			if test.change != nil {
				test.change(task)
			}
			r.Object = vars{"spec": vars{"task": vars{"kind": "Job"}}}
			r.HasTask, r.Task, r.Version = true, task, settled
			if test.version.Version != "" {
				r.Version = test.version
			}
			for _, c := range all {
				want := Allowed
				if c.Name == test.want {
					want = NotAllowed
				}
				if m := Find(t.Context(), list(compiled("p", ofConditions(c))), r, noon); m.Answer != want {
					t.Errorf("%s: %s (%s), want %s", c.Name, m.Answer, m.Message, want)
				}
			}
		})
	}
}
