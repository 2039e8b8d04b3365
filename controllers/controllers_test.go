package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/controllers/expirer"
	grantcontroller "github.com/accessbroker/accessbroker/controllers/grant"
	requestcontroller "github.com/accessbroker/accessbroker/controllers/request"
	"github.com/accessbroker/accessbroker/controllers/review"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/admission"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The reconcilers are called here by hand, against a real API server, with a
// clock that the test moves; the broker's process does not run.
var (
	e          *kit.Cluster
	broker     cluster.Cluster
	watching   client.WithWatch // the broker's client, for failing
	alice, bob client.Client
	reviews    *cached.Reviews
)

func TestMain(m *testing.M) {
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	config, err := e.BrokerConfig(ctx)
	if err != nil {
		return 1, err
	}
	broker, err = cluster.New(config, func(o *cluster.Options) {
		o.Scheme = e.Admin.Scheme()
		o.Cache = CacheOptions()
	})
	if err != nil {
		return 1, err
	}
	if err := Index(ctx, broker.GetFieldIndexer()); err != nil {
		return 1, err
	}
	watching, err = client.NewWithWatch(config, client.Options{Scheme: e.Admin.Scheme(), Cache: &client.CacheOptions{Reader: broker.GetCache()}})
	if err != nil {
		return 1, err
	}
	if reviews, err = cached.NewReviews(ctx, config, cache.Options{Scheme: e.Admin.Scheme()}); err != nil {
		return 1, err
	}
	go func() { _ = broker.Start(ctx) }()
	go func() { _ = reviews.Start(ctx) }()
	if !broker.GetCache().WaitForCacheSync(ctx) || !reviews.WaitForCacheSync(ctx) {
		return 1, errors.New("the cache does not sync")
	}
	if err := errors.Join(
		e.Hire("dev", lab.People{"alice": &alice}), e.Hire("sre", lab.People{"bob": &bob}),
		e.Bind(ctx, "access-requester", "dev"), e.Bind(ctx, "access-approver", "sre"),
	); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// world is a broker for one test, in a namespace of its own.
type world struct {
	t         *testing.T
	clock     *clocktesting.FakePassiveClock
	namespace string
	policy    *v1alpha1.AccessPolicy
	requests  *requestcontroller.Reconciler
	grants    *grantcontroller.Reconciler
	expirer   *expirer.Reconciler
	reviews   *review.Reconciler
}

// newWorld has a policy for alice, approved by one of sre.
func newWorld(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) *world {
	t.Helper()
	w := &world{t: t, clock: clocktesting.NewFakePassiveClock(time.Now())}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	w.create(ns)
	w.namespace = ns.Name
	w.policy = &v1alpha1.AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p-" + ns.Name},
		Spec: v1alpha1.AccessPolicySpec{
			Requesters:  v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: "alice"}),
			Approvals:   []v1alpha1.ApprovalStage{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)}},
			Roles:       []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}},
			Namespaces:  &v1alpha1.PolicyNamespaces{Names: []string{ns.Name}},
			MaxDuration: metav1.Duration{Duration: time.Hour},
		},
	}
	if edit != nil {
		edit(&w.policy.Spec)
	}
	w.create(w.policy)
	w.use(broker.GetClient(), broker.GetAPIReader())
	return w
}

// use makes new reconcilers, as a restart does.
func (w *world) use(c client.Client, live client.Reader) {
	admissionPolicies, err := admission.New(broker.GetClient())
	if err != nil {
		w.t.Fatal(err)
	}
	tasks, err := resolve.NewTasks(broker.GetConfig(), broker.GetHTTPClient(), wiring{cache: broker.GetClient()}.named)
	if err != nil {
		w.t.Fatal(err)
	}
	metrics, err := record.NewMetrics(prometheus.NewRegistry(), broker.GetClient(), reviews, w.clock, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	policies := &resolve.Policies{Client: c, Live: live}
	version, err := resolve.NewVersion(broker.GetConfig(), broker.GetHTTPClient(), w.clock)
	if err != nil {
		w.t.Fatal(err)
	}
	names := resolve.Names{Cache: c, Live: live, Tasks: tasks, Roles: resolve.NewRoles(), Version: version} // nothing reports changes to these
	status := &record.Writer{Client: c, Journal: record.Journal{Recorder: events.NewFakeRecorder(1000), Audit: zap.NewNop()}, Metrics: metrics}
	w.grants = &grantcontroller.Reconciler{
		Client: c, Live: live, Clock: w.clock, Status: status, Policies: policies, Names: names, Admission: admissionPolicies,
		Backlog: &queue.Backlog{}, Metrics: metrics, HandOver: func(context.Context, *v1alpha1.AccessGrant) {},
	}
	w.requests = &requestcontroller.Reconciler{
		Client: c, Live: live, Clock: w.clock, Status: status, Policies: policies, Names: names, Reviews: reviews,
		Backlog: &queue.Backlog{}, Metrics: metrics, Wrote: func(*v1alpha1.AccessGrant, time.Time) func() { return func() {} }, // as after a restart
	}
	w.grants.Tell = w.requests.Tell
	w.reviews = &review.Reconciler{Reviews: reviews, Live: live, Clock: w.clock, Status: status, Backlog: &queue.Backlog{}}
	w.expirer = &expirer.Reconciler{Client: c, Live: live, Clock: w.clock, Backlog: &queue.Backlog{}, Metrics: metrics}
}

// failing is the broker's client with some calls failing.
func failing(f interceptor.Funcs) client.Client {
	return interceptor.NewClient(watching, f)
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := e.Admin.Create(w.t.Context(), o); err != nil {
		w.t.Fatalf("create %T: %v", o, err)
	}
}

// ask makes a request of alice's for ten minutes.
func (w *world) ask(edit ...func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	w.t.Helper()
	request := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, GenerateName: "fix-"},
		Spec: v1alpha1.AccessRequestSpec{
			RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Reason: "INC-42",
			Duration: &metav1.Duration{Duration: 10 * time.Minute}, PolicyName: w.policy.Name,
		},
	}
	for _, f := range edit {
		f(&request.Spec)
	}
	if err := alice.Create(w.t.Context(), request); err != nil {
		w.t.Fatal(err)
	}
	return request
}

func (w *world) decide(c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) {
	w.t.Helper()
	body := fmt.Sprintf(`{"status":{"decisions":[{"verdict":%q}]}}`, verdict)
	if err := c.Status().Patch(w.t.Context(), request.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(body))); err != nil {
		w.t.Fatalf("%s: %v", verdict, err)
	}
}

// approved is a request that has been approved and granted; its bindings are
// not there yet.
func (w *world) approved() (*v1alpha1.AccessRequest, *v1alpha1.AccessGrant) {
	w.t.Helper()
	request := w.ask()
	w.reconcileRequest(request)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	w.reconcileRequest(request)
	return request, w.grantOf(request)
}

// active is a request whose access is held.
func (w *world) active() (*v1alpha1.AccessRequest, *v1alpha1.AccessGrant) {
	w.t.Helper()
	request, g := w.approved()
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	if got := w.request(request).Status.Phase; got != v1alpha1.RequestActive {
		w.t.Fatalf("the request is %s, want Active", got)
	}
	if !w.can() {
		w.t.Fatal("alice has no access")
	}
	return request, w.grantOf(request)
}

func (w *world) reconcileRequest(request *v1alpha1.AccessRequest) reconcile.Result {
	w.t.Helper()
	w.fresh(request)
	w.fresh(&v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: grant.Name(request.Name, request.UID)}})
	result, err := w.requests.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)})
	if err != nil {
		w.t.Fatalf("reconcile request: %v", err)
	}
	return result
}

func (w *world) reconcileGrant(g *v1alpha1.AccessGrant) reconcile.Result {
	w.t.Helper()
	var result reconcile.Result
	err := lab.Until(w.t.Context(), 10*time.Second, func(context.Context) (bool, error) {
		var err error
		if result, err = w.tryGrant(g); err != nil {
			return false, lab.Hopeless(err)
		}
		// The authorizer takes a moment to see a removal.
		return result.RequeueAfter != grantcontroller.VerifyAgain, nil
	})
	if err != nil {
		w.t.Fatalf("reconcile grant: %v", err)
	}
	return result
}

func (w *world) tryGrant(g *v1alpha1.AccessGrant) (reconcile.Result, error) {
	w.t.Helper()
	w.fresh(g)
	w.fresh(&v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: g.Spec.RequestRef.Namespace, Name: g.Spec.RequestRef.Name}})
	w.fresh(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: g.Name}})
	key := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)}
	judged, err := w.grants.Judge(w.t.Context(), key)
	w.fresh(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: g.Name}})
	result, recordErr := w.grants.Reconcile(w.t.Context(), key)
	if judged.RequeueAfter > 0 && judged.RequeueAfter < result.RequeueAfter {
		result = judged
	}
	return result, errors.Join(err, recordErr)
}

func (w *world) reconcileExpirer(g *v1alpha1.AccessGrant) reconcile.Result {
	w.t.Helper()
	w.fresh(g)
	var result reconcile.Result
	err := lab.Until(w.t.Context(), 10*time.Second, func(context.Context) (bool, error) {
		var err error
		if result, err = w.expirer.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)}); err != nil {
			return false, lab.Hopeless(err)
		}
		// It comes back to verify, by when the authorizer has seen the removal.
		return result.RequeueAfter != expirer.VerifyAfter, nil
	})
	if err != nil {
		w.t.Fatalf("reconcile expirer: %v", err)
	}
	return result
}

// fresh waits until the cache has what the API server has.
func (w *world) fresh(o client.Object) {
	w.t.Helper()
	key := client.ObjectKeyFromObject(o)
	version := func(r client.Reader) (string, error) {
		object := o.DeepCopyObject().(client.Object)
		err := r.Get(w.t.Context(), key, object)
		if apierrors.IsNotFound(err) || err == nil && cached.Ended(object) {
			return "none", nil // the cache drops what has ended
		}
		return object.GetResourceVersion(), err
	}
	err := lab.Until(w.t.Context(), 10*time.Second, func(context.Context) (bool, error) {
		// The binding of a stranger carries no label, so the cache never has it.
		known, err := version(broker.GetClient())
		if err != nil {
			return false, err
		}
		live, err := version(broker.GetAPIReader())
		if binding, ok := o.(*rbacv1.RoleBinding); ok && known == "none" && err == nil {
			stored := &rbacv1.RoleBinding{}
			if e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(binding), stored) == nil && stored.Labels[v1alpha1.LabelGrant] == "" {
				return true, nil
			}
		}
		return known == live, err
	})
	if err != nil {
		w.t.Fatalf("the cache does not follow %T %s: %v", o, key, err)
	}
}

func (w *world) request(request *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	w.t.Helper()
	current := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(request), current); err != nil {
		w.t.Fatal(err)
	}
	return current
}

func (w *world) grantOf(request *v1alpha1.AccessRequest) *v1alpha1.AccessGrant {
	w.t.Helper()
	g := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKey{Name: grant.Name(request.Name, request.UID)}, g); err != nil {
		current := w.request(request)
		w.t.Fatalf("no grant: %v; the request is %s: %v", err, current.Status.Phase, current.Status.Conditions)
	}
	return g
}

// can asks, as alice, whether alice may delete pods.
func (w *world) can() bool {
	w.t.Helper()
	err := alice.Delete(w.t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "nosuch"}})
	switch {
	case apierrors.IsNotFound(err):
		return true
	case apierrors.IsForbidden(err):
		return false
	}
	w.t.Fatalf("delete a pod as alice: %v", err)
	return false
}

// wantLost waits for the API server's authorizer, which follows a deletion by
// its own watch.
func (w *world) wantLost() {
	w.t.Helper()
	err := lab.Until(w.t.Context(), time.Second, func(context.Context) (bool, error) { return !w.can(), nil })
	if err != nil {
		w.t.Fatal("alice still has access")
	}
}

func (w *world) bindings() []rbacv1.RoleBinding {
	w.t.Helper()
	list := &rbacv1.RoleBindingList{}
	if err := e.Admin.List(w.t.Context(), list, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

func (w *world) wantEnded(g *v1alpha1.AccessGrant, reason v1alpha1.EndReason) *v1alpha1.AccessGrant {
	w.t.Helper()
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		w.t.Fatal(err)
	}
	if current.Status.Phase != v1alpha1.GrantEnded || current.Status.EndReason != reason {
		w.t.Errorf("the grant is %s %s, want Ended %s: %v", current.Status.Phase, current.Status.EndReason, reason, current.Status.Conditions)
	}
	if w.can() {
		w.t.Error("alice still has access")
	}
	return current
}

var errBroken = errors.New("broken on purpose")

// A status write that fails, and the time that passes until it succeeds, does
// not move the deadline; neither does a restart.
func TestFailedStatusWriteDoesNotMoveTheDeadline(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.approved()
	deadline := g.Spec.ExpirationTime
	if want := w.clock.Now().Add(10 * time.Minute).Truncate(time.Second); !deadline.Time.Equal(want) {
		t.Fatalf("the deadline is %s, want %s", deadline, want)
	}
	w.use(failing(interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return errBroken
		},
	}), broker.GetAPIReader())
	if _, err := w.tryGrant(g); !errors.Is(err, errBroken) {
		t.Fatalf("got %v, want the failed write", err)
	}
	w.clock.SetTime(w.clock.Now().Add(5 * time.Minute))
	w.use(broker.GetClient(), broker.GetAPIReader())
	w.reconcileGrant(g)
	current := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), current); err != nil {
		t.Fatal(err)
	}
	if current.Status.Phase != v1alpha1.GrantActive || !current.Spec.ExpirationTime.Equal(&deadline) {
		t.Errorf("the grant is %s until %s, want Active until %s", current.Status.Phase, current.Spec.ExpirationTime, deadline)
	}
	if n := len(w.bindings()); n != 1 {
		t.Errorf("%d bindings, want 1", n)
	}
	w.clock.SetTime(deadline.Time)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
}

// The request is reconciled again and again, before and after the cache knows
// of the grant: there is one grant, and its deadline stands.
func TestOneGrantForOneRequest(t *testing.T) {
	w := newWorld(t, nil)
	request, g := w.approved()
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	blind := failing(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*v1alpha1.AccessGrant); ok {
				return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("accessgrants").GroupResource(), key.Name)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	w.use(blind, broker.GetAPIReader())
	w.reconcileRequest(request)
	again := w.grantOf(request)
	if again.UID != g.UID || !again.Spec.ExpirationTime.Equal(&g.Spec.ExpirationTime) {
		t.Errorf("the grant was recreated: %s until %s, before %s until %s", again.UID, again.Spec.ExpirationTime, g.UID, g.Spec.ExpirationTime)
	}
}

// A clock that jumps back never extends access, and one that jumps ahead ends it.
func TestClockJumps(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	w.clock.SetTime(w.clock.Now().Add(-time.Hour))
	w.reconcileGrant(g)
	w.clock.SetTime(g.Spec.ExpirationTime.Add(-time.Nanosecond))
	w.reconcileGrant(g)
	if !w.can() {
		t.Error("the access ended before its deadline")
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	ended := w.wantEnded(g, v1alpha1.EndExpired)
	if !ended.Spec.ExpirationTime.Equal(&g.Spec.ExpirationTime) {
		t.Error("the deadline moved")
	}
}

// An event that was lost must not leave access until its deadline: held access is
// looked at whatever was heard of it.
func TestHeldAccessIsLookedAtAgain(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration = metav1.Duration{Duration: 4 * time.Hour} })
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Hour} })
	w.reconcileRequest(request)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	w.reconcileRequest(request)
	g := w.grantOf(request)
	w.reconcileGrant(g)
	w.fresh(g)
	again, err := w.grants.Judge(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(g)})
	if err != nil || again.RequeueAfter <= 0 || again.RequeueAfter > 2*time.Minute {
		t.Errorf("it is looked at again in %s, %v", again.RequeueAfter, err)
	}
}

// The same holds for the expirer, whose timer does not notice the jump: it looks at
// the clock again and again.
func TestClockJumpsUnderTheExpirer(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration = metav1.Duration{Duration: 4 * time.Hour} })
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Hour} })
	w.reconcileRequest(request)
	w.decide(bob, request, v1alpha1.VerdictApprove)
	w.reconcileRequest(request)
	g := w.grantOf(request)
	w.reconcileGrant(g)
	begin := w.clock.Now()
	for _, jump := range []time.Duration{0, -time.Hour, time.Hour, 0} {
		w.clock.SetTime(begin.Add(jump))
		if next := w.reconcileExpirer(g); next.RequeueAfter <= 0 || next.RequeueAfter > expirer.MaxWait {
			t.Errorf("after a jump of %s the expirer looks again in %s", jump, next.RequeueAfter)
		}
		if !w.can() {
			t.Fatalf("a jump of %s ended the access before its deadline", jump)
		}
	}
	// A deadline that is nearer than the next look is met exactly.
	w.clock.SetTime(g.Spec.ExpirationTime.Add(-time.Second))
	if next := w.reconcileExpirer(g); next.RequeueAfter != time.Second {
		t.Errorf("a second before the deadline the expirer looks again in %s", next.RequeueAfter)
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Add(time.Hour))
	w.reconcileExpirer(g)
	w.wantLost()
	// When the clock jumps back, what was taken stays taken.
	w.clock.SetTime(begin)
	w.reconcileExpirer(g)
	w.reconcileGrant(g)
	if w.can() {
		t.Error("a jump back gave the access again")
	}
}

// The expirer takes access away by itself, and needs neither request nor policy nor
// role.
func TestExpirerNeedsNothingButTheDeadline(t *testing.T) {
	w := newWorld(t, nil)
	request, g := w.active()
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.use(failing(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*v1alpha1.AccessGrant); ok {
				return c.Get(ctx, key, o, opts...)
			}
			return errBroken
		},
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return errBroken
		},
	}), broker.GetAPIReader())
	w.reconcileExpirer(g)
	w.wantLost()
	// The leader records what it finds.
	w.use(broker.GetClient(), broker.GetAPIReader())
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
	w.reconcileRequest(request)
	if got := w.request(request).Status.Phase; got != v1alpha1.RequestExpired {
		t.Errorf("the request is %s, want Expired", got)
	}
}

// A lookup that fails is no reason to end access.
func TestLookupErrorIsNotADeletion(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	w.use(failing(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, ok := o.(*v1alpha1.AccessPolicy); ok {
				return errBroken
			}
			return c.Get(ctx, key, o, opts...)
		},
	}), broker.GetAPIReader())
	if _, err := w.tryGrant(g); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want the failed lookup", err)
	}
	if !w.can() {
		t.Error("a failed lookup took the access away")
	}
}

// An API server that is starting refuses what it will allow in a moment: no request
// is denied for good by that.
func TestRefusedByAnAPIServerThatStarts(t *testing.T) {
	w := newWorld(t, nil)
	w.use(failing(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			switch o.(type) {
			case *authorizationv1.SelfSubjectAccessReview:
				return nil // and so not allowed
			case *rbacv1.RoleBinding:
				return apierrors.NewForbidden(rbacv1.Resource("rolebindings"), o.GetName(), errBroken)
			}
			return c.Create(ctx, o, opts...)
		},
	}), broker.GetAPIReader())
	request := w.ask()
	w.fresh(request)
	if _, err := w.requests.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)}); err == nil {
		t.Error("the request is not tried again")
	}
	if phase := w.request(request).Status.Phase; phase.Ended() {
		t.Errorf("the request is %s", phase)
	}
	refusing := w.grants
	w.use(broker.GetClient(), broker.GetAPIReader())
	_, g := w.approved()
	w.grants = refusing
	if _, err := w.tryGrant(g); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want another try", err)
	}
	w.clock.SetTime(w.clock.Now().Add(10*time.Second + time.Second))
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndNotGrantable)
}

// A write that is refused because the object has changed is tried again, even if no
// event comes.
func TestConflictIsTriedAgain(t *testing.T) {
	w := newWorld(t, nil)
	w.use(failing(interceptor.Funcs{
		SubResourcePatch: func(_ context.Context, _ client.Client, _ string, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
			return apierrors.NewConflict(v1alpha1.GroupVersion.WithResource("any").GroupResource(), o.GetName(), errBroken)
		},
	}), broker.GetAPIReader())
	refused := w.grants
	request := w.ask()
	w.fresh(request)
	if next, err := w.requests.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(request)}); err != nil || next.RequeueAfter != record.StaleAgain {
		t.Errorf("the request is looked at again in %s, %v", next.RequeueAfter, err)
	}
	w.use(broker.GetClient(), broker.GetAPIReader())
	_, g := w.active()
	w.grants = refused
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	if next := w.reconcileGrant(g); next.RequeueAfter != record.StaleAgain {
		t.Errorf("the grant is looked at again in %s", next.RequeueAfter)
	}
}

// The limit on waiting requests counts those under the policy, at once, and none
// that have no policy yet.
func TestMaxPending(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.MaxPendingPerRequester = ptr.To[int32](1) })
	other := newWorld(t, nil)
	var unmatched []*v1alpha1.AccessRequest
	for range 3 {
		unmatched = append(unmatched, other.ask())
	}
	first, second := w.ask(), w.ask()
	for _, request := range append(unmatched, first, second) {
		w.fresh(request)
	}
	// At the second match, the cache does not show the first yet.
	unseen := w.request(second)
	w.use(failing(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if o, ok := o.(*v1alpha1.AccessRequest); ok && key == client.ObjectKeyFromObject(unseen) {
				unseen.DeepCopyInto(o)
				return nil
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*v1alpha1.AccessRequestList); ok {
				return nil
			}
			return c.List(ctx, list, opts...)
		},
	}), broker.GetAPIReader())
	w.reconcileRequest(second)
	w.reconcileRequest(first)
	if c := w.request(first).Status; c.Phase != v1alpha1.RequestDenied || w.request(second).Status.Phase != v1alpha1.RequestPending {
		t.Errorf("the first is %s, the second %s", c.Phase, w.request(second).Status.Phase)
	}
}

// An object that is not the broker's has the binding's name: the grant fails
// and the object is left alone.
func TestNameTaken(t *testing.T) {
	w := newWorld(t, nil)
	request, g := w.approved()
	stranger := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: g.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"}},
	}
	w.create(stranger)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndNameTaken)
	w.reconcileRequest(request)
	current := w.request(request)
	if current.Status.Phase != v1alpha1.RequestFailed {
		t.Errorf("the request is %s, want Failed", current.Status.Phase)
	}
	if c := meta.FindStatusCondition(current.Status.Conditions, v1alpha1.ConditionEnded); c == nil || !strings.Contains(c.Message, g.Name) {
		t.Errorf("nobody can tell why: %v", current.Status.Conditions)
	}
	if left := w.bindings(); len(left) != 1 || left[0].UID != stranger.UID {
		t.Errorf("the stranger's binding was touched: %v", left)
	}
}

// A finalizer keeps a deleted binding, and a kept binding still authorizes.
func TestFinalizerOnTheBinding(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	binding := &w.bindings()[0]
	binding.Finalizers = []string{"example.com/keep"}
	// The admission policies refuse this to everybody but the broker.
	if err := e.Admin.Update(t.Context(), binding.DeepCopy()); !apierrors.IsForbidden(err) {
		t.Fatalf("an administrator put a finalizer on a binding: %v", err)
	}
	if err := broker.GetClient().Update(t.Context(), binding.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
	if left := w.bindings(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The conditions name access that is held by other means.
func TestStandingAccess(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "old-friends"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "dev"}},
	})
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	ended := w.wantEnded(g, v1alpha1.EndExpired)
	c := meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionStandingAccess)
	if c == nil || c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "old-friends") || !strings.Contains(c.Message, "alice may") {
		t.Errorf("the standing access does not come to light: %v", ended.Status.Conditions)
	}
}

// While a binding of the grant still allows anything, the broker does not take the
// API server's answer for access by other means, and does not claim the end.
func TestAnswersNameTheGrant(t *testing.T) {
	w := newWorld(t, nil)
	_, g := w.active()
	answers, err := access.Ask(t.Context(), broker.GetClient(), broker.GetAPIReader(), g, 100)
	if err != nil || !answers.Ours {
		t.Errorf("the grant's own binding is not recognised: %+v %v", answers, err)
	}
}

// A Deny wins that comes after the grant was written and before the request says
// Active.
func TestDenyRacesTheLastApproval(t *testing.T) {
	w := newWorld(t, nil)
	request, g := w.approved()
	w.decide(bob, request, v1alpha1.VerdictDeny)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndDenied)
	w.reconcileRequest(request)
	if got := w.request(request).Status.Phase; got != v1alpha1.RequestDenied {
		t.Errorf("the request is %s, want Denied", got)
	}
}

// Conditions are evaluated for the moment at which the access would begin.
func TestWorkingHours(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count = new(int32)
		s.Conditions = []v1alpha1.PolicyCondition{{
			Name: "working-hours", Message: "Monday to Friday, 9 to 17 in Berlin",
			Expression: "now.getDayOfWeek('Europe/Berlin') in [1, 2, 3, 4, 5] && now.getHours('Europe/Berlin') >= 9 && now.getHours('Europe/Berlin') < 17",
		}}
	})
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	monday := time.Now().In(berlin)
	for monday = monday.AddDate(0, 0, 1); monday.Weekday() != time.Monday; {
		monday = monday.AddDate(0, 0, 1)
	}
	at := func(hour int) time.Time {
		return time.Date(monday.Year(), monday.Month(), monday.Day(), hour, 0, 0, 0, berlin)
	}
	start := func(hour int) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) { s.StartTime = &metav1.Time{Time: at(hour)} }
	}
	late := w.ask(start(17))
	w.reconcileRequest(late)
	if got := w.request(late).Status; got.Phase != v1alpha1.RequestDenied {
		t.Errorf("after hours the request is %s: %v", got.Phase, got.Conditions)
	}
	early := w.ask(start(9))
	w.reconcileRequest(early)
	w.clock.SetTime(at(9))
	w.reconcileRequest(early)
	g := w.grantOf(early)
	w.reconcileGrant(g)
	if !w.can() {
		t.Error("in working hours alice has no access")
	}
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
}
