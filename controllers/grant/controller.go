// Package grant gives the access that an AccessGrant describes, takes it away when
// the grant is over, and records both: Reconcile reads as the life of a grant. Judge
// finds out whether held access must end before its deadline, and waits for nothing
// else.
package grant

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/admission"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/task"
)

// overdueGrace is how long after a deadline the grant controller leaves the
// removal to the expirer, which runs on every replica, before it takes the
// access away itself.
const overdueGrace = time.Second

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accessgrants/status,verbs=patch;update
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=rolebindings;clusterrolebindings,verbs=get;list;watch;create;update;patch;delete

// Reconciler gives the access that an AccessGrant describes, and takes it away.
type Reconciler struct {
	Client client.Client
	// Live reads from the API server, not from the cache.
	Live     client.Reader
	Clock    clock.PassiveClock
	Status   *record.Writer
	Policies *resolve.Policies
	Names    resolve.Names
	// Admission tells whether identities could be verified.
	Admission *admission.Check
	// Backlog is shared with the expirer and the request controller.
	Backlog *queue.Backlog
	Metrics *record.Metrics
	// HandOver brings a grant whose access was struck to Reconcile.
	HandOver func(context.Context, *v1alpha1.AccessGrant)
	// Tell writes into the request of a grant what became of it, if it can: otherwise
	// the watch of the grant brings that.
	Tell func(context.Context, *v1alpha1.AccessGrant)

	memory  memory
	written written
	claims  claims
}

// step is a grant on its way to its next status.
type step struct {
	// seen is the grant as the cache has it.
	seen *v1alpha1.AccessGrant
	// AccessGrant as it is to be recorded.
	*v1alpha1.AccessGrant
	now time.Time
}

// Reconcile brings one grant forward: it gives the access or takes it away, and
// records that.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.AtStart(ctx)
	s, err := r.fetch(ctx, key)
	switch {
	case err != nil:
		return reconcile.Result{}, err
	case s == nil:
		r.forget(key.Name)
		left, err := access.TakeLeftovers(ctx, r.Client, r.Live, key.Name)
		return queue.AgainFor(left), r.Metrics.Removal(err)
	case r.memory.ahead(s.seen):
		return reconcile.Result{RequeueAfter: overdueGrace}, nil
	}
	end, err := r.over(ctx, s)
	if end == nil && err == nil && s.Status.Phase != v1alpha1.GrantActive {
		end, err = r.give(ctx, s)
	}
	r.written.drop(s.Name)    // the next look checks it: what was approved may change
	r.Backlog.Arrived(s.Name) // nobody waits for one that cannot be given at once, either
	switch {
	case end != nil:
		return r.take(ctx, s, end)
	case err != nil:
		return record.Again(err)
	}
	return r.keep(ctx, s)
}

// fetch reads a grant from the cache, nil when there is none, and adds what was
// given but is not recorded yet.
func (r *Reconciler) fetch(ctx context.Context, key reconcile.Request) (*step, error) {
	seen := &v1alpha1.AccessGrant{}
	if err := r.Client.Get(ctx, key.NamespacedName, seen, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)}); err != nil {
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read grant: %w", err)
		}
		return nil, nil
	}
	s := &step{seen: seen, AccessGrant: seen.DeepCopy(), now: r.Clock.Now()}
	if seen.Status.Phase != v1alpha1.GrantActive {
		if given := r.memory.look(seen.Name, seen.UID).given; given != nil {
			s.Status = *given.DeepCopy()
		}
	}
	return s, nil
}

// over tells why the access of a grant must end, or must not be given: it was
// struck, or its time is up; or, before it is given, the grant is over in any other
// way or is not what was approved. For held access, Judge looks for those other
// ways.
func (r *Reconciler) over(ctx context.Context, s *step) (*ending, error) {
	if struck := r.memory.look(s.Name, s.UID).struck; struck != nil {
		return struck, nil
	}
	if end := grant.Expired(s.AccessGrant, s.now); end != nil {
		r.Metrics.MustEnd(s.Name, end, s.now)
		return &ending{*end, s.Spec.ExpirationTime.Time}, nil
	}
	if s.Status.Phase == v1alpha1.GrantActive {
		return nil, nil
	}
	end, err := r.judge(ctx, s)
	_, err = task.TakeUntold(err) // Judge reports it
	if end == nil && err == nil {
		// After an error nothing is given, so this is not looked at.
		end, err = r.notApproved(ctx, s)
	}
	if end == nil {
		return nil, err
	}
	r.Metrics.MustEnd(s.Name, end, s.now)
	return &ending{End: *end}, nil
}

// keep records that access was given, unless others still wait for theirs, renews its
// credential when that is due, and says when to look again. An issued credential
// reaches its requester with the record, so that never waits.
func (r *Reconciler) keep(ctx context.Context, s *step) (reconcile.Result, error) {
	if s.seen.Status.Phase != v1alpha1.GrantActive {
		if !grant.Issued(s.AccessGrant) && r.Backlog.Waits(s.Spec.NotBefore.Time, s.now) {
			return queue.Later(queue.RecordAgain), nil // the record can wait
		}
		if err := r.recordGiven(ctx, s); err != nil {
			return record.Again(err)
		}
	}
	renew, err := r.renew(ctx, s)
	if err != nil {
		return record.Again(err)
	}
	look := s.Spec.ExpirationTime.Sub(s.now) + overdueGrace
	if s.Spec.Task != nil {
		look = min(look, resolve.LookAgain)
	}
	if !renew.IsZero() {
		look = min(look, max(renew.Sub(s.now), time.Second))
	}
	return reconcile.Result{RequeueAfter: look}, nil
}

// recordGiven records that access was given. Whoever asked for a credential waits for
// it, and reads it in the request: that is written first.
func (r *Reconciler) recordGiven(ctx context.Context, s *step) error {
	if grant.Issued(s.AccessGrant) {
		r.Tell(ctx, s.AccessGrant)
	}
	return r.write(ctx, s)
}

// write records a step.
func (r *Reconciler) write(ctx context.Context, s *step) error {
	written, err := r.Status.Grant(ctx, s.seen, s.AccessGrant)
	if written {
		r.memory.wrote(s.AccessGrant)
	}
	return err
}

// forget drops what is remembered of a grant that has ended or is gone.
func (r *Reconciler) forget(name string) {
	r.Metrics.Forget(name)
	r.memory.forget(name)
	r.written.drop(name)
	r.claims.drop(name)
}
