package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// Removed writes as conditions what the API server answered after the access was
// taken away, with the objects of the grant that are left but allow nothing.
func Removed(conditions *[]metav1.Condition, r access.Remaining, left []string, now time.Time) {
	asked := fmt.Sprintf("the API server was asked for all %d permissions", r.Possible)
	if r.Asked < r.Possible {
		asked = fmt.Sprintf("the API server was asked for %d of %d permissions", r.Asked, r.Possible)
	}
	if r.Unlisted {
		asked += " that the grant lists, and for none that it leaves out,"
	}
	asked += r.Without
	standing, reason, also := metav1.ConditionFalse, v1alpha1.ReasonVerified, asked+" and allows none"
	switch {
	case len(r.Standing) > 0:
		standing, reason = metav1.ConditionTrue, v1alpha1.ReasonOtherBindings
		also = fmt.Sprintf("%s and allows some by %d other bindings, listed under StandingAccess", asked, len(r.Standing))
	case len(r.Grants) > 0:
		reason, also = v1alpha1.ReasonOtherGrants, asked+" and allows some by other grants: "+access.List(r.Grants)
	}
	none := "no binding is left; "
	if len(left) > 0 {
		none, reason = "no binding of the grant allows anything; "+access.List(left)+"; ", v1alpha1.ReasonRemovalRefused
	}
	SetCondition(conditions, now, v1alpha1.ConditionAccessRemoved, metav1.ConditionTrue, reason, none+also)
	if standing == metav1.ConditionTrue {
		SetCondition(conditions, now, v1alpha1.ConditionStandingAccess, standing, v1alpha1.ReasonOtherBindings, r.Listed())
		return
	}
	SetCondition(conditions, now, v1alpha1.ConditionStandingAccess, standing, cmp.Or(r.Reason(), v1alpha1.ReasonNone), also)
}

// Unsealed is what stays on record of an issued credential after the end: all but
// the credential.
func Unsealed(c *v1alpha1.SealedCredential) *v1alpha1.SealedCredential {
	if c == nil {
		return nil
	}
	c = c.DeepCopy()
	c.Sealed = ""
	return c
}

const (
	// uninstallQuestions bounds how often the API server is asked about one grant
	// while somebody waits for the uninstallation of all.
	uninstallQuestions = 20

	// The authorizer catches up with a removal within these.
	settlePeriod, settlePatience = 100 * time.Millisecond, 10 * time.Second
)

// Uninstalled records that access.Uninstall has ended a grant, there and on its
// request. No policy is left by then.
func Uninstalled(ctx context.Context, c client.Client, ended access.Ended, now time.Time) error {
	reason, message := v1alpha1.EndPolicyGone, "Access Broker was uninstalled"
	if !now.Before(ended.Grant.Spec.ExpirationTime.Time) {
		reason = v1alpha1.EndExpired
	}
	remaining, err := settled(ctx, c, ended.Grant)
	if err != nil {
		return fmt.Errorf("verify the end of grant %s: %w", ended.Grant.Name, err)
	}
	err = change(ctx, c, ended.Grant, func() bool {
		status := &ended.Grant.Status
		if status.Phase == v1alpha1.GrantEnded {
			return false // a broker that still ran was sooner
		}
		status.Phase, status.EndedTime, status.EndReason = v1alpha1.GrantEnded, &metav1.Time{Time: now}, reason
		SetCondition(&status.Conditions, now, v1alpha1.ConditionAccessGiven, metav1.ConditionFalse, string(reason), message)
		status.Credential = Unsealed(status.Credential)
		Removed(&status.Conditions, remaining, ended.Left, now)
		return true
	})
	if err != nil {
		return fmt.Errorf("record the end of grant %s: %w", ended.Grant.Name, err)
	}
	request := &v1alpha1.AccessRequest{}
	request.Namespace, request.Name = ended.Grant.Spec.RequestRef.Namespace, ended.Grant.Spec.RequestRef.Name
	err = change(ctx, c, request, func() bool {
		if request.UID != ended.Grant.Spec.RequestRef.UID || request.Status.Phase.Ended() {
			return false
		}
		EndRequest(request, now, grant.RequestPhase(reason), string(reason), message)
		return true
	})
	if err != nil {
		return fmt.Errorf("record the end of request %s/%s: %w", request.Namespace, request.Name, err)
	}
	return nil
}

// settled asks whether the access is gone, until the authorizer knows of it.
func settled(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant) (remaining access.Remaining, err error) {
	err = wait.PollUntilContextTimeout(ctx, settlePeriod, settlePatience, true, func(ctx context.Context) (bool, error) {
		remaining, err = access.Ask(ctx, c, c, g, uninstallQuestions)
		return err == nil && !remaining.Ours, err
	})
	if remaining.Ours {
		err = errors.Join(errors.New("the API server still allows it by a binding of the grant"), err)
	}
	return remaining, err
}

// change writes the status that edit makes of the newest version of an object,
// unless edit finds nothing to do or the object is gone.
func change(ctx context.Context, c client.Client, o client.Object, edit func() bool) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		before, ok := o.DeepCopyObject().(client.Object)
		if !ok || !edit() {
			return nil
		}
		return c.Status().Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	return err
}
