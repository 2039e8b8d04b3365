package controllers

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lock"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// wiring maps events to the requests and grants that they concern.
type wiring struct{ cache client.Reader }

// handedOver queues a grant whose access was struck behind everything else.
func handedOver(_ context.Context, e event.TypedGenericEvent[client.Object], q queue.Queue) {
	queue.Add(q, queue.Behind, keyOf(e.Object))
}

// toCheck lets two kinds of objects through: one that is being deleted but that a
// finalizer keeps, because a Terminating binding still authorizes; and one that is
// seen for the first time, because its grant may have ended.
var toCheck = predicate.Or(
	predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetDeletionTimestamp() != nil }),
	predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return true },
		UpdateFunc: func(event.UpdateEvent) bool { return false }, DeleteFunc: func(event.DeleteEvent) bool { return false }, GenericFunc: func(event.GenericEvent) bool { return false },
	},
)

// leaving lets through what leaves the cache.
var leaving = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false }, UpdateFunc: func(event.UpdateEvent) bool { return false }, GenericFunc: func(event.GenericEvent) bool { return false },
}

func keyOf(o client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}
}

// requestsOfGrant returns the request of a grant, and those that ask for more of it.
func (w wiring) requestsOfGrant(ctx context.Context, o client.Object) []reconcile.Request {
	ref := o.(*v1alpha1.AccessGrant).Spec.RequestRef
	of := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}
	return append(w.requestsBy(cached.ByExtended)(ctx, o.GetName()), of)
}

// grantOfRequest returns the grant of a request.
func grantOfRequest(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: grant.Name(o.GetName(), o.GetUID())}}}
}

// grantsOfRequest returns the grant of a request and those that extend it: whoever
// decides on the one means them too.
func (w wiring) grantsOfRequest(ctx context.Context, o client.Object) []reconcile.Request {
	name := grant.Name(o.GetName(), o.GetUID())
	return append(w.grantsBy(cached.ByExtended)(ctx, name), reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
}

// grantsOfChain returns the grants that extend a grant, and the one that it extends.
func (w wiring) grantsOfChain(ctx context.Context, o client.Object) []reconcile.Request {
	of := w.grantsBy(cached.ByExtended)(ctx, o.GetName())
	if e := o.(*v1alpha1.AccessGrant).Spec.Extends; e != nil {
		of = append(of, reconcile.Request{NamespacedName: types.NamespacedName{Name: e.Name}})
	}
	return of
}

// ownerOf returns the grant whose label an object carries.
func ownerOf(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[v1alpha1.LabelGrant]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

func (w wiring) openRequests(ctx context.Context, _ client.Object) []reconcile.Request {
	return w.requestsBy(cached.ByOpen)(ctx, cached.Open)
}

// requestsAwaiting returns the requests that wait for this namespace or
// ServiceAccount.
func (w wiring) requestsAwaiting(ctx context.Context, o client.Object) []reconcile.Request {
	waiting := w.requestsBy(cached.ByAwaited)(ctx, cached.ObjectKey(o.GetNamespace(), o.GetName()))
	if o.GetNamespace() == "" {
		waiting = append(waiting, w.requestsBy(cached.ByAwaited)(ctx, cached.AnyNamespace)...)
	}
	return waiting
}

func (w wiring) requestsOfRole(ctx context.Context, o client.Object) []reconcile.Request {
	return ofRole(ctx, o, w.requestsBy(cached.ByRole), w.requestsBy(cached.ByTask))
}

func (w wiring) grantsOfRole(ctx context.Context, o client.Object) []reconcile.Request {
	return ofRole(ctx, o, w.grantsBy(cached.ByRole), w.grantsBy(cached.ByTask))
}

type finder func(ctx context.Context, key string) []reconcile.Request

// ofRole returns the requests or grants that name a role; when the role is the list
// of task kinds, also all that name a task. None of them names a role that a grant
// owns.
func ofRole(ctx context.Context, o client.Object, byRole, byTask finder) []reconcile.Request {
	kind := v1alpha1.ClusterRoleKind
	if _, ok := o.(*rbacv1.Role); ok {
		kind = v1alpha1.RoleKind
	}
	found := byRole(ctx, cached.RoleKey(kind, o.GetName()))
	if kind == v1alpha1.ClusterRoleKind && o.GetName() == resolve.TaskKindsRole {
		found = append(found, byTask(ctx, cached.AnyTask)...)
	}
	return found
}

func (w wiring) grantsOfPolicy(ctx context.Context, o client.Object) []reconcile.Request {
	return w.grantsBy(cached.ByPolicy)(ctx, o.GetName())
}

// grantOfUsage returns the grant that a usage may end: its policy ends what is idle,
// or what is used in a suspicious way.
func (w wiring) grantOfUsage(ctx context.Context, o client.Object) []reconcile.Request {
	g, p := &v1alpha1.AccessGrant{}, &v1alpha1.AccessPolicy{}
	whole := &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)}
	if w.cache.Get(ctx, client.ObjectKey{Name: o.GetName()}, g, whole) != nil || w.cache.Get(ctx, client.ObjectKey{Name: g.Spec.PolicyRef.Name}, p, whole) != nil {
		return nil // there is nothing to end
	}
	if p.Spec.IdleTimeout == nil && (len(p.Spec.Suspicious) == 0 || len(o.(*v1alpha1.AccessUsage).Status.Suspicious) == 0) {
		return nil
	}
	return []reconcile.Request{keyOf(g)}
}

// grantsOfLock returns the grants that a lock is for. There are few locks and no index:
// it reads all grants.
func (w wiring) grantsOfLock(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.AccessGrantList{}
	if err := w.cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		logf.FromContext(ctx).Error(err, "find the grants of a lock")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if lock.Meets(lock.OfGrant(&list.Items[i]), o.(*v1alpha1.AccessLock)) {
			out = append(out, keyOf(&list.Items[i]))
		}
	}
	return out
}

func (w wiring) grantsOfObject(ctx context.Context, o client.Object) []reconcile.Request {
	return w.grantsBy(cached.ByObject)(ctx, cached.ObjectKey(o.GetNamespace(), o.GetName()))
}

// named tells whether a request or grant that has not ended names a task.
func (w wiring) named(ctx context.Context, key string) bool {
	return len(w.requestsBy(cached.ByTask)(ctx, key))+len(w.grantsBy(cached.ByTask)(ctx, key)) > 0
}

func (w wiring) requestsBy(field string) finder {
	return func(ctx context.Context, key string) []reconcile.Request {
		return w.by(ctx, &v1alpha1.AccessRequestList{}, field, key)
	}
}

func (w wiring) grantsBy(field string) finder {
	return func(ctx context.Context, key string) []reconcile.Request {
		return w.by(ctx, &v1alpha1.AccessGrantList{}, field, key)
	}
}

// by lists from an index of the cache. It cannot fail once the cache is synced.
func (w wiring) by(ctx context.Context, list client.ObjectList, field, key string) []reconcile.Request {
	if err := w.cache.List(ctx, list, client.MatchingFields{field: key}, client.UnsafeDisableDeepCopy); err != nil {
		logf.FromContext(ctx).Error(err, "find whom an event concerns", "index", field)
		return nil
	}
	var out []reconcile.Request
	_ = meta.EachListItem(list, func(o runtime.Object) error {
		out = append(out, keyOf(o.(client.Object)))
		return nil
	})
	return out
}
