package grant

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/task"
)

// Judge finds out whether held access must end before its deadline, and if so
// strikes it. It is a controller of its own: verifying, recording and giving wait
// for it, and it waits for none of them. The expirer enforces the deadline.
func (r *Reconciler) Judge(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	r.Backlog.AtStart(ctx)
	s, err := r.fetch(ctx, key)
	if err != nil || s == nil {
		return reconcile.Result{}, err
	}
	if s.Status.Phase != v1alpha1.GrantActive || r.memory.ahead(s.seen) {
		return reconcile.Result{}, nil // not given yet, or ended
	}
	if r.memory.look(s.Name, s.UID).struck == nil {
		end, err := r.judge(ctx, s)
		untold, err := task.TakeUntold(err)
		if end != nil || err == nil {
			r.Metrics.MustEnd(s.Name, end, s.now)
		}
		switch {
		case err != nil:
			return record.Again(err)
		case grant.Expired(s.AccessGrant, s.now) != nil:
			return reconcile.Result{}, nil
		case end == nil:
			return r.watched(ctx, s, untold)
		}
		r.memory.note(s.Name, s.UID, func(m *remembered) { m.struck = &ending{*end, s.now} })
	}
	err = r.Backlog.Removing(func() error {
		_, err := access.Strike(ctx, r.Client, r.Live, s.AccessGrant)
		return err
	})
	r.HandOver(ctx, s.AccessGrant)
	return reconcile.Result{}, r.Metrics.Removal(err)
}

// lookAtAll is how often held access is looked at when nothing was heard that could end
// it: an event that was lost must not leave it until its deadline.
const lookAtAll = 2 * time.Minute

// watched records why the broker cannot tell whether the task of an active grant is
// over, if it cannot, and near the deadline that it comes; and says when to look again.
func (r *Reconciler) watched(ctx context.Context, s *step, untold *task.Untold) (reconcile.Result, error) {
	look := min(s.Spec.ExpirationTime.Sub(s.now)+overdueGrace, lookAtAll)
	warn := grant.WarnAt(s.AccessGrant)
	told := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionExpiresSoon) != nil
	switch {
	case s.now.Before(warn):
		look = min(look, warn.Sub(s.now))
	case !told && r.Backlog.Waits(warn, s.now):
		look, told = min(look, queue.RecordAgain), true // a warning can wait, access to be taken or given cannot
	}
	if s.seen.Status.Phase == v1alpha1.GrantActive { // otherwise the write that was made just now brings another look
		if s.Spec.Task != nil {
			record.SetTaskWatched(&s.Status.Conditions, s.now, untold)
		}
		if !told && !s.now.Before(warn) {
			record.SetExpiresSoon(&s.Status.Conditions, s.now, grant.ExpiresSoon(s.AccessGrant, r.policyNow(ctx, s.AccessGrant), s.now))
		}
		if _, err := r.Status.Grant(ctx, s.seen, s.AccessGrant); err != nil {
			return record.Again(err)
		}
	}
	if s.Spec.Task != nil {
		look = min(look, resolve.LookAgain)
	}
	return reconcile.Result{RequeueAfter: look}, nil
}

// judge looks up the facts and tells whether a grant is over.
func (r *Reconciler) judge(ctx context.Context, s *step) (*grant.End, error) {
	return grant.Over(s.AccessGrant, r.facts(ctx, s.AccessGrant), s.now)
}
