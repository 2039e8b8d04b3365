package access

import (
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// Issue asks the API server for a token of the ServiceAccount of a grant, and seals it
// to the key of its requester. The token is in memory only for the time of this call.
// The audience is the API server's own.
func Issue(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant, now time.Time) (*v1alpha1.SealedCredential, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(int64(grant.TokenLife(g, now) / time.Second)),
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("ask for a token of ServiceAccount %s/%s: %w", account.Namespace, account.Name, err)
	}
	if request.Status.Token == "" || request.Status.ExpirationTimestamp.IsZero() {
		return nil, errors.New("the API server answered without a token") // never a nil credential that counts as one
	}
	sealed, err := credential.Seal(g.Spec.CredentialKey, credential.Grant{Name: g.Name, UID: g.UID}, request.Status.Token)
	if err != nil {
		return nil, fmt.Errorf("seal the credential: %w", err)
	}
	return &v1alpha1.SealedCredential{
		GrantUID: g.UID, Sealed: sealed, IssuedTime: metav1.NewTime(now.Truncate(time.Second)), ExpirationTime: request.Status.ExpirationTimestamp,
	}, nil
}
