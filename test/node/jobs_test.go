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

// jobRow is a Job that Pods run, and the end of the access that is bound to it.
type jobRow struct {
	name string
	// job is how it differs from a Job whose one Pod succeeds after four seconds.
	job func(*batchv1.JobSpec)
	// completeWhen is the request's, if it has one.
	completeWhen string
	// begin is done before the access is given, and act while alice has it.
	begin func(*testing.T, *batchv1.Job, *v1alpha1.AccessRequest)
	act   func(*testing.T, *batchv1.Job)
	// passes is a condition that comes while Pods still end, and ends nothing.
	passes batchv1.JobConditionType
	// how the Job ends, and why the access does.
	how    string
	reason v1alpha1.EndReason
}

const (
	complete = string(batchv1.JobComplete)
	failed   = string(batchv1.JobFailed)
)

// A Job whose Pods a kubelet runs ends the access that it was asked for,
// however it comes to its end.
func TestJobEndsItsAccess(t *testing.T) {
	settled(t)
	for _, row := range []jobRow{
		{name: "succeeds", how: complete, reason: v1alpha1.EndTaskCompleted},
		{name: "fails", job: exits(3), how: failed, reason: v1alpha1.EndTaskFailed},
		{
			name: "fails once and is tried again",
			job:  func(s *batchv1.JobSpec) { s.BackoffLimit = ptr.To[int32](1) },
			act:  func(t *testing.T, job *batchv1.Job) { kill(t, podOf(t, job), workProcess) },
			how:  complete, reason: v1alpha1.EndTaskCompleted,
		},
		{
			// kubernetes/kubernetes#54870, #95433: restarts in the same Pod count.
			name: "restarts its container until it gives up",
			job: func(s *batchv1.JobSpec) {
				exits(3)(s)
				s.BackoffLimit = ptr.To[int32](1)
				s.Template.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
			},
			how: failed, reason: v1alpha1.EndTaskFailed,
		},
		{
			name: "is past its deadline",
			job: func(s *batchv1.JobSpec) {
				lasts(time.Hour)(s)
				s.ActiveDeadlineSeconds = ptr.To[int64](6)
			},
			passes: batchv1.JobFailureTarget, how: failed, reason: v1alpha1.EndTaskFailed,
		},
		{
			// kubernetes-sigs/jobset#928: the outcome is known before the Pods have ended.
			name: "is past its deadline, and completeWhen does not wait for its Pods",
			job: func(s *batchv1.JobSpec) {
				lasts(time.Hour)(s)
				s.ActiveDeadlineSeconds = ptr.To[int64](6)
			},
			completeWhen: outcomeKnown,
			how:          string(batchv1.JobFailureTarget), reason: v1alpha1.EndTaskCompleted,
		},
		{
			name: "fails by its pod failure policy, whatever its backoff limit",
			job: func(s *batchv1.JobSpec) {
				exits(42)(s)
				s.BackoffLimit = ptr.To[int32](6)
				s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
					Action:      batchv1.PodFailurePolicyActionFailJob,
					OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{42}},
				}}}
			},
			how: failed, reason: v1alpha1.EndTaskFailed,
		},
		{
			name: "loses a Pod that its pod failure policy ignores",
			job: func(s *batchv1.JobSpec) {
				s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
					Action:          batchv1.PodFailurePolicyActionIgnore,
					OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
				}}}
			},
			act: func(t *testing.T, job *batchv1.Job) { evict(t, podOf(t, job)) },
			how: complete, reason: v1alpha1.EndTaskCompleted,
		},
		{
			name: "meets its success policy",
			job: func(s *batchv1.JobSpec) {
				s.CompletionMode, s.Completions, s.Parallelism = ptr.To(batchv1.IndexedCompletion), ptr.To[int32](2), ptr.To[int32](2)
				s.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: ptr.To("0")}}}
				s.Template.Spec.Containers[0].Args[1] = "$(JOB_COMPLETION_INDEX)0m4s" // four seconds for the first
			},
			passes: batchv1.JobSuccessCriteriaMet, how: complete, reason: v1alpha1.EndTaskCompleted,
		},
		{
			// kubernetes-sigs/kueue suspends and resumes so.
			name: "is suspended at first, resumed, suspended and resumed",
			job:  func(s *batchv1.JobSpec) { s.Suspend = ptr.To(true) },
			begin: func(t *testing.T, job *batchv1.Job, request *v1alpha1.AccessRequest) {
				e.WaitUntil(t, request, "the request to wait for its task", func(r *v1alpha1.AccessRequest) bool {
					return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForTask)
				})
				if kit.Can(t, alice, job.Namespace) {
					t.Error("alice has access for a Job that has not begun")
				}
				suspend(t, job, false)
			},
			act: func(t *testing.T, job *batchv1.Job) {
				podOf(t, job)
				suspend(t, job, true)
				kit.Eventually(t, "the Job to have no Pods", func(ctx context.Context) (bool, error) {
					err := e.Admin.Get(ctx, client.ObjectKeyFromObject(job), job)
					return has(job, batchv1.JobSuspended) && job.Status.Active == 0 && ptr.Deref(job.Status.Terminating, 0) == 0, err
				})
				if !kit.Can(t, alice, job.Namespace) {
					t.Error("alice lost her access because her Job is suspended again")
				}
				suspend(t, job, false)
			},
			how: complete, reason: v1alpha1.EndTaskCompleted,
		},
		{
			// h3poteto/kube-job#201: it is gone before others have read how it ended.
			name: "is deleted as soon as it has succeeded",
			job:  func(s *batchv1.JobSpec) { s.TTLSecondsAfterFinished = ptr.To[int32](0) },
			how:  complete, reason: v1alpha1.EndTaskCompleted,
		},
		{
			name: "is deleted as soon as it has failed",
			job: func(s *batchv1.JobSpec) {
				exits(3)(s)
				s.TTLSecondsAfterFinished = ptr.To[int32](0)
			},
			how: failed, reason: v1alpha1.EndTaskFailed,
		},
		// kubernetes/kubectl#1482: those who wait for a condition wait for ever.
		{name: "is deleted in mid-run", job: lasts(time.Hour), act: deleted(metav1.DeletePropagationBackground), how: gone, reason: v1alpha1.EndTaskGone},
		{name: "is deleted in mid-run, after its Pods", job: lasts(time.Hour), act: deleted(metav1.DeletePropagationForeground), how: gone, reason: v1alpha1.EndTaskGone},
		{name: "is deleted in mid-run, without its Pods", job: lasts(time.Hour), act: deleted(metav1.DeletePropagationOrphan), how: gone, reason: v1alpha1.EndTaskGone},
		{
			// kubernetes-sigs/kueue#5613: another controller than Kubernetes' own
			// runs it elsewhere and writes its status here.
			name: "is another controller's",
			job:  func(s *batchv1.JobSpec) { s.ManagedBy = ptr.To("example.com/elsewhere") },
			act:  func(t *testing.T, job *batchv1.Job) { finishElsewhere(t, job) },
			how:  complete, reason: v1alpha1.EndTaskCompleted,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.play(t)
		})
	}
}

func (row jobRow) play(t *testing.T) {
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: reserve(t), Name: "migrate"},
		Spec:       batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: corev1.PodTemplateSpec{Spec: workload(4*time.Second, 0)}},
	}
	if row.job != nil {
		row.job(&job.Spec)
	}
	kit.Create(t, e.Admin, job)
	request := e.Ask(t, alice, job.Namespace, during("batch/v1", "Job", job.Name, row.completeWhen))
	if row.begin != nil {
		row.begin(t, job, request)
	}
	request = e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, job.Namespace) {
		t.Fatal("alice has no access")
	}
	passed := false
	wait := follow(t, job, &batchv1.JobList{}, func(o client.Object) string {
		now := o.(*batchv1.Job)
		for _, how := range []string{complete, failed, row.how} {
			if has(now, batchv1.JobConditionType(how)) {
				return how
			}
		}
		if has(now, row.passes) && !passed {
			passed = true
			if !kit.Can(t, alice, job.Namespace) {
				t.Errorf("the condition %s ended the access", row.passes)
			}
		}
		return ""
	})
	if row.act != nil {
		row.act(t, job)
	}
	if how := wait(); how != row.how {
		t.Errorf("the Job is over (%s), want %s", how, row.how)
	}
	if row.passes != "" && !passed {
		t.Errorf("the condition %s never stood alone: the row shows nothing", row.passes)
	}
	e.WaitEnded(t, request.Status.GrantName, row.reason)
}
