package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Policies lists what they offer.
func Policies(policies []v1alpha1.AccessPolicy, wide bool) Table {
	return tableOf(policies, func(p *v1alpha1.AccessPolicy) []cell {
		row := []cell{
			{"POLICY", p.Name},
			{"ROLES", offered(&p.Spec)},
			{"WHERE", covered(&p.Spec)},
			{"AT MOST", text.Duration(p.Spec.MaxDuration.Duration)},
			{"APPROVALS", needed(&p.Spec)},
			{"FROM", strings.Join(Each(p.Spec.Approvals, stageFrom), "; ")},
			{"READY", readiness(p)},
		}
		if wide {
			row = append(row,
				cell{"REQUESTERS", strings.Join(Each(p.Spec.Requesters, requester), ",")},
				cell{"FOR WHOM", string(p.Spec.Subjects)},
				cell{"CREDENTIAL", string(p.Spec.Credential)},
				cell{"TASK", string(p.Spec.Task)},
				cell{"EXTENSIONS", strconv.Itoa(int(p.Spec.MaxExtensions))},
				cell{"REVIEW WITHIN", reviewWithin(&p.Spec)},
				cell{"CONDITIONS", strings.Join(Each(p.Spec.Conditions, inWords), "; ")},
				cell{"REVIEW BY", moment(p.Spec.ReviewBy)},
				cell{"CHANGED BY", strings.Join(p.ChangedBy(), ",")},
				cell{"CONFIRMED BY", confirmedBy(p)})
		}
		return row
	})
}

// requester is who may ask, and until when.
func requester(r v1alpha1.PolicyRequester) string {
	if r.Until == nil {
		return text.Subject(r.PolicySubject)
	}
	return text.Subject(r.PolicySubject) + " until " + text.Moment(r.Until.Time)
}

func moment(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return text.Moment(t.Time)
}

// Confirmed tells whether a policy as it is was confirmed by a second person.
func Confirmed(p *v1alpha1.AccessPolicy) bool { return policy.NotConfirmed(p) == nil }

// confirmedBy is who confirmed a policy as it is.
func confirmedBy(p *v1alpha1.AccessPolicy) string {
	if !Confirmed(p) {
		return ""
	}
	return p.Status.Confirmed.Username
}

// WaitsToBeConfirmed tells whether the broker waits for somebody else than its authors
// to confirm a policy, and a user is that.
func WaitsToBeConfirmed(p *v1alpha1.AccessPolicy, username string) bool {
	return conditionOf(p.Status.Conditions, v1alpha1.ConditionReady).Reason == v1alpha1.ReasonNotConfirmed &&
		!slices.ContainsFunc(p.ChangedBy(), func(author string) bool { return identity.SamePerson(author, username) })
}

func inWords(c v1alpha1.PolicyCondition) string {
	if c.Message == "" {
		return c.Name
	}
	return c.Name + ": " + text.Trim(c.Message)
}

// offered are the roles of a policy, ClusterRoles by their bare name as `request` takes
// them, and the flags that it needs.
func offered(spec *v1alpha1.AccessPolicySpec) string {
	names := Each(spec.Roles, RoleArgument)
	if len(spec.Rules) > 0 {
		names = append(names, "--rules")
	}
	if spec.Credential == v1alpha1.CredentialIssued {
		names = append(names, "--credential")
	}
	return strings.Join(names, ",")
}

// RoleArgument is a role as `request` takes it.
func RoleArgument(role v1alpha1.RoleRef) string {
	if role.Kind == v1alpha1.ClusterRoleKind {
		return role.Name
	}
	return text.Role(&role)
}

func covered(spec *v1alpha1.AccessPolicySpec) string {
	var where []string
	if spec.Namespaces != nil {
		where = slices.Sorted(slices.Values(spec.Namespaces.Names))
		if spec.Namespaces.Selector != nil {
			where = append(where, text.Selector(spec.Namespaces.Selector))
		}
	}
	if spec.ClusterScope == v1alpha1.ClusterScopeAllowed {
		where = append(where, "--cluster")
	}
	return strings.Join(where, ",")
}

func needed(spec *v1alpha1.AccessPolicySpec) string {
	if spec.Approvals == nil {
		return "missing"
	}
	n := 0
	for _, stage := range spec.Approvals {
		n += int(ptr.Deref(stage.Count, 1))
	}
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// stageFrom says from whom the approvals of a stage are.
func stageFrom(stage v1alpha1.ApprovalStage) string {
	if label := stage.FromNamespaceLabel; label != nil {
		return fmt.Sprintf("group:%s<label %s>%s", label.Prefix, label.Key, label.Suffix)
	}
	return strings.Join(text.Subjects(stage.From), ",")
}

func reviewWithin(spec *v1alpha1.AccessPolicySpec) string {
	if spec.ReviewWithin == nil {
		return ""
	}
	return text.Duration(spec.ReviewWithin.Duration)
}

func readiness(p *v1alpha1.AccessPolicy) string {
	c := conditionOf(p.Status.Conditions, v1alpha1.ConditionReady)
	switch c.Status {
	case "":
		return "Unknown"
	case metav1.ConditionTrue:
		if c.Reason == v1alpha1.ReasonPolicyReviewSoon {
			return "True until " + moment(p.Spec.ReviewBy) + ", when its review is due"
		}
		return "True"
	}
	return string(c.Status) + ": " + c.Message
}

// PolicyLine says in one line what a policy offers.
func PolicyLine(p *v1alpha1.AccessPolicy) string {
	return offered(&p.Spec) + " in " + covered(&p.Spec) + ", at most " + text.Duration(p.Spec.MaxDuration.Duration)
}
