package cluster

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/refusal"
)

// Refused are rights that were refused, by what the API server says to them now.
type Refused struct {
	// Missing were refused to us, and we do not have them.
	Missing []refusal.Right
	// Held are ours as far as the API server's roles go: something else refused them.
	Held []refusal.Right
	// Others were refused to somebody else.
	Others []refusal.Right
}

// Refused asks the API server which of the rights that were refused we really do not
// have. What a program printed may have been written by anybody.
func (c *Client) Refused(ctx context.Context, me string, rights []refusal.Right) (Refused, error) {
	var out Refused
	for _, r := range rights {
		if r.User != me {
			out.Others = append(out.Others, r)
			continue
		}
		may, err := c.May(ctx, r)
		switch {
		case err != nil:
			return Refused{}, err
		case may:
			out.Held = append(out.Held, r)
		default:
			out.Missing = append(out.Missing, r)
		}
	}
	return out, nil
}

// OffersFor are what the policies that let us ask, or one of them, offer for rights
// that are missing in a namespace, or in the whole cluster when it is ""; the best
// first.
func (c *Client) OffersFor(ctx context.Context, namespace, policy string, missing []rbacv1.PolicyRule) ([]refusal.Offer, error) {
	policies, err := c.PoliciesForMe(ctx)
	if err != nil {
		return nil, err
	}
	var usable []v1alpha1.AccessPolicy
	for _, p := range policies {
		if policy == "" || p.Name == policy {
			usable = append(usable, p)
		}
	}
	in := refusal.Where{Namespace: namespace}
	if namespace != "" {
		if labels, err := c.NamespaceLabels(ctx, namespace); err == nil {
			in.Labels = knownLabels(labels)
		}
	}
	return refusal.Offers(usable, in, missing, func(role v1alpha1.RoleRef) ([]rbacv1.PolicyRule, bool) {
		found, err := c.RoleRules(ctx, role.Kind, namespace, role.Name)
		return found, err == nil
	}), nil
}

// knownLabels tells labels that are known to be none from those that are not known.
func knownLabels(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}
