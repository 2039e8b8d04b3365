package policy

import (
	"math/rand"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// onlyAlice makes alice the only approver: a policy that alice alone cannot use.
var onlyAlice ofPolicy = approvers(user("alice"))

// TestUnmeetable compares what is required with the people who may decide on this
// request.
func TestUnmeetable(t *testing.T) {
	bot := account("ops", "bot")
	const deployer = "spiffe://example.org/ns/payments/sa/deployer"
	asDeployer := list(asker(deployer, "dev"), subjects(user(deployer)))
	asBot := list(asker("system:serviceaccount:ops:bot", "dev"), subjects(bot))
	never := func(rest string) answer { return but("could never be met for this request: it needs " + rest) }
	usual := allowed("prod-edit", noDuration)
	for name, test := range map[string]struct {
		policy  []ofPolicy
		request []ofRequest
		want    answer
	}{
		"somebody else":                 {list(approvers(user("alice"), user("bob"))), nil, usual},
		"the requester alone":           {list(onlyAlice), nil, never("1 of alice, and alice is the requester")},
		"the requester alone, by looks": {list(approvers(user("Alice"))), nil, never("1 of Alice, and Alice is the requester")},
		"one too few":                   {list(approvers(user("alice"), user("bob")), approvals(2)), nil, never("2 of alice, bob, and alice is the requester")},
		"nothing is asked":              {list(onlyAlice, approvals(0)), nil, usual},
		"a group, alice in it":          {list(approvers(user("alice"), group("sre")), approvals(16)), nil, usual},
		"alice's group":                 {list(approvers(group("dev")), approvals(16)), nil, usual},
		"an account for itself":         {append(list(approvers(bot)), requesters(group("dev"))), asBot, refused(`no policy lets system:serviceaccount:ops:bot (group dev) request ClusterRole edit in payments; closest is "prod-edit", which could never be met for this request: it needs 1 of sa:ops/bot, and sa:ops/bot is the requester`)},
		"an account, named as a user":   {list(approvers(user("system:serviceaccount:ops:bot"))), asBot, refused(`no policy lets system:serviceaccount:ops:bot (group dev) request ClusterRole edit in payments; closest is "prod-edit", which could never be met for this request: it needs 1 of system:serviceaccount:ops:bot, and system:serviceaccount:ops:bot is the requester`)},

		"for all of the approvers":     {list(forSubjects(v1alpha1.SubjectsAny), approvers(user("bob"), user("carol"))), list(subjects(user("bob"), user("carol"))), never("1 of bob, carol, and bob would get the access, and carol would get the access")},
		"for all but one":              {list(forSubjects(v1alpha1.SubjectsAny), approvers(user("bob"), user("carol"))), list(subjects(user("bob"))), usual},
		"for the approving group":      {list(forSubjects(v1alpha1.SubjectsAny)), list(subjects(group("sre"))), never("1 of group:sre, and group:sre would get the access")},
		"for one of two groups":        {list(forSubjects(v1alpha1.SubjectsAny), approvers(group("sre"), group("ops")), approvals(16)), list(subjects(group("sre"))), usual},
		"for the group, and one else":  {list(forSubjects(v1alpha1.SubjectsAny), approvers(group("sre"), user("bob")), approvals(2)), list(subjects(group("sre"))), never("2 of group:sre, bob, and group:sre would get the access")},
		"for an account that approves": {list(forSubjects(v1alpha1.SubjectsAny), approvers(bot)), list(subjects(bot)), never("1 of sa:ops/bot, and sa:ops/bot would get the access")},
		"for a user named as a group":  {list(forSubjects(v1alpha1.SubjectsAny)), list(subjects(user("sre"))), usual},

		"one person by two names":      {list(approvers(user("bob"), user("Bob"), user("alice")), approvals(2)), nil, never("2 of bob, Bob, alice, and Bob counts as bob, and alice is the requester")},
		"a pattern":                    {list(approvers(user("alice"), matching("spiffe://example.org/ns/*/sa/x")), approvals(16)), nil, usual},
		"a workload, and it asks":      {list(approvers(matching(deployer)), requesters(group("dev"))), asDeployer, refused(`no policy lets spiffe://example.org/ns/payments/sa/deployer (group dev) request ClusterRole edit in payments; closest is "prod-edit", which could never be met for this request: it needs 1 of spiffe://example.org/ns/payments/sa/deployer, and spiffe://example.org/ns/payments/sa/deployer is the requester`)},
		"a workload by two names":      {list(approvers(matching(deployer), user(deployer), user("alice")), approvals(2)), nil, never("2 of spiffe://example.org/ns/payments/sa/deployer, spiffe://example.org/ns/payments/sa/deployer, alice, and spiffe://example.org/ns/payments/sa/deployer counts as spiffe://example.org/ns/payments/sa/deployer, and alice is the requester")},
		"two people by three names":    {list(approvers(user("bob"), user("Bob"), user("carol"), user("alice")), approvals(2)), nil, usual},
		"a no for any other reason":    {list(onlyAlice, taskRequired), nil, but("requires a task")},
		"a no, an error or not":        {list(onlyAlice, cannotTell), nil, never("1 of alice, and alice is the requester")},
		"no answer while it is broken": {list(onlyAlice, broken), nil, unknown(`policy "prod-edit" cannot be used: condition "broken": 1:1: undeclared reference to 'nope'`)},
	} {
		t.Run(name, func(t *testing.T) {
			got := find(list(compiled("prod-edit", test.policy...)), newRequest(test.request...), noon)
			got.Duration = noDuration
			check(t, test.want, got)
		})
	}
}

const noDuration = 0

// FuzzUnmeetable lets everybody approve: a policy can be met exactly when that is
// enough.
func FuzzUnmeetable(f *testing.F) {
	f.Add(int64(1), byte(1))
	f.Add(int64(2), byte(2))
	f.Add(int64(3), byte(3))
	f.Fuzz(func(t *testing.T, seed int64, required byte) {
		rng := rand.New(rand.NewSource(seed))
		deployer := matching("spiffe://example.org/ns/payments/sa/deployer")
		everybody := list(user("alice"), user("Alice"), user("bob"), user("BOB"), user("carol"), account("ops", "bot"), user("system:serviceaccount:ops:bot"), group("sre"), group("dev"), group("ops"))
		some := func(least int) (out []v1alpha1.Subject) {
			for _, i := range rng.Perm(len(everybody))[:least+rng.Intn(len(everybody)-least)] {
				out = append(out, everybody[i])
			}
			return out
		}
		mayApprove := append(some(0), list(deployer, user(deployer.Name), matching("spiffe://example.org/ns/*/sa/deployer"), matching("spiffe://example.org/**"))[:rng.Intn(5)]...)
		p := compiled("p", forSubjects(v1alpha1.SubjectsAny), approvals(int32(required%5)), approvers(mayApprove...))
		r := newRequest(subjects(some(1)...))

		var decisions []v1alpha1.Decision
		for _, who := range everybody {
			if name, ok := identity.Username(who); ok {
				decisions = append(decisions, approve(name, of(identity.Groups(who)...)))
				continue
			}
			for _, member := range list("m1", "m2", "m3", "m4") {
				decisions = append(decisions, approve(who.Name+member, of(who.Name)))
			}
		}
		for _, namespace := range list("payments", "m1", "m2", "m3", "m4") {
			decisions = append(decisions, approve("spiffe://example.org/ns/"+namespace+"/sa/deployer", of()))
		}
		stages, _ := p.stagesFor(r)
		outcome := Weigh(Ballot{
			RequestUID: thisRequest, RulesHash: rulesNow, Requester: r.Requester, Subjects: r.Subjects,
			Stages: stages, Decisions: decisions,
		})
		if why := unmeetable(stages, r.Requester.Username, r.Subjects); outcome.Approved != (why == "") {
			t.Errorf("%v for %v: everybody's approval makes %+v, and it is said %q", p.Spec.Approvals, r.Subjects, outcome, why)
		}
	})
}

// TestAbout tells a refusal by a policy from the lack of one.
func TestAbout(t *testing.T) {
	for name, test := range map[string]struct {
		policies []*Policy
		request  []ofRequest
		want     bool
	}{
		"none":                     {nil, nil, false},
		"for others":               {list(compiled("a", requesters(group("ops")), taskRequired)), nil, false},
		"of another role":          {list(compiled("a", roles(clusterRole("view")))), nil, false},
		"elsewhere":                {list(compiled("a", namespaces("web"))), nil, false},
		"for oneself":              {list(compiled("a")), list(subjects(user("bob"))), false},
		"for longer":               {list(compiled("a"), compiled("b", requesters(group("ops")))), list(lasting(1 << 50)), true},
		"with a task":              {list(compiled("a", taskRequired)), nil, true},
		"on a condition":           {list(compiled("a", onlyIf("no", "false", ""))), nil, true},
		"could never be met":       {list(compiled("a", onlyAlice)), nil, true},
		"the named one is missing": {list(compiled("a", onlyAlice)), list(under("b")), false},
		"the named one, otherwise": {list(compiled("a", roles(clusterRole("view")))), list(under("a")), true},
	} {
		if m := Find(t.Context(), test.policies, newRequest(test.request...), noon); m.Answer != NotAllowed || m.About != test.want {
			t.Errorf("%s: %s, about it %v; want %v", name, m.Answer, m.About, test.want)
		}
	}
}
