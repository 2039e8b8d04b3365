package request

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// write writes the AccessGrant: the intent, with its deadline, before any binding.
// The decisions and the policy, which people may have changed since the cache read
// them, must be those that were weighed. A role or namespace that changes at this
// moment ends the grant as soon as the broker sees it.
func (r *Reconciler) write(ctx context.Context, s *step, want *resolve.Resolved, match *policy.Match, outcome policy.Outcome) error {
	fresh, err := r.fresh(ctx, s.AccessRequest, match.Policy)
	if err != nil {
		return err
	}
	if !fresh {
		s.wait = record.StaleAgain // the newer version most likely comes sooner
		return nil
	}
	g := resolve.NewGrant(s.AccessRequest, want, match, outcome, s.now)
	r.Backlog.Begin(g.Name, s.now)
	takeBack := r.Wrote(g, s.now)
	if err := r.Client.Create(ctx, g); err != nil {
		r.Backlog.Arrived(g.Name)
		takeBack()
		if apierrors.IsAlreadyExists(err) {
			// The grant was made before a restart, or the cache is behind: its deadline
			// stands. Or it has ended and left the cache.
			g, err := r.readGrant(ctx, r.Live, s.AccessRequest)
			if g != nil {
				mirror(s, g)
			}
			return err
		}
		return fmt.Errorf("write grant: %w", err)
	}
	r.Metrics.WroteGrant(s.AccessRequest, g.Name, s.now)
	return nil
}

// fresh asks the API server whether the request and the policy are those that were
// weighed. It reads only their metadata, because people who were approved are
// waiting.
func (r *Reconciler) fresh(ctx context.Context, request *v1alpha1.AccessRequest, p *policy.Policy) (bool, error) {
	var sameRequest, samePolicy bool
	group, groupCtx := errgroup.WithContext(ctx)
	read := func(kind string, key client.ObjectKey, same *bool, is func(*metav1.PartialObjectMetadata) bool) {
		group.Go(func() error {
			live := &metav1.PartialObjectMetadata{}
			live.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
			err := r.Live.Get(groupCtx, key, live)
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("look whether %s %s has changed: %w", kind, key, err)
			}
			*same = err == nil && is(live)
			return nil
		})
	}
	read("AccessRequest", client.ObjectKeyFromObject(request), &sameRequest, func(live *metav1.PartialObjectMetadata) bool {
		return live.UID == request.UID && live.ResourceVersion == request.ResourceVersion
	})
	read("AccessPolicy", client.ObjectKey{Name: p.Name}, &samePolicy, func(live *metav1.PartialObjectMetadata) bool {
		return live.UID == p.UID && live.Generation == p.Generation && live.DeletionTimestamp == nil
	})
	err := group.Wait()
	return sameRequest && samePolicy, err
}
