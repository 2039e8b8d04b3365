package resolve

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// LookAgain is the longest time between two looks at a task that a request or grant
// names, whatever its watch shows.
const LookAgain = time.Minute

// Task reads a task, nil when it does not exist. It reads live: an old copy must not
// decide whether a task is over. When its version is not served any more, it looks
// for the object under another one.
func (n Names) Task(ctx context.Context, namespace string, ref v1alpha1.TaskRef) (*unstructured.Unstructured, error) {
	kind := KindOf(ref)
	object, err := n.taskAs(ctx, kind, namespace, ref.Name)
	if NotServed(err) {
		n.Tasks.kinds.rediscover()
		mapping, mapErr := n.Tasks.kinds.mapping(kind)
		if mapErr != nil && !meta.IsNoMatchError(mapErr) {
			return nil, fmt.Errorf("find the resource of %s: %w", kind, mapErr)
		}
		if mapErr == nil && mapping.GroupVersionKind != kind {
			object, err = n.taskAs(ctx, mapping.GroupVersionKind, namespace, ref.Name)
		}
	}
	switch {
	case err == nil:
		return object, nil
	case NotServed(err):
		return nil, Impossiblef(v1alpha1.ReasonTaskNotServed, "task: the API server knows no kind %s of %s", ref.Kind, ref.APIVersion)
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, notListed(kind.GroupKind(), strings.ToLower(ref.Kind)+"s", nil)
	}
	return nil, fmt.Errorf("read task %s %s/%s: %w", ref.Kind, namespace, ref.Name, err)
}

func (n Names) taskAs(ctx context.Context, kind schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(kind)
	err := n.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object)
	return object, err
}

// NotServed tells whether an error says that there is no such kind, which says
// nothing about any object of it.
func NotServed(err error) bool {
	return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}
