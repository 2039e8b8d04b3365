package record

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
)

var (
	then  = metav1.NewTime(time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC))
	after = then.Add(time.Hour)
	whole = grant.Window{Since: then.Time, Until: after, Length: time.Hour, Of: time.Hour}
)

func usageWith(edit func(*v1alpha1.AccessUsageStatus)) *v1alpha1.AccessUsage {
	u := &v1alpha1.AccessUsage{}
	edit(&u.Status)
	return u
}

func says(t *testing.T, name string, conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, message) {
		t.Errorf("%s: %+v, want %s %s: %s", name, c, status, reason, message)
	}
}

// All findings are named though their messages are too long to be told whole, and are
// known again by their names.
func TestManyFindings(t *testing.T) {
	g := &v1alpha1.AccessGrant{}
	u := usageWith(func(s *v1alpha1.AccessUsageStatus) {
		for i := range 16 {
			s.Suspicious = append(s.Suspicious, v1alpha1.UsageFinding{
				Name: strings.Repeat("a", 60) + fmt.Sprintf("-%x", i), Action: v1alpha1.SuspiciousRevoke, Message: strings.Repeat("long\n: burst, ", 70), Times: 1 << 50, First: then, Last: then,
			})
		}
	})
	found := Found{Findings: NewFindings(g, u)}
	if len(found.Findings) != 16 {
		t.Fatalf("%d are new", len(found.Findings))
	}
	SetSuspicious(&g.Status.Conditions, after, u, found)
	for _, f := range u.Status.Suspicious {
		if c := g.Status.Conditions[0].Message; strings.Count(c, f.Name) != 2 || strings.Contains(c, "\n") || len(c) > 4096 {
			t.Errorf("%s is told %d times in %d bytes", f.Name, strings.Count(c, f.Name), len(c))
		}
	}
	if again := NewFindings(g, u); len(again) > 0 {
		t.Errorf("%d are new again", len(again))
	}
	// What a message says is no name.
	burst := usageWith(func(s *v1alpha1.AccessUsageStatus) {
		s.Suspicious = []v1alpha1.UsageFinding{{Name: "burst", Times: 1, First: then, Last: then}}
	})
	if fresh := NewFindings(g, burst); len(fresh) != 1 {
		t.Error("a finding is taken for told because the message of another names it")
	}
	var none []metav1.Condition
	if SetSuspicious(&none, after, usageWith(func(*v1alpha1.AccessUsageStatus) {}), Found{}); len(none) > 0 {
		t.Errorf("a condition without a finding: %v", none)
	}
}

func TestSetUsed(t *testing.T) {
	gap, late := whole, whole
	gap.Gaps, late.Length = 2, 10*time.Minute
	for name, test := range map[string]struct {
		calls, refused int64
		window         grant.Window
		toTheEnd       bool
		status         metav1.ConditionStatus
		reason, says   string
	}{
		"used":                     {2, 0, whole, true, metav1.ConditionTrue, v1alpha1.ReasonUsed, "2 calls were observed; observed from"},
		"used once, refused often": {1, 9, whole, true, metav1.ConditionTrue, v1alpha1.ReasonUsed, "one call was observed; 9 more were refused; "},
		"not used":                 {0, 0, whole, true, metav1.ConditionFalse, v1alpha1.ReasonNotUsed, "no call was observed; "},
		"all were refused":         {0, 9, whole, true, metav1.ConditionFalse, v1alpha1.ReasonNotUsed, "no call was observed; 9 more were refused"},
		"not to the end":           {0, 0, whole, false, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, NotToTheEnd},
		"with gaps":                {0, 0, gap, true, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "with 2 interruptions"},
		"from late on":             {0, 0, late, true, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "10m of the 1h"},
		"never":                    {0, 0, grant.Window{Of: time.Hour}, false, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "nothing of the 1h"},
	} {
		var conditions []metav1.Condition
		u := usageWith(func(s *v1alpha1.AccessUsageStatus) { s.Calls, s.RefusedCalls = test.calls, test.refused })
		SetUsed(&conditions, after, u, test.window, test.toTheEnd)
		says(t, name, conditions, v1alpha1.ConditionUsed, test.status, test.reason, test.says)
	}
}

func TestSetLeftBehind(t *testing.T) {
	gap := whole
	gap.Gaps = 1
	for name, test := range map[string]struct {
		left         Left
		window       grant.Window
		toTheEnd     bool
		status       metav1.ConditionStatus
		reason, says string
	}{
		"nothing was created":       {Left{}, whole, true, metav1.ConditionFalse, v1alpha1.ReasonNone, "nothing was created"},
		"all is gone":               {Left{Gone: 3}, whole, true, metav1.ConditionFalse, v1alpha1.ReasonNone, "all 3 objects"},
		"some exist":                {Left{Exist: []string{"Pod a/b"}, Unknown: []string{"Secret a/s"}, Gone: 1, More: 2}, whole, true, metav1.ConditionTrue, v1alpha1.ReasonObjectsExist, "of 5 objects that were created with the access, 1 still exist: Pod a/b; 2 more were created than the AccessUsage lists; not known: Secret a/s"},
		"some exist, with a gap":    {Left{Exist: []string{"Pod a/b"}}, gap, false, metav1.ConditionTrue, v1alpha1.ReasonObjectsExist, "Pod a/b"},
		"nobody knows":              {Left{Unknown: []string{"Secret a/s"}, Gone: 1}, whole, true, metav1.ConditionUnknown, v1alpha1.ReasonNotKnown, "nobody knows whether 1 still exist"},
		"more than are listed":      {Left{More: 7}, whole, true, metav1.ConditionUnknown, v1alpha1.ReasonNotKnown, "7 more were created"},
		"nothing, with a gap":       {Left{}, gap, true, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "not all of the access was observed"},
		"all is gone, with a gap":   {Left{Gone: 3}, gap, true, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, ""},
		"all is gone, an early end": {Left{Gone: 3}, whole, false, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, NotToTheEnd},
	} {
		var conditions []metav1.Condition
		SetLeftBehind(&conditions, after, test.left, test.window, test.toTheEnd)
		says(t, name, conditions, v1alpha1.ConditionLeftBehind, test.status, test.reason, test.says)
	}
}

func TestSetSessionsOpen(t *testing.T) {
	exec := v1alpha1.UsageSession{ID: "1", Kind: "exec", Resource: "pods", Namespace: "payments", Name: "web", UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: then}
	gap := whole
	gap.Gaps = 1
	set := func(conditions []metav1.Condition, window grant.Window, evictions map[string]Eviction, sessions ...v1alpha1.UsageSession) []metav1.Condition {
		SetSessionsOpen(&conditions, after, usageWith(func(s *v1alpha1.AccessUsageStatus) { s.Sessions = sessions }), evictions, window, true)
		return conditions
	}
	kind := v1alpha1.ConditionSessionsOpen
	says(t, "none", set(nil, whole, nil), kind, metav1.ConditionFalse, v1alpha1.ReasonNone, "no session is open")
	says(t, "none, with a gap", set(nil, gap, nil), kind, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, "not all of the access")
	open := set(nil, gap, nil, exec)
	says(t, "one", open, kind, metav1.ConditionTrue, v1alpha1.ReasonOpen, "exec of pod web in payments by alice since 2026-05-04T10:00:00Z: kubectl delete pod web -n payments")
	says(t, "it is over", set(open, gap, nil), kind, metav1.ConditionFalse, v1alpha1.ReasonOpen, "are over")
	evicted := set(nil, whole, map[string]Eviction{"1": {Done: true, Evicted: true, Note: "the Pod is evicted"}}, exec)
	says(t, "evicted", evicted, kind, metav1.ConditionTrue, v1alpha1.ReasonEvicted, "(the Pod is evicted)")
	if strings.Contains(evicted[0].Message, "kubectl") {
		t.Errorf("a command for a Pod that is gone: %s", evicted[0].Message)
	}
	says(t, "going", set(evicted, whole, map[string]Eviction{"1": {Done: true, Note: "the Pod is being deleted"}}, exec), kind, metav1.ConditionTrue, v1alpha1.ReasonEvicted, "")
	says(t, "gone by itself", set(nil, whole, map[string]Eviction{"1": {Done: true, Note: "the Pod is gone"}}, exec), kind, metav1.ConditionTrue, v1alpha1.ReasonOpen, "the Pod is gone")
	says(t, "over, evicted", set(evicted, whole, nil), kind, metav1.ConditionFalse, v1alpha1.ReasonEvicted, "are over")

	shared := exec
	shared.Shared, shared.As = true, "root"
	says(t, "shared", set(nil, whole, nil, shared), kind, metav1.ConditionTrue, v1alpha1.ReasonOpen, "by alice as root since 2026-05-04T10:00:00Z, which other access covers, too: kubectl delete pod web")

	// A command may be pasted: nothing that somebody chose makes it another.
	for _, edit := range []func(*v1alpha1.UsageSession){
		func(s *v1alpha1.UsageSession) { s.Name = "web; rm -rf ~" },
		func(s *v1alpha1.UsageSession) { s.Name = "web --all" },
		func(s *v1alpha1.UsageSession) { s.Name = "$(id)" },
		func(s *v1alpha1.UsageSession) { s.Name = "-n" },
		func(s *v1alpha1.UsageSession) { s.Namespace = "payments\nkubectl delete ns payments" },
		func(s *v1alpha1.UsageSession) { s.Namespace = "" },
		func(s *v1alpha1.UsageSession) { s.Resource = "services" },
		func(s *v1alpha1.UsageSession) { s.Group = "metrics.k8s.io" },
		func(s *v1alpha1.UsageSession) { s.Kind = grant.SessionWatch },
		func(s *v1alpha1.UsageSession) {
			s.Kind, s.User = grant.SessionWatch, "alice: kubectl delete ns payments"
		},
	} {
		s := exec
		edit(&s)
		message := set(nil, whole, nil, s)[0].Message
		if strings.Contains(strings.ReplaceAll(message, `"alice: kubectl`, ""), ": kubectl") || strings.Contains(message, "\n") {
			t.Errorf("%+v: %s", s, message)
		}
	}
	// So many that not all are told, and none hides what ends them.
	many := make([]v1alpha1.UsageSession, 64)
	for i := range many {
		many[i] = exec
		many[i].ID, many[i].User = fmt.Sprint(i), strings.Repeat("\u202e", 256)
	}
	if c := set(nil, whole, nil, many...)[0]; len(c.Message) > 4096 || !strings.HasPrefix(c.Message, "64 sessions outlive") || strings.Contains(c.Message, "\u202e") {
		t.Errorf("%d bytes: %s", len(c.Message), c.Message)
	}
}
