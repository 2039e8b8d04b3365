package accessclient

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestDecisionPatch(t *testing.T) {
	const lock = `[{"op":"replace","path":"/metadata/resourceVersion","value":"42"}`
	me := v1alpha1.Decision{Username: "bob", Groups: []string{"sre"}, Verdict: v1alpha1.VerdictApprove, RequestUID: "u1", RulesHash: "h1"}
	const mine = `{"username":"bob","groups":["sre"],"verdict":"Approve","requestUID":"u1","rulesHash":"h1"}`
	untouched := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "42"}}
	with := func(decisions ...v1alpha1.Decision) *v1alpha1.AccessRequest {
		r := untouched.DeepCopy()
		r.Status = v1alpha1.AccessRequestStatus{Phase: v1alpha1.RequestPending, Decisions: decisions}
		return r
	}
	carol := v1alpha1.Decision{Username: "carol", Verdict: v1alpha1.VerdictApprove, RulesHash: "h1"}
	stale := v1alpha1.Decision{Username: "bob", Verdict: v1alpha1.VerdictApprove, RulesHash: "h0"}
	limited := me
	for _, limit := range []Limit{AtMost(90*time.Minute + time.Millisecond), Until(time.Date(2026, 5, 4, 22, 0, 0, 1, time.FixedZone("", 7200)))} {
		limit(&limited)
	}
	const mineLimited = `{"username":"bob","groups":["sre"],"verdict":"Approve","maxDuration":"1h30m0s","notAfter":"2026-05-04T20:00:00Z","requestUID":"u1","rulesHash":"h1"}`
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
		"limited":            {with(), limited, lock + `,{"op":"add","path":"/status/decisions","value":[` + mineLimited + `]}]`},
		"other limits":       {with(carol, me), limited, ""},
		"there already":      {with(carol, me), me, ""},
		"no deny is renewed": {with(denied), v1alpha1.Decision{Username: "bob", Verdict: v1alpha1.VerdictDeny, RulesHash: "h1"}, ""},
	} {
		got, err := decisionPatch(tc.request, tc.decision)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, tc.want)
		}
	}
}
