// Package controllers starts the reconcilers (setup.go) and finds the objects that
// an event concerns (wiring.go). Each reconciler has a package of its own: request
// turns an approved request into a grant, grant gives and ends access, expirer
// removes on every replica what is due, and policy tells whether a policy can be
// used.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	foureyes "github.com/accessbroker/accessbroker/config/components/four-eyes"
	"github.com/accessbroker/accessbroker/controllers/expirer"
	"github.com/accessbroker/accessbroker/controllers/grant"
	"github.com/accessbroker/accessbroker/controllers/locks"
	"github.com/accessbroker/accessbroker/controllers/policy"
	"github.com/accessbroker/accessbroker/controllers/request"
	"github.com/accessbroker/accessbroker/controllers/review"
	"github.com/accessbroker/accessbroker/controllers/usage"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/admission"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// CacheOptions of the manager.
func CacheOptions() cache.Options {
	var bindings []client.Object
	for _, kind := range access.Kinds {
		if kind.Binds { // roles that belong to no grant are read too
			bindings = append(bindings, kind.New())
		}
	}
	return cached.Options(bindings...)
}

// Index makes the indexes of the cache.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	var owned []client.Object
	for _, kind := range access.Kinds {
		owned = append(owned, kind.New())
	}
	return cached.Index(ctx, indexer, owned...)
}

// The metrics endpoint authenticates its clients by TokenReview and authorizes
// them by SubjectAccessReview.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create

// Options of the reconcilers.
type Options struct {
	Clock clock.Clock
	// Audit is the log of every transition.
	Audit     *zap.Logger
	Retention record.Retention
	// Settle is how long a new request waits for objects that do not exist yet.
	Settle time.Duration
	// ConfirmedPolicies makes policies give nothing that a second person has not
	// confirmed.
	ConfirmedPolicies bool
	// Version of the broker, for the metrics.
	Version string
	// AfterEnd, if there is one, hears of what is written on a grant after its end.
	AfterEnd func(before, after *v1alpha1.AccessGrant)
}

// process is what the controllers share.
type process struct {
	manager.Manager
	wiring
	clock     clock.Clock
	client    client.Client
	live      client.Reader
	status    *record.Writer
	metrics   *record.Metrics
	backlog   *queue.Backlog
	policies  *resolve.Policies
	reviews   *cached.Reviews
	names     resolve.Names
	admission *admission.Check
}

// Setup registers the reconcilers with a manager.
func Setup(ctx context.Context, mgr manager.Manager, o Options) error {
	p, err := newProcess(ctx, mgr, o)
	if err != nil {
		return err
	}
	granting := p.newGranting()
	if err := errors.Join(p.setupPolicy(), p.setupRequest(granting, o.Settle), p.setupGrant(granting), p.setupJudge(granting), p.setupUsage(), p.setupReview(), p.setupLocks(), p.setupExpirer()); err != nil {
		return fmt.Errorf("set up the controllers: %w", err)
	}
	return mgr.Add(&record.Archive{
		Client: p.client, Live: p.live, Clock: p.clock, Journal: p.status.Journal, Retention: o.Retention, Backlog: p.backlog, Metrics: p.metrics,
	})
}

func newProcess(ctx context.Context, mgr manager.Manager, o Options) (*process, error) {
	if err := Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return nil, err
	}
	c, live := mgr.GetClient(), mgr.GetAPIReader()
	p := &process{
		Manager: mgr, wiring: wiring{cache: c}, clock: o.Clock, client: c, live: live,
		backlog: queue.Starting(), policies: &resolve.Policies{Client: c, Live: live, Confirmed: o.ConfirmedPolicies},
	}
	var components []fs.FS
	if o.ConfirmedPolicies {
		components = append(components, foureyes.Files)
	}
	var err error
	if p.admission, err = admission.New(c, components...); err != nil {
		return nil, err
	}
	// The admission check and the metrics read these later; their caches fill with the
	// others.
	for _, o := range []client.Object{&admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, &v1alpha1.AccessUsage{}} {
		if _, err := mgr.GetCache().GetInformer(ctx, o); err != nil {
			return nil, fmt.Errorf("watch %T: %w", o, err)
		}
	}
	if p.reviews, err = cached.NewReviews(ctx, mgr.GetConfig(), cache.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()}); err != nil {
		return nil, err
	}
	if err := mgr.Add(p.reviews); err != nil {
		return nil, err
	}
	recorder, err := record.NewRecorder(mgr, "access-broker")
	if err != nil {
		return nil, err
	}
	if p.metrics, err = record.NewMetrics(metrics.Registry, c, p.reviews, o.Clock, o.Version); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	p.status = &record.Writer{Client: c, Journal: record.Journal{Recorder: recorder, Audit: o.Audit}, Metrics: p.metrics, AfterEnd: o.AfterEnd}
	tasks, err := resolve.NewTasks(mgr.GetConfig(), mgr.GetHTTPClient(), p.named)
	if err != nil {
		return nil, err
	}
	version, err := resolve.NewVersion(mgr.GetConfig(), mgr.GetHTTPClient(), o.Clock)
	if err != nil {
		return nil, err
	}
	p.names = resolve.Names{Cache: c, Live: live, Tasks: tasks, Roles: resolve.NewRoles(), Version: version}
	return p, nil
}

func (p *process) setupPolicy() error {
	r := &policy.Reconciler{Client: p.client, Clock: p.clock, Status: p.status, Policies: p.policies, Names: p.names}
	return builder.ControllerManagedBy(p).Named("policy").
		For(&v1alpha1.AccessPolicy{}).
		Watches(&rbacv1.ClusterRole{}, r.OfRole()).
		Watches(&rbacv1.Role{}, r.OfRole()).
		Complete(r)
}

func (p *process) setupRequest(granting *granting, settle time.Duration) error {
	r := &request.Reconciler{
		Client: p.client, Live: p.live, Clock: p.clock, Status: p.status, Policies: p.policies, Names: p.names,
		Reviews: p.reviews, Settle: settle, Backlog: p.backlog, Metrics: p.metrics, Wrote: granting.Wrote,
	}
	granting.Tell = r.Tell
	return builder.ControllerManagedBy(p).Named("request").
		Watches(&v1alpha1.AccessRequest{}, r.InTurn()).
		Watches(&v1alpha1.AccessPolicy{}, handler.EnqueueRequestsFromMapFunc(p.openRequests)).
		Watches(&v1alpha1.AccessLock{}, handler.EnqueueRequestsFromMapFunc(p.openRequests)).
		Watches(&v1alpha1.AccessGrant{}, handler.EnqueueRequestsFromMapFunc(p.requestsOfGrant)).
		Watches(&rbacv1.ClusterRole{}, handler.EnqueueRequestsFromMapFunc(p.requestsOfRole)).
		Watches(&rbacv1.Role{}, handler.EnqueueRequestsFromMapFunc(p.requestsOfRole)).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(p.requestsAwaiting)).
		WatchesMetadata(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(p.requestsAwaiting)).
		WatchesRawSource(p.names.Tasks.Source(p.requestsBy(cached.ByTask))).
		WithOptions(queue.Options(queue.MaxRequestBackoff)).
		Complete(r)
}

// granting is the grant reconciler, and the channel on which Judge hands a grant
// that it struck to Reconcile.
type granting struct {
	*grant.Reconciler
	struck chan event.GenericEvent
}

func (p *process) newGranting() *granting {
	struck := make(chan event.GenericEvent, queue.MaxConcurrent)
	return &granting{struck: struck, Reconciler: &grant.Reconciler{
		Client: p.client, Live: p.live, Clock: p.clock, Status: p.status, Policies: p.policies, Names: p.names,
		Admission: p.admission, Backlog: p.backlog, Metrics: p.metrics,
		HandOver: func(ctx context.Context, g *v1alpha1.AccessGrant) {
			select {
			case struck <- event.GenericEvent{Object: g}:
			case <-ctx.Done():
			}
		},
	}}
}

// setupGrant also watches the objects that grants own: their grant may have ended or
// be gone.
func (p *process) setupGrant(g *granting) error {
	return watchOwned(builder.ControllerManagedBy(p).Named("grant").For(&v1alpha1.AccessGrant{})).
		WatchesRawSource(source.Channel(g.struck, handler.TypedFuncs[client.Object, reconcile.Request]{GenericFunc: handedOver})).
		WithOptions(queue.Options(queue.MaxBackoff)).
		Complete(g.Reconciler)
}

func (p *process) setupJudge(g *granting) error {
	return watchOwned(builder.ControllerManagedBy(p).Named("judge").For(&v1alpha1.AccessGrant{})).
		Watches(&v1alpha1.AccessRequest{}, queue.Urgent(p.grantsOfRequest)).
		Watches(&v1alpha1.AccessGrant{}, queue.Urgent(p.grantsOfChain)).
		Watches(&v1alpha1.AccessPolicy{}, queue.Urgent(p.grantsOfPolicy)).
		Watches(&v1alpha1.AccessUsage{}, queue.Urgent(p.grantOfUsage)).
		Watches(&v1alpha1.AccessLock{}, queue.Urgent(p.grantsOfLock)).
		Watches(&rbacv1.ClusterRole{}, queue.Urgent(p.grantsOfRole)).
		Watches(&rbacv1.Role{}, queue.Urgent(p.grantsOfRole)).
		WatchesMetadata(&corev1.Namespace{}, queue.Urgent(p.grantsOfObject)).
		WatchesMetadata(&corev1.ServiceAccount{}, queue.Urgent(p.grantsOfObject)).
		WatchesRawSource(p.names.Tasks.Source(p.grantsBy(cached.ByTask))).
		WithOptions(queue.Options(queue.MaxBackoff)).
		Complete(reconcile.Func(g.Judge))
}

// setupUsage also watches grants leave the cache: that one has ended is the moment to
// look back.
func (p *process) setupUsage() error {
	r := &usage.Reconciler{Client: p.client, Live: p.live, Mapper: p.GetRESTMapper(), Clock: p.clock, Status: p.status, Backlog: p.backlog}
	return builder.ControllerManagedBy(p).Named("usage").
		For(&v1alpha1.AccessUsage{}).
		Watches(&v1alpha1.AccessGrant{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(leaving)).
		WithOptions(queue.Options(queue.MaxRequestBackoff)).
		Complete(r)
}

// setupReview watches what waits for a review; its grant is the key.
func (p *process) setupReview() error {
	r := &review.Reconciler{Reviews: p.reviews, Live: p.live, Clock: p.clock, Status: p.status, Backlog: p.backlog}
	return builder.ControllerManagedBy(p).Named("review").
		WatchesRawSource(source.Kind[client.Object](p.reviews, &v1alpha1.AccessGrant{}, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Kind[client.Object](p.reviews, &v1alpha1.AccessRequest{}, handler.EnqueueRequestsFromMapFunc(grantOfRequest))).
		WithOptions(queue.Options(queue.MaxRequestBackoff)).
		Complete(r)
}

func (p *process) setupLocks() error {
	r := &locks.Reconciler{Client: p.client, Live: p.live, Clock: p.clock, Backlog: p.backlog, Metrics: p.metrics}
	everywhere := queue.Options(queue.MaxBackoff)
	everywhere.NeedLeaderElection = ptr.To(false)
	return builder.ControllerManagedBy(p).Named("lock").For(&v1alpha1.AccessLock{}).WithOptions(everywhere).Complete(r)
}

func (p *process) setupExpirer() error {
	r := &expirer.Reconciler{Client: p.client, Live: p.live, Clock: p.clock, Backlog: p.backlog, Metrics: p.metrics}
	everywhere := queue.Options(queue.MaxBackoff)
	everywhere.NeedLeaderElection = ptr.To(false)
	err := watchOwned(builder.ControllerManagedBy(p).Named("expirer").For(&v1alpha1.AccessGrant{}), builder.WithPredicates(toCheck)).
		WithOptions(everywhere).
		Complete(r)
	return errors.Join(err, p.Add(r))
}

// watchOwned watches every kind of object that a grant can own, for its grant.
func watchOwned(to *builder.Builder, which ...builder.WatchesOption) *builder.Builder {
	for _, kind := range access.Kinds {
		to = to.Watches(kind.New(), queue.Urgent(ownerOf), which...)
	}
	return to
}

// CachesSynced is a readiness check: a replica is ready when its caches are filled,
// so that it revokes what is due.
func CachesSynced(c cache.Cache) func(*http.Request) error {
	return func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the caches are not synced")
		}
		return nil
	}
}
