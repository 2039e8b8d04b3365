package rules

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Wildcard is the kind of a Finding that is no Risk in itself.
const Wildcard = "Wildcard"

// Finding is why a rule may not be granted.
type Finding struct {
	// Kind is Wildcard or the kind of a Risk.
	Kind string
	// Reason names the rule and what is wrong with it, in plain words on one
	// printable line.
	Reason string
	// Rule is the rule.
	Rule rbacv1.PolicyRule
}

// Forbidden finds in rules what may never be granted, whatever a policy says:
// wildcards, and the powers over permissions, identities, admission and the broker
// (Escalate, Impersonate, ChangeRBAC, ChangeAdmission, ControlNodes, RunOnNodes,
// IssueCertificates, ControlBroker, MintTokens), through any kinds. Reading those
// things gives no such power. The findings come in the order of the rules.
//
// Rules that a requester writes must have none. For a role that an administrator
// lists, the caller chooses by the kind: Kubernetes' own edit may impersonate
// ServiceAccounts and mint their tokens, and admin may also change RBAC; view has
// none.
func Forbidden(rules []rbacv1.PolicyRule) []Finding {
	var findings []Finding
	for _, rule := range rules {
		for _, field := range []struct {
			name  string
			items []string
		}{
			{"verbs", rule.Verbs},
			{"apiGroups", rule.APIGroups},
			{"resources", rule.Resources},
			{"nonResourceURLs", rule.NonResourceURLs},
		} {
			if slices.ContainsFunc(field.items, func(item string) bool { return strings.Contains(item, "*") }) {
				findings = append(findings, Finding{Wildcard, inWords(rule) + " has a wildcard in " + field.name, rule})
			}
		}
		for _, p := range powers {
			if p.never && p.givenBy(rule) {
				findings = append(findings, Finding{p.kind, "with " + inWords(rule) + " the holder could " + p.message, rule})
			}
		}
	}
	return findings
}

// inWords names a rule as people do: "update, patch on roles of
// rbac.authorization.k8s.io".
func inWords(rule rbacv1.PolicyRule) string {
	text := list(rule.Verbs) + " on " + list(slices.Concat(rule.Resources, rule.NonResourceURLs))
	if groups := slices.DeleteFunc(slices.Clone(rule.APIGroups), func(group string) bool { return group == "" }); len(groups) > 0 {
		text += " of " + list(groups)
	}
	if len(rule.ResourceNames) > 0 {
		text += " named " + list(rule.ResourceNames)
	}
	return text
}
