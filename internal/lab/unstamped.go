package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/config/admission"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// stampedFrom is the first Kubernetes of which MutatingAdmissionPolicies are on
// by default.
const stampedFrom = 36

// userClient is what a user's client does on this cluster.
func (c *Cluster) userClient(plain client.WithWatch) client.Client {
	if c.Stamps {
		return plain
	}
	return interceptor.NewClient(plain, interceptor.Funcs{Create: createAsOneself, SubResourcePatch: decideAsOneself})
}

// createAsOneself writes who asks, as kubectl access does where nothing fills it in.
func createAsOneself(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	if lock, ok := o.(*v1alpha1.AccessLock); ok && lock.Spec.By == "" {
		me, err := whoAmI(ctx, c)
		if err != nil {
			return err
		}
		written := lock.DeepCopy()
		written.Spec.By = me.Username
		if err := c.Create(ctx, written, opts...); err != nil {
			return err
		}
		written.DeepCopyInto(lock)
		return nil
	}
	request, ok := o.(*v1alpha1.AccessRequest)
	if !ok || request.Spec.Requester.Username != "" {
		return c.Create(ctx, o, opts...)
	}
	me, err := Requester(ctx, c)
	if err != nil {
		return err
	}
	written := request.DeepCopy()
	written.Spec.Requester = me
	if err := c.Create(ctx, written, opts...); err != nil {
		return err
	}
	written.DeepCopyInto(request)
	return nil
}

// Requester is what a request stores of the user of a client.
func Requester(ctx context.Context, c client.Client) (v1alpha1.UserInfo, error) {
	kept, err := admission.KeptExtra()
	if err != nil {
		return v1alpha1.UserInfo{}, err
	}
	me, err := whoAmI(ctx, c)
	return identity.Stored(me, kept), err
}

// decideAsOneself makes the merge patch that people write, of bare decisions,
// what kubectl access sends where nothing is filled in.
func decideAsOneself(ctx context.Context, c client.Client, resource string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	plain := func() error { return c.SubResource(resource).Patch(ctx, o, patch, opts...) }
	request, ok := o.(*v1alpha1.AccessRequest)
	if !ok || patch.Type() != types.MergePatchType {
		return plain()
	}
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	var sent struct {
		Status struct {
			Decisions []v1alpha1.Decision `json:"decisions"`
		} `json:"status"`
	}
	said := func(d v1alpha1.Decision) bool { return d.Username != "" || d.Groups != nil }
	if json.Unmarshal(data, &sent) != nil || len(sent.Status.Decisions) == 0 || slices.ContainsFunc(sent.Status.Decisions, said) {
		return plain() // what a forger sends is sent as it is
	}
	current := &v1alpha1.AccessRequest{}
	me, err := whoAmI(ctx, c)
	if err := errors.Join(err, c.Get(ctx, client.ObjectKeyFromObject(request), current)); err != nil {
		return err
	}
	decisions := current.Status.Decisions
	for _, d := range sent.Status.Decisions {
		d.Username = me.Username
		d.Groups, d.OmittedGroups = identity.StoredGroups(me.Groups, d.Verdict, current.Status.Approvers(), current.Asked().Subjects)
		if d.RulesHash == "" {
			d.RulesHash = current.Status.RulesHash
		}
		decisions = slices.DeleteFunc(slices.Clone(decisions), func(old v1alpha1.Decision) bool {
			return old.Username == d.Username && old.Verdict == d.Verdict && old.Verdict == v1alpha1.VerdictApprove && old.RulesHash != d.RulesHash
		})
		if !slices.ContainsFunc(decisions, func(old v1alpha1.Decision) bool { return old.Username == d.Username && old.Verdict == d.Verdict }) {
			decisions = append(decisions, d)
		}
	}
	whole, err := json.Marshal(map[string]any{"status": map[string]any{"decisions": decisions}})
	if err != nil {
		return err
	}
	return c.SubResource(resource).Patch(ctx, o, client.RawPatch(types.MergePatchType, whole), opts...)
}

func whoAmI(ctx context.Context, c client.Client) (v1alpha1.UserInfo, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		return v1alpha1.UserInfo{}, fmt.Errorf("ask who one is: %w", err)
	}
	user := review.Status.UserInfo
	me := v1alpha1.UserInfo{Username: user.Username, UID: user.UID, Groups: user.Groups}
	for key, value := range user.Extra {
		if me.Extra == nil {
			me.Extra = map[string]v1alpha1.ExtraValue{}
		}
		me.Extra[key] = v1alpha1.ExtraValue(value)
	}
	return me, nil
}
