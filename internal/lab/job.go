package lab

import (
	"context"
	"encoding/json"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// FinishPod does a kubelet's work: it waits for a Pod of the Job that is not
// finished and sets its phase, PodSucceeded or PodFailed. What becomes of the
// Job is up to the Job controller.
func (c *ControlPlane) FinishPod(ctx context.Context, namespace, jobName string, phase corev1.PodPhase) error {
	pods := c.Clientset.CoreV1().Pods(namespace)
	ofJob := metav1.ListOptions{
		LabelSelector: labels.Set{batchv1.JobNameLabel: jobName}.String(),
	}
	patch, err := json.Marshal(corev1.Pod{Status: corev1.PodStatus{Phase: phase}})
	if err != nil {
		return fmt.Errorf("encode the Pod's status: %w", err)
	}

	err = Until(ctx, Patience, func(ctx context.Context) (bool, error) {
		list, err := pods.List(ctx, ofJob)
		if err != nil {
			return false, err
		}
		for _, pod := range list.Items {
			if finished(&pod) {
				continue
			}
			_, err := pods.Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
			return err == nil, err
		}
		return false, fmt.Errorf("none of its %d Pods is unfinished", len(list.Items))
	})
	if err != nil {
		return fmt.Errorf("finish a Pod of Job %s/%s: %w", namespace, jobName, err)
	}
	return nil
}

func finished(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil ||
		pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
