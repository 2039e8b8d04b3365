package grant

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// before reads the grant that this one extends, and its request. Once nothing can come
// from there any more, it is not read again.
func (l *look) before() (*grant.Before, error) {
	ref := l.g.Spec.Extends
	if l.memory.look(l.g.Name, l.g.UID).settled {
		return nil, nil
	}
	was := &v1alpha1.AccessGrant{}
	found, err := l.read(client.ObjectKey{Name: ref.Name}, was, ref.UID)
	if err != nil {
		return nil, fmt.Errorf("read the grant that it extends: %w", err)
	}
	out := &grant.Before{}
	if found {
		request, of := &v1alpha1.AccessRequest{}, was.Spec.RequestRef
		found, err := l.read(client.ObjectKey{Namespace: of.Namespace, Name: of.Name}, request, of.UID)
		if err != nil {
			return nil, fmt.Errorf("read the request that it extends: %w", err)
		}
		out.Grant = was
		if found {
			out.Request = request
		}
		out.End = func() (*grant.End, error) { return grant.OverEarly(was, l.facts(l.ctx, was), l.Clock.Now()) }
	}
	if l.g.Status.Phase == v1alpha1.GrantActive && out.Settled() {
		l.memory.note(l.g.Name, l.g.UID, func(m *remembered) { m.settled = true })
	}
	return out, nil
}

// read reads an object, unless there is none of that name and UID.
func (l *look) read(key client.ObjectKey, object client.Object, uid types.UID) (found bool, err error) {
	err = l.Names.Get(l.ctx, key, object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && object.GetUID() == uid, err
}

// successor finds the grant that holds the access in place of this one.
func (l *look) successor() (*v1alpha1.AccessGrant, error) {
	extensions, err := l.extensions(l.ctx, l.g.Name)
	if err != nil {
		return nil, err
	}
	return grant.Successor(l.g, extensions, l.Clock.Now()), nil
}

// extensions are the grants that have not ended and extend a grant.
func (r *Reconciler) extensions(ctx context.Context, name string) ([]v1alpha1.AccessGrant, error) {
	list := &v1alpha1.AccessGrantList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{cached.ByExtended: name}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list extensions: %w", err)
	}
	return list.Items, nil
}

// secondToExtend returns an end when another grant extends the same access: it must
// have one holder at a time.
func (r *Reconciler) secondToExtend(ctx context.Context, s *step) (*ending, error) {
	if s.Spec.Extends == nil {
		return nil, nil
	}
	others, err := r.extensions(ctx, s.Spec.Extends.Name)
	if err != nil {
		return nil, err
	}
	second := !r.claims.take(s.AccessGrant)
	for i := range others {
		other := &others[i]
		second = second || other.Name != s.Name && other.Spec.Extends.UID == s.Spec.Extends.UID && other.Status.Phase == v1alpha1.GrantActive
	}
	if !second {
		return nil, nil
	}
	end := grant.AlreadyExtended(s.AccessGrant)
	r.Metrics.MustEnd(s.Name, end, s.now)
	return &ending{End: *end}, nil
}

// policyNow is the policy of a grant as it is now, nil when that is not known.
func (r *Reconciler) policyNow(ctx context.Context, g *v1alpha1.AccessGrant) *v1alpha1.AccessPolicy {
	p := &v1alpha1.AccessPolicy{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: g.Spec.PolicyRef.Name}, p, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if err != nil || p.UID != g.Spec.PolicyRef.UID {
		return nil
	}
	return p
}
