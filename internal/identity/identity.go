// Package identity answers who is who: whether a user is one of some
// subjects, whether two usernames are the same person, who benefits from a
// request. It is pure.
package identity

import (
	"slices"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

const serviceAccountPrefix = "system:serviceaccount:"

// Username is the name that the API server authenticates a subject by; a
// group has none.
func Username(s v1alpha1.Subject) (string, bool) {
	switch s.Kind {
	case v1alpha1.UserKind:
		return s.Name, true
	case v1alpha1.ServiceAccountKind:
		return serviceAccountPrefix + s.Namespace + ":" + s.Name, true
	}
	return "", false
}

// Groups are the groups that the API server puts a subject into. For a User they
// are not known here.
func Groups(s v1alpha1.Subject) []string {
	switch s.Kind {
	case v1alpha1.GroupKind:
		return []string{s.Name}
	case v1alpha1.ServiceAccountKind:
		return []string{"system:serviceaccounts", "system:serviceaccounts:" + s.Namespace, "system:authenticated"}
	}
	return nil
}

// SubjectOf is the subject that stands for an authenticated user: a
// ServiceAccount for a ServiceAccount, a User for everybody else.
func SubjectOf(user v1alpha1.UserInfo) v1alpha1.Subject {
	if rest, ok := strings.CutPrefix(user.Username, serviceAccountPrefix); ok {
		if namespace, name, ok := strings.Cut(rest, ":"); ok && namespace != "" && name != "" && !strings.Contains(name, ":") {
			return v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: namespace, Name: name}
		}
	}
	return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: user.Username}
}

// Subjects who get the access of a request: those it names, or its requester.
// The spelling is one and the same for one subject, without apiGroup.
func Subjects(spec *v1alpha1.AccessRequestSpec) []v1alpha1.Subject {
	if len(spec.Subjects) == 0 {
		return []v1alpha1.Subject{SubjectOf(spec.Requester)}
	}
	subjects := make([]v1alpha1.Subject, 0, len(spec.Subjects))
	for _, s := range spec.Subjects {
		s.APIGroup = ""
		if !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	return subjects
}

// Reserved tells whether a subject belongs to Kubernetes itself: a user or
// group whose name begins with system:, however it is spelt.
func Reserved(s v1alpha1.Subject) bool {
	return s.Kind != v1alpha1.ServiceAccountKind && strings.HasPrefix(Fold(s.Name), "system:")
}

// Issued tells whether a username is that of an issued credential. Whose it is, its
// grant knows.
func Issued(username string) bool {
	return strings.HasPrefix(username, serviceAccountPrefix+v1alpha1.GrantsNamespace+":")
}

// Exactly is the subject that a policy names, unless that stands for all
// workloads that match a pattern. A pattern without wildcards is one workload.
func Exactly(s v1alpha1.PolicySubject) (v1alpha1.Subject, bool) {
	if s.Kind != v1alpha1.SPIFFEKind {
		return v1alpha1.Subject(s), true
	}
	if pattern, err := ParsePattern(s.Name); err != nil || !pattern.exact() {
		return v1alpha1.Subject{}, false
	}
	return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: s.Name}, true
}

// Person is the username of the one person or workload that a policy names; it
// names none by a group or a pattern.
func Person(s v1alpha1.PolicySubject) (string, bool) {
	exact, ok := Exactly(s)
	if !ok {
		return "", false
	}
	return Username(exact)
}

// Among tells whether a user is one of those whom a policy names, by the exact
// comparison that RBAC makes, or by a pattern over SPIFFE IDs.
func Among(subjects []v1alpha1.PolicySubject, username string, groups []string) bool {
	return slices.ContainsFunc(subjects, func(s v1alpha1.PolicySubject) bool {
		switch s.Kind {
		case v1alpha1.GroupKind:
			return slices.Contains(groups, s.Name)
		case v1alpha1.SPIFFEKind:
			pattern, err := ParsePattern(s.Name)
			return err == nil && pattern.Matches(username)
		}
		name, ok := Username(v1alpha1.Subject(s))
		return ok && name == username
	})
}

// Benefits tells whether somebody would benefit from a request: they are the
// requester, a subject, or a member of a subject group. Names that look alike
// count as the same person.
func Benefits(username string, groups []string, requester string, subjects []v1alpha1.Subject) bool {
	if SamePerson(username, requester) {
		return true
	}
	return slices.ContainsFunc(subjects, func(s v1alpha1.Subject) bool {
		if s.Kind == v1alpha1.GroupKind {
			return slices.Contains(groups, s.Name)
		}
		name, ok := Username(s)
		return ok && SamePerson(username, name)
	})
}

// Deciders are the approvers who may decide on a request: all but those who would
// benefit. A group stays unless it is a subject itself, and so does a pattern: who
// is in it is not known here.
func Deciders(approvers []v1alpha1.PolicySubject, requester string, subjects []v1alpha1.Subject) []v1alpha1.PolicySubject {
	return slices.DeleteFunc(slices.Clone(approvers), func(a v1alpha1.PolicySubject) bool {
		exact, ok := Exactly(a)
		if !ok {
			return false
		}
		name, ok := Username(exact)
		if !ok {
			return slices.ContainsFunc(subjects, func(s v1alpha1.Subject) bool { return s.Kind == exact.Kind && s.Name == exact.Name })
		}
		return Benefits(name, Groups(exact), requester, subjects)
	})
}

// SamePerson tells whether two usernames look the same to a person.
func SamePerson(a, b string) bool { return Fold(a) == Fold(b) }

// Fold maps usernames that look the same to the same string: compatibility
// forms, case, white space around and characters that are not seen make no
// difference (Unicode TR15 and TR36).
func Fold(username string) string {
	// The fold alone swaps the two cases of Cherokee (golang.org/issue/46101),
	// which would make two people of one. A Caser must not be shared.
	folded := strings.ToLower(cases.Fold().String(norm.NFKC.String(text.Seen(username))))
	return strings.TrimSpace(norm.NFKC.String(folded))
}
