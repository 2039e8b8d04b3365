package access

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// remover takes objects of grants away, one after another, and goes on when one
// fails.
type remover struct {
	client client.Client
	live   client.Reader
	// left names what allows nothing any more but could not be deleted, in words.
	left []string
	errs []error
}

func (r *remover) remove(ctx context.Context, object grant.Object, uid types.UID) {
	left, err := Remove(ctx, r.client, r.live, object, uid)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	if left != "" {
		r.left = append(r.left, left)
	}
}

func (r *remover) done() (left []string, err error) { return r.left, errors.Join(r.errs...) }

// Take takes away all that a grant owns: the objects that it wants, and any other
// that carries its label and is owned by it. It returns once a live read shows that
// each is gone or allows nothing any more; left names the latter, in words.
func Take(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) (left []string, err error) {
	r := &remover{client: c, live: live}
	wanted := grant.Objects(g)
	for _, want := range slices.Backward(wanted) {
		r.remove(ctx, want, grant.RecordedUID(g, want))
	}
	r.removeStrays(ctx, g, wanted)
	return r.done()
}

// Strike deletes the bindings of a grant that the cache shows, and does nothing
// else: when thousands are due in one second, each waits for one call of every
// other, not for several. If a deletion is refused, or a finalizer keeps the
// binding, Strike disarms it at once. It tells whether there were any bindings; Take
// verifies that they are gone.
func Strike(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) (struck bool, err error) {
	r := &remover{client: c, live: live}
	for _, want := range grant.Bindings(g) {
		uid := grant.RecordedUID(g, want)
		seen, err := Get(ctx, c, want)
		if err != nil || seen == nil || uid == "" || seen.Meta.UID != uid {
			continue
		}
		struck = true
		if seen.Meta.DeletionTimestamp != nil || remove(ctx, c, want, uid) != nil {
			r.remove(ctx, want, uid)
		}
	}
	_, err = r.done()
	return struck, err
}

// TakeStrays takes away the objects that a grant that has ended owns and that carry
// its label.
func TakeStrays(ctx context.Context, c client.Client, live client.Reader, g *v1alpha1.AccessGrant) (left []string, err error) {
	r := &remover{client: c, live: live}
	r.removeStrays(ctx, g, nil)
	return r.done()
}

func (r *remover) removeStrays(ctx context.Context, g *v1alpha1.AccessGrant, wanted []grant.Object) {
	strays, err := strays(ctx, r.client, g, wanted)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	for _, stray := range strays {
		r.remove(ctx, stray, "")
	}
}

// TakeLeftovers takes away what belongs to a grant that the cache does not have: the
// grant has ended, or somebody forged its end to keep the broker away, or took its
// finalizer off and deleted it without its dependents. An object belongs to the
// grant when the grant owns it, or when both its label and its name are the grant's;
// the broker leaves any other alone.
func TakeLeftovers(ctx context.Context, c client.Client, live client.Reader, name string) (left []string, err error) {
	g := &v1alpha1.AccessGrant{}
	g.Name = name
	objects, err := strays(ctx, c, g, nil)
	if err != nil || len(objects) == 0 {
		return nil, err
	}
	err = live.Get(ctx, client.ObjectKey{Name: name}, g)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read grant: %w", err)
	}
	if !apierrors.IsNotFound(err) && !cached.Ended(g) {
		return nil, nil // the cache is only behind
	}
	r := &remover{client: c, live: live}
	for _, object := range objects {
		object.GrantUID = g.UID
		r.remove(ctx, object, "")
	}
	return r.done()
}

// strays are the objects with the grant's label that the grant does not want.
func strays(ctx context.Context, c client.Reader, g *v1alpha1.AccessGrant, wanted []grant.Object) ([]grant.Object, error) {
	seen, err := Labelled(ctx, c, client.MatchingFields{cached.ByGrant: g.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, err
	}
	var out []grant.Object
	for _, s := range seen {
		if !slices.ContainsFunc(wanted, s.Is) {
			out = append(out, s.Object(g.UID))
		}
	}
	return out, nil
}
