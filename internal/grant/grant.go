// Package grant knows the life of an AccessGrant without touching it: its
// name, the bindings it wants, when it is over and why, what to do next. It is
// pure: what was seen of the cluster and what time it is are passed in.
package grant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxName keeps a grant's name within what a label value may hold, because
// its bindings carry it as a label.
const maxName = 63

// Name of the grant of a request. It follows from the request's UID, so that
// a second grant for one request cannot exist.
func Name(requestName string, requestUID types.UID) string {
	sum := sha256.Sum256([]byte(requestUID))
	hash := hex.EncodeToString(sum[:8])
	// A request may be named a-b.c: cut, its name must not end with a dash or a dot
	// before the hash is joined on.
	cut := strings.TrimRight(requestName[:min(len(requestName), maxName-len(hash)-1)], "-.")
	return cut + "-" + hash
}

var named = regexp.MustCompile(`^[a-z0-9][-.a-z0-9]*-[0-9a-f]{16}$`)

// IsName tells whether a name has the form of Name. Others may choose such names.
func IsName(name string) bool { return len(name) <= maxName && named.MatchString(name) }

// ApprovedRules are the rules that a grant was approved for; whole is false when
// there were more of them than a grant lists.
func ApprovedRules(g *v1alpha1.AccessGrant) (approved []rbacv1.PolicyRule, whole bool, err error) {
	if g.Spec.RoleRef == nil {
		return v1alpha1.RBACRules(g.Spec.Rules), true, nil
	}
	approved, whole, err = rules.ParseLines(g.Spec.RoleRules)
	if err != nil {
		return nil, false, fmt.Errorf("roleRules: %w", err)
	}
	return approved, whole, nil
}

// Summarize writes the lists of a grant as one line each.
func Summarize(spec *v1alpha1.AccessGrantSpec) v1alpha1.GrantSummary {
	var s v1alpha1.GrantSummary
	subjects := make([]v1alpha1.Subject, len(spec.Subjects))
	for i, subject := range spec.Subjects {
		subjects[i] = subject.Subject
	}
	s.Subjects = join(text.Subjects(subjects))
	s.Role = text.Role(spec.RoleRef)
	if spec.Cluster {
		s.Scope = text.WholeCluster
	} else {
		names := make([]string, len(spec.Namespaces))
		for i, ns := range spec.Namespaces {
			names[i] = ns.Name
		}
		s.Scope = join(names)
	}
	var approvers []string
	for _, d := range spec.Decisions {
		if d.Verdict == v1alpha1.VerdictApprove {
			approvers = append(approvers, d.Username)
		}
	}
	s.Approvers = join(approvers)
	return s
}

// join bounds what kubectl get prints in one column, in characters as the
// schema counts them.
func join(items []string) string {
	const most = 1024
	whole := strings.Join(items, ",")
	if utf8.RuneCountInString(whole) <= most {
		return whole
	}
	line, rest := "", most-len("...")
	if first := []rune(items[0]); len(first) >= rest {
		return string(first[:rest]) + "..."
	}
	for _, item := range items {
		if rest -= utf8.RuneCountInString(item) + 1; rest < 0 {
			break
		}
		line += item + ","
	}
	return line + "..."
}
