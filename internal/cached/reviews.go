package cached

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// ByReviewed is the index of Reviews: grants, by ReviewKey.
const ByReviewed = "reviewed"

// ReviewKey stands for all that a requester, however their name is spelt, has had under
// a policy.
func ReviewKey(requester string, policy v1alpha1.ObjectRef) string {
	return string(policy.UID) + "/" + identity.Fold(requester)
}

// Reviews is a small cache of its own: of the requests and grants that have ended and
// that somebody still has to look back at. Nothing that takes access away waits for it.
type Reviews struct{ cache.Cache }

// NewReviews makes the cache, with its index. It reads nothing before it is started.
func NewReviews(ctx context.Context, config *rest.Config, o cache.Options) (*Reviews, error) {
	o.DefaultTransform, o.NewInformer = (&interner{}).transform(), newReviewInformer
	c, err := New(config, o)
	if err != nil {
		return nil, fmt.Errorf("cache of reviews: %w", err)
	}
	err = c.IndexField(ctx, &v1alpha1.AccessGrant{}, ByReviewed, func(o client.Object) []string {
		g := o.(*v1alpha1.AccessGrant)
		return []string{ReviewKey(g.Spec.Requester.Username, g.Spec.PolicyRef.ObjectRef)}
	})
	if err != nil {
		return nil, fmt.Errorf("index grants by %s: %w", ByReviewed, err)
	}
	if _, err := c.GetInformer(ctx, &v1alpha1.AccessRequest{}); err != nil {
		return nil, fmt.Errorf("watch requests to be reviewed: %w", err)
	}
	return &Reviews{c}, nil
}

// NeedLeaderElection is false: a replica that comes to lead knows who must not be given
// more.
func (*Reviews) NeedLeaderElection() bool { return false }

// AwaitsReview tells whether an object is a request or a grant that somebody still has
// to look back at.
func AwaitsReview(o runtime.Object) bool {
	switch o := o.(type) {
	case *v1alpha1.AccessRequest:
		return o.Status.Review.Open()
	case *v1alpha1.AccessGrant:
		return o.Status.Review.Open()
	}
	return false
}

// awaiting selects those of which AwaitsReview is true.
func awaiting() fields.Selector {
	var terms []fields.Selector
	for _, state := range []v1alpha1.ReviewState{"", v1alpha1.ReviewAfterEnd, v1alpha1.ReviewDone} {
		terms = append(terms, fields.OneTermNotEqualSelector("status.review", string(state)))
	}
	return fields.AndSelectors(terms...)
}

// newReviewInformer makes the informers of Reviews, for cache.Options.
func newReviewInformer(lw toolscache.ListerWatcher, example runtime.Object, resync time.Duration, indexers toolscache.Indexers) toolscache.SharedIndexInformer {
	only := some{toolscache.ToListerWatcherWithContext(lw), awaiting().String(), AwaitsReview}
	return toolscache.NewSharedIndexInformer(&toolscache.ListWatch{ListWithContextFunc: only.list, WatchFuncWithContext: only.watch}, example, resync, indexers)
}
