package node

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// taskPatience is how long a task may take from when alice has access to its
// end: a Job waits ten seconds before it tries again.
const taskPatience = 90 * time.Second

// gone is how a task ended that was deleted before it was over.
const gone = "deleted"

// reserve is a namespace with a policy that gives alice access. It is deleted at
// the end of the test, so that the node has room for other Pods.
func reserve(t *testing.T) string {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	t.Cleanup(func() {
		_ = e.Admin.Delete(context.WithoutCancel(t.Context()), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	})
	return ns
}

// during is a request's task.
func during(apiVersion, kind, name, completeWhen string) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: apiVersion, Kind: kind, Name: name, CompleteWhen: completeWhen}
	}
}

// follow watches a task until look says how it ended, or until it is deleted,
// and asks all the while whether alice has access. It waits for both, and
// checks that the access ended no sooner than the task, and no later than
// onTime after it. look says "" of a task that is not over.
func follow(t *testing.T, task client.Object, list client.ObjectList, look func(client.Object) string) (wait func() (how string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), taskPatience)
	t.Cleanup(cancel)
	watcher, err := lab.NewClient(e.AdminConfig())
	if err != nil {
		t.Fatal(err)
	}
	events, err := watcher.Watch(ctx, list, client.InNamespace(task.GetNamespace()))
	if err != nil {
		t.Fatal(err)
	}
	var lost time.Time
	var problem error
	without := make(chan struct{})
	go func() {
		defer close(without)
		problem = lab.Until(ctx, taskPatience, func(ctx context.Context) (bool, error) {
			can, err := mayDelete(ctx, task.GetNamespace())
			return !can, err
		})
		lost = time.Now()
	}()
	return func() string {
		t.Helper()
		defer events.Stop()
		how, err := endOf(events, task.GetName(), look)
		at := time.Now()
		if err != nil {
			t.Fatal(err)
		}
		if <-without; problem != nil {
			t.Fatalf("the task is over (%s), and alice has access: %v", how, problem)
		}
		late := lost.Sub(at)
		t.Logf("the task is over (%s), and the access ended %s after it", how, late.Round(time.Millisecond))
		if late > onTime || late < -100*time.Millisecond {
			t.Errorf("the access ended %s after its task", late)
		}
		return how
	}
}

// endOf reads events until one tells the end of a task.
func endOf(events watch.Interface, name string, look func(client.Object) string) (how string, err error) {
	for event := range events.ResultChan() {
		object, ok := event.Object.(client.Object)
		if !ok || object.GetName() != name {
			continue
		}
		if event.Type == watch.Deleted {
			return gone, nil
		}
		if how := look(object); how != "" {
			return how, nil
		}
	}
	return "", errors.New("the watch ended before the task")
}
