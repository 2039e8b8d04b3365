package grant

import (
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// ServiceAccountKind is the kind of the identity of an issued credential.
const ServiceAccountKind = v1alpha1.ServiceAccountKind

// Issued tells whether the access of a grant is used with a credential of its own.
func Issued(g *v1alpha1.AccessGrant) bool { return g.Spec.CredentialKey != "" }

// Bound are those whom the bindings of a grant name: its subjects, or the
// ServiceAccount of this grant alone when its credential is issued.
func Bound(g *v1alpha1.AccessGrant) []v1alpha1.Subject {
	if Issued(g) {
		return []v1alpha1.Subject{{Kind: v1alpha1.ServiceAccountKind, Namespace: v1alpha1.GrantsNamespace, Name: g.Name}}
	}
	bound := make([]v1alpha1.Subject, len(g.Spec.Subjects))
	for i, s := range g.Spec.Subjects {
		bound[i] = s.Subject
	}
	return bound
}

// Accounts are the ServiceAccount of an issued credential; none otherwise.
func Accounts(g *v1alpha1.AccessGrant) []Object {
	if !Issued(g) {
		return nil
	}
	return []Object{{Kind: ServiceAccountKind, Namespace: v1alpha1.GrantsNamespace, Name: g.Name, Grant: g.Name, GrantUID: g.UID}}
}

// minTokenLife is the shortest life of a token that an API server gives.
const minTokenLife = 10 * time.Minute

// minRenewal is the shortest time between two tokens of a grant, whatever the clock of
// the API server says.
const minRenewal = time.Minute

// TokenLife is how long a token of a grant is to live: until the deadline, but never
// less than what the API server gives.
func TokenLife(g *v1alpha1.AccessGrant, now time.Time) time.Duration {
	left := g.Spec.ExpirationTime.Sub(now)
	return max((left + time.Second - 1).Truncate(time.Second), minTokenLife) // no later than a second after the deadline
}

// RenewAt is when the token of a held grant is to be renewed. needed is false when
// the token lives until the deadline. It is at four fifths of the token's life, or
// sooner, so that the next one does not outlive the deadline.
func RenewAt(g *v1alpha1.AccessGrant) (at time.Time, needed bool) {
	c := g.Status.Credential
	if !Issued(g) || c == nil || g.Spec.ExpirationTime.Sub(c.ExpirationTime.Time) < clockSkew {
		return time.Time{}, false
	}
	life := c.ExpirationTime.Sub(c.IssuedTime.Time)
	at = c.IssuedTime.Add(max(life*4/5, minRenewal))
	if last := g.Spec.ExpirationTime.Add(-minTokenLife); at.After(last) && last.After(c.IssuedTime.Time) {
		at = last
	}
	return at, true
}
