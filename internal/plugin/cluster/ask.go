package cluster

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Ask creates a request and leaves the requester to the API server, which knows
// who asks at that moment; in another call its answer may differ. Before
// Kubernetes 1.36 nothing fills the requester in, and it is written here.
func (c *Client) Ask(ctx context.Context, request *v1alpha1.AccessRequest) error {
	written := request.DeepCopy()
	err := c.api.Create(ctx, request)
	if !requesterMissing(err) {
		return err
	}
	if written.Spec.Requester, err = c.stored(ctx); err != nil {
		return err
	}
	written.DeepCopyInto(request)
	return c.api.Create(ctx, request)
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
