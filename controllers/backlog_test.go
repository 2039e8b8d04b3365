package controllers

import (
	"context"
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/queue"
)

func named(name string) *v1alpha1.AccessGrant {
	return &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// While others wait for access, the record of access that was given waits.
func TestRecordWaitsForOthers(t *testing.T) {
	w := newWorld(t, nil)
	w.grants.Backlog = &queue.Backlog{}
	_, g := w.approved()
	w.grants.Backlog.Begin("another", w.clock.Now())
	result := w.reconcileGrant(g)
	if result.Priority == nil || *result.Priority != handler.LowPriority || result.RequeueAfter != queue.RecordAgain {
		t.Errorf("got %+v, want a later look", result)
	}
	// No write follows the binding, and the authorizer takes a moment to see it.
	err := lab.Until(t.Context(), 10*time.Second, func(context.Context) (bool, error) { return w.can(), nil })
	if err != nil {
		t.Error("alice waits for others")
	}
	phase := func() v1alpha1.GrantPhase {
		current := &v1alpha1.AccessGrant{}
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
			t.Fatal(err)
		}
		return current.Status.Phase
	}
	if got := phase(); got != "" {
		t.Errorf("the grant is %s before the others have theirs", got)
	}
	given := w.clock.Now()
	w.clock.SetTime(given.Add(queue.RecordAgain))
	w.grants.Backlog.Arrived("another")
	w.reconcileGrant(g)
	if got := phase(); got != v1alpha1.GrantActive {
		t.Errorf("the grant is %q, want Active", got)
	}
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		t.Fatal(err)
	}
	if got := current.Status.GrantedTime; got == nil || got.Unix() != given.Unix() {
		t.Errorf("granted at %s, want %s", got, given)
	}
}

// Law 4 also holds before a binding is recorded: the broker does not create it
// again.
func TestBindingDeletedBeforeItIsRecorded(t *testing.T) {
	w := newWorld(t, nil)
	w.grants.Backlog = &queue.Backlog{}
	_, g := w.approved()
	w.grants.Backlog.Begin("another", w.clock.Now())
	w.reconcileGrant(g)
	if err := e.Admin.Delete(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: g.Name}}); err != nil {
		t.Fatal(err)
	}
	w.reconcileGrant(g)
	w.grants.Backlog.Arrived("another")
	w.reconcileGrant(g) // the record of the end can wait
	current := w.wantEnded(g, v1alpha1.EndBindingTouched)
	if len(current.Status.Bindings) != 1 || current.Status.GrantedTime == nil {
		t.Errorf("what was given is not recorded: %+v", current.Status)
	}
}

// Work that takes access away overtakes work that gives it.
func TestTakingComesFirst(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	ctx := t.Context()
	giving := &handler.EnqueueRequestForObject{}
	for _, name := range []string{"a", "b"} {
		giving.Create(ctx, event.CreateEvent{Object: named(name)}, q)
	}
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Name: "fix", Namespace: "payments", UID: "1", ResourceVersion: "1"}}
	revoked := request.DeepCopy()
	revoked.ResourceVersion = "2"
	queue.Urgent(wiring{cache: broker.GetClient()}.grantsOfRequest).Update(ctx, event.UpdateEvent{ObjectOld: request, ObjectNew: revoked}, q)
	queue.Urgent(ownerOf).Delete(ctx, event.DeleteEvent{Object: &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelGrant: "touched"}}}}, q)
	// The queue hands out what is ready, so all must be before the first is taken.
	var got []string
	for range 4 {
		key, _, _ := q.GetWithPriority()
		got = append(got, key.Name)
		q.Done(key)
	}
	want := []string{grant.Name("fix", "1"), "touched", "a", "b"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Access that fell due while no replica ran goes before the reconcilers look at
// anything.
func TestOverdueAtTheStart(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	w.fresh(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: g.Name}})
	backlog := queue.Starting()
	waiting := make(chan struct{})
	go func() {
		backlog.AtStart(t.Context())
		close(waiting)
	}()
	w.expirer.Backlog = backlog
	select {
	case <-waiting:
		t.Error("the reconcilers do not wait")
	default:
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	if err := w.expirer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantLost()
	select {
	case <-waiting:
	case <-time.After(time.Second):
		t.Error("the reconcilers wait for ever")
	}
}
