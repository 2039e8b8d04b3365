package kit

import (
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// NewKey makes a key to which a credential can be sealed.
func NewKey(t testing.TB) *credential.Key {
	t.Helper()
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Issues makes a policy issue credentials.
func Issues(s *v1alpha1.AccessPolicySpec) { s.Credential = v1alpha1.CredentialIssued }

// AskIssued makes a request for edit with a credential of its own, changed by edit.
func (c *Cluster) AskIssued(t testing.TB, who client.Client, namespace string, key *credential.Key, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	t.Helper()
	return c.Ask(t, who, namespace, func(s *v1alpha1.AccessRequestSpec) {
		s.CredentialKey = key.Public()
		if edit != nil {
			edit(s)
		}
	})
}

// Open opens the credential of a request that is active.
func Open(t testing.TB, key *credential.Key, request *v1alpha1.AccessRequest) string {
	t.Helper()
	c := request.Status.Credential
	if c == nil || c.Sealed == "" {
		t.Fatalf("%s is %s and has no credential: %s", request.Name, request.Status.Phase, Describe(request.Status.Conditions))
	}
	token, err := credential.Open(key, credential.Grant{Name: request.Status.GrantName, UID: c.GrantUID}, c.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// WithToken is a client of whoever holds a token.
func (c *Cluster) WithToken(t testing.TB, token string) client.Client {
	t.Helper()
	config := rest.AnonymousClientConfig(c.AdminConfig())
	config.BearerToken = token
	holder, err := lab.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return holder
}
