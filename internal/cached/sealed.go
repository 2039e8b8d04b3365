package cached

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// mark begins what stands for a sealed credential in the cache. What is sealed is in
// base64, which never begins so.
const mark = "#"

// markSealed leaves of a sealed credential which one it is: the text itself is a good
// part of a grant and of its request, and only the requester reads it.
func markSealed(c *v1alpha1.SealedCredential) {
	if c == nil {
		return
	}
	intern(&c.GrantUID)
	if c.Sealed == "" || !Sealed(c) {
		return
	}
	sum := sha256.Sum256([]byte(c.Sealed))
	c.Sealed = mark + base64.RawStdEncoding.EncodeToString(sum[:12])
}

// Sealed tells whether a credential is as the API server holds it: in the cache, a mark
// stands for what is sealed. A mark is the same for the same credential, and differs
// for another; it must never be written in the place of the credential.
func Sealed(c *v1alpha1.SealedCredential) bool {
	return c == nil || !strings.HasPrefix(c.Sealed, mark)
}
