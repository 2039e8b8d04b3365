// Package cached defines what the broker's cache keeps of requests and grants: those
// that have not ended. Most of them in a cluster have ended, and the broker needs
// those only to delete them when their retention is over: it leaves them on the API
// server and reads them a page at a time. Of usages it keeps those that are not
// closed.
//
// An object that ends leaves the cache like one that is deleted. Code that does not
// find one there must ask the API server which of the two happened.
package cached

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// pageSize is how many objects are read at a time. A grant is about 5 KB.
const pageSize = 500

// How long the API server may take to answer with a page, and with a list as a
// whole: one that never answers must not leave the broker blind.
const (
	pageTimeout = 15 * time.Second
	listTimeout = time.Minute
)

// phase is the field that the API server selects by; the CRDs declare it selectable.
const phase = "status.phase"

// Ended tells whether an object is a request or a grant that has ended, or a usage
// that is closed.
func Ended(o runtime.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.AccessRequest:
		return o.Status.Phase.Ended()
	case *v1alpha1.AccessGrant:
		return o.Status.Phase == v1alpha1.GrantEnded
	case *v1alpha1.AccessUsage:
		return o.Status.Phase == v1alpha1.UsageClosed
	}
	return false
}

// selector selects the objects of a kind that have ended, or those that have not. It
// is nil for any kind but requests, grants and usages.
func selector(o runtime.Object, ended bool) fields.Selector {
	var phases []string // to be left out
	switch o.(type) {
	case *v1alpha1.AccessRequest, *v1alpha1.AccessRequestList:
		if ended {
			phases = append(phases, "") // it is new
		}
		for _, p := range v1alpha1.RequestPhases {
			if p.Ended() != ended {
				phases = append(phases, string(p))
			}
		}
	case *v1alpha1.AccessGrant, *v1alpha1.AccessGrantList:
		if ended {
			return fields.OneTermEqualSelector(phase, string(v1alpha1.GrantEnded))
		}
		phases = append(phases, string(v1alpha1.GrantEnded))
	case *v1alpha1.AccessUsage, *v1alpha1.AccessUsageList:
		if ended {
			return fields.OneTermEqualSelector(phase, string(v1alpha1.UsageClosed))
		}
		phases = append(phases, string(v1alpha1.UsageClosed))
	default:
		return nil
	}
	terms := make([]fields.Selector, len(phases))
	for i, p := range phases {
		terms[i] = fields.OneTermNotEqualSelector(phase, p)
	}
	return fields.AndSelectors(terms...)
}

// unsupported tells whether the API server cannot select by the phase: Kubernetes
// 1.30 cannot, nor can any version while the CRDs are those of an older broker.
func unsupported(err error) bool { return apierrors.IsBadRequest(err) }

// NewInformer makes the informers of the broker's cache, for cache.Options.
func NewInformer(lw toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	source := toolscache.ToListerWatcherWithContext(lw)
	patient := &toolscache.ListWatch{WatchFuncWithContext: source.WatchWithContext, ListWithContextFunc: within(listTimeout, source.ListWithContext)}
	if s := selector(example, false); s != nil {
		only := some{source, s.String(), func(o runtime.Object) bool { return !Ended(o) }}
		patient.ListWithContextFunc, patient.WatchFuncWithContext = only.list, only.watch
	}
	return toolscache.NewSharedIndexInformer(patient, example, resync, indexers)
}

// within gives up a list that takes longer than the limit; it is tried again.
func within(most time.Duration, list toolscache.ListWithContextFunc) toolscache.ListWithContextFunc {
	return func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		ctx, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		return list(ctx, o)
	}
}

// some lists and watches the objects of a kind that are kept. It asks the API server to
// leave out the rest, and drops the rest itself when the API server cannot or does not.
type some struct {
	toolscache.ListerWatcherWithContext
	selector string
	keep     func(runtime.Object) bool
}

func (u some) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = u.selector
	list, err := u.pages(ctx, o)
	if unsupported(err) {
		o.FieldSelector = ""
		list, err = u.pages(ctx, o)
	}
	return list, err
}

// pages lists a page at a time: with one whole list, the answer and everything
// decoded from it would be in memory at the same moment.
func (u some) pages(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.Limit = pageSize
	o.ResourceVersion, o.ResourceVersionMatch = "", "" // any other makes the API server answer with all at once
	var items []runtime.Object
	for {
		page, err := within(pageTimeout, u.ListWithContext)(ctx, o)
		if err != nil {
			return nil, err
		}
		these, err := kept(page, u.keep)
		if err != nil {
			return nil, err
		}
		items = append(items, these...)
		more, err := meta.ListAccessor(page)
		if err != nil {
			return nil, err
		}
		if o.Continue = more.GetContinue(); o.Continue == "" {
			return page, meta.SetList(page, items)
		}
	}
}

// kept returns the objects of a list that are kept.
func kept(list runtime.Object, keep func(runtime.Object) bool) ([]runtime.Object, error) {
	var items []runtime.Object
	err := meta.EachListItem(list, func(o runtime.Object) error {
		if keep(o) {
			items = append(items, o)
		}
		return nil
	})
	return items, err
}

func (u some) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = u.selector
	events, err := u.WatchWithContext(ctx, o)
	if err != nil && unsupported(err) {
		o.FieldSelector = ""
		events, err = u.WatchWithContext(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	return leaving(events, u.keep), nil
}

// leaving lets an object that is no longer kept leave the cache, as if it were deleted.
// Unlike watch.Filter it leaves nothing behind when the watch is stopped.
func leaving(events watch.Interface, keep func(runtime.Object) bool) watch.Interface {
	result := make(chan watch.Event)
	out := watch.NewProxyWatcher(result)
	go func() {
		defer close(result)
		defer events.Stop()
		for {
			select {
			case <-out.StopChan():
				return
			case e, ok := <-events.ResultChan():
				if !ok {
					return
				}
				if (e.Type == watch.Added || e.Type == watch.Modified) && !keep(e.Object) {
					e.Type = watch.Deleted
				}
				select {
				case result <- e:
				case <-out.StopChan():
					return
				}
			}
		}
	}()
	return out
}

// EachEnded calls visit for every object of a kind that has ended, and keeps none.
// kind is an empty list. It stops at the first error.
func EachEnded(ctx context.Context, live client.Reader, kind client.ObjectList, visit func(client.Object) error) error {
	begun := false
	visitEnded := func(o client.Object) error {
		begun = true
		if !Ended(o) {
			return nil
		}
		return visit(o)
	}
	err := eachPage(ctx, live, kind, selector(kind, true), visitEnded)
	if !begun && unsupported(err) {
		err = eachPage(ctx, live, kind, fields.Everything(), visitEnded)
	}
	return err
}

// Grants reads all grants from the API server. Of those that have ended it reads
// only what tells them apart, and to whom they gave which role and when.
func Grants(ctx context.Context, live client.Reader, list *v1alpha1.AccessGrantList) error {
	return eachPage(ctx, live, &v1alpha1.AccessGrantList{}, fields.Everything(), func(o client.Object) error {
		g := o.(*v1alpha1.AccessGrant)
		if Ended(g) {
			g = &v1alpha1.AccessGrant{
				TypeMeta: g.TypeMeta,
				ObjectMeta: metav1.ObjectMeta{
					Name: g.Name, UID: g.UID, ResourceVersion: g.ResourceVersion, DeletionTimestamp: g.DeletionTimestamp, Finalizers: g.Finalizers,
				},
				Spec: v1alpha1.AccessGrantSpec{
					Subjects: g.Spec.Subjects, CredentialKey: g.Spec.CredentialKey, RoleRef: g.Spec.RoleRef, Cluster: g.Spec.Cluster, Namespaces: slices.Clone(g.Spec.Namespaces[:min(1, len(g.Spec.Namespaces))]),
					NotBefore: g.Spec.NotBefore,
				},
				Status: v1alpha1.AccessGrantStatus{Phase: g.Status.Phase, EndedTime: g.Status.EndedTime},
			}
		}
		list.Items = append(list.Items, *g)
		return nil
	})
}

// eachPage reads a kind a page at a time.
func eachPage(ctx context.Context, live client.Reader, kind client.ObjectList, which fields.Selector, visit func(client.Object) error) error {
	for next := ""; ; {
		page := kind.DeepCopyObject().(client.ObjectList)
		err := live.List(ctx, page, &client.ListOptions{FieldSelector: which, Limit: pageSize, Continue: next})
		if err != nil {
			return fmt.Errorf("list %T: %w", kind, err)
		}
		err = meta.EachListItem(page, func(o runtime.Object) error { return visit(o.(client.Object)) })
		if err != nil {
			return err
		}
		if next = page.GetContinue(); next == "" {
			return nil
		}
	}
}
