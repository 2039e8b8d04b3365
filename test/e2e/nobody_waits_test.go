package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// matrix is how many Jobs of one pipeline run at a time: three times what a
// policy lets wait for decisions.
const matrix = 30

// Thirty Jobs of one ServiceAccount ask under the documented CI sample, before
// any of them is there: nobody has to decide, so none is one too many.
func TestNobodyIsWaiting(t *testing.T) {
	t.Parallel()
	ci, deployer := pipeline(t, "ci-job.yaml")
	shop := e.NewNamespace(t, nil)
	e.Patch(t, ci.policy, fmt.Sprintf(`{"spec":{"namespaces":{"names":[%q]}}}`, shop))
	var requests []*v1alpha1.AccessRequest
	for i := range matrix {
		requests = append(requests, e.Ask(t, deployer, ci.namespace, func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{Namespaces: []string{shop}}
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: fmt.Sprintf("deploy-%d", i)}
		}))
	}
	for _, request := range requests {
		e.WaitUntil(t, request, "its task", func(r *v1alpha1.AccessRequest) bool {
			return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForTask)
		})
	}
	if kit.Can(t, deployer, shop) {
		t.Fatal("access without a task")
	}
	for i := range matrix {
		job := kit.NewJob(ci.namespace, fmt.Sprintf("deploy-%d", i))
		job.Spec.Template.Spec.ServiceAccountName = "deployer"
		kit.Create(t, e.Admin, job)
	}
	for _, request := range requests {
		e.WaitFor(t, request, v1alpha1.RequestActive)
	}
	if !kit.Can(t, deployer, shop) {
		t.Error("the pipeline has no access")
	}
}

// What is approved waits for its start or its task, and for nobody: it makes
// room. What is undecided is bounded as ever.
func TestApprovedMakesRoom(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*v1alpha1.AccessRequestSpec){
		"waits for its start": func(s *v1alpha1.AccessRequestSpec) {
			s.StartTime = &metav1.Time{Time: time.Now().Add(time.Hour).Truncate(time.Second)}
		},
		"waits for its task": func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "later"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxPendingPerRequester = ptr.To[int32](2) })
			for range 3 {
				request := e.Ask(t, alice, ns, edit)
				e.WaitMatched(t, request)
				kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
				e.WaitUntil(t, request, "its approval", func(r *v1alpha1.AccessRequest) bool {
					return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForStart) || kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForTask)
				})
			}
			for range 2 {
				e.WaitMatched(t, e.Ask(t, alice, ns, edit))
			}
			third := e.WaitFor(t, e.Ask(t, alice, ns, edit), v1alpha1.RequestDenied)
			if !kit.HasReason(third.Status.Conditions, v1alpha1.ReasonTooManyPending) {
				t.Errorf("three undecided: %s", kit.Describe(third.Status.Conditions))
			}
		})
	}
}

// sample is a policy of config/samples whose ServiceAccount ci/deployer lives in
// a namespace of the test's own.
type sample struct {
	namespace string
	policy    *v1alpha1.AccessPolicy
}

func pipeline(t *testing.T, file string) (sample, client.Client) {
	t.Helper()
	s := sample{namespace: e.NewNamespace(t, nil), policy: &v1alpha1.AccessPolicy{}}
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "deployer"}})
	content, err := os.ReadFile(filepath.Join(e.Root, "config", "samples", file))
	if err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{}
	for _, document := range strings.Split(string(content), "\n---\n") {
		into := client.Object(s.policy)
		if strings.Contains(document, "kind: RoleBinding") {
			into = binding
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatal(err)
		}
	}
	s.policy.Name += "-" + s.namespace
	s.policy.Spec.Requesters[0].Namespace = s.namespace
	binding.Namespace, binding.Subjects[0].Namespace = s.namespace, s.namespace
	kit.Create(t, e.Admin, s.policy)
	kit.Create(t, e.Admin, binding)
	t.Cleanup(func() { _ = e.Admin.Delete(t.Context(), s.policy) })
	deployer, err := e.AsServiceAccount(t.Context(), s.namespace, "deployer")
	if err != nil {
		t.Fatal(err)
	}
	return s, deployer
}
