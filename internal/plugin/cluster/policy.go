package cluster

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// ConfirmPolicy confirms a policy as it was read, in my name. The API server refuses
// it when the policy has changed or is another by now.
func (c *Client) ConfirmPolicy(ctx context.Context, p *v1alpha1.AccessPolicy, me string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status": map[string]any{"confirmed": v1alpha1.PolicyConfirmation{
			Username: me, UID: p.UID, Generation: p.Generation,
		}},
	})
	if err != nil {
		return err
	}
	return c.api.Status().Patch(ctx, p, client.RawPatch(types.MergePatchType, patch))
}
