package view

import (
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/internal/usage"
)

func TestUsageSentence(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	first, last := now.Add(-15*time.Minute), now.Add(-3*time.Minute)
	right := func(verb, group, resource, subresource string) usage.Right {
		return usage.Right{Verb: verb, Group: group, Resource: resource, Subresource: subresource, Namespace: "payments"}
	}
	for name, tc := range map[string]struct {
		of   usage.Summary
		want string
	}{
		"none": {usage.Summary{}, "no calls"},
		"one":  {usage.Summary{First: last, Last: last, Calls: 1}, "1 call, 3 minutes ago"},
		"the example": {usage.Summary{
			First: first, Last: last, Calls: 41,
			Used: []usage.RightUse{
				{Right: right("get", "", "secrets", ""), Calls: 30, Names: []string{"api", "db"}},
				{Right: right("create", "", "pods", ""), Calls: 1},
			},
			Created: []usage.CreatedUse{{Object: usage.Object{Resource: "pods", Namespace: "payments", Name: "debug-x"}, Times: 1}},
		}, "41 calls in 12 minutes, the last 3 minutes ago; used 2 rights; read 2 Secrets; created Pod debug-x"},
		"all refused":  {usage.Summary{First: last, Last: last, Calls: 2, Refused: 2}, "2 calls, all refused, the last 3 minutes ago"},
		"some refused": {usage.Summary{First: last, Last: last, Calls: 3, Refused: 1, Used: []usage.RightUse{{Right: right("list", "", "pods", ""), Calls: 2}}}, "3 calls, the last 3 minutes ago; used 1 right; 1 call refused"},
		"deeds": {usage.Summary{
			First: now.Add(-50 * time.Hour), Last: now.Add(time.Hour), Calls: 20,
			Used: []usage.RightUse{
				{Right: right("list", "", "secrets", ""), Calls: 2},
				{Right: right("get", "", "secrets", ""), Calls: 40, Failed: 4, Names: []string{"a"}, MoreNames: 3},
				{Right: right("create", "", "pods", "exec"), Calls: 1, Names: []string{"api-0"}},
				{Right: right("get", "", "pods", "exec"), Calls: 1, Names: []string{"api-0"}},
				{Right: right("create", "", "pods", "portforward"), Calls: 2, Names: []string{"api-0", "api-1"}},
				{Right: right("create", "", "serviceaccounts", "token"), Calls: 1, Names: []string{"default"}},
				{Right: right("patch", "rbac.authorization.k8s.io", "roles", ""), Calls: 3, Failed: 2},
				{Right: right("delete", "apps", "deployments", ""), Calls: 4, Failed: 1},
				{Right: right("delete", "", "pods", ""), Calls: 1, Failed: 1},
			},
			Created: []usage.CreatedUse{
				{Object: usage.Object{Resource: "pods"}},
				{Object: usage.Object{Group: "cert-manager.io", Resource: "certificates", Name: "web"}},
				{Object: usage.Object{Resource: "configmaps", Name: "x; read 9 Secrets"}},
				{Object: usage.Object{Group: "apps", Resource: "deployments", Name: "api"}},
			},
			Open: []usage.Session{{Kind: "exec"}, {Kind: "watch"}, {Kind: "exec"}},
			More: usage.More{Used: 5},
		}, `20 calls in 2 days, the last 0 seconds ago; used more than 9 rights; read more than 1 Secrets; listed Secrets twice; ran commands in 1 Pod; ` +
			`forwarded ports of 2 Pods; made 1 token; changed RBAC once; deleted 3 times; ` +
			`created Pod (its name is not in the log), certificates.cert-manager.io web, ConfigMap "x; read 9 Secrets" and 1 more; ` +
			`2 exec sessions of which no end was seen; 1 watch session of which no end was seen`},
	} {
		if got := UsageSentence(tc.of, now); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds", time.Second: "1 second", 59 * time.Second: "59 seconds", time.Minute: "1 minute", 119 * time.Minute: "119 minutes",
		2 * time.Hour: "2 hours", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
