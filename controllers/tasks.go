package controllers

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/expression"
	"github.com/accessbroker/accessbroker/internal/task"
)

// TaskWatcher watches the kinds of objects that requests name as tasks, each
// kind from the first time that it is named. Only metadata is kept; a task is
// read when something about it has changed.
type TaskWatcher struct {
	Cache  cache.Cache
	Client client.Reader

	mu       sync.Mutex
	watchers []watcher
	watched  map[schema.GroupVersionKind]bool
}

// watcher is a controller and what a change of a task means to it.
type watcher struct {
	controller controller.Controller
	enqueue    func(ctx context.Context, key string) []reconcile.Request
}

// add a controller that is to be told of tasks, before the first Watch.
func (w *TaskWatcher) add(c controller.Controller, enqueue func(ctx context.Context, key string) []reconcile.Request) {
	w.watchers = append(w.watchers, watcher{controller: c, enqueue: enqueue})
}

// Watch makes sure that the kind of a task is watched.
func (w *TaskWatcher) Watch(ref v1alpha1.TaskRef) {
	if w == nil {
		return
	}
	kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched[kind] {
		return
	}
	for _, watcher := range w.watchers {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(kind)
		toRequests := func(ctx context.Context, o *metav1.PartialObjectMetadata) []reconcile.Request {
			return watcher.enqueue(ctx, taskKey(ref.APIVersion, ref.Kind, o.Namespace, o.Name))
		}
		if err := watcher.controller.Watch(source.Kind(w.Cache, object, first(toRequests))); err != nil {
			// The next reconcile of a request with such a task tries again.
			logf.Log.Error(err, "watch the kind of a task", "kind", kind.String())
			return
		}
	}
	if w.watched == nil {
		w.watched = map[schema.GroupVersionKind]bool{}
	}
	w.watched[kind] = true
}

// taskKey is what requests and grants are indexed by.
func taskKey(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf("%s/%s/%s/%s", apiVersion, kind, namespace, name)
}

// evaluateTask tells whether a task is over. The error is that completeWhen
// does not compile. One that cannot be evaluated, because the task has no
// status yet say, is not true: the task runs, and the deadline holds.
func evaluateTask(ref v1alpha1.TaskRef, object *unstructured.Unstructured) (task.State, string, error) {
	var completeWhen *expression.Program
	if ref.CompleteWhen != "" {
		program, err := expression.Compile(ref.CompleteWhen, "object")
		if err != nil {
			return "", "", err
		}
		completeWhen = program
	}
	state, why, err := task.Evaluate(object, completeWhen)
	if err != nil {
		return task.Running, err.Error(), nil
	}
	return state, why, nil
}

// requestsFor turns names into reconcile requests.
func requestsFor(names ...types.NamespacedName) []reconcile.Request {
	out := make([]reconcile.Request, len(names))
	for i, name := range names {
		out[i].NamespacedName = name
	}
	return out
}
