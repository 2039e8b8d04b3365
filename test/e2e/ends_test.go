package e2e

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/controlplane"
)

// Every way in which access ends but by its deadline: the user has none
// before, has it while Active, and has none after.
func TestAccessEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		setup  func(t *testing.T, ns string)
		task   *v1alpha1.TaskRef
		end    func(t *testing.T, ns string, request *v1alpha1.AccessRequest, p *v1alpha1.AccessPolicy)
		reason v1alpha1.EndReason
		phase  v1alpha1.RequestPhase // "" when the request is gone
		by     string
	}{
		{
			name:  "job completes",
			setup: func(t *testing.T, ns string) { create(t, e.Admin, newJob(ns, "migrate")) },
			task:  &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				finishJob(t, ns, "migrate", corev1.PodSucceeded)
			},
			reason: v1alpha1.EndTaskCompleted, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "job fails",
			setup: func(t *testing.T, ns string) { create(t, e.Admin, newJob(ns, "migrate")) },
			task:  &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				finishJob(t, ns, "migrate", corev1.PodFailed)
			},
			reason: v1alpha1.EndTaskFailed, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "job deleted",
			setup: func(t *testing.T, ns string) { create(t, e.Admin, newJob(ns, "migrate")) },
			task:  &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				remove(t, e.Admin, newJob(ns, "migrate"))
			},
			reason: v1alpha1.EndTaskGone, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "pod replaced by another of its name",
			setup: func(t *testing.T, ns string) { create(t, e.Admin, newPod(ns, "fix")) },
			task:  &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "fix"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				remove(t, e.Admin, newPod(ns, "fix"))
				create(t, e.Admin, newPod(ns, "fix"))
			},
			reason: v1alpha1.EndTaskGone, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "pod succeeds",
			setup: func(t *testing.T, ns string) { create(t, e.Admin, newPod(ns, "fix")) },
			task:  &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "fix"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				pod := newPod(ns, "fix")
				patchStatus(t, pod, `{"status":{"phase":"Succeeded"}}`)
			},
			reason: v1alpha1.EndTaskCompleted, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "completeWhen becomes true",
			setup: func(t *testing.T, ns string) { create(t, e.Admin, newPod(ns, "fix")) },
			task:  &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "fix", CompleteWhen: "object.metadata.?annotations['done'].orValue('') == 'yes'"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				patch(t, newPod(ns, "fix"), `{"metadata":{"annotations":{"done":"yes"}}}`)
			},
			reason: v1alpha1.EndTaskCompleted, phase: v1alpha1.RequestCompleted,
		},
		{
			name: "released by the requester",
			end: func(t *testing.T, _ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				mustDecide(t, alice, request, v1alpha1.VerdictRelease)
			},
			reason: v1alpha1.EndReleased, phase: v1alpha1.RequestCompleted, by: "alice",
		},
		{
			name: "revoked by an approver",
			end: func(t *testing.T, _ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				mustDecide(t, carol, request, v1alpha1.VerdictRevoke)
			},
			reason: v1alpha1.EndRevoked, phase: v1alpha1.RequestRevoked, by: "carol",
		},
		{
			name: "request deleted",
			end: func(t *testing.T, _ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				remove(t, alice, request)
			},
			reason: v1alpha1.EndRequestDeleted,
		},
		{
			name: "policy deleted",
			end: func(t *testing.T, _ string, _ *v1alpha1.AccessRequest, p *v1alpha1.AccessPolicy) {
				remove(t, e.Admin, p)
			},
			reason: v1alpha1.EndPolicyGone, phase: v1alpha1.RequestRevoked,
		},
		{
			name: "policy no longer allows it",
			end: func(t *testing.T, _ string, _ *v1alpha1.AccessRequest, p *v1alpha1.AccessPolicy) {
				patch(t, p, `{"spec":{"roles":[{"kind":"ClusterRole","name":"view"}]}}`)
			},
			reason: v1alpha1.EndPolicyChanged, phase: v1alpha1.RequestRevoked,
		},
		{
			name: "binding deleted by hand",
			end: func(t *testing.T, ns string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				remove(t, e.Admin, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: grantOf(t, request).Name}})
			},
			reason: v1alpha1.EndBindingTouched, phase: v1alpha1.RequestRevoked,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t, nil)
			p := newPolicy(t, ns, nil)
			if tc.setup != nil {
				tc.setup(t, ns)
			}
			request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Task = tc.task })
			waitMatched(t, request)
			if can(t, alice, ns) {
				t.Fatal("alice has access before anybody approved")
			}
			mustDecide(t, bob, request, v1alpha1.VerdictApprove)
			active := waitFor(t, request, v1alpha1.RequestActive)
			if !can(t, alice, ns) {
				t.Fatal("alice has no access though it is Active")
			}
			tc.end(t, ns, active, p)
			g := waitEnded(t, active.Status.GrantName, tc.reason)
			if can(t, alice, ns) {
				t.Error("alice still has access")
			}
			if g.Status.EndedBy != tc.by {
				t.Errorf("ended by %q, want %q", g.Status.EndedBy, tc.by)
			}
			if tc.phase != "" {
				waitFor(t, request, tc.phase)
			}
		})
	}
}

// A workload holds its role for as long as its Job runs.
func TestServiceAccountWhileItsJobRuns(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, nil)
	create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrate"}})
	create(t, e.Admin, newJob(ns, "migrate"))
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.RequiredApprovals = new(int32)
		s.Subjects = v1alpha1.SubjectsServiceAccounts
		s.Task = v1alpha1.TaskRequired
	})
	workload, err := e.AsServiceAccount(t.Context(), ns, "migrate")
	if err != nil {
		t.Fatal(err)
	}
	if can(t, workload, ns) {
		t.Fatal("the workload has standing access")
	}
	request := ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "migrate"}}
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
	})
	active := waitFor(t, request, v1alpha1.RequestActive)
	if !can(t, workload, ns) {
		t.Fatal("the workload has no access")
	}
	if can(t, alice, ns) {
		t.Fatal("alice has the workload's access")
	}
	finishJob(t, ns, "migrate", corev1.PodSucceeded)
	waitEnded(t, active.Status.GrantName, v1alpha1.EndTaskCompleted)
	if can(t, workload, ns) {
		t.Error("the workload still has access")
	}
}

func newJob(ns, name string) *batchv1.Job {
	none := int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: batchv1.JobSpec{BackoffLimit: &none, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main", Image: "migrate"}},
		}}},
	}
}

func newPod(ns, name string) *corev1.Pod {
	now := int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &now, Containers: []corev1.Container{{Name: "main", Image: "fix"}}},
	}
}

func finishJob(t *testing.T, ns, name string, phase corev1.PodPhase) {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(e.ControlPlane.Admin())
	if err != nil {
		t.Fatal(err)
	}
	if err := controlplane.FinishPod(t.Context(), clientset, ns, name, phase); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Delete(t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatalf("delete %T: %v", o, err)
	}
}

func patch(t *testing.T, o client.Object, merge string) {
	t.Helper()
	if err := e.Admin.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(merge))); err != nil {
		t.Fatalf("patch %T: %v", o, err)
	}
}

func patchStatus(t *testing.T, o client.Object, merge string) {
	t.Helper()
	if err := e.Admin.Status().Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(merge))); err != nil {
		t.Fatalf("patch status of %T: %v", o, err)
	}
}
