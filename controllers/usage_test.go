package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/controllers/usage"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/test/kit"
)

// watched is a world with a usage reconciler, and with an observer who writes what
// the test says.
type watched struct {
	*world
	usages   *usage.Reconciler
	observer client.Client
	told     *events.FakeRecorder
	registry *prometheus.Registry
	g        *v1alpha1.AccessGrant
	observed map[string]bool
	after    []string // the conditions that were written on grants after their end
}

func newWatched(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) *watched {
	t.Helper()
	w := &watched{world: newWorld(t, edit)}
	w.registry = w.measure()
	w.told = events.NewFakeRecorder(1000)
	w.grants.Status.Journal.Recorder = w.told
	w.observer = e.Observer(t)
	w.useUsage(broker.GetClient(), broker.GetAPIReader())
	return w
}

// useUsage makes a new usage reconciler, as a restart does.
func (w *watched) useUsage(c client.Client, live client.Reader) {
	status := *w.grants.Status
	status.Client = c
	status.AfterEnd = func(before, after *v1alpha1.AccessGrant) {
		for _, now := range after.Status.Conditions {
			if was := meta.FindStatusCondition(before.Status.Conditions, now.Type); was == nil || was.Status != now.Status {
				w.after = append(w.after, now.Type+" "+string(now.Status))
			}
		}
	}
	w.usages = &usage.Reconciler{Client: c, Live: live, Mapper: broker.GetRESTMapper(), Clock: w.clock, Status: &status, Backlog: &queue.Backlog{}}
}

// observe writes the usage of a grant, as the observer does.
func (w *watched) observe(g *v1alpha1.AccessGrant, edit func(*v1alpha1.AccessUsageStatus)) *v1alpha1.AccessUsage {
	w.t.Helper()
	if !w.observed[g.Name] {
		w.observed = map[string]bool{g.Name: true}
		w.t.Cleanup(func() { w.forget(g.Name) })
	}
	u := kit.Observe(w.t, w.observer, g, edit)
	w.fresh(u)
	return u
}

// forget closes a usage at the end of a test, so that it counts in no other.
func (w *watched) forget(name string) {
	u := &v1alpha1.AccessUsage{ObjectMeta: metav1.ObjectMeta{Name: name}}
	ctx := context.WithoutCancel(w.t.Context())
	if w.observer.Get(ctx, client.ObjectKeyFromObject(u), u) == nil {
		u.Status.Phase = v1alpha1.UsageClosed
		if err := w.observer.Update(ctx, u); err != nil {
			w.t.Error(err)
		}
	}
	kit.Eventually(w.t, "the usage to be forgotten", func(ctx context.Context) (bool, error) {
		return apierrors.IsNotFound(broker.GetClient().Get(ctx, client.ObjectKeyFromObject(u), u)), nil
	})
}

// reconcileUsage returns when to look again.
func (w *watched) reconcileUsage(g *v1alpha1.AccessGrant) time.Duration {
	w.t.Helper()
	w.fresh(g)
	result, err := w.usages.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)})
	if err != nil {
		w.t.Fatalf("reconcile usage: %v", err)
	}
	return result.RequeueAfter
}

func (w *watched) pass(d time.Duration) { w.clock.SetTime(w.clock.Now().Add(d)) }

// moment is now, as it is stored.
func (w *watched) moment() *v1alpha1.Moment {
	m := metav1.NewTime(w.clock.Now().Truncate(time.Second))
	return &m
}

// stored is the grant as the API server has it.
func (w *watched) stored(g *v1alpha1.AccessGrant) *v1alpha1.AccessGrant {
	w.t.Helper()
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		w.t.Fatal(err)
	}
	return current
}

// want looks for a condition of a grant that says all of this.
func (w *watched) want(g *v1alpha1.AccessGrant, kind string, status metav1.ConditionStatus, reason string, says ...string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.stored(g).Status.Conditions, kind)
	if c == nil {
		w.t.Errorf("the grant has no condition %s", kind)
		return
	}
	if c.Status != status || c.Reason != reason {
		w.t.Errorf("%s is %s, %s, want %s, %s: %s", kind, c.Status, c.Reason, status, reason, c.Message)
	}
	for _, part := range says {
		if !strings.Contains(c.Message, part) {
			w.t.Errorf("%s does not say %q: %s", kind, part, c.Message)
		}
	}
}

// events are the Events so far, by their reasons.
func (w *watched) events(reason string) (out []string) {
	for {
		select {
		case event := <-w.told.Events:
			if strings.Fields(event)[1] == reason {
				out = append(out, event)
			}
		default:
			return out
		}
	}
}

// released is a grant that its requester gave back, an hour observed.
func (w *watched) end(request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) *v1alpha1.AccessGrant {
	w.t.Helper()
	w.decide(alice, request, v1alpha1.VerdictRelease)
	w.reconcileGrant(g)
	return w.wantEnded(g, v1alpha1.EndReleased)
}

// install gives the broker what a component of config has, for one test.
func (w *watched) install(component string) {
	w.t.Helper()
	for _, file := range []string{"role.yaml", "role_binding.yaml"} {
		content, err := os.ReadFile(filepath.Join("..", "config", "components", component, file))
		if err != nil {
			w.t.Fatal(err)
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(content, &o.Object); err != nil {
			w.t.Fatal(err)
		}
		w.create(o)
		w.t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(w.t.Context()), o) })
	}
}

// mayBroker waits until the authorizer lets the broker do something, or does not any
// more.
func (w *watched) mayBroker(want bool, try func(context.Context, client.Client) error) {
	w.t.Helper()
	as, err := e.AsBroker(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	kit.Eventually(w.t, fmt.Sprintf("the broker's right to be %v", want), func(ctx context.Context) (bool, error) {
		return apierrors.IsForbidden(try(ctx, as)) != want, nil
	})
}

func idleAfter(d time.Duration) func(*v1alpha1.AccessPolicySpec) {
	return func(s *v1alpha1.AccessPolicySpec) { s.IdleTimeout = &metav1.Duration{Duration: d} }
}

// A grant ends when it is seen to be unused for long enough, and not because time
// passes: a stream that is silent ends nothing.
func TestIdleGrantEnds(t *testing.T) {
	w := newWatched(t, idleAfter(5*time.Minute))
	request, g := w.active()
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Calls, s.FirstCall, s.LastCall = 1, w.moment(), w.moment() })
	w.pass(6 * time.Minute)
	w.reconcileGrant(g)
	if !w.can() {
		t.Fatal("the access ended, and nobody observed that it was unused")
	}
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Until = w.moment()
		s.Sessions = []v1alpha1.UsageSession{{ID: "1", Kind: "exec", Resource: "pods", Namespace: w.namespace, Name: "web", UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: *s.Since}}
	})
	w.reconcileGrant(g)
	if !w.can() {
		t.Fatal("the access ended under an exec that is open")
	}
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Sessions[0].Kind, s.Sessions[0].Resource = "watch", "pods" })
	w.reconcileGrant(g)
	w.wantLost()
	w.wantEnded(g, v1alpha1.EndIdle)
	w.reconcileRequest(request)
	ended := meta.FindStatusCondition(w.request(request).Status.Conditions, v1alpha1.ConditionEnded)
	if ended == nil || ended.Reason != string(v1alpha1.EndIdle) || !strings.Contains(ended.Message, "not used for") {
		t.Errorf("the request ended with %v", ended)
	}
	if got := w.events("Ended"); len(got) != 1 || !strings.HasPrefix(got[0], "Normal ") || !strings.Contains(got[0], "Idle: ") {
		t.Errorf("the Events are %q", got)
	}
	if got := w.counted("access_broker_usage_ends_total", "Idle"); got != 1 {
		t.Errorf("%v ends for idleness are counted", got)
	}
}

// A finding ends a grant only when its policy wants that.
func TestSuspiciousUseEndsTheGrant(t *testing.T) {
	w := newWatched(t, func(s *v1alpha1.AccessPolicySpec) {
		s.Suspicious = []v1alpha1.SuspiciousUse{{Name: "agent", Expression: "event.client == 'curl'"}, {Name: "secrets", Expression: "event.resource == 'secrets'", Action: v1alpha1.SuspiciousRevoke}}
	})
	_, g := w.active()
	finding := func(name string, action v1alpha1.SuspiciousAction) func(*v1alpha1.AccessUsageStatus) {
		return func(s *v1alpha1.AccessUsageStatus) {
			s.Suspicious = append(s.Suspicious, v1alpha1.UsageFinding{Name: name, Action: action, Message: "list secrets by alice", Times: 1, First: *w.moment(), Last: *w.moment()})
		}
	}
	for name, action := range map[string]v1alpha1.SuspiciousAction{"agent": v1alpha1.SuspiciousRevoke, "made-up": v1alpha1.SuspiciousRevoke} {
		w.observe(g, finding(name, action))
		w.reconcileGrant(g)
		if !w.can() {
			t.Fatalf("the finding %s ended what no policy wants to end", name)
		}
	}
	w.observe(g, finding("secrets", v1alpha1.SuspiciousRevoke))
	w.reconcileGrant(g)
	w.wantLost()
	if c := meta.FindStatusCondition(w.wantEnded(g, v1alpha1.EndSuspicious).Status.Conditions, v1alpha1.ConditionAccessGiven); !strings.Contains(c.Message, "secrets: list secrets by alice") {
		t.Errorf("the end says %s", c.Message)
	}
	if got := w.counted("access_broker_usage_ends_total", "Suspicious"); got != 1 {
		t.Errorf("%v ends for suspicion are counted", got)
	}
}

// The usage of a grant that had the name before counts for nothing.
func TestUsageOfSomebodyElse(t *testing.T) {
	w := newWatched(t, idleAfter(5*time.Minute))
	_, g := w.active()
	w.pass(8 * time.Minute)
	before := g.DeepCopy()
	before.UID = "00000000-0000-0000-0000-000000000000"
	w.observe(before, func(s *v1alpha1.AccessUsageStatus) { s.Calls, s.Until = 41, w.moment() })
	w.reconcileGrant(g)
	w.reconcileUsage(g)
	if !w.can() {
		t.Error("a usage that nobody owns ended the access")
	}
	if got := w.stored(g).Status.Usage; got != nil {
		t.Errorf("the grant tells of it: %v", got)
	}
}

// counted is the counter of a metric with a label.
func (w *watched) counted(name, label string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("no metric %s of %s", name, label)
	return 0
}

// The calls of an active grant are summed up once a minute and only when there are
// more; a finding is told at once, and once.
func TestUseOfAnActiveGrant(t *testing.T) {
	w := newWatched(t, nil)
	_, g := w.active()
	calls := func(n int64) {
		w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Calls, s.LastCall, s.Until = n, w.moment(), w.moment() })
		w.reconcileUsage(g)
	}
	told := func() int64 { return ptr.Deref(w.stored(g).Status.Usage, v1alpha1.GrantUsage{}).Calls }
	calls(3)
	if got := told(); got != 3 {
		t.Fatalf("%d calls are told, want 3", got)
	}
	w.pass(20 * time.Second)
	calls(5)
	if got := told(); got != 3 {
		t.Errorf("%d calls are told within the minute, want still 3", got)
	}
	if again := w.reconcileUsage(g); again <= 0 || again > 40*time.Second {
		t.Errorf("it looks again after %s", again)
	}
	w.pass(40 * time.Second)
	w.reconcileUsage(g)
	if got := told(); got != 5 {
		t.Errorf("%d calls are told after a minute, want 5", got)
	}
	version := w.stored(g).ResourceVersion
	w.pass(2 * time.Minute)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	w.reconcileUsage(g)
	if got := w.stored(g).ResourceVersion; got != version {
		t.Error("the grant is written though there is nothing new")
	}

	find := func(name string, times int64) {
		w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
			f := v1alpha1.UsageFinding{Name: name, Action: v1alpha1.SuspiciousReport, Message: "Secrets are listed: alice list secrets", Times: times, First: *w.moment(), Last: *w.moment()}
			if times == 1 {
				s.Suspicious = append(s.Suspicious, f)
				return
			}
			s.Suspicious[len(s.Suspicious)-1].Times, s.Suspicious[len(s.Suspicious)-1].Last = times, f.Last
		})
		w.reconcileUsage(g)
	}
	find("secrets", 1)
	w.want(g, v1alpha1.ConditionSuspicious, metav1.ConditionTrue, v1alpha1.ReasonSuspiciousUse, "secrets (Report) seen once, at ", "alice list secrets")
	if got := w.events("Suspicious"); len(got) != 1 || !strings.HasPrefix(got[0], "Warning ") {
		t.Errorf("the Events are %q", got)
	}
	for times := int64(2); times < 9; times++ {
		w.pass(time.Second)
		find("secrets", times)
	}
	if got := w.events("Suspicious"); len(got) > 0 {
		t.Errorf("a finding that was told is told again: %q", got)
	}
	first := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionSuspicious).LastTransitionTime
	find("second-address", 1)
	w.want(g, v1alpha1.ConditionSuspicious, metav1.ConditionTrue, v1alpha1.ReasonSuspiciousUse, "secrets, second-address: secrets (Report) seen 8 times, from ")
	if got := w.events("Suspicious"); len(got) != 1 {
		t.Errorf("the Events of a second finding are %q", got)
	}
	if again := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionSuspicious).LastTransitionTime; !again.After(first.Time) {
		t.Errorf("a new finding is no new moment: %s, before %s", again, first)
	}
	w.useUsage(broker.GetClient(), broker.GetAPIReader())
	w.pass(2 * time.Minute)
	w.reconcileUsage(g)
	if got := w.events("Suspicious"); len(got) > 0 {
		t.Errorf("a restart tells it again: %q", got)
	}
	if got := w.counted("access_broker_suspicious_uses_total", "Report"); got != 2 {
		t.Errorf("%v findings are counted, want 2", got)
	}
}

// A finding whose name no policy can have is none: it would hide others.
func TestFindingOfAnImpossibleName(t *testing.T) {
	w := newWatched(t, nil)
	_, g := w.active()
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Suspicious = []v1alpha1.UsageFinding{
			{Name: "burst, secrets: x", Action: v1alpha1.SuspiciousReport, Message: "forged", Times: 1, First: *w.moment(), Last: *w.moment()},
			{Name: "secrets", Action: v1alpha1.SuspiciousReport, Message: "seen", Times: 1, First: *w.moment(), Last: *w.moment()},
		}
	})
	for range 3 {
		w.reconcileUsage(g)
	}
	if c := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionSuspicious); !strings.HasPrefix(c.Message, "secrets: secrets (Report)") || strings.Contains(c.Message, "forged") {
		t.Error(c.Message)
	}
	if got := w.events("Suspicious"); len(got) != 1 {
		t.Errorf("the Events are %q", got)
	}
}

// made is an object as the observer tells of it.
func (w *watched) made(resource, name, uid string) v1alpha1.UsageObject {
	return v1alpha1.UsageObject{Resource: resource, Namespace: w.namespace, Name: name, UID: uid, From: *w.moment(), To: *w.moment(), Times: 1}
}

func pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "pause"}}},
	}
}

func (w *watched) mayGetPods(want bool) {
	w.mayBroker(want, func(ctx context.Context, c client.Client) error {
		return c.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "nosuch"}, &corev1.Service{})
	})
}

// After the end, what was created and is still there is named; what is gone, replaced
// or nothing to keep is not; and what the broker cannot know is called unknown.
func TestLeftBehind(t *testing.T) {
	w := newWatched(t, nil)
	w.install("look-back")
	w.mayGetPods(true)
	request, g := w.active()
	byUID, byTime, replaced, kept := pod(w.namespace, "debug-uid"), pod(w.namespace, "debug-time"), pod(w.namespace, "debug-new"), pod(w.namespace, "debug-kept")
	kept.Finalizers = []string{"example.com/keep"}
	for _, o := range []client.Object{byUID, byTime, replaced, kept} {
		w.create(o)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "token"}}
	w.create(secret)
	if err := e.Admin.Delete(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Admin.Patch(context.WithoutCancel(t.Context()), kept, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
	created := byTime.CreationTimestamp
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Calls, s.FirstCall, s.LastCall = 41, s.Since, s.Since
		early := w.made("pods", "debug-new", "")
		early.From, early.To = metav1.NewTime(created.Add(-time.Hour)), metav1.NewTime(created.Add(-time.Hour))
		sameTime := w.made("pods", "debug-time", "")
		sameTime.From, sameTime.To = created, created
		crd := w.made("widgets", "w", "")
		crd.Group = "example.com"
		escape := w.made("pods", "debug-uid", string(byUID.UID))
		escape.Group = "../api"
		s.Created = []v1alpha1.UsageObject{
			w.made("pods", "debug-uid", string(byUID.UID)), sameTime, early, w.made("pods", "debug-uid-2", "gone"), w.made("pods", "debug-new", "another"),
			w.made("pods", "debug-kept", string(kept.UID)), w.made("pods", "", ""), w.made("secrets", "token", string(secret.UID)), crd, escape,
			w.made("pods", "../../../../api/v1/secrets", ""), w.made("events", "e", ""), w.made("pods/eviction", "debug-uid", ""),
		}
	})
	w.pass(2 * time.Minute)
	g = w.end(request, g)
	if again := w.reconcileUsage(g); again <= 0 || again > usage.Patience {
		t.Errorf("it looks again after %s while the observer has not come to the end", again)
	}
	if got := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionUsed); got != nil {
		t.Fatalf("it looked back before the end was observed: %v", got)
	}
	w.pass(2 * time.Second)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionUsed, metav1.ConditionTrue, v1alpha1.ReasonUsed, "41 calls were observed, the last at ", "; observed from ", " 2m of the 2m of the access")
	w.want(g, v1alpha1.ConditionLeftBehind, metav1.ConditionTrue, v1alpha1.ReasonObjectsExist,
		"of 11 objects that were created with the access, 3 still exist: ",
		"Pod "+w.namespace+"/debug-uid (created ", " by alice)", "Pod "+w.namespace+"/debug-time (", "Pod "+w.namespace+"/debug-kept, being deleted (",
		"pods in "+w.namespace+" (created ", "the audit log does not tell its name", "Secret "+w.namespace+"/token (created ", "the broker may not read it",
		"widgets "+w.namespace+"/w (created ", "the API server serves no such kind now", "no object can have this name", "no kind can have this name")
	c := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionLeftBehind)
	for _, gone := range []string{"debug-uid-2", "debug-new", "eviction", "events"} {
		if strings.Contains(c.Message, gone) {
			t.Errorf("it tells of %s: %s", gone, c.Message)
		}
	}
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionFalse, v1alpha1.ReasonNone, "no session is open")
	if got := w.stored(g).Status.Usage; got == nil || got.Calls != 41 {
		t.Errorf("the grant tells of %v calls", got)
	}
	if got := w.events("LeftBehind"); len(got) != 1 || !strings.HasPrefix(got[0], "Warning ") {
		t.Errorf("the Events are %q", got)
	}
	if got := w.counted("access_broker_left_behind_total", ""); got != 3 {
		t.Errorf("%v objects are counted", got)
	}
	if got := strings.Join(w.after, ", "); !strings.Contains(got, "LeftBehind True") {
		t.Errorf("after the end was told %s", got)
	}
	version := w.stored(g).ResourceVersion
	w.useUsage(broker.GetClient(), broker.GetAPIReader())
	w.pass(time.Minute)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	w.reconcileUsage(g)
	if got := w.stored(g).ResourceVersion; got != version {
		t.Error("it looked back twice")
	}
}

// What was not observed is not claimed to be gone or unused.
func TestLookBackWithoutAnObserver(t *testing.T) {
	for name, test := range map[string]struct {
		observed     func(w *watched, s *v1alpha1.AccessUsageStatus)
		used, left   metav1.ConditionStatus
		usedR, leftR string
		says         string
	}{
		"all was seen": {
			func(w *watched, s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() },
			metav1.ConditionFalse, metav1.ConditionFalse, v1alpha1.ReasonNotUsed, v1alpha1.ReasonNone, "no call was observed; observed from ",
		},
		"silent since it began": {
			func(*watched, *v1alpha1.AccessUsageStatus) {},
			metav1.ConditionUnknown, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, v1alpha1.ReasonNotObserved, "not all of the access was; observed from ",
		},
		"a gap": {
			func(w *watched, s *v1alpha1.AccessUsageStatus) { s.Until, s.Gaps, s.LastGap = w.moment(), 1, s.Since },
			metav1.ConditionUnknown, metav1.ConditionUnknown, v1alpha1.ReasonNotObserved, v1alpha1.ReasonNotObserved, "with an interruption",
		},
		"used, then silent": {
			func(_ *watched, s *v1alpha1.AccessUsageStatus) { s.Calls = 1 },
			metav1.ConditionTrue, metav1.ConditionUnknown, v1alpha1.ReasonUsed, v1alpha1.ReasonNotObserved, "one call was observed",
		},
		"more than is listed": {
			func(w *watched, s *v1alpha1.AccessUsageStatus) { s.Calls, s.Until, s.More.Created = 900, w.moment(), 7 },
			metav1.ConditionTrue, metav1.ConditionUnknown, v1alpha1.ReasonUsed, v1alpha1.ReasonNotKnown, "900 calls were observed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatched(t, nil)
			request, g := w.active()
			w.pass(4 * time.Minute)
			g = w.end(request, g)
			w.pass(5 * time.Second)
			w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
				s.Since, s.Until = g.Status.GrantedTime, g.Status.GrantedTime
				test.observed(w, s)
			})
			w.pass(usage.Patience)
			w.reconcileUsage(g)
			w.want(g, v1alpha1.ConditionUsed, test.used, test.usedR, test.says)
			w.want(g, v1alpha1.ConditionLeftBehind, test.left, test.leftR)
		})
	}
}

// An API server that does not answer makes nobody claim that nothing is left; the
// look back is tried again for a while.
func TestLookBackWhenTheAPIServerDoesNotAnswer(t *testing.T) {
	w := newWatched(t, nil)
	w.install("look-back")
	w.mayGetPods(true)
	request, g := w.active()
	left := pod(w.namespace, "debug")
	w.create(left)
	w.pass(time.Minute)
	g = w.end(request, g)
	w.pass(2 * time.Second)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Calls, s.Until, s.Created = 1, w.moment(), []v1alpha1.UsageObject{w.made("pods", "debug", string(left.UID))}
	})
	busy := failing(interceptor.Funcs{Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, ok := o.(*metav1.PartialObjectMetadata); ok {
			return apierrors.NewInternalError(errBroken)
		}
		return broker.GetAPIReader().Get(ctx, key, o, opts...)
	}})
	w.useUsage(broker.GetClient(), busy)
	key := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)}
	if _, err := w.usages.Reconcile(t.Context(), key); err == nil {
		t.Error("it gave up at once")
	}
	if got := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionUsed); got != nil {
		t.Fatalf("it looked back: %v", got)
	}
	w.pass(10 * time.Minute)
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionLeftBehind, metav1.ConditionUnknown, v1alpha1.ReasonNotKnown, "the API server did not answer")
}

// session is one of alice's in a Pod of the namespace.
func (w *watched) session(id, kind, name string) v1alpha1.UsageSession {
	return v1alpha1.UsageSession{ID: id, Kind: kind, Resource: "pods", Namespace: w.namespace, Name: name, UsageClient: v1alpha1.UsageClient{User: "alice"}, Since: *w.moment()}
}

// Sessions that outlive the access are told with what ends them, again when they
// change, and as over when the last is.
func TestSessionsOpen(t *testing.T) {
	w := newWatched(t, nil)
	request, g := w.active()
	w.pass(time.Minute)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Calls = 3
		s.Sessions = []v1alpha1.UsageSession{w.session("1", "exec", "web-1"), w.session("2", "watch", ""), w.session("3", "exec", "x; rm -rf ~")}
	})
	w.pass(time.Minute)
	g = w.end(request, g)
	w.pass(2 * time.Second)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonOpen, "3 sessions outlive the access",
		"exec of pod web-1 in "+w.namespace+" by alice since ", ": kubectl delete pod web-1 -n "+w.namespace, "nobody can end a watch", "it makes a new one", "no Pod can have this name")
	if c := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionSessionsOpen); strings.Contains(c.Message, "kubectl delete pod x") {
		t.Errorf("a command with a name that runs another: %s", c.Message)
	}
	if got := w.events("SessionsOpen"); len(got) != 1 {
		t.Errorf("the Events are %q", got)
	}
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Sessions = s.Sessions[1:2] })
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonOpen, "a session outlives the access", "watch of pods")
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Sessions = nil })
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionFalse, v1alpha1.ReasonOpen, "are over")
	if got := w.events("SessionsOpen"); len(got) != 0 {
		t.Errorf("it is told again: %q", got)
	}
	if got := w.counted("access_broker_sessions_outlived_total", ""); got != 3 {
		t.Errorf("%v sessions are counted", got)
	}
}

// running makes a Pod as if a kubelet ran it.
func (w *watched) running(o *corev1.Pod) {
	w.t.Helper()
	w.create(o)
	o.Status.Phase = corev1.PodRunning
	o.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := e.Admin.Status().Update(w.t.Context(), o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) exists(name string) bool {
	w.t.Helper()
	err := e.Admin.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &corev1.Pod{})
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	return err == nil
}

func evicting(s *v1alpha1.AccessPolicySpec) { s.OnSessionsOpen = v1alpha1.OnSessionsOpenEvictPod }

func (w *watched) mayEvict(want bool) {
	w.mayBroker(want, func(ctx context.Context, c client.Client) error {
		return c.SubResource("eviction").Create(ctx, pod(w.namespace, "nosuch"), &policyv1.Eviction{})
	})
}

// outlived is a grant that has ended with these sessions, observed to its end.
func (w *watched) outlived(sessions ...v1alpha1.UsageSession) *v1alpha1.AccessGrant {
	w.t.Helper()
	request, g := w.active()
	w.pass(time.Minute)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Calls = 1
		for _, one := range sessions {
			if one.Since.IsZero() {
				one.Since = *w.moment()
			}
			s.Sessions = append(s.Sessions, one)
		}
	})
	w.pass(time.Minute)
	g = w.end(request, g)
	w.pass(2 * time.Second)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	return g
}

// in is a session whose begin outlived sets.
func (w *watched) in(id, kind, name string) v1alpha1.UsageSession {
	s := w.session(id, kind, name)
	s.Since = v1alpha1.Moment{}
	return s
}

// The Pod of an exec or attach that outlives its access is evicted, where the policy
// wants that and the broker may; and no other Pod.
func TestEviction(t *testing.T) {
	w := newWatched(t, evicting)
	w.install("evict-sessions")
	w.mayEvict(true)
	for _, name := range []string{"exec", "attach", "forward", "logs", "other"} {
		w.running(pod(w.namespace, name))
	}
	g := w.outlived(w.in("1", "exec", "exec"), w.in("2", "attach", "attach"), w.in("3", "portforward", "forward"), w.in("4", "log", "logs"))
	w.reconcileUsage(g)
	for name, want := range map[string]bool{"exec": false, "attach": false, "forward": true, "logs": true, "other": true} {
		if got := w.exists(name); got != want {
			t.Errorf("the Pod %s is there: %v, want %v", name, got, want)
		}
	}
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonEvicted, "the Pod is evicted", "kubectl delete pod forward -n")
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Sessions = nil })
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionFalse, v1alpha1.ReasonEvicted, "are over")
}

// An AccessUsage alone has no Pod evicted: neither outside of what its grant allowed,
// where and when, nor one that is newer than the session, nor without the policy.
func TestNoEviction(t *testing.T) {
	elsewhere := newWorld(t, nil).namespace
	for name, test := range map[string]struct {
		policy func(*v1alpha1.AccessPolicySpec)
		edit   func(w *watched, s *v1alpha1.UsageSession)
		then   func(w *watched)
		says   string
	}{
		"the policy only reports":     {policy: func(*v1alpha1.AccessPolicySpec) {}, says: ": kubectl delete pod web"},
		"the policy is gone":          {then: func(w *watched) { w.removePolicy(false) }, says: ": kubectl delete pod web"},
		"another policy of the name":  {then: func(w *watched) { w.removePolicy(true) }, says: ": kubectl delete pod web"},
		"another namespace":           {edit: func(_ *watched, s *v1alpha1.UsageSession) { s.Namespace = elsewhere }, says: "not within the scope"},
		"before the access":           {edit: func(w *watched, s *v1alpha1.UsageSession) { s.Since = metav1.NewTime(w.clock.Now().Add(-time.Hour)) }, says: "did not begin while"},
		"after the access":            {edit: func(w *watched, s *v1alpha1.UsageSession) { s.Since = metav1.NewTime(w.clock.Now().Add(time.Hour)) }, says: "did not begin while"},
		"a name that is a path":       {edit: func(_ *watched, s *v1alpha1.UsageSession) { s.Name = "../pods/web" }, says: "no Pod can have"},
		"a role without exec":         {policy: func(s *v1alpha1.AccessPolicySpec) { evicting(s); s.Roles[0].Name = "view" }, says: "does not allow exec"},
		"the Pod of a node's subpath": {edit: func(_ *watched, s *v1alpha1.UsageSession) { s.Resource = "nodes" }, says: "its client or its server ends it"},
		"a Pod that is newer": {then: func(w *watched) {
			if err := e.Admin.Delete(w.t.Context(), pod(w.namespace, "web"), client.GracePeriodSeconds(0)); err != nil {
				w.t.Fatal(err)
			}
			w.running(pod(w.namespace, "web"))
		}, edit: func(w *watched, s *v1alpha1.UsageSession) {
			// The session began, by the API server's clock, before that Pod.
			s.Since = metav1.NewTime(w.stored(w.g).Status.GrantedTime.Add(-4 * time.Second))
		}, says: "another has its name"},
	} {
		t.Run(name, func(t *testing.T) {
			policy := test.policy
			if policy == nil {
				policy = evicting
			}
			w := newWatched(t, policy)
			w.install("evict-sessions")
			w.mayEvict(true)
			for _, namespace := range []string{w.namespace, elsewhere} {
				web := pod(namespace, "web")
				w.running(web)
				t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), web) })
			}
			var request *v1alpha1.AccessRequest
			role := w.policy.Spec.Roles[0]
			request = w.ask(func(s *v1alpha1.AccessRequestSpec) { s.RoleRef = &role })
			w.reconcileRequest(request)
			w.decide(bob, request, v1alpha1.VerdictApprove)
			w.reconcileRequest(request)
			w.g = w.grantOf(request)
			w.reconcileGrant(w.g)
			w.reconcileRequest(request)
			w.g = w.grantOf(request)
			w.pass(time.Minute)
			w.observe(w.g, func(s *v1alpha1.AccessUsageStatus) {
				one := w.session("1", "exec", "web")
				if test.edit != nil {
					test.edit(w, &one)
				}
				s.Calls, s.Sessions = 1, []v1alpha1.UsageSession{one}
			})
			w.pass(time.Minute)
			g := w.end(request, w.g)
			if test.then != nil {
				test.then(w)
			}
			w.pass(2 * time.Second)
			w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
			w.reconcileUsage(g)
			for _, namespace := range []string{w.namespace, elsewhere} {
				if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web"}, &corev1.Pod{}); err != nil {
					t.Errorf("the Pod in %s: %v", namespace, err)
				}
			}
			c := meta.FindStatusCondition(w.stored(g).Status.Conditions, v1alpha1.ConditionSessionsOpen)
			if c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, test.says) {
				t.Errorf("it does not say %q: %v", test.says, c)
			}
		})
	}
}

// removePolicy deletes the policy, and makes it again when asked to.
func (w *watched) removePolicy(again bool) {
	w.t.Helper()
	if err := e.Admin.Delete(w.t.Context(), w.policy); err != nil {
		w.t.Fatal(err)
	}
	e.WaitGone(w.t, w.policy.DeepCopy())
	if again {
		same := &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: w.policy.Name}, Spec: w.policy.Spec}
		w.create(same)
	}
	w.fresh(&v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: w.policy.Name}})
}

// Without the component nothing is evicted, and the condition says what is missing.
// Once the broker may, it does.
func TestEvictionWithoutTheRight(t *testing.T) {
	w := newWatched(t, evicting)
	w.mayEvict(false)
	w.running(pod(w.namespace, "web"))
	g := w.outlived(w.in("1", "exec", "web"))
	again := w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonOpen, "config/components/evict-sessions", ": kubectl delete pod web -n ")
	if again <= 0 || again > time.Minute || !w.exists("web") {
		t.Fatalf("it looks again after %s", again)
	}
	w.install("evict-sessions")
	w.mayEvict(true)
	w.pass(again)
	w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonEvicted, "the Pod is evicted")
	if w.exists("web") {
		t.Error("the Pod is there")
	}
}

// A PodDisruptionBudget holds for the broker, too: it tries again, more and more
// slowly, while the session is open.
func TestEvictionAgainstABudget(t *testing.T) {
	w := newWatched(t, evicting)
	w.install("evict-sessions")
	w.mayEvict(true)
	web := pod(w.namespace, "web")
	w.running(web)
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: web.Labels}},
	}
	w.create(budget)
	kit.Eventually(t, "the budget to be counted", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(budget), budget)
		return budget.Status.ObservedGeneration == budget.Generation && budget.Status.CurrentHealthy == 1 && budget.Status.DisruptionsAllowed == 0, err
	})
	g := w.outlived(w.in("1", "exec", "web"))
	var waits []time.Duration
	for range 6 {
		waits = append(waits, w.reconcileUsage(g))
		w.pass(waits[len(waits)-1])
	}
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonOpen, "a PodDisruptionBudget does not let the Pod be evicted now")
	if waits[0] != 5*time.Second || waits[1] != 10*time.Second || waits[5] != time.Minute {
		t.Errorf("it looks again after %v", waits)
	}
	// What the observer writes meanwhile brings no try before its time.
	w.reconcileUsage(g)
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	if again := w.reconcileUsage(g); again != time.Minute || !w.exists("web") {
		t.Errorf("it looks again after %s", again)
	}
	if err := e.Admin.Delete(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the eviction", func(context.Context) (bool, error) {
		w.pass(time.Minute)
		w.reconcileUsage(g)
		return !w.exists("web"), nil
	})
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonEvicted)
}

// Two budgets for one Pod are an error of the API server for as long as there are two;
// the condition says so.
func TestEvictionAgainstTwoBudgets(t *testing.T) {
	w := newWatched(t, evicting)
	w.install("evict-sessions")
	w.mayEvict(true)
	web := pod(w.namespace, "web")
	w.running(web)
	var last *policyv1.PodDisruptionBudget
	for _, name := range []string{"one", "two"} {
		last = &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
			Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: ptr.To(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: web.Labels}},
		}
		w.create(last)
	}
	g := w.outlived(w.in("1", "exec", "web"))
	again := w.reconcileUsage(g)
	w.want(g, v1alpha1.ConditionSessionsOpen, metav1.ConditionTrue, v1alpha1.ReasonOpen, "more than one PodDisruptionBudget", "the broker tries again", ": kubectl delete pod web -n ")
	if again <= 0 || !w.exists("web") {
		t.Errorf("it looks again after %s", again)
	}
}

// The gauge tells for how long no active grant has been observed; one that has ended,
// or that nobody observes, does not count.
func TestUnobservedSeconds(t *testing.T) {
	w := newWatched(t, nil)
	request, g := w.active()
	unseen := func() float64 { return gauge(t, w.registry, "access_broker_usage_unobserved_seconds") }
	before := unseen()
	w.observe(g, func(*v1alpha1.AccessUsageStatus) {})
	w.pass(9 * time.Minute)
	if got := unseen(); got < 540 || got > 560 {
		t.Errorf("unobserved for %v s, before %v", got, before)
	}
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Until = w.moment() })
	if got := unseen(); got > 5 {
		t.Errorf("unobserved for %v s though all was told", got)
	}
	w.pass(30 * time.Second)
	w.end(request, g)
	w.fresh(g)
	if got := unseen(); got != 0 {
		t.Errorf("unobserved for %v s after the end", got)
	}
}

// The cache keeps of a usage what may end its grant, and drops it when it is closed.
func TestCachedUsage(t *testing.T) {
	w := newWatched(t, nil)
	_, g := w.active()
	u := w.observe(g, func(s *v1alpha1.AccessUsageStatus) {
		s.Streams = []v1alpha1.UsageStream{{Name: "a", Since: *s.Since, Until: *s.Since, Position: "1", Batches: []string{"x"}}}
		s.Callers, s.Created = []v1alpha1.UsageCaller{{UsageClient: v1alpha1.UsageClient{User: "alice"}, Calls: 1}}, []v1alpha1.UsageObject{w.made("pods", "p", "")}
		s.Used, s.Refused = []v1alpha1.UsageRight{{Verb: "get", Calls: 1}}, []v1alpha1.UsageRight{{Verb: "list", Calls: 1}}
		s.Risks, s.ClosedSessions, s.EndedSessions = []v1alpha1.UsageCount{{Kind: "Exec", Count: 1}}, []v1alpha1.UsageCount{{Kind: "exec", Count: 1}}, []string{"0"}
		s.Calls, s.LastCall, s.Sessions = 1, w.moment(), []v1alpha1.UsageSession{w.session("1", "exec", "web")}
		s.Suspicious = []v1alpha1.UsageFinding{{Name: "x", Action: v1alpha1.SuspiciousReport, Message: "m", Times: 1, First: *w.moment(), Last: *w.moment()}}
		s.More = v1alpha1.UsageMore{Callers: 1, Sessions: 2}
	})
	kept := &v1alpha1.AccessUsage{}
	if err := broker.GetClient().Get(t.Context(), client.ObjectKeyFromObject(u), kept); err != nil {
		t.Fatal(err)
	}
	want := v1alpha1.AccessUsageStatus{
		Phase: u.Status.Phase, Since: u.Status.Since, Until: u.Status.Until, Calls: 1, LastCall: u.Status.LastCall,
		Sessions: u.Status.Sessions, Suspicious: u.Status.Suspicious, More: v1alpha1.UsageMore{Sessions: 2},
	}
	got, _ := json.Marshal(kept.Status)
	if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
		t.Errorf("the cache keeps %s, want %s", got, wanted)
	}
	w.observe(g, func(s *v1alpha1.AccessUsageStatus) { s.Phase = v1alpha1.UsageClosed })
	err := lab.Until(t.Context(), kit.Patience, func(ctx context.Context) (bool, error) {
		return apierrors.IsNotFound(broker.GetClient().Get(ctx, client.ObjectKeyFromObject(u), kept)), nil
	})
	if err != nil {
		t.Error("the cache keeps a usage that is closed")
	}
}
