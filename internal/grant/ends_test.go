package grant

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/task"
)

var errUnknown = errors.New("nobody can say now")

// whole is a grant that has every part that can end it, and that was given.
func whole(changes ...ofGrant) *v1alpha1.AccessGrant {
	g := newGrant(append([]ofGrant{to(user("alice"), account("ci", "deployer")), in("a", "b"), func(s *v1alpha1.AccessGrantSpec) {
		s.ExpirationTime = metav1.NewTime(deadline)
		s.RequestRef = v1alpha1.RequestRef{Namespace: "payments", ObjectRef: v1alpha1.ObjectRef{Name: "fix", UID: "request"}}
		s.PolicyRef = v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "prod", UID: "policy"}, Generation: 1}
		s.Task = &v1alpha1.GrantTask{TaskRef: v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}, UID: "job"}
		s.RoleUID, s.RulesHash = "role", "as approved"
		s.Extends = &v1alpha1.GrantExtended{ObjectRef: v1alpha1.ObjectRef{Name: "first", UID: "first"}, Extensions: 1, First: "first", ExpirationTime: given}
		s.RoleRules = []string{"get,list pods"}
	}}, changes...)...)
	for _, o := range Objects(g) {
		g.Status.Bindings = append(g.Status.Bindings, o.Ref("binding"))
	}
	g.UID, g.CreationTimestamp = "grant", given
	g.Status.GrantedTime = &given
	return g
}

// fine are facts with which no grant is over.
func fine() *Facts {
	return &Facts{
		Request: func() (*v1alpha1.AccessRequest, error) {
			return &v1alpha1.AccessRequest{
				ObjectMeta: metav1.ObjectMeta{UID: "request"},
				Spec:       v1alpha1.AccessRequestSpec{Requester: v1alpha1.UserInfo{Username: "alice"}},
				Status:     v1alpha1.AccessRequestStatus{Phase: v1alpha1.RequestActive, Approvals: []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "bob"}}}}},
			}, nil
		},
		Policy: func() (*v1alpha1.AccessPolicy, error) {
			return &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "prod", UID: "policy", Generation: 1}, Spec: v1alpha1.AccessPolicySpec{
				IdleTimeout: &metav1.Duration{Duration: 30 * time.Minute},
				Suspicious:  []v1alpha1.SuspiciousUse{{Name: "told", Action: v1alpha1.SuspiciousReport}, {Name: "secrets", Action: v1alpha1.SuspiciousRevoke}},
			}}, nil
		},
		Refusal: func() (string, error) { return "", nil },
		Usage:   func() (*v1alpha1.AccessUsage, error) { return nil, nil },
		Lock:    func(bool) (*v1alpha1.AccessLock, error) { return nil, nil },
		Before: func() (*Before, error) {
			return &Before{Grant: &v1alpha1.AccessGrant{}, Request: &v1alpha1.AccessRequest{}, End: func() (*End, error) { return nil, nil }}, nil
		},
		Successor: func() (*v1alpha1.AccessGrant, error) { return nil, nil },
		Task:      func() (TaskNow, error) { return TaskNow{State: task.Running}, nil },
		Roles: func() RolesNow {
			return RolesNow{Each: []RoleNow{{UID: "role", Approved: "role"}}, Fingerprint: "as approved"}
		},
		ServiceAccount: func(_, name string) (types.UID, error) { return types.UID("uid-of-" + name), nil },
		Namespace:      func(name string) (types.UID, error) { return types.UID("uid-of-" + name), nil },
		Intact:         func(Object) (bool, error) { return true, nil },
	}
}

// change changes a fact; rest are the facts without that change.
type change func(f, rest *Facts)

func request(edit func(*v1alpha1.AccessRequest)) change {
	return func(f, rest *Facts) {
		f.Request = func() (*v1alpha1.AccessRequest, error) {
			r, err := rest.Request()
			edit(r)
			return r, err
		}
	}
}

func decision(verdict v1alpha1.Verdict, by string) change {
	return request(func(r *v1alpha1.AccessRequest) {
		r.Status.Decisions = []v1alpha1.Decision{{Username: by, Verdict: verdict}}
	})
}

func policyIs(edit func(*v1alpha1.AccessPolicy)) change {
	return func(f, rest *Facts) {
		f.Policy = func() (*v1alpha1.AccessPolicy, error) {
			p, err := rest.Policy()
			edit(p)
			return p, err
		}
	}
}

// given is when the grant of whole was given: an hour before before.
var given = metav1.NewTime(before.Add(-time.Hour))

// at is a moment, in minutes after the grant was given.
func at(minutes int) *v1alpha1.Moment {
	m := metav1.NewTime(given.Add(time.Duration(minutes) * time.Minute))
	return &m
}

type ofUsage func(*v1alpha1.AccessUsage)

func usageIs(changes ...ofUsage) change {
	return func(f, _ *Facts) {
		f.Usage = func() (*v1alpha1.AccessUsage, error) {
			u := &v1alpha1.AccessUsage{}
			for _, change := range changes {
				change(u)
			}
			return u, nil
		}
	}
}

func observed(since, until int) ofUsage {
	return func(u *v1alpha1.AccessUsage) { u.Status.Since, u.Status.Until = at(since), at(until) }
}

func calledAt(minutes int) ofUsage {
	return func(u *v1alpha1.AccessUsage) { u.Status.LastCall, u.Status.Calls = at(minutes), 1 }
}

func gapUntil(minutes int) ofUsage {
	return func(u *v1alpha1.AccessUsage) { u.Status.LastGap, u.Status.Gaps = at(minutes), 1 }
}

func open(kinds ...string) ofUsage {
	return func(u *v1alpha1.AccessUsage) {
		for _, kind := range kinds {
			u.Status.Sessions = append(u.Status.Sessions, v1alpha1.UsageSession{ID: kind, Kind: kind, Since: *at(1)})
		}
	}
}

func finding(name string, action v1alpha1.SuspiciousAction, minutes int) ofUsage {
	return func(u *v1alpha1.AccessUsage) {
		u.Status.Suspicious = append(u.Status.Suspicious, v1alpha1.UsageFinding{
			Name: name, Action: action, Message: "9 Secrets read", Times: 9, First: *at(minutes), Last: *at(minutes),
		})
	}
}

// lockIs is a lock, which the cache shows or does not yet.
func lockIs(cached bool) change {
	return func(f, _ *Facts) {
		f.Lock = func(live bool) (*v1alpha1.AccessLock, error) {
			if !live && !cached {
				return nil, nil
			}
			l := &v1alpha1.AccessLock{Spec: v1alpha1.AccessLockSpec{Subject: user("alice").Subject, Reason: "her laptop was stolen", By: "carol"}}
			l.Name = "stop"
			return l, nil
		}
	}
}

// beforeIs changes the grant that is extended.
func beforeIs(edit func(*Before)) change {
	return func(f, rest *Facts) {
		f.Before = func() (*Before, error) {
			b, err := rest.Before()
			edit(b)
			return b, err
		}
	}
}

// endedBefore is that it ended, for a reason.
func endedBefore(reason v1alpha1.EndReason) change {
	return beforeIs(func(b *Before) {
		b.Grant.Status.Phase, b.Grant.Status.EndReason, b.Grant.Status.EndedBy = v1alpha1.GrantEnded, reason, "bob"
	})
}

func taskIs(now TaskNow, err error) change {
	return func(f, _ *Facts) { f.Task = func() (TaskNow, error) { return now, err } }
}

func rolesAre(fingerprint string, each ...RoleNow) change {
	return func(f, _ *Facts) {
		f.Roles = func() RolesNow { return RolesNow{Each: each, Fingerprint: fingerprint} }
	}
}

func podRules(verb string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{"pods"}}}
}

var deletedNow = metav1.NewTime(deadline.Add(-time.Hour))

// over are the ways to end, by the row of ends that finds them.
var over = map[string]map[string]struct {
	change change
	reason v1alpha1.EndReason
	says   string
}{
	"request": {
		"is gone":          {func(f, _ *Facts) { f.Request = func() (*v1alpha1.AccessRequest, error) { return nil, nil } }, v1alpha1.EndRequestDeleted, "payments/fix was deleted"},
		"is another":       {request(func(r *v1alpha1.AccessRequest) { r.UID = "another" }), v1alpha1.EndRequestDeleted, ""},
		"is being deleted": {request(func(r *v1alpha1.AccessRequest) { r.DeletionTimestamp = &deletedNow }), v1alpha1.EndRequestDeleted, ""},
		"is over":          {request(func(r *v1alpha1.AccessRequest) { r.Status.Phase = v1alpha1.RequestExpired }), v1alpha1.EndNotApproved, "ended (Expired) before its grant"},
		"was denied":       {decision(v1alpha1.VerdictDeny, "bob"), v1alpha1.EndDenied, "denied by bob"},
		"was revoked":      {decision(v1alpha1.VerdictRevoke, "bob"), v1alpha1.EndRevoked, "revoked by bob"},
		"was released":     {decision(v1alpha1.VerdictRelease, "alice"), v1alpha1.EndReleased, "released by alice"},
		"released and over": {request(func(r *v1alpha1.AccessRequest) {
			r.Status.Phase = v1alpha1.RequestCompleted
			r.Status.Decisions = []v1alpha1.Decision{{Username: "alice", Verdict: v1alpha1.VerdictRelease}}
		}), v1alpha1.EndReleased, ""},
	},
	"locked": {
		"is in force": {lockIs(true), v1alpha1.EndLocked, "alice is locked out until it is deleted by AccessLock stop of carol: her laptop was stolen"},
		"is seen live only, and a binding is gone": {func(f, rest *Facts) {
			lockIs(false)(f, rest)
			f.Intact = func(Object) (bool, error) { return false, nil }
		}, v1alpha1.EndLocked, ""},
	},
	"before": {
		"is revoked": {beforeIs(func(b *Before) {
			b.Request.Spec.Requester.Username = "alice"
			b.Request.Status.Approvals = []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "bob"}}}}
			b.Request.Status.Decisions = []v1alpha1.Decision{{Username: "bob", Verdict: v1alpha1.VerdictRevoke}}
		}), v1alpha1.EndRevoked, "AccessGrant first, which it extends, ended: revoked by bob"},
		"is to end": {beforeIs(func(b *Before) {
			b.End = func() (*End, error) { return endf(v1alpha1.EndPolicyGone, "AccessPolicy prod was deleted"), nil }
		}), v1alpha1.EndPolicyGone, "which it extends, ended: AccessPolicy prod was deleted"},
		"ended otherwise":        {endedBefore(v1alpha1.EndSuspicious), v1alpha1.EndSuspicious, "which it extends, ended: Suspicious"},
		"is extended by another": {endedBefore(v1alpha1.EndExtended), v1alpha1.EndNotGrantable, "another request extended the access of AccessGrant first first"},
		"is gone":                {beforeIs(func(b *Before) { b.Grant, b.Request = nil, nil }), v1alpha1.EndGrantDeleted, "is gone"},
	},
	"extended": {
		"has a successor": {func(f, _ *Facts) {
			f.Successor = func() (*v1alpha1.AccessGrant, error) {
				next := whole()
				next.Name, next.Spec.RequestRef.Name = "more-1", "more"
				return next, nil
			}
		}, v1alpha1.EndExtended, "extended by AccessRequest payments/more until 2026-07-15T12:00:00Z: AccessGrant more-1 holds the access now"},
	},
	"policy": {
		"is gone":          {func(f, _ *Facts) { f.Policy = func() (*v1alpha1.AccessPolicy, error) { return nil, nil } }, v1alpha1.EndPolicyGone, "prod was deleted"},
		"is another":       {policyIs(func(p *v1alpha1.AccessPolicy) { p.UID = "another" }), v1alpha1.EndPolicyGone, ""},
		"is being deleted": {policyIs(func(p *v1alpha1.AccessPolicy) { p.DeletionTimestamp = &deletedNow }), v1alpha1.EndPolicyGone, ""},
		"refuses": {func(f, rest *Facts) {
			f.Refusal = func() (string, error) { return "forbids it", nil }
			policyIs(func(p *v1alpha1.AccessPolicy) { p.Generation = 2 })(f, rest)
		}, v1alpha1.EndPolicyChanged, "was changed and no longer allows this: it forbids it"},
		"refuses a namespace": {func(f, _ *Facts) { f.Refusal = func() (string, error) { return "does not cover a", nil } }, v1alpha1.EndPolicyChanged, "as a namespace has changed: it does not cover a"},
	},
	"suspicious": {
		"was seen": {usageIs(finding("secrets", v1alpha1.SuspiciousRevoke, 5)), v1alpha1.EndSuspicious, "AccessPolicy prod calls a use of it suspicious, secrets: 9 Secrets read"},
		"was seen among others": {
			usageIs(finding("told", v1alpha1.SuspiciousReport, 1), finding("gone", v1alpha1.SuspiciousRevoke, 1), finding("secrets", v1alpha1.SuspiciousRevoke, 5)),
			v1alpha1.EndSuspicious, "secrets",
		},
		"was seen as it began": {usageIs(finding("secrets", v1alpha1.SuspiciousRevoke, 0)), v1alpha1.EndSuspicious, ""},
	},
	"idle": {
		"was never used":       {usageIs(observed(0, 30)), v1alpha1.EndIdle, "not used for 30m: no call was observed from 2026-07-15T10:00:00Z, when it was given, until 2026-07-15T10:30:00Z, and AccessPolicy prod ends what is idle for 30m"},
		"was used once":        {usageIs(observed(0, 40), calledAt(10)), v1alpha1.EndIdle, "from 2026-07-15T10:10:00Z, the last call, until"},
		"was seen from late":   {usageIs(observed(7, 37)), v1alpha1.EndIdle, "when the observation began"},
		"was seen with a gap":  {usageIs(observed(0, 50), gapUntil(20)), v1alpha1.EndIdle, "when an interruption of the observation ended"},
		"has but a watch open": {usageIs(observed(0, 30), open("watch")), v1alpha1.EndIdle, "; a watch is open, which is no use"},
	},
	"task": {
		"is complete":        {taskIs(TaskNow{State: task.Completed, Why: "Job migrate succeeded"}, nil), v1alpha1.EndTaskCompleted, "Job migrate succeeded"},
		"failed":             {taskIs(TaskNow{State: task.Failed, Why: "Job migrate failed"}, nil), v1alpha1.EndTaskFailed, ""},
		"is gone":            {taskIs(TaskNow{Gone: true}, nil), v1alpha1.EndTaskGone, "Job migrate was deleted or replaced"},
		"was complete, gone": {taskIs(TaskNow{Gone: true, State: task.Completed, Why: "it succeeded"}, nil), v1alpha1.EndTaskCompleted, "it succeeded, and was deleted"},
	},
	"role": {
		"is gone":                           {rolesAre("", RoleNow{Missing: "ClusterRole edit does not exist", Approved: "role"}), v1alpha1.EndRoleGone, "ClusterRole edit does not exist"},
		"is another":                        {rolesAre("as approved", RoleNow{UID: "another", Approved: "role"}), v1alpha1.EndRoleGone, "deleted and recreated"},
		"one is unknown and the other gone": {rolesAre("", RoleNow{Err: errUnknown}, RoleNow{Missing: "Role b/edit does not exist"}), v1alpha1.EndRoleGone, "Role b/edit"},
		"allows more":                       {rolesAre("changed", RoleNow{UID: "role", Approved: "role", Rules: podRules("delete")}), v1alpha1.EndRoleWidened, "more than was approved"},
		"changed somewhere": {
			rolesAre("changed", RoleNow{UID: "role", Approved: "role", Rules: podRules("get")}, RoleNow{UID: "role", Approved: "role", Rules: podRules("get")}),
			v1alpha1.EndRoleWidened, "",
		},
	},
	"subject": {
		"is gone":    {func(f, _ *Facts) { f.ServiceAccount = func(string, string) (types.UID, error) { return "", nil } }, v1alpha1.EndSubjectGone, "ci/deployer"},
		"is another": {func(f, _ *Facts) { f.ServiceAccount = func(string, string) (types.UID, error) { return "x", nil } }, v1alpha1.EndSubjectGone, ""},
	},
	"namespace": {
		"is gone": {func(f, _ *Facts) { f.Namespace = func(string) (types.UID, error) { return "", nil } }, v1alpha1.EndNamespaceGone, "namespace a"},
		"one is gone and the other unknown": {func(f, _ *Facts) {
			f.Namespace = func(name string) (types.UID, error) {
				if name == "a" {
					return "", errUnknown
				}
				return "", nil
			}
		}, v1alpha1.EndNamespaceGone, "namespace b"},
	},
	"binding": {
		"was touched": {func(f, _ *Facts) { f.Intact = func(Object) (bool, error) { return false, nil } }, v1alpha1.EndBindingTouched, "RoleBinding a/fix-1"},
		"one was touched, the other unknown": {func(f, _ *Facts) {
			f.Intact = func(o Object) (bool, error) {
				if o.Namespace == "a" {
					return false, errUnknown
				}
				return false, nil
			}
		}, v1alpha1.EndBindingTouched, "RoleBinding b/fix-1"},
	},
}

// unknown makes one fact fail in each case.
var unknown = map[string]func(*Facts){
	"request":         func(f *Facts) { f.Request = func() (*v1alpha1.AccessRequest, error) { return nil, errUnknown } },
	"policy":          func(f *Facts) { f.Policy = func() (*v1alpha1.AccessPolicy, error) { return nil, errUnknown } },
	"refusal":         func(f *Facts) { f.Refusal = func() (string, error) { return "", errUnknown } },
	"usage":           func(f *Facts) { f.Usage = func() (*v1alpha1.AccessUsage, error) { return nil, errUnknown } },
	"what it extends": func(f *Facts) { f.Before = func() (*Before, error) { return nil, errUnknown } },
	"the end of that": func(f *Facts) {
		f.Before = func() (*Before, error) {
			return &Before{Grant: &v1alpha1.AccessGrant{}, End: func() (*End, error) { return nil, errUnknown }}, nil
		}
	},
	"the successor":   func(f *Facts) { f.Successor = func() (*v1alpha1.AccessGrant, error) { return nil, errUnknown } },
	"lock":            func(f *Facts) { f.Lock = func(bool) (*v1alpha1.AccessLock, error) { return nil, errUnknown } },
	"task":            func(f *Facts) { f.Task = func() (TaskNow, error) { return TaskNow{}, errUnknown } },
	"a role":          func(f *Facts) { rolesAre("as approved", RoleNow{Err: errUnknown})(f, nil) },
	"service account": func(f *Facts) { f.ServiceAccount = func(string, string) (types.UID, error) { return "", errUnknown } },
	"namespace":       func(f *Facts) { f.Namespace = func(string) (types.UID, error) { return "", errUnknown } },
	"binding":         func(f *Facts) { f.Intact = func(Object) (bool, error) { return false, errUnknown } },
}

var before = deadline.Add(-time.Hour)

func TestOver(t *testing.T) {
	if end, err := Over(whole(), fine(), before); end != nil || err != nil {
		t.Fatalf("a grant by which nothing is over ends: %v, %v", end, err)
	}
	for row, cases := range over {
		for name, test := range cases {
			t.Run(row+" "+name, func(t *testing.T) {
				facts := fine()
				test.change(facts, fine())
				end, err := Over(whole(), facts, before)
				if err != nil || end == nil || end.Reason != test.reason || !strings.Contains(end.Message, test.says) {
					t.Errorf("got %+v, %v, want %s: %s", end, err, test.reason, test.says)
				}
			})
		}
	}
	// Each way to end needs its cases.
	for _, row := range ends {
		if over[row.name] == nil && row.name != "deleted" {
			t.Errorf("there is no case for %s", row.name)
		}
	}
	// A fact that is not known ends nothing, and its error is returned.
	for name, change := range unknown {
		facts := fine()
		change(facts)
		if end, err := Over(whole(), facts, before); end != nil || !errors.Is(err, errUnknown) {
			t.Errorf("%s unknown: %v, %v", name, end, err)
		}
	}
}

func TestOverInOtherWays(t *testing.T) {
	being := whole()
	being.DeletionTimestamp = &deletedNow
	if end, err := Over(being, fine(), before); err != nil || end == nil || end.Reason != v1alpha1.EndGrantDeleted {
		t.Errorf("a grant that is being deleted: %v, %v", end, err)
	}
	touched := fine()
	over["binding"]["was touched"].change(touched, fine())
	if end, _ := Over(whole(), touched, deadline.Add(-time.Second)); end == nil || end.Reason != v1alpha1.EndExpired {
		t.Errorf("a binding that another replica took at the deadline: %v", end)
	}
	none := whole()
	none.Status.Bindings = nil
	if end, err := Over(none, touched, before); end != nil || err != nil {
		t.Errorf("a binding that was not given yet: %v, %v", end, err)
	}
	for name, change := range map[string]change{
		"a role that keeps what it allows":      rolesAre("changed", RoleNow{UID: "role", Approved: "role", Rules: podRules("get")}),
		"a task that is held back again":        taskIs(TaskNow{State: task.Waiting}, nil),
		"a Revoke by somebody else":             decision(v1alpha1.VerdictRevoke, "mallory"),
		"a Release by somebody else":            decision(v1alpha1.VerdictRelease, "mallory"),
		"a policy that changed and allows this": policyIs(func(p *v1alpha1.AccessPolicy) { p.Generation = 2 }),
		"a wider role, where that is kept": func(f, rest *Facts) {
			over["role"]["allows more"].change(f, rest)
			policyIs(func(p *v1alpha1.AccessPolicy) { p.Spec.OnRoleWidened = v1alpha1.OnRoleWidenedKeep })(f, rest)
		},
	} {
		facts := fine()
		change(facts, fine())
		if end, err := Over(whole(), facts, before); end != nil || err != nil {
			t.Errorf("%s: %v, %v", name, end, err)
		}
	}
	unreadable := whole()
	unreadable.Spec.RoleRules = []string{"\"not a line"}
	facts := fine()
	over["role"]["allows more"].change(facts, fine())
	if end, err := Over(unreadable, facts, before); end != nil || err == nil {
		t.Errorf("rules that nobody can read: %v, %v", end, err)
	}
}

// A kind that is not served says nothing about the task, until that has been
// reported for so long that its objects must be gone.
func TestTaskOfAKindThatIsNotServed(t *testing.T) {
	facts := fine()
	taskIs(TaskNow{}, &task.Untold{Reason: v1alpha1.ReasonTaskNotServed, Message: "no such kind"})(facts, nil)
	for told, want := range map[string]bool{"": false, "another": false, v1alpha1.ReasonTaskNotServed: true} {
		g := whole()
		if told != "" {
			g.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTaskWatched, Reason: told, LastTransitionTime: metav1.NewTime(before.Add(-unservedFor - time.Second))}}
		}
		end, err := Over(g, facts, before)
		if (end != nil) != want || (err == nil) != want {
			t.Errorf("told as %q: %v, %v", told, end, err)
		}
		if want && end.Reason != v1alpha1.EndTaskGone {
			t.Errorf("it ends as %s", end.Reason)
		}
	}
	just := whole()
	just.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionTaskWatched, Reason: v1alpha1.ReasonTaskNotServed, LastTransitionTime: metav1.NewTime(before.Add(-time.Second))}}
	if end, err := Over(just, facts, before); end != nil || err == nil {
		t.Errorf("told a second ago: %v, %v", end, err)
	}
}

// Facts are read only when they are needed: after an end, nothing is read.
func TestFactsAreLazy(t *testing.T) {
	facts := &Facts{Request: func() (*v1alpha1.AccessRequest, error) { return nil, nil }} // all others would panic
	if end, err := Over(whole(), facts, before); end == nil || err != nil {
		t.Errorf("got %v, %v", end, err)
	}
	if end, err := Over(whole(), nil, deadline); end == nil || err != nil || end.Reason != v1alpha1.EndExpired {
		t.Errorf("at the deadline: %v, %v", end, err)
	}
}

// FuzzOver: whatever the facts are, access is over at the deadline. A fact that is
// not known neither ends access nor allows to give it, and one more reason to end
// undoes no end.
func FuzzOver(f *testing.F) {
	type way struct {
		row    string
		change change
		reason v1alpha1.EndReason
	}
	var all []way
	for _, row := range slices.Sorted(maps.Keys(over)) {
		for _, name := range slices.Sorted(maps.Keys(over[row])) {
			all = append(all, way{row, over[row][name].change, over[row][name].reason})
		}
	}
	questions := slices.Sorted(maps.Keys(unknown))
	f.Add(uint64(0), uint64(0), int64(-1))
	f.Add(uint64(1<<20), uint64(3), int64(0))
	f.Fuzz(func(t *testing.T, ended, asked uint64, seconds int64) {
		now := deadline.Add(time.Duration(seconds%1_000_000) * time.Second)
		build := func(ended uint64) (*Facts, map[string]bool) {
			facts, rows := fine(), map[string]bool{}
			for i, name := range questions {
				if asked>>i&1 == 1 {
					unknown[name](facts)
				}
			}
			for i, way := range all {
				if ended>>i&1 == 1 {
					way.change(facts, fine())
					rows[way.row] = true
				}
			}
			return facts, rows
		}
		facts, rows := build(ended)
		end, err := Over(whole(), facts, now)
		switch {
		case !now.Before(deadline):
			if end == nil || end.Reason != v1alpha1.EndExpired || err != nil {
				t.Errorf("after the deadline: %v, %v", end, err)
			}
			return
		case end != nil && err != nil:
			t.Errorf("an end and an error: %v, %v", end, err)
		case end != nil && len(rows) == 0:
			t.Errorf("nothing is over, %b is not known: %v", asked, end)
		case len(rows) == 0 && (err != nil) != (asked&(1<<len(questions)-1) != 0):
			t.Errorf("%b is not known: %v", asked, err)
		}
		if end == nil {
			return
		}
		for i, way := range all {
			if rows[way.row] {
				continue // it would replace a fact, not add one
			}
			more, _ := build(ended | 1<<i)
			if again, _ := Over(whole(), more, now); again == nil {
				t.Errorf("%s is undone by %s", end.Reason, way.reason)
			}
		}
	})
}
