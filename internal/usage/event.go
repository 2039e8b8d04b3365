// Package usage tells what access was used for, from the audit events of API
// servers (audit.k8s.io/v1). It is pure: it neither reads files nor asks anybody,
// and it knows no time but that of the events.
package usage

import (
	"strconv"
	"strings"
	"time"
)

// Event is what usage needs to know of one call: an event of the stage
// ResponseComplete, ResponseStarted or Panic. All of it is what the API server
// wrote; names, paths and the user agent are what users chose, and may hold
// anything.
type Event struct {
	// ID is the auditID: the same for all stages of a call, and in every copy of it. A
	// caller may choose it (Audit-ID), so that different calls may have the same.
	ID string
	// Stage is ResponseStarted for a watch or a session that has begun, and
	// ResponseComplete for a call that is over.
	Stage string
	// Received is when the call came, Stamped when it reached the stage.
	Received, Stamped time.Time

	// User is who authenticated, Impersonated whom they acted as, if anybody.
	User, Impersonated string
	// Groups of the one whose rights the call used, if the filter picks by groups.
	Groups []string

	Verb string
	// Path is the request's, without its query: what a call to no resource is for.
	Path string
	// Group, Resource, Subresource, Namespace and Name say what it was for. Resource
	// is empty for a call to no resource.
	Group, Resource, Subresource, Namespace, Name string
	// UID of the object, where the API server knew or logged it.
	UID string

	// Code is the HTTP status of the answer, 0 while there is none.
	Code int
	// Allowed is the authorizer's decision. Reason is its reason as the API server
	// wrote it, such as
	//	RBAC: allowed by RoleBinding "fix/payments" of ClusterRole "edit" to User "alice"
	Allowed bool
	Reason  string

	// Addresses are those of the caller and of proxies, the caller's first. The API
	// server saw the last one; the others are what was said (X-Forwarded-For).
	Addresses []string
	UserAgent string

	// Object is the body of a create, update or patch as JSON, where the audit policy
	// has it logged. It is valid until visit returns.
	Object []byte
}

// Actor is the user whose rights the call used.
func (e *Event) Actor() string {
	if e.Impersonated != "" {
		return e.Impersonated
	}
	return e.User
}

// Over tells whether the call is over, and not a session that goes on.
func (e *Event) Over() bool { return e.Stage != stageStarted }

const stageStarted = "ResponseStarted"

// Binding is the binding by which RBAC allowed a call.
type Binding struct {
	// Kind is RoleBinding or ClusterRoleBinding; Namespace is empty for the latter.
	Kind, Namespace, Name string
	// RoleKind is Role or ClusterRole.
	RoleKind, Role string
}

const allowedBy = "RBAC: allowed by "

// Binding reads the reason. ok is false when RBAC did not allow the call, or says
// nothing of a binding.
//
// The API server quotes names as Go does, so that no name can end its own quotes
// (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac).
func (e *Event) Binding() (b Binding, ok bool) {
	rest, found := strings.CutPrefix(e.Reason, allowedBy)
	if !e.Allowed || !found {
		return b, false
	}
	var name string
	if b.Kind, name, rest, ok = kindAndName(rest); !ok {
		return Binding{}, false
	}
	switch b.Kind {
	case "ClusterRoleBinding":
		b.Name = name
	case "RoleBinding":
		// Neither a name nor a namespace has a slash.
		if b.Name, b.Namespace, ok = strings.Cut(name, "/"); !ok {
			return Binding{}, false
		}
	default:
		return Binding{}, false
	}
	if rest, ok = strings.CutPrefix(rest, " of "); !ok {
		return Binding{}, false
	}
	if b.RoleKind, b.Role, _, ok = kindAndName(rest); !ok {
		return Binding{}, false
	}
	return b, true
}

// kindAndName reads `Kind "name"`. The name of an RBAC object may hold quotes.
func kindAndName(s string) (kind, name, rest string, ok bool) {
	kind, rest, ok = strings.Cut(s, " ")
	if !ok {
		return "", "", "", false
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil || quoted[0] != '"' {
		return "", "", "", false
	}
	name, err = strconv.Unquote(quoted)
	return kind, name, rest[len(quoted):], err == nil
}
