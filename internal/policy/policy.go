// Package policy decides, without I/O and without a clock: does a policy allow
// a request, which policy decides it, and do the decisions suffice.
package policy

import (
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/expression"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// Policy is an AccessPolicy made ready to decide.
type Policy struct {
	*v1alpha1.AccessPolicy

	namespaces labels.Selector
	conditions []condition
	suspicious []Suspicious
	// unread is true when a pattern among the requesters cannot be read: nobody knows
	// whom it should stand for, so the policy refuses nobody for who they are.
	unread   bool
	notReady error
	// inVain says why nobody who may ask could ever be approved; each of them is told.
	inVain error
	// notConfirmed is why a second person must confirm the policy, where that is needed.
	notConfirmed error
}

type condition struct {
	v1alpha1.PolicyCondition
	program *expression.Program
}

// conditionVars are the variables that a condition is an expression over.
var conditionVars = []string{"request", "namespaceObject", "task", "now", "cluster"}

// SuspiciousVars are the variables that a suspicious use is an expression over.
var SuspiciousVars = []string{"event", "grant", "usage", "known"}

// Suspicious is a suspicious use, compiled.
type Suspicious struct {
	v1alpha1.SuspiciousUse
	Program *expression.Program
}

// Compile makes a policy ready to decide. It never fails: a policy that does not
// compile neither allows nor denies anything; Err says what is wrong with it.
func Compile(p *v1alpha1.AccessPolicy) *Policy {
	compiled := &Policy{AccessPolicy: p}
	var errs []error
	if ns := p.Spec.Namespaces; ns != nil && ns.Selector != nil {
		selector, err := Selector(ns.Selector)
		if err != nil {
			errs = append(errs, fmt.Errorf("namespaces.selector: %w", err))
			// Nobody knows what it should select, so the policy refuses no request for its
			// namespace.
			selector = labels.Everything()
		}
		compiled.namespaces = selector
	}
	for _, c := range p.Spec.Conditions {
		program, err := expression.Compile(c.Expression, conditionVars...)
		if err != nil {
			errs = append(errs, fmt.Errorf("condition %q: %w", c.Name, err))
			continue
		}
		compiled.conditions = append(compiled.conditions, condition{PolicyCondition: c, program: program})
	}
	for _, use := range p.Spec.Suspicious {
		program, err := expression.Compile(use.Expression, SuspiciousVars...)
		if err != nil {
			errs = append(errs, fmt.Errorf("suspicious use %q: %w", use.Name, err))
			continue
		}
		compiled.suspicious = append(compiled.suspicious, Suspicious{SuspiciousUse: use, Program: program})
	}
	if err := identity.CheckPolicySubjects(p.Spec.RequesterSubjects()); err != nil {
		errs = append(errs, fmt.Errorf("requesters: %w", err))
		compiled.unread = true
	}
	if p.Spec.Approvals == nil {
		errs = append(errs, errors.New("approvals is missing: an empty list grants automatically, and must be written down"))
	}
	if p.Spec.ReviewWithin != nil && p.Spec.Approvals != nil && len(p.Spec.Approvals) == 0 {
		errs = append(errs, errors.New("reviewWithin: approvals names nobody who could review; a stage with count 0 names people whose approval is not waited for"))
	}
	for _, stage := range p.Spec.Approvals {
		if err := identity.CheckPolicySubjects(stage.From); err != nil {
			errs = append(errs, fmt.Errorf("approvals %q: %w", stage.Name, err))
		}
	}
	if err := tooFew(compiled.known()); err != nil {
		errs = append(errs, err)
	} else {
		compiled.inVain = compiled.requestersAlone(compiled.known())
	}
	compiled.notReady = errors.Join(errs...)
	return compiled
}

// ReadVersion tells whether a condition of one of the policies reads the version of
// the cluster.
func ReadVersion(policies ...*Policy) bool {
	return slices.ContainsFunc(policies, func(p *Policy) bool { return p.ConditionsRead("cluster") })
}

// Err says why the policy cannot be used, nil when it can.
func (p *Policy) Err() error { return errors.Join(p.notReady, p.inVain) }

// Suspicious are the suspicious uses that the policy names, but for those that do
// not compile.
func (p *Policy) Suspicious() []Suspicious { return p.suspicious }

// Selector turns a bounded selector into one that matches labels.
func Selector(s *v1alpha1.NamespaceSelector) (labels.Selector, error) {
	plain := &metav1.LabelSelector{MatchLabels: make(map[string]string, len(s.MatchLabels))}
	for k, v := range s.MatchLabels {
		plain.MatchLabels[k] = string(v)
	}
	for _, e := range s.MatchExpressions {
		values := make([]string, len(e.Values))
		for i, v := range e.Values {
			values[i] = string(v)
		}
		plain.MatchExpressions = append(plain.MatchExpressions, metav1.LabelSelectorRequirement{Key: e.Key, Operator: e.Operator, Values: values})
	}
	return metav1.LabelSelectorAsSelector(plain)
}
