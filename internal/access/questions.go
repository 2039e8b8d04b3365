package access

import (
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// questions are all that the API server could be asked about a grant: one for each
// permission, in each namespace, for each subject. They are made one by one, because
// a few rules can mean thousands of millions of questions.
type questions struct {
	subjects   []authorizationv1.SubjectAccessReviewSpec
	rules      []rbacv1.PolicyRule
	namespaces []string
	cluster    bool
	// whole is false when the grant does not list all that the role allowed.
	whole bool
}

func questionsOf(g *v1alpha1.AccessGrant) (questions, error) {
	approved, whole, err := grant.ApprovedRules(g)
	if err != nil {
		return questions{}, err
	}
	q := questions{rules: approved, namespaces: []string{metav1.NamespaceAll}, cluster: g.Spec.Cluster, whole: whole}
	if !g.Spec.Cluster {
		q.namespaces = nil
		for _, ns := range g.Spec.Namespaces {
			q.namespaces = append(q.namespaces, ns.Name)
		}
	}
	for _, s := range grant.Bound(g) {
		q.subjects = append(q.subjects, reviewOf(g, s))
	}
	return q, nil
}

// maxCounted is where counting ends.
const maxCounted = 1 << 53

// count tells how many questions there are.
func (q questions) count() int {
	total := 0.0
	for _, rule := range q.rules {
		total += float64(q.of(rule))
	}
	return int(min(total*float64(len(q.subjects)), maxCounted))
}

// of counts the questions of a rule, for one subject.
func (q questions) of(rule rbacv1.PolicyRule) int {
	objects := float64(len(rule.APIGroups)) * float64(len(rule.Resources)) * float64(max(1, len(rule.ResourceNames))) * float64(len(q.namespaces))
	return int(min(float64(len(rule.Verbs))*(objects+float64(q.paths(rule))), maxCounted))
}

// paths counts the paths of a rule. They belong to no namespace.
func (q questions) paths(rule rbacv1.PolicyRule) int {
	if !q.cluster {
		return 0
	}
	return len(rule.NonResourceURLs)
}

// sample returns all questions or, when they are more than the limit, an even
// sample.
func (q questions) sample(most int) []authorizationv1.SubjectAccessReviewSpec {
	total := q.count()
	n := min(total, most)
	out := make([]authorizationv1.SubjectAccessReviewSpec, n)
	for i := range out {
		out[i] = q.at(i * total / n)
	}
	return out
}

// at returns the question with a number. Numbers run through subjects, rules, verbs,
// groups, resources, names and namespaces, the last of these fastest.
func (q questions) at(number int) authorizationv1.SubjectAccessReviewSpec {
	ofSubject := max(1, q.count()/len(q.subjects))
	question := *q.subjects[min(number/ofSubject, len(q.subjects)-1)].DeepCopy()
	number %= ofSubject
	i := slices.IndexFunc(q.rules, func(rule rbacv1.PolicyRule) bool {
		n := q.of(rule)
		if number < n {
			return true
		}
		number -= n
		return false
	})
	rule := q.rules[i]
	ofVerb := q.of(rule) / len(rule.Verbs)
	verb := rule.Verbs[min(number/ofVerb, len(rule.Verbs)-1)]
	number %= ofVerb
	if number < q.paths(rule) {
		question.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: rule.NonResourceURLs[number], Verb: verb}
		return question
	}
	number -= q.paths(rule)
	pick := func(from []string) string {
		item := from[number%len(from)]
		number /= len(from)
		return item
	}
	a := &authorizationv1.ResourceAttributes{Verb: verb, Version: "*", Namespace: pick(q.namespaces)}
	if len(rule.ResourceNames) > 0 {
		a.Name = pick(rule.ResourceNames)
	}
	a.Resource, a.Subresource, _ = strings.Cut(pick(rule.Resources), "/")
	a.Group = pick(rule.APIGroups)
	question.ResourceAttributes = a
	return question
}
