package accessclient

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// retryAfter is how long to wait before an API server that did not answer, or
// ended the watch, is asked again.
const retryAfter = time.Second

// ErrDeleted ends the following of a request that is no longer there.
var ErrDeleted = errors.New("the request was deleted")

var errAgain = errors.New("the watch is over")

// Follow calls see with every state of a request until see returns true. When the
// API server does not answer, it calls lost and tries again.
func (c *Client) Follow(ctx context.Context, request *v1alpha1.AccessRequest, see func(*v1alpha1.AccessRequest) bool, lost func(error)) error {
	return again(ctx, func() error { return c.followOnce(ctx, request, see) }, lost)
}

// FollowAll calls see with all requests of a namespace, and again whenever one of
// them changes, until see returns true. When the API server does not answer, it calls
// lost and tries again.
func (c *Client) FollowAll(ctx context.Context, namespace string, see func([]v1alpha1.AccessRequest) bool, lost func(error)) error {
	return again(ctx, func() error {
		for {
			list := &v1alpha1.AccessRequestList{}
			if err := c.api.List(ctx, list, client.InNamespace(namespace)); err != nil || see(list.Items) {
				return err
			}
			if err := c.change(ctx, namespace, list); err != nil {
				return err
			}
		}
	}, lost)
}

// change waits until a list is no longer what it was.
func (c *Client) change(ctx context.Context, namespace string, list *v1alpha1.AccessRequestList) error {
	watcher, err := c.api.Watch(ctx, &v1alpha1.AccessRequestList{}, client.InNamespace(namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	event, open := <-watcher.ResultChan()
	if status, ok := event.Object.(*metav1.Status); ok {
		return statusError(status)
	}
	if !open {
		return errAgain
	}
	return nil
}

// again does something until it is done, or cannot be done.
func again(ctx context.Context, once func() error, lost func(error)) error {
	for {
		err := once()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case permanent(err):
			return err
		case !errors.Is(err, errAgain):
			lost(err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(retryAfter):
		}
	}
}

func permanent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || errors.Is(err, ErrDeleted)
}

// followOnce reads the request and watches it from there.
func (c *Client) followOnce(ctx context.Context, request *v1alpha1.AccessRequest, see func(*v1alpha1.AccessRequest) bool) error {
	current := &v1alpha1.AccessRequest{}
	err := c.api.Get(ctx, client.ObjectKeyFromObject(request), current)
	if apierrors.IsNotFound(err) || err == nil && current.UID != request.UID {
		return ErrDeleted
	}
	if err != nil || see(current) {
		return err
	}
	watcher, err := c.api.Watch(ctx, &v1alpha1.AccessRequestList{}, client.InNamespace(request.Namespace),
		client.MatchingFields{"metadata.name": request.Name},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: current.ResourceVersion}})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		switch next := event.Object.(type) {
		case *v1alpha1.AccessRequest:
			if event.Type == watch.Deleted || next.UID != request.UID {
				return ErrDeleted
			}
			if see(next) {
				return nil
			}
		case *metav1.Status:
			return statusError(next)
		}
	}
	return errAgain
}

// statusError is why a watch ends; one that is only too old begins anew.
func statusError(status *metav1.Status) error {
	if status.Reason == metav1.StatusReasonExpired || status.Reason == metav1.StatusReasonGone {
		return errAgain
	}
	return apierrors.FromObject(status)
}
