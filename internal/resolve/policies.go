package resolve

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
)

// Policies compiles the AccessPolicies, each generation once.
type Policies struct {
	Client client.Reader
	Live   client.Reader
	// Confirmed makes a policy give nothing that a second person has not confirmed.
	Confirmed bool

	mu       sync.Mutex
	compiled map[types.UID]*policy.Policy
}

// All returns the policies of the cluster that the cache has.
func (p *Policies) All(ctx context.Context) ([]*policy.Policy, error) { return p.all(ctx, p.Client) }

// AllLive reads them from the API server.
func (p *Policies) AllLive(ctx context.Context) ([]*policy.Policy, error) { return p.all(ctx, p.Live) }

func (p *Policies) all(ctx context.Context, from client.Reader) ([]*policy.Policy, error) {
	list := &v1alpha1.AccessPolicyList{}
	if err := from.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	out := make([]*policy.Policy, 0, len(list.Items))
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			out = append(out, p.Compile(&list.Items[i]))
		}
	}
	p.forget(out)
	return out, nil
}

// Compile compiles a policy, unless this generation of it, as it was changed and
// confirmed by the same people, was compiled before.
func (p *Policies) Compile(object *v1alpha1.AccessPolicy) *policy.Policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.compiled[object.UID]; ok && c.Generation == object.Generation && (!p.Confirmed || sameConfirmation(c.AccessPolicy, object)) {
		return c
	}
	if p.compiled == nil {
		p.compiled = map[types.UID]*policy.Policy{}
	}
	c := policy.Compile(object.DeepCopy())
	if p.Confirmed {
		c.MustBeConfirmed()
	}
	p.compiled[object.UID] = c
	return c
}

// sameConfirmation tells whether the same people changed and confirmed both.
func sameConfirmation(a, b *v1alpha1.AccessPolicy) bool {
	return a.Annotations[v1alpha1.AnnotationChangedBy] == b.Annotations[v1alpha1.AnnotationChangedBy] &&
		ptr.Equal(a.Status.Confirmed, b.Status.Confirmed)
}

// forget drops what belongs to policies that are gone.
func (p *Policies) forget(current []*policy.Policy) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.compiled) <= 2*len(current) {
		return
	}
	kept := make(map[types.UID]*policy.Policy, len(current))
	for _, c := range current {
		kept[c.UID] = c
	}
	p.compiled = kept
}
