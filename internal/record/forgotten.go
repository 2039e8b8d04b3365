package record

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// A tool that applies a repository makes a request again as soon as its retention is
// over, though nobody asks for access. So when the broker deletes a request, its
// grant remembers it, and another request of that name and content is not granted. A
// request that people deleted may be made again. One with a task is bound to what
// runs now, one for more time to what is held now: they may always be made again.

// remember marks the grant of a request that is about to be deleted. It returns true
// when Forgotten can find the mark, or when there is nothing to remember.
func (a *Archive) remember(ctx context.Context, request *v1alpha1.AccessRequest) (bool, error) {
	if request.Status.GrantName == "" || !grant.Repeats(request) {
		return true, nil
	}
	likeness := grant.Likeness(request)
	if marked, err := Forgotten(ctx, a.Live, likeness); err != nil || marked != nil {
		return marked != nil, err
	}
	given := &v1alpha1.AccessGrant{}
	err := a.Live.Get(ctx, client.ObjectKey{Name: grant.Name(request.Name, request.UID)}, given)
	if apierrors.IsNotFound(err) || (err == nil && given.Spec.RequestRef.UID != request.UID) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read grant: %w", err)
	}
	marked := &v1alpha1.AccessGrant{}
	marked.Name = given.Name
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"labels":{%q:%q}}}`, given.UID, v1alpha1.LabelForgotten, likeness)
	err = a.Client.Patch(ctx, marked, client.RawPatch(types.MergePatchType, []byte(patch)))
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("remember that the request was granted: %w", err)
	}
	return false, nil
}

// Forgotten finds the grant of a deleted request that had this likeness, nil when
// there is none. The cache does not keep such grants. The API server looks into its
// own cache (resourceVersion 0), which costs little: a mark is a minute old when it
// is needed.
func Forgotten(ctx context.Context, live client.Reader, likeness string) (*v1alpha1.AccessGrant, error) {
	var marked v1alpha1.AccessGrantList
	err := live.List(ctx, &marked, client.MatchingLabels{v1alpha1.LabelForgotten: likeness}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "0"}})
	if err != nil {
		return nil, fmt.Errorf("look for a request of this name and content: %w", err)
	}
	if len(marked.Items) == 0 {
		return nil, nil
	}
	return &marked.Items[0], nil
}
