package resolve

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/task"
)

// Tasks knows the kinds of tasks, and watches the tasks that requests and grants
// name: one watch for the tasks of a kind in a namespace, for as long as there are
// any and an administrator lists the kind. The watches are not part of the caches:
// one that fails holds up nothing else, and each task is read every minute in any
// case.
type Tasks struct {
	kinds  *kindMapper
	client dynamic.Interface
	// named tells whether a request or grant that has not ended names a task.
	named func(ctx context.Context, key string) bool

	mu      sync.Mutex
	run     context.Context // of the controllers, which start after this is made
	queues  []taskQueue
	watches map[taskPlace]*taskWatch
}

// taskPlace is where the tasks of one watch are.
type taskPlace struct {
	kind      schema.GroupVersionKind
	namespace string
}

// taskQueue is the queue of a controller, and finds what a task concerns there.
type taskQueue struct {
	queue queue.Queue
	whom  func(ctx context.Context, key string) []reconcile.Request
}

// NewTasks makes Tasks that watch nothing yet. named tells whether a request or
// grant that has not ended names a task, by its cached.TaskKey.
func NewTasks(config *rest.Config, httpClient *http.Client, named func(ctx context.Context, key string) bool) (*Tasks, error) {
	config = rest.CopyConfig(config)
	fresh := func() (meta.RESTMapper, error) { return apiutil.NewDynamicRESTMapper(config, httpClient) }
	watching := rest.CopyConfig(config)
	watching.Timeout = 0 // it would cut off the watches
	c, err := dynamic.NewForConfig(watching)
	if err != nil {
		return nil, fmt.Errorf("create the client of tasks: %w", err)
	}
	return &Tasks{kinds: &kindMapper{fresh: fresh}, client: c, watches: map[taskPlace]*taskWatch{}, named: named}, nil
}

// Source reports changes of tasks to a controller, from its start on.
func (t *Tasks) Source(whom func(ctx context.Context, key string) []reconcile.Request) source.Source {
	return source.Func(func(ctx context.Context, q queue.Queue) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.queues = append(t.queues, taskQueue{q, whom})
		if t.run == nil {
			t.run = ctx
			go wait.UntilWithContext(ctx, t.forget, LookAgain)
		}
		return nil
	})
}

// Watch makes sure that a task is watched, if its kind may be.
func (t *Tasks) Watch(ctx context.Context, from Names, namespace string, ref v1alpha1.TaskRef) {
	place := taskPlace{KindOf(ref), namespace}
	mapping, err := from.admitKind(ctx, place.kind)
	t.mu.Lock()
	defer t.mu.Unlock()
	watched := t.watches[place]
	if watched != nil && (err != nil || watched.resource != mapping.Resource || watched.ctx.Err() != nil) {
		watched.stop() // not admitted any more, or served under another version
		delete(t.watches, place)
		watched = nil
	}
	if err != nil || t.run == nil {
		return // the next look at the request or grant tries again
	}
	if watched == nil {
		watched = newTaskWatch(t, place, mapping.Resource)
		t.watches[place] = watched
		defer watched.start()
	}
	watched.expect(ref.Name)
}

// Last tells how far a task that is gone had come when the watch last saw it; ""
// when it never did.
func (t *Tasks) Last(namespace string, ref v1alpha1.TaskRef, uid types.UID, completeWhen *task.CompleteWhen, access task.Access) (task.State, string) {
	t.mu.Lock()
	watched := t.watches[taskPlace{KindOf(ref), namespace}]
	t.mu.Unlock()
	if watched == nil {
		return "", ""
	}
	seen := watched.last(ref.Name)
	if seen.uid != uid {
		return "", ""
	}
	if completeWhen == nil {
		return seen.state, seen.why
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(seen.object); err != nil {
		return "", ""
	}
	state, why, err := task.Evaluate(object, completeWhen, access)
	if err != nil {
		return "", ""
	}
	return state, why
}

// forget drops the tasks that no request or grant names any more.
func (t *Tasks) forget(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for place, watched := range t.watches {
		apiVersion, kind := place.kind.ToAPIVersionAndKind()
		left := watched.keep(func(name string) bool { return t.named(ctx, cached.TaskKey(apiVersion, kind, place.namespace, name)) })
		if left == 0 {
			watched.stop()
			delete(t.watches, place)
		}
	}
}

// tell the controllers that a task has changed. What may end comes before what may
// begin.
func (t *Tasks) tell(ctx context.Context, place taskPlace, name string) {
	t.mu.Lock()
	queues := t.queues
	t.mu.Unlock()
	apiVersion, kind := place.kind.ToAPIVersionAndKind()
	for _, q := range queues {
		queue.Add(q.queue, queue.Ahead, q.whom(ctx, cached.TaskKey(apiVersion, kind, place.namespace, name))...)
	}
}

// taskWatch watches the tasks of a kind in a namespace. It implements
// toolscache.ReflectorStore, and keeps only the tasks that are expected.
type taskWatch struct {
	tasks    *Tasks
	place    taskPlace
	resource schema.GroupVersionResource
	ctx      context.Context
	stop     context.CancelFunc

	mu sync.Mutex
	// worked is true once the tasks were listed, which clears told, the last error.
	worked bool
	told   string
	// expected tasks by name, as they were seen last.
	expected map[string]seenTask
}

// seenTask is what is remembered of a task, in case it is deleted before it is read.
type seenTask struct {
	uid   types.UID
	state task.State
	why   string
	// object in JSON, for completeWhen; empty when it is larger than maxSeen.
	object []byte
}

// maxSeen bounds what is remembered of a task, in bytes.
const maxSeen = 64 << 10

func remember(object *unstructured.Unstructured) seenTask {
	seen := seenTask{uid: object.GetUID()}
	seen.state, seen.why, _ = task.Evaluate(object, nil, task.Access{}) // without completeWhen there is no error
	object.SetManagedFields(nil)
	if text, err := object.MarshalJSON(); err == nil && len(text) <= maxSeen {
		seen.object = text
	}
	return seen
}

func newTaskWatch(t *Tasks, place taskPlace, resource schema.GroupVersionResource) *taskWatch {
	w := &taskWatch{tasks: t, place: place, resource: resource, expected: map[string]seenTask{}}
	w.ctx, w.stop = context.WithCancel(t.run)
	return w
}

func (w *taskWatch) start() {
	reflector := toolscache.NewReflectorWithOptions(&toolscache.ListWatch{
		ListWithContextFunc:  w.list,
		WatchFuncWithContext: w.watch,
	}, nil, w, toolscache.ReflectorOptions{Name: "tasks", TypeDescription: w.place.kind.String()})
	// failed logs an error once; the reflector would log it at each try.
	go reflector.RunWithContext(klog.NewContext(w.ctx, logr.Discard()))
}

// taskPage bounds how many objects of a list are in memory at a time, and
// taskListTimeout how long a page may take.
const (
	taskPage        = 100
	taskListTimeout = 30 * time.Second
)

// list returns only the expected tasks, however many others there are.
func (w *taskWatch) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	out := &unstructured.UnstructuredList{}
	options.ResourceVersion, options.ResourceVersionMatch, options.Limit = "", "", taskPage
	for {
		page, err := w.page(ctx, options)
		if err != nil {
			return nil, w.failed(err)
		}
		for i := range page.Items {
			if w.expects(page.Items[i].GetName()) {
				out.Items = append(out.Items, page.Items[i])
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			out.SetResourceVersion(page.GetResourceVersion())
			return out, nil
		}
	}
}

func (w *taskWatch) page(ctx context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	ctx, cancel := context.WithTimeout(ctx, taskListTimeout)
	defer cancel()
	return w.tasks.client.Resource(w.resource).Namespace(w.place.namespace).List(ctx, options)
}

func (w *taskWatch) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	watching, err := w.tasks.client.Resource(w.resource).Namespace(w.place.namespace).Watch(ctx, options)
	return watching, w.failed(err)
}

// failed logs an error, and ends a watch that cannot succeed: the kind is gone, or
// the broker may not watch it any more. The next look at a task begins another watch
// if that has changed. If the watch has worked, that look comes at once, because the
// kind may be served under another version.
func (w *taskWatch) failed(err error) error {
	if err == nil {
		return nil
	}
	hopeless := apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err)
	w.mu.Lock()
	told, worked := w.told, w.worked
	w.told = err.Error()
	w.mu.Unlock()
	if told != err.Error() && w.ctx.Err() == nil {
		logf.Log.Info("tasks cannot be watched now", "kind", w.place.kind.String(), "namespace", w.place.namespace, "error", err.Error())
	}
	if hopeless {
		w.stop()
		if worked {
			w.tellAll()
		}
	}
	return err
}

func (w *taskWatch) tellAll() {
	w.mu.Lock()
	names := slices.Collect(maps.Keys(w.expected))
	w.mu.Unlock()
	for _, name := range names {
		w.tasks.tell(w.tasks.run, w.place, name)
	}
}

// expect a task of this name.
func (w *taskWatch) expect(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.expected[name]; !ok {
		w.expected[name] = seenTask{}
	}
}

func (w *taskWatch) expects(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.expected[name]
	return ok
}

func (w *taskWatch) last(name string) seenTask {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expected[name]
}

// keep the tasks that are still wanted, and tell how many they are.
func (w *taskWatch) keep(wanted func(name string) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.expected {
		if !wanted(name) {
			delete(w.expected, name)
		}
	}
	return len(w.expected)
}

// see notes what became of a task, and tells the controllers.
func (w *taskWatch) see(object any) error {
	seen, ok := object.(*unstructured.Unstructured)
	if !ok || !w.expects(seen.GetName()) {
		return nil
	}
	w.mu.Lock()
	w.expected[seen.GetName()] = remember(seen)
	w.mu.Unlock()
	w.tasks.tell(w.ctx, w.place, seen.GetName())
	return nil
}

// Add implements toolscache.ReflectorStore.
func (w *taskWatch) Add(object any) error { return w.see(object) }

// Update implements toolscache.ReflectorStore.
func (w *taskWatch) Update(object any) error { return w.see(object) }

// Delete implements toolscache.ReflectorStore.
func (w *taskWatch) Delete(object any) error { return w.see(object) }

// Replace implements toolscache.ReflectorStore: after a gap in the watch, all tasks
// are looked at, also those that are gone.
func (w *taskWatch) Replace(list []any, _ string) error {
	w.mu.Lock()
	for _, object := range list {
		if seen, ok := object.(*unstructured.Unstructured); ok {
			w.expected[seen.GetName()] = remember(seen)
		}
	}
	w.worked, w.told = true, ""
	w.mu.Unlock()
	w.tellAll()
	return nil
}

// Resync implements toolscache.ReflectorStore.
func (w *taskWatch) Resync() error { return nil }
