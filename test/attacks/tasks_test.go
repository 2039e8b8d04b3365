package attacks

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A requester chooses the task, and when it is complete: neither may start what
// the broker does not want to watch, nor tell what the requester may not read.
func TestTasks(t *testing.T) {
	t.Parallel()
	task := func(apiVersion, kind, name, completeWhen string) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: apiVersion, Kind: kind, Name: name, CompleteWhen: completeWhen}
		}
	}
	attack(t, "the broker's own Lease as a task", func(t *testing.T) {
		_, who := somebodyNew(t, lab.BrokerNamespace)
		request := e.Ask(t, who, lab.BrokerNamespace, task("coordination.k8s.io/v1", "Lease", "access-broker", "object.spec.holderIdentity == ''"))
		mustEnd(t, request, v1alpha1.RequestFailed, "Lease is not listed as a kind of task")
		mustNot(t, who, lab.BrokerNamespace)
		if err := broker.Ready(t.Context()); err != nil {
			t.Errorf("the broker is not ready any more: %v", err)
		}
	})
	attack(t, "grants read letter by letter", func(t *testing.T) {
		ns, _ := matched(t, nil)
		for _, kind := range []string{"AccessGrant", "AccessRequest", "AccessPolicy"} {
			request := e.Ask(t, alice, ns, task(v1alpha1.GroupVersion.String(), kind, "fix", "object.spec.reason.startsWith('a')"))
			mustEnd(t, request, v1alpha1.RequestFailed, "it is one of the broker's own kinds")
		}
	})
	attack(t, "Secret read letter by letter", func(t *testing.T) {
		ns, _ := matched(t, nil)
		request := e.Ask(t, alice, ns, task("v1", "Secret", "database", "object.data.password.startsWith('a')"))
		mustEnd(t, request, v1alpha1.RequestFailed, "Secret cannot be a task, whatever access-broker-task-kinds lists")
	})
	attack(t, "task read in the words of an error", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](1) })
		pod := kit.NewPod(ns, "task")
		pod.Annotations = map[string]string{"pin": "hunter2"}
		kit.Create(t, e.Admin, pod)
		for _, completeWhen := range []string{
			"object[object.metadata.annotations.pin]",
			"timestamp(object.metadata.annotations.pin) > granted",
			"int(object.metadata.annotations.pin) > 1",
			"granted.getHours(object.metadata.annotations.pin) > 1",
		} {
			request := e.WaitMatched(t, e.Ask(t, alice, ns, task("v1", "Pod", "task", completeWhen)))
			told := meta.FindStatusCondition(request.Status.Conditions, v1alpha1.ConditionTaskWatched)
			if told == nil || strings.Contains(told.Message, "hunter2") {
				t.Errorf("%s: alice is told %v", completeWhen, told)
			}
		}
	})
	attack(t, "kind whose end nobody knows", func(t *testing.T) {
		ns, _ := matched(t, nil)
		request := e.Ask(t, alice, ns, task("batch/v1", "CronJob", "nightly", ""))
		mustEnd(t, request, v1alpha1.RequestFailed, "is not listed as a kind of task")
		mustNot(t, alice, ns)
	})
	attack(t, "suspended Job that holds access for later", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		job := kit.NewJob(ns, "migrate")
		job.Spec.Suspend = ptr.To(true)
		kit.Create(t, e.Admin, job)
		request := e.Ask(t, alice, ns, task("batch/v1", "Job", "migrate", ""))
		says(t, request, "migrate is suspended: the access begins when it runs")
		mustNot(t, alice, ns)
	})
}
