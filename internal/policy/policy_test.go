package policy

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestCompile(t *testing.T) {
	for name, test := range map[string]struct {
		policy []ofPolicy
		want   []string // what the error says, nothing when there is none
	}{
		"the usual":        {nil, nil},
		"conditions":       {list(onlyIf("a", "now.getHours('Europe/Berlin') < 18", ""), onlyIf("b", "task != null && request.spec.ticket != '' && namespaceObject != null", "")), nil},
		"empty selector":   {list(anyNamespace), nil},
		"cluster only":     {list(clusterWide, noNamespaces), nil},
		"syntax error":     {list(onlyIf("hours", "now >", "")), list(`condition "hours": 1:6: Syntax error`)},
		"unknown variable": {list(onlyIf("hours", "object.kind == 'x'", "")), list(`condition "hours": 1:1: undeclared reference to 'object'`)},
		"not a condition":  {list(onlyIf("hours", "'yes'", "")), list(`condition "hours": 1:1: the result must be true or false`)},
		"empty condition":  {list(onlyIf("hours", "", "")), list(`condition "hours": `)},
		"selector":         {list(selecting(unreadable)), list(`namespaces.selector: "Near" is not a valid label selector operator`)},
		"suspicious uses":  {list(suspects("burst", "usage.refusedLately > 10"), suspects("new", "!(event.client in known.clients) && grant.spec.reason != ''")), nil},
		"no such use":      {list(suspects("burst", "request.spec.reason == 'x'")), list(`suspicious use "burst": 1:1: undeclared reference to 'request'`)},
		"no use":           {list(suspects("burst", "usage.calls +")), list(`suspicious use "burst": 1:14: Syntax error`)},
		"all of it": {
			list(selecting(unreadable), suspects("d", "three"), onlyIf("a", "one", ""), onlyIf("b", "true", ""), onlyIf("c", "two", ""), approvers(user("bob")), approvals(2)),
			list("namespaces.selector: ", `condition "a": `, `condition "c": `, `suspicious use "d": `, "count is 2"),
		},

		"no approval, no approvers":         {list(approvers(), approvals(0)), nil},
		"an approval by nobody":             {list(approvers(), approvals(1)), list("approvals \"sre\": count is 1, but its people can give no more than 0")},
		"an approval unsaid, by nobody":     {list(approvers()), list("approvals \"sre\": count is 1, but its people can give no more than 0")},
		"as many as there are":              {list(approvers(user("bob"), user("carol"), account("ops", "bot")), approvals(3)), nil},
		"more than there are":               {list(approvers(user("bob"), user("carol"), account("ops", "bot")), approvals(4)), list("approvals \"sre\": count is 4, but its people can give no more than 3")},
		"a group is any number":             {list(approvers(user("bob"), group("sre")), approvals(16)), nil},
		"one person twice":                  {list(approvers(user("bob"), user("bob")), approvals(2)), list("no more than 1")},
		"one person in other letters":       {list(approvers(user("bob"), user("Bob")), approvals(2)), list("no more than 1")},
		"one person with a space":           {list(approvers(user("bob"), user("bob ")), approvals(2)), list("no more than 1")},
		"one person with what is not seen":  {list(approvers(user("bob"), user("b\u200bob"), user("\u202ebob")), approvals(2)), list("no more than 1")},
		"one person in full width":          {list(approvers(user("bob"), user("ｂｏｂ")), approvals(2)), list("no more than 1")},
		"a user named like an account":      {list(approvers(account("ops", "bot"), user("system:serviceaccount:ops:bot")), approvals(2)), list("no more than 1")},
		"accounts of one name in two":       {list(approvers(account("ops", "bot"), account("dev", "bot")), approvals(2)), nil},
		"a user and an account of one name": {list(approvers(account("ops", "bot"), user("bot")), approvals(2)), nil},

		"approvals unsaid":                     {list(ofPolicy(func(s *v1alpha1.AccessPolicySpec) { s.Approvals = nil })), list("approvals is missing: an empty list grants automatically")},
		"approvals empty":                      {list(ofPolicy(func(s *v1alpha1.AccessPolicySpec) { s.Approvals = []v1alpha1.ApprovalStage{} })), nil},
		"two stages":                           {list(stages(from("owners", 1, user("bob")), from("security", 1, user("carol")))), nil},
		"two stages of one person":             {list(stages(from("owners", 1, user("bob")), from("security", 1, user("Bob")))), list(`approvals "security": nobody is left for it`)},
		"three stages of two":                  {list(stages(from("a", 1, user("bob"), user("carol")), from("b", 1, user("bob"), user("carol")), from("c", 1, user("carol")))), list("nobody is left for it, because nobody counts in two stages")},
		"three stages of three":                {list(stages(from("a", 1, user("bob"), user("carol")), from("b", 1, user("bob"), user("dave")), from("c", 1, user("bob")))), nil},
		"the second cannot be met":             {list(stages(from("owners", 1, group("dev")), from("security", 2, user("bob")))), list(`approvals "security": count is 2, but its people can give no more than 1`)},
		"a pattern that cannot be read":        {list(stages(from("owners", 1, group("dev")), from("gate", 1, matching("spiffe://example.org")))), list(`approvals "gate": "spiffe://example.org" is no pattern`)},
		"a stage of which nobody is needed":    {list(stages(from("owners", 1, user("bob")), from("watchers", 0, user("bob")))), nil},
		"a label":                              {list(stages(byLabel("owners", "team"), from("security", 1, user("bob")))), nil},
		"the requester alone":                  {list(requesters(user("bob")), approvers(user("Bob"))), list(`approvals "sre": everybody who may ask would have to approve their own request`)},
		"the requesters, each for the other":   {list(requesters(user("bob"), user("carol")), approvers(user("bob"), user("carol"))), nil},
		"the requesters, both are needed":      {list(requesters(user("bob"), user("carol")), approvers(user("bob"), user("carol")), approvals(2)), list("would have to approve their own request")},
		"the requester alone, none is needed":  {list(requesters(user("bob")), approvers(user("bob")), approvals(0)), nil},
		"the requester or somebody of a group": {list(requesters(user("bob"), group("dev")), approvers(user("bob"))), nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := compiled("prod-edit", test.policy...).Err()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("got %v; want %q", err, test.want)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v; want %q", err, want)
				}
			}
		})
	}
}

// A suspicious use is evaluated over its own variables, and one that does not
// compile hides no other.
func TestSuspicious(t *testing.T) {
	p := compiled("watched", suspects("secrets", "event.resource == 'secrets' && !(event.client in known.clients)"), suspects("broken", "nope"), suspects("burst", "usage.refusedLately > 10"))
	var names []string
	for _, use := range p.Suspicious() {
		names = append(names, use.Name)
	}
	if !slices.Equal(names, list("secrets", "burst")) {
		t.Fatalf("got %v", names)
	}
	for resource, want := range map[string]bool{"secrets": true, "pods": false} {
		got, err := p.Suspicious()[0].Program.Eval(t.Context(), map[string]any{
			"event": map[string]any{"resource": resource, "client": "curl"}, "grant": map[string]any{}, "usage": map[string]any{},
			"known": map[string]any{"clients": []any{"kubectl"}},
		})
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", resource, got, err)
		}
	}
	if p.ConditionsRead("event") || p.Depends() {
		t.Error("a suspicious use counts as a condition")
	}
}

func TestSelector(t *testing.T) {
	expression := func(key string, operator metav1.LabelSelectorOperator, values ...v1alpha1.LabelValue) v1alpha1.NamespaceSelector {
		return v1alpha1.NamespaceSelector{MatchExpressions: list(v1alpha1.NamespaceSelectorRequirement{Key: key, Operator: operator, Values: values})}
	}
	both := labelled("team", "pay")
	both.MatchExpressions = expression("env", metav1.LabelSelectorOpExists).MatchExpressions
	set := func(pairs ...string) labels.Set { return namespace("", pairs...).Labels }

	for name, test := range map[string]struct {
		selector     v1alpha1.NamespaceSelector
		matches, not []labels.Set
	}{
		"empty":           {v1alpha1.NamespaceSelector{}, list(set(), set("team", "pay")), nil},
		"label":           {labelled("team", "pay"), list(set("team", "pay"), set("team", "pay", "env", "prod")), list(set(), set("team", "web"), set("env", "pay"))},
		"empty value":     {labelled("team", ""), list(set("team", "")), list(set(), set("team", "pay"))},
		"in":              {expression("env", metav1.LabelSelectorOpIn, "dev", "test"), list(set("env", "dev"), set("env", "test")), list(set(), set("env", "prod"))},
		"not in":          {expression("env", metav1.LabelSelectorOpNotIn, "prod"), list(set(), set("env", "dev")), list(set("env", "prod"))},
		"exists":          {expression("env", metav1.LabelSelectorOpExists), list(set("env", "")), list(set(), set("team", "pay"))},
		"does not exist":  {expression("env", metav1.LabelSelectorOpDoesNotExist), list(set(), set("team", "pay")), list(set("env", ""))},
		"label and other": {both, list(set("team", "pay", "env", "dev")), list(set("team", "pay"), set("env", "dev"))},
	} {
		t.Run(name, func(t *testing.T) {
			selector, err := Selector(&test.selector)
			if err != nil {
				t.Fatal(err)
			}
			for _, labels := range test.matches {
				if !selector.Matches(labels) {
					t.Errorf("%v does not match", labels)
				}
			}
			for _, labels := range test.not {
				if selector.Matches(labels) {
					t.Errorf("%v matches", labels)
				}
			}
		})
	}

	// None of these may select anything, least of all everything.
	for name, bad := range map[string]v1alpha1.NamespaceSelector{
		"no key":            labelled("", "pay"),
		"bad key":           labelled("a..b/team", "pay"),
		"bad value":         labelled("team", "not a value"),
		"operator":          unreadable,
		"in without values": expression("env", metav1.LabelSelectorOpIn),
		"exists with one":   expression("env", metav1.LabelSelectorOpExists, "prod"),
	} {
		t.Run(name, func(t *testing.T) {
			if selector, err := Selector(&bad); err == nil {
				t.Errorf("got %v; want an error", selector)
			}
		})
	}
}
