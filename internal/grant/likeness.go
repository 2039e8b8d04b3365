package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Repeats tells whether a request that is made again under its name asks for the same
// again. With a task it asks for access for what runs now, and for more time of what
// is held now.
func Repeats(request *v1alpha1.AccessRequest) bool {
	return request.Asked().Task == nil && request.Spec.Extends == ""
}

// Likeness is the same for two requests of one name and content by one
// requester, whoever or whatever made the second. It fits into a label.
func Likeness(request *v1alpha1.AccessRequest) string {
	spec := request.Spec.DeepCopy()
	// Groups and the like change between two logins of one user.
	spec.Requester = v1alpha1.UserInfo{Username: spec.Requester.Username}
	content, err := json.Marshal([]any{request.Namespace, request.Name, spec})
	if err != nil {
		panic(err) // strings, numbers and times
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:16])
}
