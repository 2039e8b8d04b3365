// Package lock tells whether an AccessLock is in force for somebody who holds access
// or asks for it. It is pure.
package lock

import (
	"fmt"
	"slices"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Held is who holds some access, or would: who asked for it, and its subjects.
type Held struct {
	Requester v1alpha1.UserInfo
	Subjects  []v1alpha1.Subject
}

// OfGrant is who holds the access of a grant.
func OfGrant(g *v1alpha1.AccessGrant) Held {
	held := Held{Requester: g.Spec.Requester}
	for _, s := range g.Spec.Subjects {
		held.Subjects = append(held.Subjects, s.Subject)
	}
	return held
}

// OfRequest is who would hold the access that is asked for.
func OfRequest(spec *v1alpha1.AccessRequestSpec) Held {
	return Held{Requester: spec.Requester, Subjects: identity.Subjects(spec)}
}

// On returns the lock that is in force for one of those who hold access, nil when
// there is none. A lock of a group also counts for a requester whose stored copy
// leaves groups out: they may be in it.
//
// Names that look alike count as the same person, as everywhere else: a lock that one
// can get around by another spelling is none. The groups of a User among the subjects
// who is not the requester are not known here.
func On(held Held, locks []v1alpha1.AccessLock, now time.Time) *v1alpha1.AccessLock {
	for i := range locks {
		if InForce(&locks[i], now) && Meets(held, &locks[i]) {
			return &locks[i]
		}
	}
	return nil
}

// InForce tells whether the time of a lock is not over.
func InForce(l *v1alpha1.AccessLock, now time.Time) bool {
	return l.Spec.Until == nil || now.Before(l.Spec.Until.Time)
}

// Meets tells whether a lock is for one of those who hold access, in force or not.
func Meets(held Held, l *v1alpha1.AccessLock) bool {
	locked := l.Spec.Subject
	if locked.Kind == v1alpha1.GroupKind {
		return held.Requester.OmittedGroups > 0 ||
			slices.Contains(held.Requester.Groups, locked.Name) ||
			slices.ContainsFunc(held.Subjects, func(s v1alpha1.Subject) bool { return slices.Contains(identity.Groups(s), locked.Name) })
	}
	name, ok := identity.Username(locked)
	return ok && identity.Benefits(name, nil, held.Requester.Username, held.Subjects)
}

// Why says that a lock is in force, and why, for people.
func Why(l *v1alpha1.AccessLock) string {
	until := "until it is deleted"
	if l.Spec.Until != nil {
		until = "until " + text.Moment(l.Spec.Until.Time)
	}
	return fmt.Sprintf("%s is locked out %s by AccessLock %s of %s: %s", text.Subject(l.Spec.Subject), until, l.Name, l.Spec.By, text.Trim(l.Spec.Reason))
}
