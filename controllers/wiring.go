package controllers

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// Indexes of the cache, so that an event finds whom it concerns without a
// list. Requests and grants that are over are in none of them.
const (
	indexPendingOf    = "pending-of"  // requests that wait for decisions, by username of the requester
	indexOpen         = "open"        // requests that may still be granted
	indexRole         = "role"        // requests and grants by role
	indexTask         = "task"        // requests and grants by task
	indexAwaited      = "awaited"     // requests that wait for a namespace or ServiceAccount, by it
	indexPolicy       = "policy"      // grants by policy
	indexObject       = "object"      // grants by namespace or ServiceAccount
	indexBindingGrant = "label-grant" // bindings by grant
	open              = "true"        // the one value of indexOpen
	anyTask           = "*"           // a value of indexTask for all that name a task
)

// taskKey is what requests and grants are indexed by.
func taskKey(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf("%s/%s/%s/%s", apiVersion, kind, namespace, name)
}

func setupIndexes(ctx context.Context, indexer client.FieldIndexer) error {
	for _, index := range []struct {
		object client.Object
		field  string
		keys   func(client.Object) []string
	}{
		{&v1alpha1.AccessRequest{}, indexPendingOf, func(o client.Object) []string {
			request := o.(*v1alpha1.AccessRequest)
			if !asksPeople(request) {
				return nil
			}
			return []string{request.Spec.Requester.Username}
		}},
		{&v1alpha1.AccessRequest{}, indexOpen, ofOpenRequest(func(*v1alpha1.AccessRequest) []string { return []string{open} })},
		{&v1alpha1.AccessRequest{}, indexRole, ofOpenRequest(func(r *v1alpha1.AccessRequest) []string { return roleKeys(r.Spec.RoleRef) })},
		{&v1alpha1.AccessRequest{}, indexTask, ofOpenRequest(func(r *v1alpha1.AccessRequest) []string {
			if r.Spec.Task == nil {
				return nil
			}
			return []string{anyTask, taskKey(r.Spec.Task.APIVersion, r.Spec.Task.Kind, r.Namespace, r.Spec.Task.Name)}
		})},
		{&v1alpha1.AccessRequest{}, indexAwaited, ofOpenRequest(awaitedObjects)},
		{&v1alpha1.AccessGrant{}, indexRole, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string { return roleKeys(g.Spec.RoleRef) })},
		{&v1alpha1.AccessGrant{}, indexPolicy, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string { return []string{g.Spec.PolicyRef.Name} })},
		{&v1alpha1.AccessGrant{}, indexTask, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string {
			if g.Spec.Task == nil {
				return nil
			}
			return []string{anyTask, taskKey(g.Spec.Task.APIVersion, g.Spec.Task.Kind, g.Spec.RequestRef.Namespace, g.Spec.Task.Name)}
		})},
		{&v1alpha1.AccessGrant{}, indexObject, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string {
			var keys []string
			for _, ns := range g.Spec.Namespaces {
				keys = append(keys, "/"+ns.Name)
			}
			for _, s := range g.Spec.Subjects {
				if s.Kind == v1alpha1.ServiceAccountKind {
					keys = append(keys, s.Namespace+"/"+s.Name)
				}
			}
			return keys
		})},
		{&rbacv1.RoleBinding{}, indexBindingGrant, grantLabel},
		{&rbacv1.ClusterRoleBinding{}, indexBindingGrant, grantLabel},
		{&rbacv1.Role{}, indexBindingGrant, grantLabel},
		{&rbacv1.ClusterRole{}, indexBindingGrant, grantLabel},
	} {
		if err := indexer.IndexField(ctx, index.object, index.field, index.keys); err != nil {
			return fmt.Errorf("index %T by %s: %w", index.object, index.field, err)
		}
	}
	return nil
}

func ofOpenRequest(keys func(*v1alpha1.AccessRequest) []string) func(client.Object) []string {
	return func(o client.Object) []string {
		request := o.(*v1alpha1.AccessRequest)
		if request.Status.Phase.Ended() {
			return nil
		}
		return keys(request)
	}
}

func ofLiveGrant(keys func(*v1alpha1.AccessGrant) []string) func(client.Object) []string {
	return func(o client.Object) []string {
		g := o.(*v1alpha1.AccessGrant)
		if g.Status.Phase == v1alpha1.GrantEnded {
			return nil
		}
		return keys(g)
	}
}

func roleKeys(ref *v1alpha1.RoleRef) []string {
	if ref == nil {
		return nil
	}
	return []string{ref.Kind + "/" + ref.Name}
}

func grantLabel(o client.Object) []string {
	if name := o.GetLabels()[v1alpha1.LabelGrant]; name != "" {
		return []string{name}
	}
	return nil
}

// first maps events to grants that they may end: what takes access away comes
// before what gives it, which is the creation of a grant.
func first[T client.Object](m handler.TypedMapFunc[T, reconcile.Request]) handler.TypedEventHandler[T, reconcile.Request] {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	plain := handler.TypedEnqueueRequestsFromMapFunc(m)
	add := func(ctx context.Context, o T, q queue) {
		for _, key := range m(ctx, o) {
			if q, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
				q.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(1)}, key)
				continue
			}
			q.Add(key)
		}
	}
	return handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: plain.Create, GenericFunc: plain.Generic,
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[T], q queue) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
				plain.Update(ctx, e, q)
				return
			}
			add(ctx, e.ObjectOld, q)
			add(ctx, e.ObjectNew, q)
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[T], q queue) { add(ctx, e.Object, q) },
	}
}

// behindAll queues what can wait behind everything else.
func behindAll(_ context.Context, e event.TypedGenericEvent[client.Object], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	key := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)}
	if q, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		q.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(handler.LowPriority)}, key)
		return
	}
	q.Add(key)
}

// toCheck lets through what is being deleted and still there: a finalizer keeps
// it, and a Terminating binding still authorizes. And it lets through what is seen
// for the first time: its grant may have ended.
var toCheck = predicate.Or(
	predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetDeletionTimestamp() != nil }),
	predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true },
		UpdateFunc: func(event.UpdateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false }, GenericFunc: func(event.GenericEvent) bool { return false },
	},
)

// wiring maps events to the requests and grants that they concern.
type wiring struct{ client client.Client }

func requestOfGrant(_ context.Context, o client.Object) []reconcile.Request {
	ref := o.(*v1alpha1.AccessGrant).Spec.RequestRef
	return requestsFor(types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name})
}

func grantOfRequest(_ context.Context, o client.Object) []reconcile.Request {
	return requestsFor(types.NamespacedName{Name: grant.Name(o.GetName(), o.GetUID())})
}

func grantOfBinding(_ context.Context, o client.Object) []reconcile.Request {
	return requestsFor(types.NamespacedName{Name: o.GetLabels()[v1alpha1.LabelGrant]})
}

// grantOfOwned is the grant of a role that was written for one.
func grantOfOwned(ctx context.Context, o client.Object) []reconcile.Request {
	if grantLabel(o) == nil {
		return nil
	}
	return grantOfBinding(ctx, o)
}

func (w wiring) openRequests(ctx context.Context, _ client.Object) []reconcile.Request {
	return w.requestsBy(indexOpen)(ctx, open)
}

func (w wiring) requestsOfRole(ctx context.Context, o client.Object) []reconcile.Request {
	return append(w.requestsBy(indexRole)(ctx, roleKeyOf(o)), ofTaskKinds(ctx, o, w.requestsBy(indexTask))...)
}

func (w wiring) grantsOfRole(ctx context.Context, o client.Object) []reconcile.Request {
	if owners := grantOfOwned(ctx, o); owners != nil {
		return owners
	}
	return append(w.grantsBy(indexRole)(ctx, roleKeyOf(o)), ofTaskKinds(ctx, o, w.grantsBy(indexTask))...)
}

// ofTaskKinds are all that name a task, when the list of kinds changes.
func ofTaskKinds(ctx context.Context, o client.Object, by func(context.Context, string) []reconcile.Request) []reconcile.Request {
	if roleKeyOf(o) != v1alpha1.ClusterRoleKind+"/"+TaskKindsRole {
		return nil
	}
	return by(ctx, anyTask)
}

func (w wiring) grantsOfPolicy(ctx context.Context, o client.Object) []reconcile.Request {
	return w.grantsBy(indexPolicy)(ctx, o.GetName())
}

func (w wiring) grantsOfObject(ctx context.Context, o client.Object) []reconcile.Request {
	return w.grantsBy(indexObject)(ctx, o.GetNamespace()+"/"+o.GetName())
}

func roleKeyOf(o client.Object) string {
	if _, ok := o.(*rbacv1.Role); ok {
		return v1alpha1.RoleKind + "/" + o.GetName()
	}
	return v1alpha1.ClusterRoleKind + "/" + o.GetName()
}

func (w wiring) requestsBy(field string) func(context.Context, string) []reconcile.Request {
	return func(ctx context.Context, key string) []reconcile.Request {
		return w.by(ctx, &v1alpha1.AccessRequestList{}, field, key)
	}
}

func (w wiring) grantsBy(field string) func(context.Context, string) []reconcile.Request {
	return func(ctx context.Context, key string) []reconcile.Request {
		return w.by(ctx, &v1alpha1.AccessGrantList{}, field, key)
	}
}

// by lists from an index of the cache, which cannot fail once it is synced.
func (w wiring) by(ctx context.Context, list client.ObjectList, field, key string) []reconcile.Request {
	if err := w.client.List(ctx, list, client.MatchingFields{field: key}, client.UnsafeDisableDeepCopy); err != nil {
		logf.FromContext(ctx).Error(err, "find whom an event concerns", "index", field)
		return nil
	}
	var out []reconcile.Request
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		out = append(out, requestsFor(client.ObjectKeyFromObject(o.(client.Object)))...)
		return nil
	})
	return out
}
