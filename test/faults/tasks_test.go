package faults

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A Job that is over and gone before the broker can read it is told as what the
// watch saw it become.
func TestJobIsGoneBeforeItIsRead(t *testing.T) {
	c := take(t)
	broker := c.StartBroker(t, "broker")
	for _, tc := range []struct {
		phase        corev1.PodPhase
		completeWhen string
		reason       v1alpha1.EndReason
	}{
		{corev1.PodSucceeded, "", v1alpha1.EndTaskCompleted},
		{corev1.PodFailed, "", v1alpha1.EndTaskFailed},
		{corev1.PodFailed, "object.status.?failed.orValue(0) == 1", v1alpha1.EndTaskCompleted},
		{"", "", v1alpha1.EndTaskGone}, // deleted while it ran
	} {
		t.Run(fmt.Sprintf("%s %s", tc.phase, tc.completeWhen), func(t *testing.T) {
			ns := c.NewNamespace(t, nil)
			c.NewPolicy(t, ns, automatic)
			job := kit.NewJob(ns, "migrate")
			job.Spec.TTLSecondsAfterFinished = new(int32)
			kit.Create(t, c.Admin, job)
			request := c.Ask(t, c.alice, ns, func(s *v1alpha1.AccessRequestSpec) {
				s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate", CompleteWhen: tc.completeWhen}
			})
			c.WaitFor(t, request, v1alpha1.RequestActive)
			g := c.GrantOf(t, request)
			hangs(t, broker)
			if tc.phase == "" {
				kit.Delete(t, c.Admin, job)
			} else {
				c.FinishJob(t, ns, "migrate", tc.phase)
			}
			c.WaitGone(t, job)
			wakes(t, broker)
			c.WaitEnded(t, g.Name, tc.reason)
			if kit.Can(t, c.alice, ns) {
				t.Error("alice still has access")
			}
		})
	}
}

func hangs(t *testing.T, p *lab.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

func wakes(t *testing.T, p *lab.Process) {
	t.Helper()
	if err := p.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// A task that may be read but, in truth, not watched holds up nothing: the broker
// is ready, others are served, and the task is read.
func TestTaskCannotBeWatched(t *testing.T) {
	c := take(t)
	// The list allows it, and its binding is gone.
	list := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "access-broker-task-kinds"}}
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(list), list); err != nil {
		t.Fatal(err)
	}
	kit.Delete(t, c.Admin, list.DeepCopy())
	t.Cleanup(func() {
		list.ResourceVersion, list.UID = "", ""
		_ = c.Admin.Create(context.WithoutCancel(t.Context()), list)
	})
	ns, other := c.NewNamespace(t, nil), c.NewNamespace(t, nil)
	kit.Create(t, c.Admin, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "read"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"get"}}},
	})
	kit.Create(t, c.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "read"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "read"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: lab.BrokerNamespace, Name: lab.BrokerServiceAccount}},
	})
	c.NewPolicy(t, ns, automatic)
	c.NewPolicy(t, other, automatic)
	kit.Create(t, c.Admin, kit.NewJob(ns, "migrate"))
	kit.Eventually(t, "the broker to lose its right", func(ctx context.Context) (bool, error) {
		err := c.broker.List(ctx, &corev1.PodList{})
		return apierrors.IsForbidden(err), nil
	})
	broker := c.StartBroker(t, "broker")
	request := c.Ask(t, c.alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
	})
	c.WaitFor(t, request, v1alpha1.RequestActive)
	kit.Eventually(t, "the watch to fail", func(context.Context) (bool, error) {
		return broker.Ready(t.Context()) == nil && strings.Contains(broker.LogTail(), "tasks cannot be watched now"), nil
	})
	// What has nothing to do with it is given, by a replica that starts meanwhile too.
	broker.Stop()
	kit.Restart(t, broker)
	c.WaitFor(t, c.Ask(t, c.dave, other, nil), v1alpha1.RequestActive)
	// The task is read when the grant is looked at.
	c.FinishJob(t, ns, "migrate", corev1.PodSucceeded)
	kit.Eventually(t, "the Job to be complete", func(ctx context.Context) (bool, error) {
		job := kit.NewJob(ns, "migrate")
		err := c.Admin.Get(ctx, client.ObjectKeyFromObject(job), job)
		return job.Status.CompletionTime != nil, err
	})
	c.Patch(t, request.DeepCopy(), `{"metadata":{"annotations":{"look":"again"}}}`)
	c.WaitEnded(t, c.GrantOf(t, request).Name, v1alpha1.EndTaskCompleted)
	if err := broker.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
