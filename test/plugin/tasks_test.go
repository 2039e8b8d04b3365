package plugin

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What is wrong with a task is said before it is sent, and a completeWhen that
// errs is shown for as long as it does.
func TestTask(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	ask := func(args ...string) result {
		return alice.run(t, append([]string{"request", "edit", "-n", ns, "--name", "fix", "--reason", "r"}, args...)...)
	}
	ask("--task", "deployment/api").ends(t, 1, "it is not known when a Deployment is over: say so with --complete-when, for example:", "> granted")
	ask("--task", "job/migrate", "--complete-when", "object.status =").ends(t, 1, "--complete-when: 1:15: Syntax error")

	pod := kit.NewPod(ns, "fix")
	kit.Create(t, e.Admin, pod)
	ask("--task", "pod/fix", "--complete-when", "object.metadata.labels.done == 'yes'").ok(t)
	request := e.WaitMatched(t, request(ns, "fix"))
	kit.MustDecide(t, bob.Client, request, v1alpha1.VerdictApprove)
	e.WaitUntil(t, request, "what cannot be told", func(r *v1alpha1.AccessRequest) bool {
		return r.Status.Phase == v1alpha1.RequestActive && kit.HasReason(r.Status.Conditions, v1alpha1.ReasonCompleteWhenErrs)
	})
	alice.run(t, "show", "fix", "-n", ns).ok(t, "TaskWatched", "no such key: labels", "until that is fixed, the access lasts until its deadline")
	e.Patch(t, &corev1.Pod{ObjectMeta: pod.ObjectMeta}, `{"metadata":{"labels":{"done":"no"}}}`)
	e.WaitUntil(t, request, "the trouble to be over", func(r *v1alpha1.AccessRequest) bool {
		return !kit.HasReason(r.Status.Conditions, v1alpha1.ReasonCompleteWhenErrs)
	})
	alice.run(t, "show", "fix", "-n", ns).ok(t).not(t, "TaskWatched")
}
