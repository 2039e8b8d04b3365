package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Bounds of what a request may need, as the schema has them: decisions are kept in the
// request, and one Deny must always find room.
const (
	maxApprovals = 16
	maxStages    = 8
)

// stagesFor are the approvals that the policy asks for, for this request: a stage
// whose group follows from a label of the namespace is there once for each group. It
// says, in words that go after "which", why there are none for this request.
func (p *Policy) stagesFor(r Request) ([]v1alpha1.StageApproval, string) {
	var stages []v1alpha1.StageApproval
	for _, s := range p.Spec.Approvals {
		stage := v1alpha1.StageApproval{Name: s.Name, From: s.From, Count: ptr.To(ptr.Deref(s.Count, 1))}
		if s.FromNamespaceLabel == nil {
			stages = append(stages, stage)
			continue
		}
		groups, why := namedBy(s.FromNamespaceLabel, r)
		if why != "" {
			return nil, fmt.Sprintf("has the stage %q, %s", s.Name, why)
		}
		for _, group := range groups {
			stage.From = []v1alpha1.PolicySubject{{Kind: v1alpha1.GroupKind, Name: group}}
			stages = append(stages, stage)
		}
	}
	if needed := v1alpha1.RequiredBy(stages); needed > maxApprovals || len(stages) > maxStages {
		return nil, fmt.Sprintf("comes to %d stages and %d approvals for so many namespaces, and at most %d and %d are possible: ask for fewer at a time", len(stages), needed, maxStages, maxApprovals)
	}
	return stages, ""
}

// namedBy are the groups that a label of the namespaces of a request names, each once.
func namedBy(label *v1alpha1.NamespaceLabel, r Request) ([]string, string) {
	if r.Cluster {
		return nil, fmt.Sprintf("which the group in the label %s of a namespace decides: cluster-wide access has no namespace", label.Key)
	}
	var groups []string
	for _, ns := range r.Namespaces {
		value := ns.Labels[label.Key]
		if value == "" {
			return nil, fmt.Sprintf("which the group in the label %s of the namespace decides, and namespace %s has no such label", label.Key, ns.Name)
		}
		group := label.Prefix + value + label.Suffix
		if identity.Reserved(v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: group}) {
			return nil, fmt.Sprintf("which the group in the label %s of namespace %s decides, and %s belongs to Kubernetes", label.Key, ns.Name, group)
		}
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups, ""
}

// assign gives people to stages, so that as many approvals as possible are met:
// nobody counts twice, whatever the order in which they came. eligible are, for each
// person, the stages that they are in; counts how many each stage needs. It returns
// for each stage the people who count in it.
func assign(eligible [][]int, counts []int) [][]int {
	assigned := make([][]int, len(counts))
	// place finds room for a person, if need be by moving others to another of their
	// stages: an augmenting path of bipartite matching.
	var place func(person int, tried []bool) bool
	place = func(person int, tried []bool) bool {
		for _, stage := range eligible[person] {
			if len(assigned[stage]) < counts[stage] {
				assigned[stage] = append(assigned[stage], person)
				return true
			}
		}
		for _, stage := range eligible[person] {
			if tried[stage] {
				continue
			}
			tried[stage] = true
			for i, other := range assigned[stage] {
				if place(other, tried) {
					assigned[stage][i] = person
					return true
				}
			}
		}
		return false
	}
	for person := range eligible {
		place(person, make([]bool, len(counts)))
	}
	for _, people := range assigned {
		slices.Sort(people)
	}
	return assigned
}

// unmeetable says, in words that go after "which", why people can never give this
// request the approvals that the stages ask for; "" when they can.
func unmeetable(stages []v1alpha1.StageApproval, requester string, subjects []v1alpha1.Subject) string {
	short, _, alone := shortOf(stages, requester, subjects)
	if short == nil {
		return ""
	}
	what := fmt.Sprintf("could never be met for this request: it needs %d of %s", ptr.Deref(short.Count, 1), strings.Join(text.Subjects(short.From), ", "))
	if len(stages) > 1 {
		what += fmt.Sprintf(" in stage %q", short.Name)
	}
	why := []string{what}
	named := map[string]v1alpha1.PolicySubject{}
	for _, a := range short.From {
		name, isPerson := identity.Person(a)
		first, again := named[identity.Fold(name)]
		switch {
		case isPerson && identity.SamePerson(name, requester):
			why = append(why, text.Subject(a)+" is the requester")
		case len(identity.Deciders([]v1alpha1.PolicySubject{a}, requester, subjects)) == 0:
			why = append(why, text.Subject(a)+" would get the access")
		case isPerson && again:
			why = append(why, text.Subject(a)+" counts as "+text.Subject(first))
		case isPerson:
			named[identity.Fold(name)] = a
		}
	}
	if !alone {
		why = append(why, "nobody counts in two stages")
	}
	return strings.Join(why, ", and ")
}

// tooFew says which stage needs more people than the stages name.
func tooFew(stages []v1alpha1.StageApproval) error {
	short, can, alone := shortOf(stages, "", nil)
	switch {
	case short == nil:
		return nil
	case alone:
		return fmt.Errorf("approvals %q: count is %d, but its people can give no more than %d", short.Name, ptr.Deref(short.Count, 1), can)
	}
	return fmt.Errorf("approvals %q: nobody is left for it, because nobody counts in two stages and the others need the same people", short.Name)
}

// requestersAlone says that everybody who may ask is also the only one who could
// approve. Each of them is refused when they ask.
func (p *Policy) requestersAlone(stages []v1alpha1.StageApproval) error {
	var short *v1alpha1.StageApproval
	for _, requester := range p.Spec.RequesterSubjects() {
		name, isPerson := identity.Person(requester)
		if !isPerson {
			return nil
		}
		if short, _, _ = shortOf(stages, name, nil); short == nil {
			return nil
		}
	}
	if short == nil {
		return nil
	}
	return fmt.Errorf("approvals %q: everybody who may ask would have to approve their own request", short.Name)
}

// known are the stages whose people the policy itself names.
func (p *Policy) known() []v1alpha1.StageApproval {
	var stages []v1alpha1.StageApproval
	for _, s := range p.Spec.Approvals {
		if s.FromNamespaceLabel == nil {
			stages = append(stages, v1alpha1.StageApproval{Name: s.Name, From: s.From, Count: s.Count})
		}
	}
	return stages
}

// shortOf is the first stage that stays short of approvals when everybody whom the
// stages name has approved, nil when there is none; how many it can get, and whether
// it is short even alone. A group or a pattern may stand for any number of people.
func shortOf(stages []v1alpha1.StageApproval, requester string, subjects []v1alpha1.Subject) (short *v1alpha1.StageApproval, can int, alone bool) {
	var (
		people   = map[string]int{}
		eligible [][]int
		counts   = make([]int, len(stages))
		most     = make([]int, len(stages))
	)
	for i, stage := range stages {
		deciders := identity.Deciders(stage.From, requester, subjects)
		if slices.ContainsFunc(deciders, func(a v1alpha1.PolicySubject) bool { _, ok := identity.Person(a); return !ok }) {
			continue
		}
		counts[i] = int(ptr.Deref(stage.Count, 1))
		for _, a := range deciders {
			name, _ := identity.Person(a)
			person, known := people[identity.Fold(name)]
			if !known {
				person = len(eligible)
				people[identity.Fold(name)] = person
				eligible = append(eligible, nil)
			}
			if !slices.Contains(eligible[person], i) {
				eligible[person] = append(eligible[person], i)
				most[i]++
			}
		}
	}
	for i := range stages {
		if most[i] < counts[i] {
			return &stages[i], most[i], true
		}
	}
	for i, assigned := range assign(eligible, counts) {
		if len(assigned) < counts[i] {
			return &stages[i], len(assigned), false
		}
	}
	return nil, 0, false
}
