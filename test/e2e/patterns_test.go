package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// whoever is a client of a user of any name, as an authenticator of workloads would
// make it.
func whoever(t *testing.T, username string) client.Client {
	t.Helper()
	return e.Somebody(t, rest.ImpersonationConfig{UserName: username, Groups: []string{"dev", "system:authenticated"}})
}

// TestPatternsDecide: the admission policies let through exactly those deciders whom
// internal/identity finds among the approvers, case by case of its own table. So it
// is with who may delete a request.
func TestPatternsDecide(t *testing.T) {
	t.Parallel()
	patterns, _ := kit.Patterns(t)
	ns := e.NewNamespace(t, nil)
	for _, p := range patterns {
		approvers := []v1alpha1.PolicySubject{{Kind: "User", Name: "zoe"}, {Kind: "SPIFFE", Name: p.Pattern}}
		policy := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].From = approvers })
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.PolicyName = policy.Name
		}))
		if !slices.Equal(request.Status.Approvers(), approvers) {
			t.Errorf("%s: the request shows %v", p.Pattern, request.Status.Approvers())
		}
		try := func(name string, want bool) {
			t.Helper()
			if identity.Among(approvers, name, nil) != want {
				t.Errorf("%s: %s is among the approvers: %v", p.Pattern, name, !want)
			}
			who := whoever(t, name)
			body := client.RawPatch(types.MergePatchType, []byte(`{"status":{"decisions":[{"verdict":"Deny"}]}}`))
			err := who.Status().Patch(t.Context(), request.DeepCopy(), body, client.DryRunAll)
			if (err == nil) != want {
				t.Errorf("%s: %s decides: %v; want %v", p.Pattern, name, err, want)
			}
			if err := who.Delete(t.Context(), request.DeepCopy(), client.DryRunAll); (err == nil) != want {
				t.Errorf("%s: %s deletes the request: %v; want %v", p.Pattern, name, err, want)
			}
		}
		for _, name := range p.Matches {
			try(name, true)
		}
		for _, name := range p.Others {
			try(name, false)
		}
		try("zoe", true)
		try("zoe2", false)
		if t.Failed() {
			break // one pattern's cases are enough to read
		}
	}
}

// TestLongestPatterns: with as many approvers as there can be, all of them patterns of
// the greatest length, and a name of the greatest length, the admission policies still
// say yes or no, and not that it costs too much.
func TestLongestPatterns(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	segment := strings.Repeat("a", 30)
	end := strings.Repeat("/"+segment, 13) + "/"
	var approvers []v1alpha1.PolicySubject
	for i := range 64 {
		name := fmt.Sprintf("spiffe://example.org/%02d", i) + end
		name += strings.Repeat("b", 512-len(name)-len("/**")) + "/**"
		approvers = append(approvers, v1alpha1.PolicySubject{Kind: "SPIFFE", Name: name})
	}
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].From = approvers[:32]
		s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: "more", From: approvers[32:]})
	})
	request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
	last := strings.TrimSuffix(approvers[63].Name, "**")
	body := client.RawPatch(types.MergePatchType, []byte(`{"status":{"decisions":[{"verdict":"Deny"}]}}`))
	for name, want := range map[string]bool{
		last + strings.Repeat("c", 2048-len(last)):                                       true,
		last + strings.Repeat("c", 2046-len(last)) + "/d":                                true,
		last + strings.Repeat("/", 2048-len(last)):                                       false,
		"spiffe://example.org/" + strings.Repeat("d", 2048-len("spiffe://example.org/")): false,
	} {
		err := whoever(t, name).Status().Patch(t.Context(), request.DeepCopy(), body, client.DryRunAll)
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "is not among the approvers") {
			t.Errorf("%.80s… decides: %.300v; want %v", name, err, want)
		}
	}
}

// TestWorkloadsByPattern: workloads whom a policy names by a pattern ask, approve and
// have access, each as exactly itself.
func TestWorkloadsByPattern(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "SPIFFE", Name: "spiffe://example.org/ns/*/sa/deployer"})
		s.Approvals[0].From = []v1alpha1.PolicySubject{{Kind: "SPIFFE", Name: "spiffe://example.org/**"}}
		s.Approvals[0].Count = ptr.To[int32](2)
	})
	deployer, other := whoever(t, "spiffe://example.org/ns/a/sa/deployer"), whoever(t, "spiffe://example.org/ns/b/sa/deployer")
	request := e.WaitMatched(t, e.Ask(t, deployer, ns, nil))
	if err := kit.Decide(t, deployer, request, v1alpha1.VerdictApprove); err == nil {
		t.Error("a workload approves its own request")
	}
	// The two are one person to those who read them, so one of them decides nothing.
	if err := kit.Decide(t, whoever(t, "spiffe://example.org/ns/A/sa/deployer"), request, v1alpha1.VerdictApprove); err == nil {
		t.Error("a workload approves under its own name in other letters")
	}
	kit.MustDecide(t, other, request, v1alpha1.VerdictApprove)
	kit.MustDecide(t, whoever(t, "spiffe://example.org/gate"), request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, deployer, ns) || kit.Can(t, other, ns) {
		t.Errorf("the deployer can: %v, another that matches can: %v", kit.Can(t, deployer, ns), kit.Can(t, other, ns))
	}
	g := e.GrantOf(t, request)
	if len(g.Spec.Subjects) != 1 || g.Spec.Subjects[0].Subject != (v1alpha1.Subject{Kind: "User", Name: "spiffe://example.org/ns/a/sa/deployer"}) {
		t.Errorf("the grant is for %v", g.Spec.Subjects)
	}
	if request := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = p.Name }); whoever(t, "spiffe://example.org/ns/a/sa/other").Create(t.Context(), request) != nil {
		t.Error("everybody may ask, and is told whom the policy is for")
	} else if denied := e.WaitFor(t, request, v1alpha1.RequestDenied); !kit.HasMessage(denied.Status.Conditions, "it is for spiffe://example.org/ns/*/sa/deployer") {
		t.Errorf("it says %s", kit.Describe(denied.Status.Conditions))
	}
	kit.MustDecide(t, deployer, request, v1alpha1.VerdictRelease)
	e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	if kit.Can(t, deployer, ns) {
		t.Error("the access is still there")
	}
}
