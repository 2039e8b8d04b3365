package grant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// errNoToken means that the API server gave no token.
var errNoToken = errors.New("ask for a token")

// issue asks the API server for a token of the ServiceAccount of a grant, and seals it
// to the key of its requester. The token is in memory only for the time of this call.
// The audience is the API server's own.
func issue(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant, now time.Time) (*v1alpha1.SealedCredential, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(int64(grant.TokenLife(g, now) / time.Second)),
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}}
	if err := c.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("%w of ServiceAccount %s/%s: %w", errNoToken, account.Namespace, account.Name, err)
	}
	if request.Status.Token == "" || request.Status.ExpirationTimestamp.IsZero() {
		return nil, fmt.Errorf("%w: the API server answered without one", errNoToken)
	}
	sealed, err := credential.Seal(g.Spec.CredentialKey, credential.Grant{Name: g.Name, UID: g.UID}, request.Status.Token)
	if err != nil {
		return nil, fmt.Errorf("seal the credential: %w", err)
	}
	return &v1alpha1.SealedCredential{
		GrantUID: g.UID, Sealed: sealed, IssuedTime: metav1.NewTime(now.Truncate(time.Second)), ExpirationTime: request.Status.ExpirationTimestamp,
	}, nil
}

// account is what an issued credential comes to.
type account struct {
	refs       []v1alpha1.BindingRef
	credential *v1alpha1.SealedCredential
}

// errNoIdentity means that the ServiceAccount of an issued credential was not made.
var errNoIdentity = errors.New("make the identity of the credential")

// issuing makes the ServiceAccount of an issued credential and asks for its token,
// while the bindings are made: people wait. The result waits for it.
func (r *Reconciler) issuing(ctx context.Context, s *step) func() (account, error) {
	if !grant.Issued(s.AccessGrant) {
		return func() (account, error) { return account{}, nil }
	}
	get := sync.OnceValues(func() (account, error) {
		var out account
		for _, want := range grant.Accounts(s.AccessGrant) {
			uid, err := access.Apply(ctx, r.Client, r.Live, want)
			if err != nil {
				return out, fmt.Errorf("%w: %w", errNoIdentity, err)
			}
			out.refs = append(out.refs, want.Ref(uid))
		}
		var err error
		out.credential, err = issue(ctx, r.Client, s.AccessGrant, s.now)
		return out, err
	})
	go func() { _, _ = get() }()
	return get
}

// renew asks for the next token of held access when the last one is near its end and
// ends before the deadline. It returns when to look again, zero for never.
func (r *Reconciler) renew(ctx context.Context, s *step) (time.Time, error) {
	at, needed := grant.RenewAt(s.AccessGrant)
	if !needed || s.now.Before(at) {
		return at, nil
	}
	issued, err := issue(ctx, r.Client, s.AccessGrant, s.now)
	if err != nil {
		return time.Time{}, fmt.Errorf("renew the credential: %w", err)
	}
	s.Status.Credential = issued
	at, _ = grant.RenewAt(s.AccessGrant)
	return at, r.write(ctx, s)
}
