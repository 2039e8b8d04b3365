package grant

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/task"
)

// Facts are what one must know about the cluster to tell whether a grant is over.
// Each is a question that is asked only when its answer is needed; an error means
// that the answer is not known now.
type Facts struct {
	// Request that has the name in the grant, nil when there is none.
	Request func() (*v1alpha1.AccessRequest, error)
	// Policy that has the name in the grant, nil when there is none.
	Policy func() (*v1alpha1.AccessPolicy, error)
	// Refusal is why the policy does not allow the grant any more, in words that go
	// after "it"; empty while it does.
	Refusal func() (string, error)
	// Usage of the grant as it was observed, nil when it was not. It is asked only of
	// held access whose policy ends what is idle or suspicious.
	Usage func() (*v1alpha1.AccessUsage, error)
	// Lock that is in force for somebody who holds the access or asked for it, nil when
	// there is none. Live asks the API server, which may know of one that the cache does
	// not show yet.
	Lock func(live bool) (*v1alpha1.AccessLock, error)
	// Before is the grant that this one gives more time to, nil when nothing can come
	// from there any more. It is asked only of an extension.
	Before func() (*Before, error)
	// Successor is the grant that holds the access in place of this one, nil when there
	// is none.
	Successor func() (*v1alpha1.AccessGrant, error)
	// Task of the grant; asked only when it has one.
	Task func() (TaskNow, error)
	// Roles that the grant binds; asked only when it binds roles that exist.
	Roles func() RolesNow
	// ServiceAccount and Namespace of a name: the UID, empty when there is none or
	// it is being deleted.
	ServiceAccount func(namespace, name string) (types.UID, error)
	Namespace      func(name string) (types.UID, error)
	// Intact tells whether an object is as the grant wants it, and has the recorded
	// UID.
	Intact func(Object) (bool, error)
}

// TaskNow is what was seen of a task.
type TaskNow struct {
	// Gone is true when it was deleted or replaced. State is then how far it had come
	// when it was last seen, empty when it never was.
	Gone  bool
	State task.State
	Why   string
}

// RolesNow are the roles of a grant as they are now (for a Role, one in each
// namespace), and the fingerprint of what they allow and of all that the grant has
// pinned.
type RolesNow struct {
	Each        []RoleNow
	Fingerprint string
}

// RoleNow is a role as it is, beside the UID of the one that was approved.
type RoleNow struct {
	// Missing says in words that there is no such role; empty when there is.
	Missing       string
	UID, Approved types.UID
	Rules         []rbacv1.PolicyRule
	// Err is that nobody can say how this one is now.
	Err error
}
