// Package policy reports on each AccessPolicy whether it can be used.
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/text"
)

// +kubebuilder:rbac:groups=jit.accessbroker.dev,resources=accesspolicies/status,verbs=patch;update

// How soon the roles of a policy are looked at again. A binding may let the broker
// bind them, and it does not watch such bindings.
const (
	grantableAgain    = 10 * time.Minute
	notGrantableAgain = time.Minute
	// rbacSettles is how long the API server may take to apply a changed role.
	rbacSettles = time.Second
)

// maxRolesTold bounds how many roles that cannot be granted a condition names.
const maxRolesTold = 10

// Reconciler reports on each AccessPolicy whether it can be used, and whether its
// roles can be granted. When one role cannot, the policy still allows the others.
type Reconciler struct {
	Client   client.Client
	Clock    clock.PassiveClock
	Status   *record.Writer
	Policies *resolve.Policies
	Names    resolve.Names
}

// Reconcile compiles one policy, looks at its roles and writes its Ready
// condition.
func (r *Reconciler) Reconcile(ctx context.Context, key reconcile.Request) (reconcile.Result, error) {
	object := &v1alpha1.AccessPolicy{}
	if err := r.Client.Get(ctx, key.NamespacedName, object); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	next, now := object.DeepCopy(), r.Clock.Now()
	next.Status.Approvals = stages(&object.Spec)
	p := r.Policies.Compile(object)
	var missing []string
	if p.Err() == nil {
		var err error
		if missing, err = r.notGrantable(ctx, object); err != nil {
			return record.Again(err)
		}
	}
	wait := grantableAgain
	if len(missing) > 0 {
		wait = notGrantableAgain
	}
	if _, turns := object.Spec.Review(now); !turns.IsZero() {
		wait = min(wait, max(turns.Sub(now), time.Millisecond))
	}
	status, reason, message := ready(p, missing, now)
	if object.DeletionTimestamp != nil { // but a finalizer keeps it
		status, reason, message = metav1.ConditionFalse, v1alpha1.ReasonDeleted, "the policy was deleted: it gives no more access, and what it gave has ended"
	}
	record.SetCondition(&next.Status.Conditions, now, v1alpha1.ConditionReady, status, reason, message)
	meta.FindStatusCondition(next.Status.Conditions, v1alpha1.ConditionReady).ObservedGeneration = object.Generation
	if err := r.Status.Policy(ctx, object, next); err != nil {
		return record.Again(err)
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// stages are the approvals that a policy asks for, in one line.
func stages(spec *v1alpha1.AccessPolicySpec) string {
	var asked []string
	for _, stage := range spec.Approvals {
		if n := ptr.Deref(stage.Count, 1); n > 0 {
			asked = append(asked, fmt.Sprintf("%s %d", stage.Name, n))
		}
	}
	if len(asked) == 0 {
		return "none"
	}
	return strings.Join(asked, ", ")
}

// ready tells whether a policy can be used, with all its roles. missing are those that
// cannot be granted.
func ready(p *policy.Policy, missing []string, now time.Time) (status metav1.ConditionStatus, reason, message string) {
	review, _ := p.Spec.Review(now)
	soon := ""
	if review == v1alpha1.PolicyReviewSoon {
		soon = "; its review is due by " + text.Moment(p.Spec.ReviewBy.Time) + ", and then it gives nothing until somebody has looked at it and moved reviewBy"
	}
	switch {
	case p.Err() != nil:
		return metav1.ConditionFalse, v1alpha1.ReasonDoesNotCompile, p.Err().Error()
	case p.NotConfirmed() != nil:
		return metav1.ConditionFalse, v1alpha1.ReasonNotConfirmed, p.NotConfirmed().Error()
	case review == v1alpha1.PolicyReviewOverdue:
		return metav1.ConditionFalse, v1alpha1.ReasonPolicyReviewOverdue, policy.Overdue(&p.Spec, now).Error()
	case len(missing) > 0:
		return metav1.ConditionFalse, v1alpha1.ReasonRoleNotGrantable, told(missing, len(p.Spec.Roles)) + soon
	case soon != "":
		return metav1.ConditionTrue, v1alpha1.ReasonPolicyReviewSoon, "the policy can be used" + soon
	}
	return metav1.ConditionTrue, v1alpha1.ReasonCompiles, "the policy can be used"
}

// notGrantable says why roles of a policy cannot be granted: a role does not exist,
// or the broker may not bind it. It looks for a Role in the namespaces that the
// policy names; in those that it selects by label, the Role need not exist.
func (r *Reconciler) notGrantable(ctx context.Context, p *v1alpha1.AccessPolicy) ([]string, error) {
	var missing []string
	for _, ref := range p.Spec.Roles {
		namespaces := []string{""}
		if ref.Kind == v1alpha1.RoleKind {
			namespaces = nil
			if p.Spec.Namespaces != nil {
				namespaces = p.Spec.Namespaces.Names
			}
		}
		for _, namespace := range namespaces {
			why, err := r.whyNotGrantable(ctx, namespace, ref)
			if err != nil {
				return nil, err
			}
			if why != "" && !slices.Contains(missing, why) {
				missing = append(missing, why)
			}
		}
	}
	return missing, nil
}

// whyNotGrantable is empty when the broker could bind the role.
func (r *Reconciler) whyNotGrantable(ctx context.Context, namespace string, ref v1alpha1.RoleRef) (string, error) {
	_, err := r.Names.Role(ctx, namespace, ref)
	if no := (*resolve.Impossible)(nil); errors.As(err, &no) {
		return no.Message, nil
	}
	if err != nil {
		return "", err
	}
	allowed, err := resolve.MayBind(ctx, r.Client, namespace, ref)
	if err != nil || allowed {
		return "", err
	}
	return resolve.MayNotBind(ref), nil
}

// told is the message about roles that cannot be granted.
func told(missing []string, roles int) string {
	message := strings.Join(missing[:min(len(missing), maxRolesTold)], "; ")
	if more := len(missing) - maxRolesTold; more > 0 {
		message += fmt.Sprintf("; and %d more", more)
	}
	if roles > 1 {
		message += "; everything else that the policy allows can be asked for"
	}
	return message
}

// OfRole enqueues the policies that a role concerns: those that name it, or all of
// them when the role lets its holder bind roles. It delays them a moment, because
// the API server's own cache of roles may be behind the broker's.
func (r *Reconciler) OfRole() handler.EventHandler {
	add := func(ctx context.Context, o client.Object, q queue.Queue) {
		list := &v1alpha1.AccessPolicyList{}
		if err := r.Client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return // the policies are looked at again in any case
		}
		kind, all := v1alpha1.ClusterRoleKind, false
		switch role := o.(type) {
		case *rbacv1.ClusterRole:
			all = lets(role.Rules)
		case *rbacv1.Role:
			kind, all = v1alpha1.RoleKind, lets(role.Rules)
		}
		for i := range list.Items {
			p := &list.Items[i]
			if all || slices.Contains(p.Spec.Roles, v1alpha1.RoleRef{Kind: kind, Name: o.GetName()}) {
				q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)}, rbacSettles)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue.Queue) { add(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue.Queue) {
			if e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() {
				add(ctx, e.ObjectOld, q)
				add(ctx, e.ObjectNew, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue.Queue) { add(ctx, e.Object, q) },
	}
}

// lets tells whether rules let somebody bind a role.
func lets(rules []rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.Verbs, "bind") || slices.Contains(rule.Verbs, rbacv1.VerbAll)
	})
}
