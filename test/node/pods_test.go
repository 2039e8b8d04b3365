package node

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A Pod ends the access that it was asked for, however it comes to its end.
func TestPodEndsItsAccess(t *testing.T) {
	settled(t)
	const succeeded, failed = string(corev1.PodSucceeded), string(corev1.PodFailed)
	for _, tc := range []struct {
		name   string
		lasts  time.Duration
		code   int
		act    func(*testing.T, *corev1.Pod) // while alice has access
		how    string
		reason v1alpha1.EndReason
	}{
		{"succeeds", 4 * time.Second, 0, nil, succeeded, v1alpha1.EndTaskCompleted},
		{"fails", 4 * time.Second, 3, nil, failed, v1alpha1.EndTaskFailed},
		{"is killed", time.Hour, 0, func(t *testing.T, pod *corev1.Pod) { kill(t, pod, workProcess) }, failed, v1alpha1.EndTaskFailed},
		// The kubelet says how a Pod ended before it lets it go.
		{"is deleted", time.Hour, 0, func(t *testing.T, pod *corev1.Pod) { kit.Delete(t, e.Admin, pod) }, failed, v1alpha1.EndTaskFailed},
		{"is evicted", time.Hour, 0, evict, failed, v1alpha1.EndTaskFailed},
		{"is deleted by force", time.Hour, 0, func(t *testing.T, pod *corev1.Pod) {
			if err := e.Admin.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
		}, gone, v1alpha1.EndTaskGone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: reserve(t), Name: "migrate", Labels: map[string]string{"app": "migrate"}},
				Spec:       workload(tc.lasts, tc.code),
			}
			kit.Create(t, e.Admin, pod)
			request := e.WaitFor(t, e.Ask(t, alice, pod.Namespace, during("v1", "Pod", pod.Name, "")), v1alpha1.RequestActive)
			if !kit.Can(t, alice, pod.Namespace) {
				t.Fatal("alice has no access")
			}
			wait := follow(t, pod, &corev1.PodList{}, func(o client.Object) string {
				if phase := o.(*corev1.Pod).Status.Phase; phase == corev1.PodSucceeded || phase == corev1.PodFailed {
					return string(phase)
				}
				return ""
			})
			if tc.act != nil {
				tc.act(t, runningPod(t, pod.Namespace, pod.Labels))
			}
			if how := wait(); how != tc.how {
				t.Errorf("the Pod is over (%s), want %s", how, tc.how)
			}
			e.WaitEnded(t, request.Status.GrantName, tc.reason)
		})
	}
}
