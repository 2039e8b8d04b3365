package usage

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestSummaryOf(t *testing.T) {
	at := func(minute int) *v1alpha1.Moment {
		m := metav1.NewTime(time.Date(2026, 5, 4, 10, minute, 0, 0, time.UTC))
		return &m
	}
	got := SummaryOf(&v1alpha1.AccessUsageStatus{
		Phase: v1alpha1.UsageClosed, Since: at(0), Until: at(30), Gaps: 1, LastGap: at(5),
		Streams: []v1alpha1.UsageStream{{Name: "a", Lost: 2}, {Name: "b", Lost: 3}},
		Calls:   41, SharedCalls: 12, FailedCalls: 1, RefusedCalls: 3, FirstCall: at(1), LastCall: at(13),
		Callers: []v1alpha1.UsageCaller{{UsageClient: v1alpha1.UsageClient{User: "alice", As: "bob", Address: "192.0.2.7", ClaimedAddress: "198.51.100.9", UserAgent: "kubectl"}, Calls: 44}},
		Used:    []v1alpha1.UsageRight{{Verb: "get", Group: "apps", Resource: "deployments", Subresource: "scale", Namespace: "pay", Calls: 41, Shared: 12, Failed: 1, Names: []string{"web"}, MoreNames: 2}},
		Refused: []v1alpha1.UsageRight{{Verb: "get", Path: "/metrics", Calls: 3}},
		Risks:   []v1alpha1.UsageCount{{Kind: "Exec", Count: 4}},
		Created: []v1alpha1.UsageObject{{Resource: "pods", Namespace: "pay", Name: "debug-x", UID: "u", From: *at(1), To: *at(1), Times: 2}},
		Sessions: []v1alpha1.UsageSession{
			{ID: "1", Kind: "exec", Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "pay", Name: "api-0", UsageClient: v1alpha1.UsageClient{User: "alice", As: "bob", Address: "192.0.2.7"}, Since: *at(2)},
			{ID: "2", Kind: "watch", Resource: "pods", Namespace: "pay", UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: *at(3)},
		},
		ClosedSessions: []v1alpha1.UsageCount{{Kind: "log", Count: 1}},
		Suspicious:     []v1alpha1.UsageFinding{{Name: "burst", Action: v1alpha1.SuspiciousRevoke, Message: "m", Times: 2, First: *at(4), Last: *at(6)}},
		More:           v1alpha1.UsageMore{Callers: 1, Used: 2, Refused: 3, Created: 4, Sessions: 5},
	})
	want := Summary{
		First: at(1).Time, Last: at(13).Time, Calls: 44, Refused: 3, Failed: 1,
		Callers:  []CallerUse{{Caller{"alice", "bob", "192.0.2.7", "198.51.100.9", "kubectl"}, 44}},
		Used:     []RightUse{{Right{"get", "apps", "deployments", "scale", "pay", ""}, 41, 1, []string{"web"}, 2, 12}},
		Demanded: []RightUse{{Right: Right{Verb: "get", Path: "/metrics"}, Calls: 3}},
		Risks:    map[string]int{"Exec": 4},
		Created:  []CreatedUse{{Object: Object{"", "pods", "pay", "debug-x", "u"}, Times: 2}},
		Open: []Session{
			{"exec", "", "pods", "exec", "pay", "api-0", Caller{User: "alice", As: "bob", Address: "192.0.2.7"}, at(2).Time},
			{"watch", "", "pods", "", "pay", "", Caller{User: "alice"}, at(3).Time},
		},
		Closed: map[string]int{"log": 1}, More: More{1, 2, 3, 4, 5}, Shared: 12,
		Suspicious: []Finding{{"burst", "Revoke", "m", 2, at(4).Time, at(6).Time}},
		Window:     Window{at(0).Time, at(30).Time, 1, at(5).Time, 5, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Summary{}, SummaryOf(&v1alpha1.AccessUsageStatus{})); diff != "" {
		t.Errorf("nothing is stored: %s", diff)
	}
}

// Whatever an AccessUsage holds, a summary of it has no negative number, more calls
// than refused ones, and nothing that is not stored.
func FuzzSummaryOf(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"calls":-1,"refusedCalls":9223372036854775807,"gaps":-3}`, `{"calls":9223372036854775807,"refusedCalls":9223372036854775807}`,
		`{"streams":[{"lost":9007199254740991},{"lost":9007199254740991}],"used":[{"verb":"get","calls":-5,"names":["\u202e\u0000"],"moreNames":-1}]}`,
		`{"sessions":[{"kind":"watch","since":null}],"risks":[{"kind":"","count":-1}],"more":{"used":-1}}`,
		`{"created":[{"resource":"pods","times":-1}],"suspicious":[{"name":"x","times":-1}],"since":"0001-01-01T00:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var status v1alpha1.AccessUsageStatus
		if json.Unmarshal(data, &status) != nil {
			return
		}
		s := SummaryOf(&status)
		if s.Calls < s.Refused {
			t.Errorf("%d calls, %d refused", s.Calls, s.Refused)
		}
		if len(s.Used) != len(status.Used) || len(s.Created) != len(status.Created) || len(s.Open) != len(status.Sessions) || len(s.Callers) != len(status.Callers) {
			t.Error("something is lost, or made up")
		}
		told, err := json.Marshal(s)
		if err != nil {
			return // a time that JSON cannot have
		}
		// Numbers alone: strings are anybody's.
		var numbers func(v any)
		numbers = func(v any) {
			switch v := v.(type) {
			case map[string]any:
				for _, inner := range v {
					numbers(inner)
				}
			case []any:
				for _, inner := range v {
					numbers(inner)
				}
			case json.Number:
				if strings.HasPrefix(v.String(), "-") {
					t.Errorf("%s in %s", v, told)
				}
			}
		}
		var all any
		decoder := json.NewDecoder(strings.NewReader(string(told)))
		decoder.UseNumber()
		if err := decoder.Decode(&all); err != nil {
			t.Fatal(err)
		}
		numbers(all)
	})
}
