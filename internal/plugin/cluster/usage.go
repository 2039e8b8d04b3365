package cluster

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// usagePageSize is smaller than that of other lists: an AccessUsage may be 100 KB.
const usagePageSize = 50

// Grant reads a grant.
func (c *Client) Grant(ctx context.Context, name string) (*v1alpha1.AccessGrant, error) {
	grant := &v1alpha1.AccessGrant{}
	err := c.api.Get(ctx, client.ObjectKey{Name: name}, grant)
	return grant, err
}

// Policy reads a policy.
func (c *Client) Policy(ctx context.Context, name string) (*v1alpha1.AccessPolicy, error) {
	policy := &v1alpha1.AccessPolicy{}
	err := c.api.Get(ctx, client.ObjectKey{Name: name}, policy)
	return policy, err
}

// Usage reads what is stored of the use of a grant.
func (c *Client) Usage(ctx context.Context, grant string) (*v1alpha1.AccessUsage, error) {
	usage := &v1alpha1.AccessUsage{}
	err := c.api.Get(ctx, client.ObjectKey{Name: grant}, usage)
	return usage, err
}

// UsageOf reads what is stored of the use of a grant: nil where nobody observed it, where
// we may not read it, and where it is of another grant that had this name.
func (c *Client) UsageOf(ctx context.Context, g *v1alpha1.AccessGrant) (*v1alpha1.AccessUsage, error) {
	used, err := c.usage(ctx, g.Name)
	if used == nil || used.Spec.GrantRef.UID != g.UID {
		return nil, err
	}
	return used, nil
}

// UsageOfRequest reads what is stored of the use of the access that a request led to, and
// its grant: nil where there is none, and where we are not told.
func (c *Client) UsageOfRequest(ctx context.Context, r *v1alpha1.AccessRequest) (*v1alpha1.AccessUsage, *v1alpha1.AccessGrant, error) {
	if r.Status.GrantName == "" {
		return nil, nil, nil
	}
	used, err := c.usage(ctx, r.Status.GrantName)
	if used == nil {
		return nil, nil, err
	}
	switch g, err := c.Grant(ctx, r.Status.GrantName); {
	case err != nil && !NotTold(err):
		return nil, nil, err
	case err != nil:
		return used, nil, nil
	case g.UID != used.Spec.GrantRef.UID:
		return nil, nil, nil
	default:
		return used, g, nil
	}
}

// usage is nil where we are not told.
func (c *Client) usage(ctx context.Context, grant string) (*v1alpha1.AccessUsage, error) {
	used, err := c.Usage(ctx, grant)
	switch {
	case err == nil:
		return used, nil
	case NotTold(err):
		return nil, nil
	}
	return nil, err
}

// EachUsage hands on all that is stored, page by page, and keeps nothing of it.
func (c *Client) EachUsage(ctx context.Context, visit func(*v1alpha1.AccessUsage)) error {
	next := ""
	for {
		list := &v1alpha1.AccessUsageList{}
		if err := c.api.List(ctx, list, client.Limit(usagePageSize), client.Continue(next)); err != nil {
			return err
		}
		for i := range list.Items {
			visit(&list.Items[i])
		}
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// UsagesOf hands on what is stored of the use of these grants, and of no others that
// had their names.
func (c *Client) UsagesOf(ctx context.Context, grants []*v1alpha1.AccessGrant, visit func(*v1alpha1.AccessUsage)) error {
	if len(grants) == 0 {
		return nil
	}
	uids := make(map[string]types.UID, len(grants))
	for _, g := range grants {
		uids[g.Name] = g.UID
	}
	return c.EachUsage(ctx, func(u *v1alpha1.AccessUsage) {
		if uid, wanted := uids[u.Name]; wanted && uid == u.Spec.GrantRef.UID {
			visit(u)
		}
	})
}

// NotServed tells whether the API server does not know the kind at all.
func NotServed(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), "could not find the requested resource")
}

// NotTold tells whether an error means only that there is nothing that we may see: the
// object or its kind is not there, or not for us.
func NotTold(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) }
