package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
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
			setup: func(t *testing.T, ns string) { kit.Create(t, e.Admin, kit.NewJob(ns, "migrate")) },
			task:  &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				e.FinishJob(t, ns, "migrate", corev1.PodSucceeded)
			},
			reason: v1alpha1.EndTaskCompleted, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "job fails",
			setup: func(t *testing.T, ns string) { kit.Create(t, e.Admin, kit.NewJob(ns, "migrate")) },
			task:  &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				e.FinishJob(t, ns, "migrate", corev1.PodFailed)
			},
			reason: v1alpha1.EndTaskFailed, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "job deleted",
			setup: func(t *testing.T, ns string) { kit.Create(t, e.Admin, kit.NewJob(ns, "migrate")) },
			task:  &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				kit.Delete(t, e.Admin, kit.NewJob(ns, "migrate"))
			},
			reason: v1alpha1.EndTaskGone, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "pod replaced by another of its name",
			setup: func(t *testing.T, ns string) { kit.Create(t, e.Admin, kit.NewPod(ns, "fix")) },
			task:  &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "fix"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				kit.Delete(t, e.Admin, kit.NewPod(ns, "fix"))
				kit.Create(t, e.Admin, kit.NewPod(ns, "fix"))
			},
			reason: v1alpha1.EndTaskGone, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "pod succeeds",
			setup: func(t *testing.T, ns string) { kit.Create(t, e.Admin, kit.NewPod(ns, "fix")) },
			task:  &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "fix"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				pod := kit.NewPod(ns, "fix")
				e.PatchStatus(t, pod, `{"status":{"phase":"Succeeded"}}`)
			},
			reason: v1alpha1.EndTaskCompleted, phase: v1alpha1.RequestCompleted,
		},
		{
			name:  "completeWhen becomes true",
			setup: func(t *testing.T, ns string) { kit.Create(t, e.Admin, kit.NewPod(ns, "fix")) },
			task:  &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "fix", CompleteWhen: "object.metadata.?annotations['done'].orValue('') == 'yes'"},
			end: func(t *testing.T, ns string, _ *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				e.Patch(t, kit.NewPod(ns, "fix"), `{"metadata":{"annotations":{"done":"yes"}}}`)
			},
			reason: v1alpha1.EndTaskCompleted, phase: v1alpha1.RequestCompleted,
		},
		{
			name: "released by the requester",
			end: func(t *testing.T, _ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
			},
			reason: v1alpha1.EndReleased, phase: v1alpha1.RequestCompleted, by: "alice",
		},
		{
			name: "revoked by an approver",
			end: func(t *testing.T, _ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
			},
			reason: v1alpha1.EndRevoked, phase: v1alpha1.RequestRevoked, by: "carol",
		},
		{
			name: "request deleted",
			end: func(t *testing.T, _ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				kit.Delete(t, alice, request)
			},
			reason: v1alpha1.EndRequestDeleted,
		},
		{
			name: "policy deleted",
			end: func(t *testing.T, _ string, _ *v1alpha1.AccessRequest, p *v1alpha1.AccessPolicy) {
				kit.Delete(t, e.Admin, p)
			},
			reason: v1alpha1.EndPolicyGone, phase: v1alpha1.RequestRevoked,
		},
		{
			name: "policy no longer allows it",
			end: func(t *testing.T, _ string, _ *v1alpha1.AccessRequest, p *v1alpha1.AccessPolicy) {
				e.Patch(t, p, `{"spec":{"roles":[{"kind":"ClusterRole","name":"view"}]}}`)
			},
			reason: v1alpha1.EndPolicyChanged, phase: v1alpha1.RequestRevoked,
		},
		{
			name: "binding deleted by hand",
			end: func(t *testing.T, ns string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
				kit.Delete(t, e.Admin, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: e.GrantOf(t, request).Name}})
			},
			reason: v1alpha1.EndBindingTouched, phase: v1alpha1.RequestRevoked,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			p := e.NewPolicy(t, ns, nil)
			if tc.setup != nil {
				tc.setup(t, ns)
			}
			request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Task = tc.task })
			e.WaitMatched(t, request)
			if kit.Can(t, alice, ns) {
				t.Fatal("alice has access before anybody approved")
			}
			kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
			active := e.WaitFor(t, request, v1alpha1.RequestActive)
			if !kit.Can(t, alice, ns) {
				t.Fatal("alice has no access though it is Active")
			}
			tc.end(t, ns, active, p)
			g := e.WaitEnded(t, active.Status.GrantName, tc.reason)
			if kit.Can(t, alice, ns) {
				t.Error("alice still has access")
			}
			if g.Status.EndedBy != tc.by {
				t.Errorf("ended by %q, want %q", g.Status.EndedBy, tc.by)
			}
			if tc.phase != "" {
				e.WaitFor(t, request, tc.phase)
			}
		})
	}
}

// A workload holds its role for as long as its Job runs.
func TestServiceAccountWhileItsJobRuns(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrate"}})
	kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count = new(int32)
		s.Subjects = v1alpha1.SubjectsServiceAccounts
		s.Task = v1alpha1.TaskRequired
	})
	workload, err := e.AsServiceAccount(t.Context(), ns, "migrate")
	if err != nil {
		t.Fatal(err)
	}
	if kit.Can(t, workload, ns) {
		t.Fatal("the workload has standing access")
	}
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "migrate"}}
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
	})
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, workload, ns) {
		t.Fatal("the workload has no access")
	}
	if kit.Can(t, alice, ns) {
		t.Fatal("alice has the workload's access")
	}
	e.FinishJob(t, ns, "migrate", corev1.PodSucceeded)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndTaskCompleted)
	if kit.Can(t, workload, ns) {
		t.Error("the workload still has access")
	}
}
