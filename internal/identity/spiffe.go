package identity

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

const (
	spiffePrefix = "spiffe://"

	// one stands for one segment of a path, some for one or more at its end.
	one  = "*"
	some = "**"

	// Bounds of a pattern, which the schema has too. The admission policies go over
	// so many segments, in CEL.
	maxPattern  = 512
	maxSegments = 16
)

// Pattern is what the name of a subject of kind SPIFFE says: which workloads it
// stands for. The zero value stands for none.
type Pattern struct {
	domain   spiffeid.TrustDomain
	segments []string
	// some more segments follow.
	more bool
}

// ParsePattern reads a pattern: a SPIFFE ID with a path, in which * stands for one
// whole segment, and /** at the end for one or more. Nothing else is a wildcard, and
// none is in the trust domain.
func ParsePattern(name string) (Pattern, error) {
	rest, ok := strings.CutPrefix(name, spiffePrefix)
	if !ok {
		return Pattern{}, fmt.Errorf("it does not begin with %s", spiffePrefix)
	}
	if len(name) > maxPattern {
		return Pattern{}, fmt.Errorf("it is longer than %d characters", maxPattern)
	}
	parts := strings.Split(rest, "/")
	domain, err := spiffeid.TrustDomainFromString(parts[0])
	if err != nil {
		return Pattern{}, err
	}
	p := Pattern{domain: domain, segments: parts[1:]}
	switch n := len(p.segments); {
	case n == 0:
		return Pattern{}, errors.New("it has no path: for all workloads of the trust domain, write " + name + "/**")
	case n > maxSegments:
		return Pattern{}, fmt.Errorf("it has more than %d segments", maxSegments)
	case p.segments[n-1] == some:
		p.segments, p.more = p.segments[:n-1], true
	}
	for _, segment := range p.segments {
		switch {
		case segment == one:
		case strings.Contains(segment, one):
			return Pattern{}, fmt.Errorf("%q is no wildcard: %s stands for a whole segment, and /%s for one or more at the end", segment, one, some)
		default:
			if err := spiffeid.ValidatePathSegment(segment); err != nil {
				return Pattern{}, err
			}
		}
	}
	return p, nil
}

// Matches tells whether a username is the SPIFFE ID of a workload that the pattern
// stands for. What merely looks like a SPIFFE ID is none.
func (p Pattern) Matches(username string) bool {
	id, err := spiffeid.FromString(username)
	if err != nil || p.domain.IsZero() || id.TrustDomain() != p.domain || id.Path() == "" {
		return false
	}
	path := strings.Split(id.Path()[1:], "/")
	if n := len(p.segments); len(path) < n || (len(path) > n) != p.more {
		return false
	}
	for i, segment := range p.segments {
		if segment != one && segment != path[i] {
			return false
		}
	}
	return true
}

// exact tells whether the pattern stands for one workload only.
func (p Pattern) exact() bool {
	for _, segment := range p.segments {
		if segment == one {
			return false
		}
	}
	return !p.more && !p.domain.IsZero()
}

// CheckSPIFFE says what is wrong with a username that begins as a SPIFFE ID does.
func CheckSPIFFE(username string) error {
	if !strings.HasPrefix(username, spiffePrefix) {
		return nil
	}
	id, err := spiffeid.FromString(username)
	switch {
	case strings.Contains(username, one):
		return errors.New("it is a pattern; access is given to one workload, by its exact SPIFFE ID")
	case err != nil:
		return err
	case id.Path() == "":
		return errors.New("it is a trust domain, and no workload")
	}
	return nil
}

// CheckPolicySubjects says what is wrong with the patterns among the subjects of a
// policy.
func CheckPolicySubjects(subjects []v1alpha1.PolicySubject) error {
	var errs []error
	for _, s := range subjects {
		if s.Kind != v1alpha1.SPIFFEKind {
			continue
		}
		if _, err := ParsePattern(s.Name); err != nil {
			errs = append(errs, fmt.Errorf("%q is no pattern over SPIFFE IDs: %w", s.Name, err))
		}
	}
	return errors.Join(errs...)
}
