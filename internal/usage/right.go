package usage

import (
	"cmp"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/rules"
)

// Right is what one call asks RBAC for, but for the name of an object: a verb on a
// resource in a namespace, or on a path.
type Right struct {
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Path        string `json:"path,omitempty"`
}

// RightOf is the right that an event asked for, and the name of the object. RBAC
// knows no name where an object is created.
func RightOf(e *Event) (right Right, name string) {
	right.Verb = clip(e.Verb)
	if e.Resource == "" {
		right.Path = clip(e.Path)
		return right, ""
	}
	right.Group, right.Resource, right.Subresource, right.Namespace = clip(e.Group), clip(e.Resource), clip(e.Subresource), clip(e.Namespace)
	if e.Verb == "create" && e.Subresource == "" {
		return right, ""
	}
	return right, clip(e.Name)
}

// Rule is the right as a rule, for all names.
func (r Right) Rule() rbacv1.PolicyRule {
	if r.Resource == "" {
		return rbacv1.PolicyRule{Verbs: []string{r.Verb}, NonResourceURLs: []string{r.Path}}
	}
	resource := r.Resource
	if r.Subresource != "" {
		resource += "/" + r.Subresource
	}
	return rbacv1.PolicyRule{Verbs: []string{r.Verb}, APIGroups: []string{r.Group}, Resources: []string{resource}}
}

// Risks are the kinds of what the right turns out to allow.
func (r Right) Risks() []string {
	var kinds []string
	for _, risk := range rules.Risks([]rbacv1.PolicyRule{r.Rule()}) {
		kinds = append(kinds, risk.Kind)
	}
	return kinds
}

func (r Right) compare(other Right) int {
	return cmp.Or(
		cmp.Compare(r.Group, other.Group), cmp.Compare(r.Resource, other.Resource), cmp.Compare(r.Subresource, other.Subresource),
		cmp.Compare(r.Namespace, other.Namespace), cmp.Compare(r.Verb, other.Verb), cmp.Compare(r.Path, other.Path))
}

// rights counts calls by their right.
type rights struct {
	of    map[Right]*uses
	most  int
	names int // of each
	left  int
}

// uses of one right. The names are those of calls that went well.
type uses struct {
	calls, failed, shared int
	names                 counted[string]
	risks                 []string
}

func (r *rights) add(right Right) *uses {
	known := r.of[right]
	if known == nil {
		if len(r.of) >= r.most {
			return nil
		}
		if r.of == nil {
			r.of = map[Right]*uses{}
		}
		known = &uses{names: counted[string]{most: r.names}, risks: right.Risks()}
		r.of[right] = known
	}
	return known
}

// count counts a call, and returns the kinds of its risks.
func (r *rights) count(right Right, name string, failed, shared bool) []string {
	known := r.add(right)
	if known == nil {
		r.left++
		return right.Risks()
	}
	known.calls++
	if shared {
		known.shared++
	}
	switch {
	case failed:
		known.failed++
	case name != "":
		known.names.add(name, 1)
	}
	return known.risks
}

func (r *rights) merge(other *rights) {
	for right, more := range other.of {
		known := r.add(right)
		if known == nil {
			r.left += more.calls
			continue
		}
		known.calls += more.calls
		known.failed += more.failed
		known.shared += more.shared
		known.names.merge(&more.names)
	}
	r.left += other.left
}
