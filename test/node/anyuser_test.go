package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/lab/node"
	"github.com/accessbroker/accessbroker/test/kit"
)

// someUser is from the range that OpenShift might give the namespace. The image
// knows nothing of it.
const someUser = 1000650000

// The broker works as whatever user the cluster chooses.
func TestAnyUser(t *testing.T) {
	settled(t)
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: lab.BrokerNamespace, Name: "access-broker"}}
	as := func(user int) string {
		return fmt.Sprintf(`{"spec":{"template":{"spec":{"securityContext":{"runAsUser":%d}}}}}`, user)
	}
	roll := func(user int) []corev1.Pod {
		e.Patch(t, deployment, as(user))
		settled(t)
		var pods []corev1.Pod
		kit.Within(t, time.Minute, "the replicas of before to be gone", func(context.Context) (bool, error) {
			pods = brokers(t)
			return len(pods) == node.BrokerReplicas, nil
		})
		return pods
	}
	defer roll(65532)
	pods := roll(someUser)
	for i := range pods {
		want := fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", someUser)
		if got := statusOf(t, processOf(t, &pods[i], "/access-broker"))["Uid"]; got != want {
			t.Errorf("%s runs as %s", pods[i].Name, got)
		}
	}
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	request := e.Ask(t, alice, ns, lasting(5*time.Second))
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndExpired)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
}
