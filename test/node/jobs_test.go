package node

import (
	"context"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A Job whose Pods a kubelet runs ends the access that it was asked for.
func TestJobEndsItsAccess(t *testing.T) {
	settled(t)
	for _, tc := range []struct {
		name      string
		code      int
		condition batchv1.JobConditionType
		reason    v1alpha1.EndReason
	}{
		{"succeeds", 0, batchv1.JobComplete, v1alpha1.EndTaskCompleted},
		{"fails", 3, batchv1.JobFailed, v1alpha1.EndTaskFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, automatic)
			job := &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrate"},
				Spec:       batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{Spec: workload(4*time.Second, tc.code)}},
			}
			kit.Create(t, e.Admin, job)
			request := e.WaitFor(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
				s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: job.Name}
			}), v1alpha1.RequestActive)
			if !kit.Can(t, alice, ns) {
				t.Fatal("alice has no access")
			}
			kit.Eventually(t, "the condition "+string(tc.condition), func(ctx context.Context) (bool, error) {
				err := e.Admin.Get(ctx, client.ObjectKeyFromObject(job), job)
				return has(job, tc.condition), err
			})
			endOnTime(t, []end{{ns, time.Now()}})
			e.WaitEnded(t, request.Status.GrantName, tc.reason)
		})
	}
}

func has(job *batchv1.Job, condition batchv1.JobConditionType) bool {
	for _, c := range job.Status.Conditions {
		if c.Type == condition && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
