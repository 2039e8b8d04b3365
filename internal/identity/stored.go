package identity

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Bounds of what is stored of an identity. The admission policies cut by the
// same ones, in CEL: a test holds the two against each other.
const (
	maxUID        = 1024
	maxGroup      = 2048 // as long as the name of a subject, so that what a policy names can be kept
	maxExtraItems = 64
	maxExtraValue = 1024
	maxExtraKey   = 256
	maxOmitted    = 64

	// Active Directory puts no more than 1,015 groups into a token.
	maxGroups     = 1024
	maxGroupsText = 131072
	// Beside the groups that decide whether a decision counts.
	maxOtherGroups     = 512
	maxOtherGroupsText = 16384
)

// separator joins groups; one that contains it is left out.
const separator = "\x00"

// Stored is what an AccessRequest keeps of its requester. keptExtra names the
// keys of extra that are kept, in lower case. What is left out is on record:
// groups are counted, keys of extra are named.
func Stored(user v1alpha1.UserInfo, keptExtra []string) v1alpha1.UserInfo {
	stored := v1alpha1.UserInfo{Username: user.Username}
	if utf8.RuneCountInString(user.UID) <= maxUID {
		stored.UID = user.UID
	}
	stored.Groups = firstGroups(user.Groups, maxGroups, maxGroupsText)
	stored.OmittedGroups = int32(len(user.Groups) - len(stored.Groups))
	for _, key := range slices.Sorted(maps.Keys(user.Extra)) {
		values := user.Extra[key]
		if slices.Contains(keptExtra, lowerASCII(key)) && utf8.RuneCountInString(key) <= maxExtraKey && fits(values) {
			if stored.Extra == nil {
				stored.Extra = map[string]v1alpha1.ExtraValue{}
			}
			stored.Extra[key] = values
		} else if len(stored.OmittedExtra) < maxOmitted {
			stored.OmittedExtra = append(stored.OmittedExtra, string([]rune(key)[:min(utf8.RuneCountInString(key), maxExtraKey)]))
		}
	}
	return stored
}

// lowerASCII is lower case as CEL's lowerAscii has it.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func fits(values []string) bool {
	return len(values) <= maxExtraItems && !slices.ContainsFunc(values, func(v string) bool { return utf8.RuneCountInString(v) > maxExtraValue })
}

// StoredGroups are the groups of its author that a decision keeps, and how many
// it leaves out. It keeps all that approvers or subjects name: they decide whether
// it counts. An approval also keeps what fits of the rest, because it is weighed
// again when the policy changes.
func StoredGroups(groups []string, verdict v1alpha1.Verdict, approvers []v1alpha1.PolicySubject, subjects []v1alpha1.Subject) ([]string, int32) {
	var named []string
	name := func(kind, group string) {
		if kind == v1alpha1.GroupKind && slices.Contains(groups, group) {
			named = append(named, group)
		}
	}
	for _, a := range approvers {
		name(a.Kind, a.Name)
	}
	for _, s := range subjects {
		name(s.Kind, s.Name)
	}
	if verdict != v1alpha1.VerdictApprove {
		return named, 0
	}
	rest := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return slices.Contains(named, g) })
	others := firstGroups(rest, maxOtherGroups, maxOtherGroupsText)
	return append(named, others...), int32(len(rest) - len(others))
}

// firstGroups are the first groups, at most so many and so long together with a
// separator behind each, leaving out what cannot be stored.
func firstGroups(groups []string, most, text int) []string {
	var kept []string
	for _, g := range groups {
		length := utf8.RuneCountInString(g)
		if length == 0 || length > maxGroup || strings.Contains(g, separator) {
			continue
		}
		if text -= length + 1; text < 0 || len(kept) == most {
			break
		}
		kept = append(kept, g)
	}
	return kept
}
