package policy

import (
	"math/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
)

const thisRequest types.UID = "7d1f"

// rulesNow is the hash of what the role allows at the moment.
const rulesNow = "5feceb66"

// ofBallot changes a ballot from the usual one.
type ofBallot func(*Ballot)

// newBallot is for a request of alice for alice: group sre and the user zoe may
// approve, and two must.
func newBallot(decisions []v1alpha1.Decision, changes ...ofBallot) Ballot {
	b := Ballot{
		RequestUID: thisRequest,
		RulesHash:  rulesNow,
		Requester:  v1alpha1.UserInfo{Username: "alice", Groups: list("dev")},
		Subjects:   list(user("alice")),
		Stages:     list(stage("sre", 2, group("sre"), user("zoe"))),
		Decisions:  decisions,
	}
	for _, change := range changes {
		change(&b)
	}
	return b
}

func stage(name string, count int32, from ...v1alpha1.Subject) v1alpha1.StageApproval {
	return v1alpha1.StageApproval{Name: name, From: named(from...), Count: &count}
}

func needs(n int32) ofBallot { return func(b *Ballot) { b.Stages[0].Count = &n } }

func inStages(stages ...v1alpha1.StageApproval) ofBallot {
	return func(b *Ballot) { b.Stages = stages }
}

func decidedBy(approvers ...v1alpha1.Subject) ofBallot {
	return func(b *Ballot) { b.Stages[0].From = named(approvers...) }
}

func givenTo(subjects ...v1alpha1.Subject) ofBallot {
	return func(b *Ballot) { b.Subjects = subjects }
}

// decision by somebody of group sre, who saw the rules as they are.
func decision(username string, verdict v1alpha1.Verdict, changes ...func(*v1alpha1.Decision)) v1alpha1.Decision {
	d := v1alpha1.Decision{Username: username, Groups: list("sre"), Verdict: verdict, RulesHash: rulesNow}
	for _, change := range changes {
		change(&d)
	}
	return d
}

type ofDecision = func(*v1alpha1.Decision)

func approve(username string, changes ...ofDecision) v1alpha1.Decision {
	return decision(username, v1alpha1.VerdictApprove, changes...)
}

func deny(username string, changes ...ofDecision) v1alpha1.Decision {
	return decision(username, v1alpha1.VerdictDeny, changes...)
}

func revoke(username string, changes ...ofDecision) v1alpha1.Decision {
	return decision(username, v1alpha1.VerdictRevoke, changes...)
}

func release(username string, changes ...ofDecision) v1alpha1.Decision {
	return decision(username, v1alpha1.VerdictRelease, changes...)
}

func of(groups ...string) ofDecision {
	return func(d *v1alpha1.Decision) { d.Groups = groups }
}

func about(uid types.UID) ofDecision { return func(d *v1alpha1.Decision) { d.RequestUID = uid } }

func seeing(hash string) ofDecision { return func(d *v1alpha1.Decision) { d.RulesHash = hash } }

func saying(comment string) ofDecision { return func(d *v1alpha1.Decision) { d.Comment = comment } }

func TestWeigh(t *testing.T) {
	const deployer = "spiffe://example.org/ns/a/sa/deployer"
	waiting := func(count, more string, approvers []string, ignored string) Outcome {
		return Outcome{Approvers: approvers, Message: count + " of 2 approvals; " + more + " more of group:sre, zoe" + ignored}
	}
	for name, test := range map[string]struct {
		decisions []v1alpha1.Decision
		ballot    []ofBallot
		want      Outcome
	}{
		"nobody yet":        {nil, nil, waiting("0", "2", nil, "")},
		"one of two":        {list(approve("bob")), nil, waiting("1", "1", list("bob"), "")},
		"two":               {list(approve("bob"), approve("carol")), nil, Outcome{Approved: true, Approvers: list("bob", "carol"), Message: "approved by bob, carol"}},
		"more than needed":  {list(approve("bob"), approve("carol"), approve("dave")), nil, Outcome{Approved: true, Approvers: list("bob", "carol", "dave"), Message: "approved by bob, carol, dave"}},
		"by name, in none":  {list(approve("zoe", of())), list(needs(1)), Outcome{Approved: true, Approvers: list("zoe"), Message: "approved by zoe"}},
		"by an account":     {list(approve("system:serviceaccount:ops:bot", of())), list(needs(1), decidedBy(account("ops", "bot"))), Outcome{Approved: true, Approvers: list("system:serviceaccount:ops:bot"), Message: "approved by system:serviceaccount:ops:bot"}},
		"by a workload":     {list(approve(deployer, of())), list(needs(1), decidedBy(matching("spiffe://example.org/ns/*/sa/deployer"))), Outcome{Approved: true, Approvers: list(deployer), Message: "approved by " + deployer}},
		"by two of them":    {list(approve(deployer, of()), approve("spiffe://example.org/ns/b/sa/deployer", of())), list(decidedBy(matching("spiffe://example.org/ns/*/sa/deployer"))), Outcome{Approved: true, Approvers: list(deployer, "spiffe://example.org/ns/b/sa/deployer"), Message: "approved by " + deployer + ", spiffe://example.org/ns/b/sa/deployer"}},
		"this request":      {list(approve("bob", about(thisRequest))), list(needs(1)), Outcome{Approved: true, Approvers: list("bob"), Message: "approved by bob"}},
		"comment is no bar": {list(approve("bob", saying("fine"))), list(needs(1)), Outcome{Approved: true, Approvers: list("bob"), Message: "approved by bob"}},

		"none needed":                {nil, list(needs(0)), Outcome{Approved: true, Message: "the policy asks for no approval"}},
		"none needed, one given":     {list(approve("bob")), list(needs(0)), Outcome{Approved: true, Approvers: list("bob"), Message: "the policy asks for no approval"}},
		"none needed, one ignored":   {list(approve("alice")), list(needs(0)), Outcome{Approved: true, Message: "the policy asks for no approval (not counted: alice would benefit)"}},
		"none needed, but a Deny":    {list(deny("bob")), list(needs(0)), Outcome{Denied: true, By: "bob", Message: "denied by bob"}},
		"none needed, but a Revoke":  {list(revoke("bob")), list(needs(0)), Outcome{Revoked: true, By: "bob", Message: "revoked by bob"}},
		"none needed, but a Release": {list(release("alice")), list(needs(0)), Outcome{Withdrawn: true, By: "alice", Message: "released by alice"}},

		"a workload of another domain":   {list(approve("spiffe://other.test/ns/a/sa/deployer", of())), list(decidedBy(matching("spiffe://example.org/**"))), Outcome{Message: "0 of 2 approvals; 2 more of spiffe://example.org/** (not counted: spiffe://other.test/ns/a/sa/deployer is not an approver)"}},
		"what looks like a workload":     {list(approve("spiffe://example.org/ns/a/../sa/deployer", of())), list(decidedBy(matching("spiffe://example.org/**"))), Outcome{Message: "0 of 2 approvals; 2 more of spiffe://example.org/** (not counted: spiffe://example.org/ns/a/../sa/deployer is not an approver)"}},
		"a workload that gets it":        {list(approve(deployer, of())), list(decidedBy(matching("spiffe://example.org/**")), givenTo(user(deployer))), Outcome{Message: "0 of 2 approvals; 2 more of spiffe://example.org/** (not counted: " + deployer + " would benefit)"}},
		"a workload in other letters":    {list(approve("spiffe://example.org/ns/A/sa/deployer", of())), list(decidedBy(matching("spiffe://example.org/**")), givenTo(user(deployer))), Outcome{Message: "0 of 2 approvals; 2 more of spiffe://example.org/** (not counted: spiffe://example.org/ns/A/sa/deployer would benefit)"}},
		"one person twice":               {list(approve("bob"), approve("bob")), nil, waiting("1", "1", list("bob"), " (not counted: bob has approved already)")},
		"one person in capitals":         {list(approve("bob"), approve("Bob")), nil, waiting("1", "1", list("bob"), " (not counted: Bob has approved already)")},
		"one person with a space":        {list(approve("bob"), approve("bob ")), nil, waiting("1", "1", list("bob"), " (not counted: bob  has approved already)")},
		"one person with what is unseen": {list(approve("b\u200bob"), approve("bob\ufe0f"), approve("bob")), nil, waiting("1", "1", list("b\u200bob"), " (not counted: bob\ufe0f has approved already; bob has approved already)")},
		"one person in full width":       {list(approve("ｂｏｂ"), approve("bob")), nil, waiting("1", "1", list("ｂｏｂ"), " (not counted: bob has approved already)")},
		"one person by name and group":   {list(approve("zoe", of()), approve("ZOE")), nil, Outcome{Approvers: list("zoe"), Message: "1 of 2 approvals; 1 more of group:sre (not counted: ZOE has approved already)"}},
		"stale, and may again":           {list(approve("zoe", of(), seeing("old"))), nil, waiting("0", "2", nil, " (not counted: zoe approved before the role changed, or something it is for was replaced, and must approve again)")},
		"an approver is the requester":   {nil, list(decidedBy(user("alice"), user("bob"), user("carol"))), Outcome{Message: "0 of 2 approvals; 2 more of bob, carol"}},
		"an approver looks like them":    {nil, list(decidedBy(user("Alice"), user("bob"), user("carol"))), Outcome{Message: "0 of 2 approvals; 2 more of bob, carol"}},
		"an approver is a subject":       {nil, list(givenTo(user("bob"), account("ops", "bot")), decidedBy(user("bob"), account("ops", "bot"), group("sre"))), Outcome{Message: "0 of 2 approvals; 2 more of group:sre"}},

		"an issued credential":           {list(approve("system:serviceaccount:access-broker-grants:fix-1")), list(issuedMay), Outcome{Message: "0 of 2 approvals; 2 more of group:sre, zoe, sa:access-broker-grants/fix-1 (not counted: system:serviceaccount:access-broker-grants:fix-1 is an issued credential, which may be that of the requester)"}},
		"the requester":                  {list(approve("alice")), nil, waiting("0", "2", nil, " (not counted: alice would benefit)")},
		"who looks like the requester":   {list(approve("Alice"), approve("al\u200dice"), approve(" alice")), nil, waiting("0", "2", nil, " (not counted: Alice would benefit; al\u200dice would benefit;  alice would benefit)")},
		"a subject":                      {list(approve("bob")), list(givenTo(user("carol"), user("bob"))), waiting("0", "2", nil, " (not counted: bob would benefit)")},
		"who looks like a subject":       {list(approve("bob")), list(givenTo(user("BOB"))), waiting("0", "2", nil, " (not counted: bob would benefit)")},
		"the requester, for others":      {list(approve("alice")), list(givenTo(user("bob"))), waiting("0", "2", nil, " (not counted: alice would benefit)")},
		"a member of a subject group":    {list(approve("bob"), approve("carol", of("dev", "sre"))), list(givenTo(group("dev"))), waiting("1", "1", list("bob"), " (not counted: carol would benefit)")},
		"all approvers are the subject":  {list(approve("bob"), approve("carol")), list(givenTo(group("sre"))), Outcome{Message: "0 of 2 approvals; 2 more of zoe (not counted: bob would benefit; carol would benefit)"}},
		"a subject ServiceAccount":       {list(approve("system:serviceaccount:ops:bot")), list(givenTo(account("ops", "bot"))), waiting("0", "2", nil, " (not counted: system:serviceaccount:ops:bot would benefit)")},
		"not an approver":                {list(approve("mallory", of("dev"))), nil, waiting("0", "2", nil, " (not counted: mallory is not an approver)")},
		"looks like an approver":         {list(approve("Zoe", of()), approve("bob", of("SRE"))), nil, waiting("0", "2", nil, " (not counted: Zoe is not an approver; bob is not an approver)")},
		"named like the approving group": {list(approve("sre", of())), nil, waiting("0", "2", nil, " (not counted: sre is not an approver)")},
		"an approver no longer":          {list(approve("bob"), approve("carol")), list(decidedBy(user("carol"), user("zoe"))), Outcome{Approvers: list("carol"), Message: "1 of 2 approvals; 1 more of zoe (not counted: bob is not an approver)"}},
		"no approvers":                   {list(approve("bob")), list(decidedBy(), needs(1)), Outcome{Message: "0 of 1 approvals; 1 more, and nobody is left who may approve it (not counted: bob is not an approver)"}},

		"another request":                   {list(approve("bob", about("other")), approve("carol")), nil, waiting("1", "1", list("carol"), " (not counted: bob decided on another request of this name)")},
		"another request, in capitals":      {list(approve("bob", about("7D1F"))), nil, waiting("0", "2", nil, " (not counted: bob decided on another request of this name)")},
		"Deny of another request":           {list(deny("bob", about("other")), approve("carol")), list(needs(1)), Outcome{Approved: true, Approvers: list("carol"), Message: "approved by carol (not counted: bob decided on another request of this name)"}},
		"Revoke of another request":         {list(revoke("bob", about("other"))), nil, waiting("0", "2", nil, " (not counted: bob decided on another request of this name)")},
		"Release of another request":        {list(release("alice", about("other"))), nil, waiting("0", "2", nil, " (not counted: alice decided on another request of this name)")},
		"the rules were others":             {list(approve("bob", seeing("old")), approve("carol")), nil, waiting("1", "1", list("carol"), " (not counted: bob approved before the role changed, or something it is for was replaced, and must approve again)")},
		"the rules were not seen":           {list(approve("bob", seeing(""))), nil, waiting("0", "2", nil, " (not counted: bob approved before the role changed, or something it is for was replaced, and must approve again)")},
		"stale, and again in other letters": {list(approve("bob", seeing("old")), approve("Bob")), list(needs(1)), Outcome{Approved: true, Approvers: list("Bob"), Message: "approved by Bob (not counted: bob approved before the role changed, or something it is for was replaced, and must approve again)"}},

		"Deny":                         {list(deny("bob", saying("not today"))), nil, Outcome{Denied: true, By: "bob", Comment: "not today", Message: "denied by bob: not today"}},
		"Deny beats approvals":         {list(approve("bob"), approve("carol"), deny("dave")), nil, Outcome{Denied: true, By: "dave", Approvers: list("bob", "carol"), Message: "denied by dave"}},
		"Deny before approvals":        {list(deny("dave"), approve("bob"), approve("carol")), nil, Outcome{Denied: true, By: "dave", Approvers: list("bob", "carol"), Message: "denied by dave"}},
		"Deny after one's approval":    {list(approve("bob"), deny("bob")), list(needs(1)), Outcome{Denied: true, By: "bob", Approvers: list("bob"), Message: "denied by bob"}},
		"Deny of other rules":          {list(deny("bob", seeing("old"))), list(needs(0)), Outcome{Denied: true, By: "bob", Message: "denied by bob"}},
		"Deny of one's own request":    {list(deny("alice")), list(needs(0)), Outcome{Denied: true, By: "alice", Message: "denied by alice"}},
		"Deny by a stranger":           {list(deny("mallory", of("dev")), approve("bob")), list(needs(1)), Outcome{Approved: true, Approvers: list("bob"), Message: "approved by bob"}},
		"Deny by one who looks so":     {list(deny("Zoe", of())), list(needs(0)), Outcome{Approved: true, Message: "the policy asks for no approval"}},
		"Deny by a subject":            {list(deny("alice", of("dev"))), list(needs(0)), Outcome{Approved: true, Message: "the policy asks for no approval"}},
		"Revoke":                       {list(approve("bob"), approve("carol"), revoke("bob", saying("enough"))), nil, Outcome{Revoked: true, By: "bob", Comment: "enough", Approvers: list("bob", "carol"), Message: "revoked by bob: enough"}},
		"Revoke of other rules":        {list(revoke("bob", seeing("old"))), nil, Outcome{Revoked: true, By: "bob", Message: "revoked by bob"}},
		"Revoke by a stranger":         {list(revoke("mallory", of("dev"))), nil, waiting("0", "2", nil, "")},
		"Revoke by the requester":      {list(revoke("alice", of("dev"))), nil, waiting("0", "2", nil, "")},
		"Release by the requester":     {list(approve("bob"), approve("carol"), release("alice", of("dev"), saying("done"))), nil, Outcome{Withdrawn: true, By: "alice", Comment: "done", Approvers: list("bob", "carol"), Message: "released by alice: done"}},
		"Release by who asked for one": {list(release("alice", of())), list(givenTo(user("bob"))), Outcome{Withdrawn: true, By: "alice", Message: "released by alice"}},
		"Release by a subject":         {list(release("bob", of())), list(givenTo(user("bob"))), Outcome{Withdrawn: true, By: "bob", Message: "released by bob"}},
		"Release by a group's member":  {list(release("bob", of("dev"))), list(givenTo(group("dev"))), Outcome{Withdrawn: true, By: "bob", Message: "released by bob"}},
		"Release by the account":       {list(release("system:serviceaccount:payments:ci", of())), list(givenTo(account("payments", "ci"))), Outcome{Withdrawn: true, By: "system:serviceaccount:payments:ci", Message: "released by system:serviceaccount:payments:ci"}},
		"Release by a stranger":        {list(release("mallory", of())), nil, waiting("0", "2", nil, "")},
		"Release by an approver":       {list(release("bob")), nil, waiting("0", "2", nil, "")},
		"no verdict of ours":           {list(decision("bob", "Maybe"), decision("alice", "")), nil, waiting("0", "2", nil, "")},

		"Deny, Revoke and Release": {list(deny("bob", saying("no")), revoke("carol", saying("stop")), release("alice", saying("done"))), nil, Outcome{Denied: true, By: "bob", Comment: "no", Message: "denied by bob: no"}},
		"Revoke and Release":       {list(revoke("carol", saying("stop")), release("alice", saying("done"))), nil, Outcome{Revoked: true, By: "carol", Comment: "stop", Message: "revoked by carol: stop"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Weigh(newBallot(test.decisions, test.ballot...)), cmpopts.IgnoreFields(Outcome{}, "Stages")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestWeighLast: a Deny counts whatever its place among the decisions, and the
// message names it.
func TestWeighLast(t *testing.T) {
	decisions := list(release("alice", saying("done")), revoke("carol", saying("stop")), deny("bob", saying("no")))
	got := Weigh(newBallot(decisions))
	if got.Approved || !got.Denied || got.By != "bob" || got.Comment != "no" || got.Message != "denied by bob: no" {
		t.Errorf("got %+v", got)
	}
	got = Weigh(newBallot(decisions[:2]))
	if got.Approved || !got.Revoked || got.By != "carol" || got.Comment != "stop" || got.Message != "revoked by carol: stop" {
		t.Errorf("got %+v", got)
	}
}

// decisionsFrom makes decisions of fuzzed bytes, two bytes each.
func decisionsFrom(bits []byte) []v1alpha1.Decision {
	usernames := list("alice", "Alice", "bob", "Bob", "bob ", "b\u200bob", "ｂｏｂ", "carol", "CAROL", "zoe", "Zoe", "mallory", "dave",
		"system:serviceaccount:ops:bot", "", "\u13a0")
	groups := [][]string{nil, list("sre"), list("dev"), list("dev", "sre")}
	verdicts := list(v1alpha1.VerdictApprove, v1alpha1.VerdictApprove, v1alpha1.VerdictApprove, v1alpha1.VerdictApprove, v1alpha1.VerdictApprove,
		v1alpha1.VerdictDeny, v1alpha1.VerdictRevoke, v1alpha1.VerdictRelease)
	var decisions []v1alpha1.Decision
	for pair := range slices.Chunk(bits[:min(len(bits), 64)], 2) {
		if len(pair) < 2 {
			break
		}
		d := decision(usernames[pair[0]&15], verdicts[pair[1]&7], of(groups[pair[0]>>4&3]...))
		if pair[1]&0x18 == 0x18 {
			d.RulesHash = "old"
		}
		switch pair[1] >> 5 & 3 {
		case 1:
			d.RequestUID = thisRequest
		case 3:
			d.RequestUID = "other"
		}
		decisions = append(decisions, d)
	}
	return decisions
}

// ending is how the decisions ended the request, if they did.
func ending(o Outcome) string {
	switch {
	case o.Denied:
		return "denied"
	case o.Revoked:
		return "revoked"
	case o.Withdrawn:
		return "withdrawn"
	}
	return ""
}

// FuzzWeigh: in any order, a request is approved when enough different people
// approved who may and who do not benefit, unless somebody who may ended it.
func FuzzWeigh(f *testing.F) {
	seed := func(bits ...byte) { f.Add(bits, byte(2), byte(0), int64(1)) }
	seed()
	seed(0x12, 0, 0x17, 0)          // bob and carol approve
	seed(0x12, 0, 0x17, 0, 0x1c, 5) // and dave denies
	seed(0x12, 0, 0x13, 0, 0x15, 0, 0x16, 0)
	seed(0x12, 0, 0x17, 0, 0x00, 7)          // alice releases
	seed(0x12, 0, 0x17, 0, 0x1c, 6)          // dave revokes
	seed(0x12, 0x18, 0x17, 0x60, 0x2b, 0)    // stale, of another request, by a stranger
	seed(0x10, 0, 0x11, 0, 0x09, 0, 0x0a, 0) // alice, zoe and Zoe
	seed(0x1c, 0x65, 0x0b, 5, 0x2b, 5)       // a Deny of another request and two by strangers
	f.Fuzz(func(t *testing.T, bits []byte, required, subjects byte, order int64) {
		ballot := newBallot(decisionsFrom(bits), needs(int32(required%4)), givenTo(
			list(list(user("alice")), list(group("dev")), list(user("BOB")), list(account("ops", "bot"), user("carol")))[subjects%4]...))
		got := Weigh(ballot)

		// The approvers, counted in the simplest way.
		people := map[string]bool{}
		denied, ended := false, false
		for _, d := range ballot.Decisions {
			if d.RequestUID == "other" {
				continue
			}
			approver := slices.Contains(d.Groups, "sre") || d.Username == "zoe"
			benefits := identity.Benefits(d.Username, d.Groups, "alice", ballot.Subjects)
			switch d.Verdict {
			case v1alpha1.VerdictApprove:
				if approver && !benefits && d.RulesHash == rulesNow {
					people[identity.Fold(d.Username)] = true
				}
			case v1alpha1.VerdictDeny:
				denied = denied || approver
			case v1alpha1.VerdictRevoke:
				ended = ended || approver
			case v1alpha1.VerdictRelease:
				ended = ended || benefits
			}
		}
		if got.Denied != denied {
			t.Errorf("denied: %v; want %v", got.Denied, denied)
		}
		if want := !denied && !ended && len(people) >= v1alpha1.RequiredBy(ballot.Stages); got.Approved != want {
			t.Errorf("approved: %v; want %v", got.Approved, want)
		}
		if len(got.Approvers) != len(people) {
			t.Errorf("approvers %q; want %d", got.Approvers, len(people))
		}
		for _, approver := range got.Approvers {
			if !people[identity.Fold(approver)] {
				t.Errorf("%q is no approver", approver)
			}
			delete(people, identity.Fold(approver))
		}
		if over := ending(got) != ""; over != (denied || ended) {
			t.Errorf("got %+v; want it ended: %v", got, denied || ended)
		}

		// The order of the decisions does not matter.
		shuffled := ballot
		shuffled.Decisions = slices.Clone(ballot.Decisions)
		rand.New(rand.NewSource(order)).Shuffle(len(shuffled.Decisions), func(i, j int) {
			shuffled.Decisions[i], shuffled.Decisions[j] = shuffled.Decisions[j], shuffled.Decisions[i]
		})
		if other := Weigh(shuffled); other.Approved != got.Approved || other.Denied != got.Denied || ending(other) != ending(got) || len(other.Approvers) != len(got.Approvers) {
			t.Errorf("%+v in one order, %+v in another", got, other)
		}

		// Decisions of a stranger change nothing.
		for _, verdict := range list(v1alpha1.VerdictApprove, v1alpha1.VerdictDeny, v1alpha1.VerdictRevoke, v1alpha1.VerdictRelease) {
			with := ballot
			with.Decisions = append(slices.Clip(ballot.Decisions), decision("eve", verdict, of("qa")))
			if after := Weigh(with); after.Approved != got.Approved || ending(after) != ending(got) {
				t.Errorf("%s by a stranger made %+v of %+v", verdict, after, got)
			}
		}
		// One Deny by an approver changes all.
		with := ballot
		with.Decisions = append(slices.Clip(ballot.Decisions), deny("frank"))
		if after := Weigh(with); after.Approved || !after.Denied {
			t.Errorf("a Deny made %+v of %+v", after, got)
		}
	})
}
