package controllers

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/rbac"
)

// Sweep removes every binding whose grant's deadline has passed, whose grant
// has ended and whose grant does not exist, and every role that was written for
// such a grant, once, without a leader and without a cache: the last net under
// the replicas. It returns what it found, removed or not.
func Sweep(ctx context.Context, c client.Client, now time.Time) (found []string, err error) {
	// Grants last: one that is made in between is in the later list.
	objects, err := labelled(ctx, c, client.HasLabels{v1alpha1.LabelGrant})
	if err != nil {
		return nil, err
	}
	var list v1alpha1.AccessGrantList
	if err := cached.Grants(ctx, c, &list); err != nil {
		return nil, err
	}
	grants := make(map[string]*v1alpha1.AccessGrant, len(list.Items))
	for i := range list.Items {
		grants[list.Items[i].Name] = &list.Items[i]
	}
	var errs []error
	for _, object := range objects {
		g := grants[object.Grant]
		if g != nil {
			if g.Status.Phase != v1alpha1.GrantEnded && grant.Expired(g, now) == nil {
				continue
			}
			object.GrantUID = g.UID
		}
		// A label makes nobody's binding the broker's: who counted that as found
		// would be told of it for ever.
		seen, err := rbac.Get(ctx, c, object)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if seen == nil || !object.Ours(*seen) {
			continue
		}
		found = append(found, object.Kind+" "+client.ObjectKey{Namespace: object.Namespace, Name: object.Name}.String())
		errs = append(errs, rbac.Remove(ctx, c, c, object, ""))
	}
	return found, errors.Join(errs...)
}
