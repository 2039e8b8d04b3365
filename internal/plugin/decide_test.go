package plugin

import (
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestDecisionPatch(t *testing.T) {
	const lock = `[{"op":"replace","path":"/metadata/resourceVersion","value":"42"}`
	me := v1alpha1.Decision{Username: "bob", Groups: []string{"sre"}, Verdict: v1alpha1.VerdictApprove, RequestUID: "u1", RulesHash: "h1"}
	const mine = `{"username":"bob","groups":["sre"],"verdict":"Approve","requestUID":"u1","rulesHash":"h1"}`
	with := func(decisions ...v1alpha1.Decision) *v1alpha1.AccessRequest {
		r := aRequest()
		r.Status.Decisions = decisions
		return r
	}
	untouched := aRequest()
	untouched.Status = v1alpha1.AccessRequestStatus{}
	carol := v1alpha1.Decision{Username: "carol", Verdict: v1alpha1.VerdictApprove, RulesHash: "h1"}
	stale := v1alpha1.Decision{Username: "bob", Verdict: v1alpha1.VerdictApprove, RulesHash: "h0"}
	denied := v1alpha1.Decision{Username: "bob", Verdict: v1alpha1.VerdictDeny, RulesHash: "h0"}
	for name, tc := range map[string]struct {
		request  *v1alpha1.AccessRequest
		decision v1alpha1.Decision
		want     string
	}{
		"no status":          {untouched, me, lock + `,{"op":"add","path":"/status","value":{"decisions":[` + mine + `]}}]`},
		"first":              {with(), me, lock + `,{"op":"add","path":"/status/decisions","value":[` + mine + `]}]`},
		"second":             {with(carol), me, lock + `,{"op":"add","path":"/status/decisions/-","value":` + mine + `}]`},
		"renewed":            {with(carol, stale), me, lock + `,{"op":"replace","path":"/status/decisions/1","value":` + mine + `}]`},
		"there already":      {with(carol, me), me, ""},
		"no deny is renewed": {with(denied), v1alpha1.Decision{Username: "bob", Verdict: v1alpha1.VerdictDeny, RulesHash: "h1"}, ""},
	} {
		got, err := decisionPatch(tc.request, tc.decision)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
}

func TestWho(t *testing.T) {
	user := func(name string, groups ...string) v1alpha1.UserInfo {
		return v1alpha1.UserInfo{Username: name, Groups: groups}
	}
	alice, bob, mallory := user("alice", "dev"), user("bob", "sre"), user("mallory")
	pending, active := aRequest(), anActiveRequest()
	for name, tc := range map[string]struct{ got, want bool }{
		"it is alice's":                {mine(pending, alice), true},
		"it is not bob's":              {mine(pending, bob), false},
		"bob decides":                  {waitsForMe(pending, bob), true},
		"mallory does not":             {waitsForMe(pending, mallory), false},
		"alice does not, were she sre": {waitsForMe(pending, user("alice", "sre")), false},
		"ALICE is alice":               {waitsForMe(pending, user("ALICE", "sre")), false},
		"active waits for nobody":      {waitsForMe(active, bob), false},
		"bob may revoke":               {revocable(active, bob), true},
		"alice may not":                {revocable(active, alice), false},
		"nothing to revoke":            {revocable(pending, bob), false},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", name, tc.got)
		}
	}
	pending.Status.Decisions = []v1alpha1.Decision{{Username: "bob", Verdict: v1alpha1.VerdictApprove, RulesHash: "h1"}}
	if waitsForMe(pending, bob) {
		t.Error("bob is asked again")
	}
	pending.Status.RulesHash = "h2"
	if !waitsForMe(pending, bob) {
		t.Error("bob is not asked again when the role has changed")
	}
}
