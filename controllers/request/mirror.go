package request

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Tell mirrors a grant that is given at once. It may fail: the grant is watched, too.
func (r *Reconciler) Tell(ctx context.Context, g *v1alpha1.AccessGrant) {
	request, ref := &v1alpha1.AccessRequest{}, g.Spec.RequestRef
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request); err != nil || request.UID != ref.UID || request.Status.Phase.Ended() {
		return
	}
	s := &step{AccessRequest: request.DeepCopy(), now: r.Clock.Now()}
	mirror(s, g)
	if err := r.Status.Request(ctx, request, s.AccessRequest, s.now); err != nil {
		logf.FromContext(ctx).V(1).Info("the request is told later", "why", err.Error())
	}
}

// mirror records on the request what became of its grant.
func mirror(s *step, g *v1alpha1.AccessGrant) {
	switch g.Status.Phase {
	case v1alpha1.GrantActive, v1alpha1.GrantEnded:
	default:
		return // the grant controller will do it
	}
	s.Status.GrantName = g.Name
	s.Status.ExpirationTime = g.Spec.ExpirationTime.DeepCopy()
	record.ShowReview(s.AccessRequest, g)
	if g.Status.Phase == v1alpha1.GrantActive {
		s.Status.Phase = v1alpha1.RequestActive
		s.Status.Approvals = policy.Weigh(policy.BallotOf(s.AccessRequest)).Stages
		s.Status.Credential = g.Status.Credential.DeepCopy()
		mirrorTask(s, g)
		if soon := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionExpiresSoon); soon != nil {
			meta.SetStatusCondition(&s.Status.Conditions, *soon)
		}
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonApproved, approvedBy(g))
		reason, message := v1alpha1.ReasonGranted, fmt.Sprintf("%s in %s for %s until %s",
			g.Spec.Summary.Role, g.Spec.Summary.Scope, g.Spec.Summary.Subjects, text.Moment(g.Spec.ExpirationTime.Time))
		if g.Spec.ShortenedBy != "" {
			message += ", less than was asked for, by " + g.Spec.ShortenedBy
		}
		if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessRemoved); c != nil && c.Status == metav1.ConditionFalse {
			reason, message = c.Reason, c.Message
		}
		s.set(v1alpha1.ConditionGranted, metav1.ConditionTrue, reason, message)
		return
	}
	// An end that somebody forged may give no reason.
	reason := cmp.Or(g.Status.EndReason, v1alpha1.EndRevoked)
	message := string(reason)
	if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessGiven); c != nil {
		message = c.Message
	}
	s.end(grant.RequestPhase(reason), string(reason), message)
}

func approvedBy(g *v1alpha1.AccessGrant) string {
	if g.Spec.Summary.Approvers == "" {
		return "policy " + g.Spec.PolicyRef.Name + " asks for no approval"
	}
	return "approved by " + g.Spec.Summary.Approvers
}

// mirrorTask copies what the grant says about the task to the request.
func mirrorTask(s *step, g *v1alpha1.AccessGrant) {
	meta.RemoveStatusCondition(&s.Status.Conditions, v1alpha1.ConditionTaskWatched)
	if told := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionTaskWatched); told != nil {
		meta.SetStatusCondition(&s.Status.Conditions, *told)
	}
}
