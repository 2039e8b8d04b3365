package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/test/kit"
)

// outcomeKnown is docs/policies.md's expression for a Job whose Pods may take
// long to end.
const outcomeKnown = `object.status.?conditions.orValue([]).exists(c, c.type in ['SuccessCriteriaMet', 'FailureTarget'] && c.status == 'True')`

func has(job *batchv1.Job, condition batchv1.JobConditionType) bool {
	for _, c := range job.Status.Conditions {
		if c.Type == condition && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

func exits(code int) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) { s.Template.Spec.Containers[0].Args[2] = fmt.Sprint(code) }
}

func lasts(d time.Duration) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) { s.Template.Spec.Containers[0].Args[1] = d.String() }
}

func suspend(t *testing.T, job *batchv1.Job, suspend bool) {
	t.Helper()
	e.Patch(t, job, fmt.Sprintf(`{"spec":{"suspend":%t}}`, suspend))
}

func deleted(how metav1.DeletionPropagation) func(*testing.T, *batchv1.Job) {
	return func(t *testing.T, job *batchv1.Job) {
		podOf(t, job)
		if err := e.Admin.Delete(t.Context(), job, client.PropagationPolicy(how)); err != nil {
			t.Fatal(err)
		}
	}
}

// finishElsewhere writes what the controller of a Job writes at its end.
func finishElsewhere(t *testing.T, job *batchv1.Job) {
	t.Helper()
	now := metav1.Now()
	condition := func(kind batchv1.JobConditionType) batchv1.JobCondition {
		return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now}
	}
	job.Status = batchv1.JobStatus{
		StartTime: &now, CompletionTime: &now, Succeeded: 1, Ready: ptr.To[int32](0), Terminating: ptr.To[int32](0),
		Conditions:              []batchv1.JobCondition{condition(batchv1.JobSuccessCriteriaMet), condition(batchv1.JobComplete)},
		UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{},
	}
	if err := e.Admin.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// podOf waits for a Pod of a Job to run.
func podOf(t *testing.T, job *batchv1.Job) *corev1.Pod {
	t.Helper()
	return runningPod(t, job.Namespace, client.MatchingLabels{batchv1.JobNameLabel: job.Name})
}

// runningPod waits for a Pod with these labels to run.
func runningPod(t *testing.T, namespace string, labels client.MatchingLabels) *corev1.Pod {
	t.Helper()
	found := &corev1.Pod{}
	kit.Eventually(t, "a Pod to run", func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		if err := e.Admin.List(ctx, pods, client.InNamespace(namespace), labels); err != nil {
			return false, err
		}
		for _, pod := range pods.Items {
			if pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
				found = &pod
				return true, nil
			}
		}
		return false, errors.New("there is none yet")
	})
	return found
}

// evict asks for the eviction of a Pod, as a drain does.
func evict(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	err := e.Clientset.PolicyV1().Evictions(pod.Namespace).Evict(t.Context(), &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
	})
	if err != nil {
		t.Fatalf("evict %s: %v", pod.Name, err)
	}
}
