package policy

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// TestWeighStages: every stage has people of its own, in whatever order they come.
func TestWeighStages(t *testing.T) {
	owners, security := stage("owners", 1, group("owners")), stage("security", 1, group("security"))
	both, twoOwners := of("owners", "security"), stage("owners", 2, group("owners"))
	watchers := stage("watchers", 0, group("watchers"))
	for name, test := range map[string]struct {
		stages    []v1alpha1.StageApproval
		decisions []v1alpha1.Decision
		// approved by stage, "" when nobody; message of the outcome.
		approved []string
		message  string
	}{
		"nobody yet":                 {list(owners, security), nil, list("", ""), "0 of 2 approvals; 1 more of group:owners for owners, and 1 more of group:security for security"},
		"one":                        {list(owners, security), list(approve("bob", of("owners"))), list("bob", ""), "1 of 2 approvals; 1 more of group:security for security"},
		"one in both":                {list(owners, security), list(approve("bob", both)), list("bob", ""), "1 of 2 approvals; 1 more of group:security for security"},
		"one in both, twice":         {list(owners, security), list(approve("bob", both), approve("Bob", both)), list("bob", ""), "1 of 2 approvals; 1 more of group:security for security (not counted: Bob has approved already)"},
		"both, the broader first":    {list(owners, security), list(approve("bob", both), approve("carol", of("owners"))), list("carol", "bob"), "approved by bob, carol"},
		"both, the broader last":     {list(owners, security), list(approve("carol", of("owners")), approve("bob", both)), list("carol", "bob"), "approved by carol, bob"},
		"both, the other way":        {list(security, owners), list(approve("bob", both), approve("carol", of("security"))), list("carol", "bob"), "approved by bob, carol"},
		"two in one":                 {list(owners, security), list(approve("bob", of("owners")), approve("carol", of("owners"))), list("bob", ""), "1 of 2 approvals; 1 more of group:security for security"},
		"a chain of three":           {list(owners, security, stage("ops", 1, group("ops"))), list(approve("bob", of("owners", "security")), approve("carol", of("security", "ops")), approve("dave", of("owners"))), list("dave", "bob", "carol"), "approved by bob, carol, dave"},
		"two of one stage":           {list(twoOwners, security), list(approve("bob", both), approve("carol", both), approve("dave", both)), list("bob,carol", "dave"), "approved by bob, carol, dave"},
		"more than is needed":        {list(owners), list(approve("bob", of("owners")), approve("carol", of("owners"))), list("bob"), "approved by bob, carol"},
		"none needed":                {list(watchers), nil, list(""), "the policy asks for no approval"},
		"none needed of some":        {list(owners, watchers), list(approve("wanda", of("watchers"))), list("", ""), "0 of 1 approvals; 1 more of group:owners for owners"},
		"no stage":                   {nil, nil, nil, "the policy asks for no approval"},
		"a stage of a single person": {list(owners, stage("boss", 1, user("zoe"))), list(approve("bob", of("owners"))), list("bob", ""), "1 of 2 approvals; 1 more of zoe for boss"},
		"who benefits is in no stage": {
			list(owners, security), list(approve("alice", both), approve("bob", both)), list("bob", ""),
			"1 of 2 approvals; 1 more of group:security for security (not counted: alice would benefit)",
		},
		"denied in a stage of which nobody is needed": {list(owners, watchers), list(approve("bob", of("owners")), deny("wanda", of("watchers"))), list("bob", ""), "denied by wanda"},
		"revoked in the second":                       {list(owners, security), list(revoke("carol", of("security"))), list("", ""), "revoked by carol"},
		"denied by somebody in none":                  {list(owners, security), list(deny("mallory", of("dev"))), list("", ""), "0 of 2 approvals; 1 more of group:owners for owners, and 1 more of group:security for security"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Weigh(newBallot(test.decisions, inStages(test.stages...)))
			var approved []string
			for _, s := range got.Stages {
				approved = append(approved, strings.Join(s.Approved, ","))
			}
			if !slices.Equal(approved, test.approved) || got.Message != test.message {
				t.Errorf("got %q: %s\nwant %q: %s", approved, got.Message, test.approved, test.message)
			}
			if want := strings.HasPrefix(test.message, "approved") || strings.HasPrefix(test.message, "the policy asks for no"); got.Approved != want {
				t.Errorf("approved: %v", got.Approved)
			}
		})
	}
}

// Who approved is not taken from the status.
func TestWeighBelievesNoStatus(t *testing.T) {
	forged := stage("owners", 1, group("owners"))
	forged.Approved = list("bob")
	if got := Weigh(newBallot(nil, inStages(forged))); got.Approved || got.Stages[0].Approved != nil {
		t.Errorf("got %+v", got)
	}
}

// FuzzStages compares the matching with all assignments that there are.
func FuzzStages(f *testing.F) {
	f.Add(uint64(0b_011_001), byte(2), byte(0b0101), int64(1))
	f.Add(uint64(0b_100_110_011_001), byte(3), byte(0b010101), int64(2))
	f.Add(uint64(0xfff), byte(4), byte(0xff), int64(3))
	f.Fuzz(func(t *testing.T, memberships uint64, size, counts byte, order int64) {
		groups := list("a", "b", "c", "d")[:1+size%4]
		var ballotStages []v1alpha1.StageApproval
		for i, g := range groups {
			ballotStages = append(ballotStages, stage(g, int32(counts>>(2*i)&3), group(g)))
		}
		var decisions []v1alpha1.Decision
		eligible := map[string][]int{}
		for person := range 6 {
			bits := memberships >> (4 * person) & 15
			var in []string
			var stages []int
			for i, g := range groups {
				if bits>>i&1 == 1 {
					in, stages = append(in, g), append(stages, i)
				}
			}
			if len(in) > 0 {
				name := fmt.Sprint("p", person)
				decisions, eligible[name] = append(decisions, approve(name, of(in...))), stages
			}
		}
		most := bruteForce(decisions, eligible, ballotStages, make([]int32, len(groups)))
		rand.New(rand.NewSource(order)).Shuffle(len(decisions), func(i, j int) { decisions[i], decisions[j] = decisions[j], decisions[i] })
		got := Weigh(newBallot(decisions, inStages(ballotStages...)))

		placed, seen := 0, map[string]bool{}
		for i, s := range got.Stages {
			if len(s.Approved) > int(*s.Count) {
				t.Errorf("%d count where %d are needed", len(s.Approved), *s.Count)
			}
			for _, who := range s.Approved {
				if seen[who] || !slices.Contains(eligible[who], i) {
					t.Errorf("%s counts in stage %s", who, s.Name)
				}
				seen[who] = true
				placed++
			}
		}
		if placed != most {
			t.Errorf("%d approvals are placed, %d could be", placed, most)
		}
		if want := most == v1alpha1.RequiredBy(ballotStages); got.Approved != want {
			t.Errorf("approved: %v, want %v", got.Approved, want)
		}
	})
}

// bruteForce is the most approvals that can be placed, by trying everything.
func bruteForce(decisions []v1alpha1.Decision, eligible map[string][]int, stages []v1alpha1.StageApproval, placed []int32) int {
	if len(decisions) == 0 {
		return 0
	}
	most := bruteForce(decisions[1:], eligible, stages, placed)
	for _, i := range eligible[decisions[0].Username] {
		if placed[i] < *stages[i].Count {
			placed[i]++
			most = max(most, 1+bruteForce(decisions[1:], eligible, stages, placed))
			placed[i]--
		}
	}
	return most
}

// TestStagesFor: the group that a label names, each once, and words where there is none.
func TestStagesFor(t *testing.T) {
	ns := func(name, team string) Namespace {
		n := Namespace{Name: name}
		if team != "" {
			n.Labels = map[string]string{"team": team}
		}
		return n
	}
	many := func(n int) (out []Namespace) {
		for i := range n {
			out = append(out, ns(fmt.Sprint("n", i), fmt.Sprint("t", i)))
		}
		return out
	}
	owners := func(team string) v1alpha1.StageApproval { return stage("owners", 1, group("team-"+team+":owners")) }
	for name, test := range map[string]struct {
		policy  ofPolicy
		request ofRequest
		want    []v1alpha1.StageApproval
		why     string
	}{
		"a label":                       {stages(byLabel("owners", "team")), in(ns("a", "pay")), list(owners("pay")), ""},
		"two namespaces of one team":    {stages(byLabel("owners", "team")), in(ns("a", "pay"), ns("b", "pay")), list(owners("pay")), ""},
		"two namespaces of two teams":   {stages(byLabel("owners", "team")), in(ns("a", "pay"), ns("b", "web")), list(owners("pay"), owners("web")), ""},
		"with another stage":            {stages(byLabel("owners", "team"), from("security", 2, group("sec"))), in(ns("a", "pay")), list(owners("pay"), stage("security", 2, group("sec"))), ""},
		"no label":                      {stages(byLabel("owners", "team")), in(ns("a", "pay"), ns("b", "")), nil, `has the stage "owners", which the group in the label team of the namespace decides, and namespace b has no such label`},
		"the whole cluster":             {stages(byLabel("owners", "team")), func(r *Request) { r.Cluster, r.Namespaces = true, nil }, nil, `has the stage "owners", which the group in the label team of a namespace decides: cluster-wide access has no namespace`},
		"as many groups as can be":      {stages(byLabel("owners", "team")), in(many(8)...), nil, ""},
		"more groups than can be":       {stages(byLabel("owners", "team")), in(many(9)...), nil, "comes to 9 stages and 9 approvals for so many namespaces, and at most 8 and 16 are possible: ask for fewer at a time"},
		"more approvals than can be":    {stages(byLabel("owners", "team"), from("security", 16, group("sec"))), in(many(1)...), nil, "comes to 2 stages and 17 approvals for so many namespaces, and at most 8 and 16 are possible: ask for fewer at a time"},
		"count is 1 where it is unsaid": {stages(v1alpha1.ApprovalStage{Name: "sre", From: named(group("sre"))}), in(ns("a", "")), list(stage("sre", 1, group("sre"))), ""},
		"a group of Kubernetes": {
			stages(v1alpha1.ApprovalStage{Name: "owners", FromNamespaceLabel: &v1alpha1.NamespaceLabel{Key: "team", Prefix: "SYSTEM:"}}), in(ns("a", "masters")), nil,
			`has the stage "owners", which the group in the label team of namespace a decides, and SYSTEM:masters belongs to Kubernetes`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := compiled("p", test.policy).stagesFor(newRequest(test.request))
			if why != test.why {
				t.Errorf("got %q, want %q", why, test.why)
			}
			if test.want != nil && !slices.EqualFunc(got, test.want, func(a, b v1alpha1.StageApproval) bool {
				return a.Name == b.Name && *a.Count == *b.Count && slices.Equal(a.From, b.From)
			}) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	// Two stages that a label names after one group, and there is one person in it who
	// does not ask: nobody knows how many are in a group, so people are asked.
	if m := Find(t.Context(), list(compiled("p", stages(byLabel("owners", "team")), anyNamespace)), newRequest(in(ns("a", ""))), noon); m.Answer != NotAllowed || !m.About ||
		!strings.Contains(m.Message, "namespace a has no such label") {
		t.Errorf("got %+v", m)
	}
}

func TestNeeds(t *testing.T) {
	who := func(name string, groups ...string) v1alpha1.UserInfo {
		return v1alpha1.UserInfo{Username: name, Groups: groups}
	}
	owners, security := stage("owners", 1, group("owners")), stage("security", 1, group("security"))
	ballot := newBallot(list(approve("bob", of("owners"))), inStages(owners, security, stage("watchers", 0, group("watchers"))))
	for name, test := range map[string]struct {
		who  v1alpha1.UserInfo
		want bool
	}{
		"of the stage that is short":       {who("carol", "security"), true},
		"of the stage that has its people": {who("dave", "owners"), false},
		"of both":                          {who("dave", "owners", "security"), true},
		"who has approved":                 {who("bob", "owners", "security"), false},
		"who benefits":                     {who("alice", "security"), false},
		"of whom nobody is needed":         {who("wanda", "watchers"), false},
		"of none":                          {who("mallory"), false},
	} {
		if got := ballot.Needs(test.who); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func atMost(d time.Duration) ofDecision {
	return func(x *v1alpha1.Decision) { x.MaxDuration = &metav1.Duration{Duration: d} }
}

func until(at time.Time) ofDecision {
	return func(x *v1alpha1.Decision) { x.NotAfter = ptr.To(metav1.NewTime(at)) }
}

// TestCapped: the smallest of what was asked for and of what approvers allow.
func TestCapped(t *testing.T) {
	for name, test := range map[string]struct {
		decisions []v1alpha1.Decision
		want      time.Duration
		by        string
	}{
		"nobody says anything":        {list(approve("bob")), time.Hour, ""},
		"less":                        {list(approve("bob", atMost(20*time.Minute))), 20 * time.Minute, "bob"},
		"more changes nothing":        {list(approve("bob", atMost(2*time.Hour))), time.Hour, ""},
		"as much changes nothing":     {list(approve("bob", atMost(time.Hour))), time.Hour, ""},
		"until":                       {list(approve("bob", until(noon.Add(10*time.Minute)))), 10 * time.Minute, "bob"},
		"until later changes nothing": {list(approve("bob", until(noon.Add(10*time.Hour)))), time.Hour, ""},
		"until what is over":          {list(approve("bob", until(noon.Add(-time.Minute)))), -time.Minute, "bob"},
		"both, one is less":           {list(approve("bob", atMost(20*time.Minute), until(noon.Add(10*time.Minute)))), 10 * time.Minute, "bob"},
		"two people":                  {list(approve("bob", atMost(20*time.Minute)), approve("carol", atMost(15*time.Minute))), 15 * time.Minute, "carol"},
		"two people, the first less":  {list(approve("bob", atMost(15*time.Minute)), approve("carol", atMost(20*time.Minute))), 15 * time.Minute, "bob"},
		"somebody more than needed":   {list(approve("bob"), approve("carol"), approve("dave", atMost(time.Minute))), time.Minute, "dave"},
		"a stranger":                  {list(approve("bob"), approve("mallory", of("dev"), atMost(time.Minute))), time.Hour, ""},
		"somebody who benefits":       {list(approve("bob"), approve("alice", atMost(time.Minute))), time.Hour, ""},
		"for other rules":             {list(approve("bob"), approve("carol", seeing("old"), atMost(time.Minute))), time.Hour, ""},
		"a Deny has none":             {list(deny("bob", atMost(time.Minute))), time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			end, by := Capped(noon, noon.Add(time.Hour), Weigh(newBallot(test.decisions, needs(1))).Caps)
			if end.Sub(noon) != test.want || by != test.by {
				t.Errorf("got %s by %q, want %s by %q", end.Sub(noon), by, test.want, test.by)
			}
		})
	}
}

// FuzzCapped: caps never give more, one more cap never gives more than before, and the
// order does not matter.
func FuzzCapped(f *testing.F) {
	f.Add(int64(3600), int64(60), int64(0), int64(0), int64(90))
	f.Fuzz(func(t *testing.T, asked, d1, n1, d2, n2 int64) {
		some := func(by string, d, n int64) Cap {
			c := Cap{By: by, MaxDuration: time.Duration(max(0, d%86400)) * time.Second}
			if n != 0 {
				c.NotAfter = noon.Add(time.Duration(n%86400) * time.Second)
			}
			return c
		}
		until := noon.Add(time.Duration(asked%86400) * time.Second)
		a, b := some("a", d1, n1), some("b", d2, n2)
		one, _ := Capped(noon, until, list(a))
		two, by := Capped(noon, until, list(a, b))
		other, _ := Capped(noon, until, list(b, a))
		if one.After(until) || two.After(one) || !two.Equal(other) {
			t.Errorf("asked %s, one %s, two %s, the other way %s", until, one, two, other)
		}
		if (by != "") != two.Before(until) {
			t.Errorf("%s of %s, by %q", two, until, by)
		}
	})
}
