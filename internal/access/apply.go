package access

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/grant"
)

// ErrNameTaken means that an object that does not belong to the grant has the name
// of one that the grant wants. The broker leaves that object alone.
var ErrNameTaken = errors.New("an object that does not belong to the grant has the name of its binding")

// Apply creates an object of a grant and returns its UID. If one of that name
// exists, it must be exactly the wanted one, as after a crash between its creation
// and its record; otherwise the error is ErrNameTaken.
func Apply(ctx context.Context, writer client.Writer, live client.Reader, want grant.Object) (types.UID, error) {
	object := New(want)
	err := writer.Create(ctx, object)
	if err == nil {
		return object.GetUID(), nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create %s: %w", want, err)
	}
	seen, err := Get(ctx, live, want)
	if err != nil {
		return "", err
	}
	if seen == nil {
		return "", fmt.Errorf("%s disappeared while the broker looked at it", want)
	}
	if !want.Intact(*seen) {
		return "", fmt.Errorf("%s: %w", want, ErrNameTaken)
	}
	return seen.Meta.UID, nil
}

// New returns the object to create for what a grant wants.
func New(want grant.Object) client.Object { return of(want.Kind).object(want) }

// Get reads the object that has the name of a wanted one; nil when there is none.
func Get(ctx context.Context, from client.Reader, want grant.Object) (*grant.Seen, error) {
	kind := of(want.Kind)
	object := kind.New()
	err := from.Get(ctx, client.ObjectKey{Namespace: want.Namespace, Name: want.Name}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", want, err)
	}
	seen := kind.read(object)
	return &seen, nil
}
