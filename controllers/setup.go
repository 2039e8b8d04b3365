// Package controllers holds the reconcilers. A request becomes a grant
// (request_controller.go, first_match.go, write_grant.go), a grant becomes
// bindings and ends (grant_controller.go, over.go, bindings.go, verify.go), every
// replica removes what is due (expirer.go), a policy says whether it can be used
// (policy_controller.go). Which event concerns whom is in wiring.go.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
)

// The longest pauses between two tries.
const (
	maxBackoff        = 5 * time.Second  // to revoke
	maxRequestBackoff = 60 * time.Second // to grant
)

// CacheOptions of the manager: of requests and grants only those that have not
// ended are kept, of bindings only those that belong to a grant, of admission
// policies only the broker's, of nothing the managedFields, and equal rules are
// kept once.
func CacheOptions() cache.Options {
	ofGrants, err := labels.NewRequirement(v1alpha1.LabelGrant, selection.Exists, nil)
	if err != nil {
		panic(err) // a constant
	}
	selector := labels.NewSelector().Add(*ofGrants)
	installed := labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "access-broker"})
	return cache.Options{
		DefaultTransform: (&interner{}).transform(),
		NewInformer:      cached.NewInformer,
		ByObject: map[client.Object]cache.ByObject{
			&rbacv1.RoleBinding{}:                                       {Label: selector},
			&rbacv1.ClusterRoleBinding{}:                                {Label: selector},
			&admissionregistrationv1.ValidatingAdmissionPolicy{}:        {Label: installed},
			&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}: {Label: installed},
		},
	}
}

// The metrics endpoint authenticates its clients by TokenReview and authorizes
// them by SubjectAccessReview.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create

// Options of the reconcilers.
type Options struct {
	Clock clock.Clock
	// Audit is the log of every transition.
	Audit     *zap.Logger
	Retention Retention
	// Settle is how long a new request waits for what is missing.
	Settle time.Duration
	// Version that runs, for the metrics.
	Version string
}

// Setup registers the reconcilers with a manager.
func Setup(ctx context.Context, mgr manager.Manager, o Options) error {
	clk := o.Clock
	if err := setupIndexes(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	c, live := mgr.GetClient(), mgr.GetAPIReader()
	policies := &Policies{Client: c, Live: live}
	admissionPolicies, err := NewAdmission(c)
	if err != nil {
		return err
	}
	// Read by name later; the cache starts with the others.
	for _, o := range []client.Object{&admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}} {
		if _, err := mgr.GetCache().GetInformer(ctx, o); err != nil {
			return fmt.Errorf("watch admission policies: %w", err)
		}
	}
	recorder, err := newRecorder(mgr)
	if err != nil {
		return err
	}
	journal := Journal{Recorder: recorder, Audit: o.Audit}
	measures, err := NewMetrics(metrics.Registry, c, clk, o.Version)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	backlog := &Backlog{start: make(chan struct{})}
	w := wiring{client: c}
	tasks, err := NewTasks(mgr.GetConfig(), mgr.GetHTTPClient(), w)
	if err != nil {
		return err
	}

	err = builder.ControllerManagedBy(mgr).Named("policy").
		For(&v1alpha1.AccessPolicy{}).
		Watches(&rbacv1.ClusterRole{}, w.policiesOfRole()).
		Watches(&rbacv1.Role{}, w.policiesOfRole()).
		Complete(&PolicyReconciler{Client: c, Live: live, Clock: clk, Policies: policies})
	if err != nil {
		return fmt.Errorf("policy controller: %w", err)
	}
	reconciler := &RequestReconciler{Client: c, Live: live, Clock: clk, Journal: journal, Policies: policies, Tasks: tasks, Settle: o.Settle, Backlog: backlog, Metrics: measures}
	err = builder.ControllerManagedBy(mgr).Named("request").
		Watches(&v1alpha1.AccessRequest{}, reconciler.inTurn()).
		Watches(&v1alpha1.AccessPolicy{}, handler.EnqueueRequestsFromMapFunc(w.openRequests)).
		Watches(&v1alpha1.AccessGrant{}, handler.EnqueueRequestsFromMapFunc(requestOfGrant)).
		Watches(&rbacv1.ClusterRole{}, handler.EnqueueRequestsFromMapFunc(w.requestsOfRole)).
		Watches(&rbacv1.Role{}, handler.EnqueueRequestsFromMapFunc(w.requestsOfRole)).
		WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(w.requestsAwaiting)).
		WatchesMetadata(&corev1.ServiceAccount{}, handler.EnqueueRequestsFromMapFunc(w.requestsAwaiting)).
		WatchesRawSource(tasks.source(w.requestsBy(indexTask))).
		WithOptions(options(maxRequestBackoff)).
		Complete(reconciler)
	if err != nil {
		return fmt.Errorf("request controller: %w", err)
	}

	granting := &GrantReconciler{
		Client: c, Live: live, Clock: clk, Journal: journal, Policies: policies, Admission: admissionPolicies, Tasks: tasks,
		Backlog: backlog, Metrics: measures, handedOver: make(chan event.GenericEvent, maxConcurrent),
	}
	// What grants own is watched for those whose grant has ended or is gone.
	err = builder.ControllerManagedBy(mgr).Named("grant").
		For(&v1alpha1.AccessGrant{}).
		Watches(&rbacv1.RoleBinding{}, first(grantOfBinding)).
		Watches(&rbacv1.ClusterRoleBinding{}, first(grantOfBinding)).
		Watches(&rbacv1.ClusterRole{}, first(grantOfOwned)).
		Watches(&rbacv1.Role{}, first(grantOfOwned)).
		WatchesRawSource(source.Channel(granting.handedOver, handler.TypedFuncs[client.Object, reconcile.Request]{GenericFunc: behindAll})).
		WithOptions(options(maxBackoff)).
		Complete(granting)
	if err != nil {
		return fmt.Errorf("grant controller: %w", err)
	}
	err = builder.ControllerManagedBy(mgr).Named("judge").
		For(&v1alpha1.AccessGrant{}).
		Watches(&rbacv1.RoleBinding{}, first(grantOfBinding)).
		Watches(&rbacv1.ClusterRoleBinding{}, first(grantOfBinding)).
		Watches(&v1alpha1.AccessRequest{}, first(grantOfRequest)).
		Watches(&v1alpha1.AccessPolicy{}, first(w.grantsOfPolicy)).
		Watches(&rbacv1.ClusterRole{}, first(w.grantsOfRole)).
		Watches(&rbacv1.Role{}, first(w.grantsOfRole)).
		WatchesMetadata(&corev1.Namespace{}, first(w.grantsOfObject)).
		WatchesMetadata(&corev1.ServiceAccount{}, first(w.grantsOfObject)).
		WatchesRawSource(tasks.source(w.grantsBy(indexTask))).
		WithOptions(options(maxBackoff)).
		Complete(reconcile.Func(granting.Judge))
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}

	expirer := &Expirer{Client: c, Live: live, Clock: clk, Backlog: backlog, Metrics: measures}
	everywhere := options(maxBackoff)
	everywhere.NeedLeaderElection = ptr.To(false)
	err = builder.ControllerManagedBy(mgr).Named("expirer").
		For(&v1alpha1.AccessGrant{}).
		Watches(&rbacv1.RoleBinding{}, first(grantOfBinding), builder.WithPredicates(toCheck)).
		Watches(&rbacv1.ClusterRoleBinding{}, first(grantOfBinding), builder.WithPredicates(toCheck)).
		WithOptions(everywhere).
		Complete(expirer)
	if err != nil {
		return fmt.Errorf("expirer: %w", err)
	}
	if err := mgr.Add(&Ended{Client: c, Live: live, Clock: clk, Journal: journal, Retention: o.Retention, Backlog: backlog, Metrics: measures}); err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return mgr.Add(expirer)
}

// maxConcurrent is how many of a kind are under way at a time.
const maxConcurrent = 10

func options(most time.Duration) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: maxConcurrent,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, most),
	}
}

// CachesSynced is a readiness check: a replica is ready when it has seen the
// cluster, and so will revoke what is due.
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
