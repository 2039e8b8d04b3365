package view

import (
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// credentialOf says as whom the access of a request is used, where it is not as the
// requester.
func credentialOf(r *v1alpha1.AccessRequest, now time.Time) string {
	if r.Spec.CredentialKey == "" {
		return ""
	}
	const own = "of the access alone, for nobody but the requester"
	c := r.Status.Credential
	switch {
	case r.Status.Phase.Ended():
		return "of the access alone, ended with it"
	case c == nil || c.Sealed == "":
		return own + "; it is issued when the access begins"
	}
	return own + "; " + valid(c, r.Status.ExpirationTime == nil || c.ExpirationTime.Before(r.Status.ExpirationTime), now)
}

// valid says until when a credential is good.
func valid(c *v1alpha1.SealedCredential, renewed bool, now time.Time) string {
	s := "valid until " + text.Moment(c.ExpirationTime.Time) + " (" + left(c.ExpirationTime.Time, now) + ")"
	if renewed {
		s += ", renewed before that"
	}
	return s
}

// issuedTo is the identity that the credential of a grant has.
func issuedTo(g *v1alpha1.AccessGrant) string {
	if g.Spec.CredentialKey == "" {
		return ""
	}
	return "of the grant alone: calls with it are those of ServiceAccount " + v1alpha1.GrantsNamespace + "/" + g.Name
}

// Usable tells whether the credential of a request can be opened now, and if not, why
// in words.
func Usable(r *v1alpha1.AccessRequest, now time.Time) (why string, usable bool) {
	c := r.Status.Credential
	switch {
	case r.Spec.CredentialKey == "":
		return r.Name + " gives the access to the requester's own identity, and no credential: use it as you are", false
	case r.Status.Phase.Ended():
		return r.Name + " is over: " + Progress(r, now), false
	case r.Status.ExpirationTime != nil && !now.Before(r.Status.ExpirationTime.Time):
		return r.Name + " is over: its time was up at " + text.Moment(r.Status.ExpirationTime.Time), false
	case c == nil || c.Sealed == "":
		return r.Name + " has no credential yet: " + Progress(r, now), false
	case !now.Before(c.ExpirationTime.Time):
		return "the credential of " + r.Name + " expired at " + text.Moment(c.ExpirationTime.Time) +
			", and the broker has issued no other: is it running?", false
	}
	return "", true
}

// CredentialExpiry is when an issued credential is over: at its own end or at that of
// the access, whichever is sooner.
func CredentialExpiry(r *v1alpha1.AccessRequest) time.Time {
	expiry := r.Status.Credential.ExpirationTime.Time
	if until := r.Status.ExpirationTime; until != nil && until.Time.Before(expiry) {
		expiry = until.Time
	}
	return expiry
}

// LoginNamespace is the namespace that a context for the access begins in: the one
// that it holds in, where that is a single one.
func LoginNamespace(r *v1alpha1.AccessRequest) string {
	if s := r.Asked().Scope; s != nil && len(s.Namespaces) == 1 {
		return s.Namespaces[0]
	}
	return r.Namespace
}

// MyCredential tells whether there is an issued credential for me to log in with.
func MyCredential(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
	return r.Spec.CredentialKey != "" && r.Spec.Requester.Username == me.Username && r.Status.Phase == v1alpha1.RequestActive
}

// Command is a command of the plugin about a request, to be typed as it is.
func Command(verb string, r *v1alpha1.AccessRequest) string {
	return "kubectl access " + verb + " " + r.Name + " -n " + r.Namespace
}

// Typed is a word as a shell takes it.
func Typed(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,=-"
	special := func(r rune) bool { return !strings.ContainsRune(plain, r) }
	if word != "" && !strings.ContainsFunc(word, special) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
