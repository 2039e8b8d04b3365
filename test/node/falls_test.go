package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What happens to the leader's process or Pod makes nothing end late.
func TestNothingEndsLateWithoutTheLeader(t *testing.T) {
	for _, tc := range []struct {
		name string
		// ready, if any, is done before access is given.
		ready func(t *testing.T, leader *corev1.Pod)
		fall  func(t *testing.T, leader *corev1.Pod)
		// reason is why its container ended, where that is told.
		reason string
	}{
		{"its process is killed", nil, func(t *testing.T, leader *corev1.Pod) { kill(t, leader, brokerProcess) }, "Error"},
		{"it runs out of memory", tighten, fill, "OOMKilled"},
		{"its Pod is deleted", nil, func(t *testing.T, leader *corev1.Pod) { kit.Delete(t, e.Admin, leader) }, ""},
		{"its Pod is evicted", nil, evict, ""},
		{"its Pod is deleted at once", nil, func(t *testing.T, leader *corev1.Pod) {
			if err := e.Admin.Delete(t.Context(), leader, client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			settled(t)
			was := leader(t)
			if tc.ready != nil {
				tc.ready(t, was)
			}
			ends := given(t, 3*time.Second, 4*time.Second, 5*time.Second, 7*time.Second, 9*time.Second)
			kit.WaitPast(t, ends[0].due.Add(-time.Second))
			fell := time.Now()
			tc.fall(t, was)
			again := givenAfter(t, fell)
			endOnTime(t, ends)
			if took, err := again(); err != nil {
				t.Error(err)
			} else {
				t.Logf("access is given again after %s", took.Round(time.Millisecond))
			}
			if tc.reason != "" {
				endedBy(t, was, tc.reason)
			}
			settled(t)
			if err := replaced(t, was); err != nil {
				t.Error(err)
			}
		})
	}
}

// endedBy checks why the container of a Pod ended last.
func endedBy(t *testing.T, pod *corev1.Pod, reason string) {
	t.Helper()
	kit.Eventually(t, "the container to have ended by "+reason, func(ctx context.Context) (bool, error) {
		now := &corev1.Pod{}
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(pod), now); err != nil {
			return false, err
		}
		status := now.Status.ContainerStatuses[0]
		for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
			if ended := state.Terminated; ended != nil && ended.Reason != reason {
				return false, fmt.Errorf("it ended by %s", ended.Reason)
			} else if ended != nil {
				return true, nil
			}
		}
		return false, errors.New("it has not ended")
	})
}

// replaced checks that the leader that fell does not run as it did.
func replaced(t *testing.T, was *corev1.Pod) error {
	t.Helper()
	for _, pod := range brokers(t) {
		if pod.UID == was.UID && pod.Status.ContainerStatuses[0].ContainerID == was.Status.ContainerStatuses[0].ContainerID {
			return fmt.Errorf("the leader %s never fell", was.Name)
		}
	}
	return nil
}

// What stops on the node, while the Pods run on, makes nothing end late, and
// access is given meanwhile.
func TestNothingEndsLateWithoutTheNodesServices(t *testing.T) {
	for _, tc := range []struct {
		name    string
		service *lab.Process
	}{
		{"no kubelet", on.Kubelet},
		{"no containerd", on.Containerd},
		{"no scheduler", on.Scheduler},
	} {
		t.Run(tc.name, func(t *testing.T) {
			settled(t)
			ends := given(t, 3*time.Second, 4*time.Second, 6*time.Second)
			kit.WaitPast(t, ends[0].due.Add(-time.Second))
			stopped := time.Now()
			tc.service.Stop()
			t.Cleanup(func() {
				if tc.service.PID() == 0 {
					kit.Restart(t, tc.service)
				}
			})
			again := givenAfter(t, stopped)
			endOnTime(t, ends)
			if took, err := again(); err != nil {
				t.Error(err)
			} else {
				t.Logf("access is given %s after the stop began", took.Round(time.Millisecond))
			}
			kit.Restart(t, tc.service)
			settled(t)
		})
	}
}
