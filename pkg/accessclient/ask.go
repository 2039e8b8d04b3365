package accessclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/config/admission"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// Me is who the API server says that we are.
func (c *Client) Me(ctx context.Context) (v1alpha1.UserInfo, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.api.Create(ctx, review); err != nil {
		return v1alpha1.UserInfo{}, fmt.Errorf("ask the API server who you are: %w", err)
	}
	user := review.Status.UserInfo
	me := v1alpha1.UserInfo{Username: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string]v1alpha1.ExtraValue{}}
	for key, values := range user.Extra {
		me.Extra[key] = v1alpha1.ExtraValue(values)
	}
	return me, nil
}

// stored is what a request keeps of me. The admission policies compare the
// requester to exactly that.
func (c *Client) stored(ctx context.Context) (v1alpha1.UserInfo, error) {
	kept, err := admission.KeptExtra()
	if err != nil {
		return v1alpha1.UserInfo{}, err
	}
	me, err := c.Me(ctx)
	return identity.Stored(me, kept), err
}

// Ask creates a request and leaves the requester to the API server, which knows
// who asks at that moment; in another call its answer may differ. Before
// Kubernetes 1.36 nothing fills the requester in, and it is written here.
func (c *Client) Ask(ctx context.Context, request *v1alpha1.AccessRequest) error {
	return c.create(ctx, request)
}

// Rehearse is Ask, but nothing is stored: the request is as it would be, or the API
// server and its admission policies say what is wrong with it.
func (c *Client) Rehearse(ctx context.Context, request *v1alpha1.AccessRequest) error {
	return c.create(ctx, request, client.DryRunAll)
}

func (c *Client) create(ctx context.Context, request *v1alpha1.AccessRequest, options ...client.CreateOption) error {
	written := request.DeepCopy()
	err := c.api.Create(ctx, request, options...)
	if !requesterMissing(err) {
		return err
	}
	if written.Spec.Requester, err = c.stored(ctx); err != nil {
		return err
	}
	written.DeepCopyInto(request)
	return c.api.Create(ctx, request, options...)
}

// ErrNotOurs says that there is a request of this name that somebody else made, or
// that asks for something else.
var ErrNotOurs = errors.New("there is another request of this name")

// AskOnce is Ask for work that is tried again: the request has a name that follows
// from the work, and when it is there already it is taken as it is, active, waiting
// or over. It must be ours and ask for the same, or else the error is ErrNotOurs.
func (c *Client) AskOnce(ctx context.Context, request *v1alpha1.AccessRequest) error {
	asked := request.DeepCopy()
	err := c.Ask(ctx, request)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	there := &v1alpha1.AccessRequest{}
	if err := c.api.Get(ctx, client.ObjectKeyFromObject(request), there); err != nil {
		return err
	}
	was := there.Spec.DeepCopy()
	was.Requester, asked.Spec.Requester = v1alpha1.UserInfo{}, v1alpha1.UserInfo{}
	if len(asked.Spec.Subjects) == 0 {
		was.Subjects = nil // the requester, who is looked at below
	}
	switch {
	case there.Spec.Requester.Username != me.Username:
		return fmt.Errorf("%w: %s/%s was made by %s", ErrNotOurs, there.Namespace, there.Name, there.Spec.Requester.Username)
	case !apiequality.Semantic.DeepEqual(was, &asked.Spec):
		return fmt.Errorf("%w: %s/%s asks for something else", ErrNotOurs, there.Namespace, there.Name)
	}
	there.DeepCopyInto(request)
	return nil
}

// requesterMissing tells whether a request was refused because nothing filled
// in its requester.
func requesterMissing(err error) bool {
	return slices.ContainsFunc(Causes(err), func(c metav1.StatusCause) bool {
		return c.Type == metav1.CauseTypeFieldValueRequired && c.Field == "spec.requester"
	})
}

// Causes are all that the API server finds wrong with an object.
func Causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}
