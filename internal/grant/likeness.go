package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

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
