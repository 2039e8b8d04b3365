package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/record"
)

// How long to wait before an eviction that was refused is tried again.
const (
	firstBackoff = 5 * time.Second
	maxBackoff   = time.Minute
)

func backoff(tries int) time.Duration { return min(firstBackoff<<min(tries, 10), maxBackoff) }

// ends are the sessions that the end of their Pod ends, and that run something in it.
var ends = map[string]bool{"exec": true, "attach": true}

// evict evicts the Pods of the open sessions of a grant that has ended, where its
// policy wants that, and tells what became of each by the ID of the session. again is
// true when a later try may do better.
func (r *Reconciler) evict(ctx context.Context, g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage) (evictions map[string]record.Eviction, again bool) {
	evictions = map[string]record.Eviction{}
	wanted, err := r.wantsEviction(ctx, g)
	for _, s := range u.Status.Sessions {
		if !ends[s.Kind] || s.Group != "" || s.Resource != "pods" {
			continue
		}
		if err != nil {
			evictions[s.ID], again = record.Eviction{Note: "the policy cannot be read: " + err.Error()}, true
			continue
		}
		if !wanted {
			continue
		}
		eviction, err := r.evictPod(ctx, g, s)
		if err != nil {
			eviction.Note, again = err.Error(), true
		}
		evictions[s.ID] = eviction
	}
	return evictions, again
}

// wantsEviction tells whether the policy of a grant, which must still be the same
// object, wants the Pods of its sessions to be evicted.
func (r *Reconciler) wantsEviction(ctx context.Context, g *v1alpha1.AccessGrant) (bool, error) {
	p := &v1alpha1.AccessPolicy{}
	err := r.Client.Get(ctx, client.ObjectKey{Name: g.Spec.PolicyRef.Name}, p, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return p.UID == g.Spec.PolicyRef.UID && p.DeletionTimestamp == nil && p.Spec.OnSessionsOpen == v1alpha1.OnSessionsOpenEvictPod, nil
}

var errMayNot = errors.New("the Pod is not evicted: the broker may not do that; config/components/evict-sessions lets it")

// evictPod evicts the Pod of one session. The error says why it was refused for now.
func (r *Reconciler) evictPod(ctx context.Context, g *v1alpha1.AccessGrant, s v1alpha1.UsageSession) (record.Eviction, error) {
	if why := grant.KeepsPod(g, s); why != "" {
		return record.Eviction{Note: "the Pod is not evicted: " + why}, nil
	}
	seen := &metav1.PartialObjectMetadata{}
	seen.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, seen)
	switch {
	case apierrors.IsNotFound(err):
		return record.Eviction{Done: true, Note: "the Pod is gone"}, nil
	case apierrors.IsForbidden(err):
		return record.Eviction{}, errMayNot
	case err != nil:
		return record.Eviction{}, fmt.Errorf("the Pod cannot be read: %w", err)
	case seen.CreationTimestamp.After(s.Since.Time):
		return record.Eviction{Done: true, Note: "the Pod is gone, and another has its name"}, nil
	case seen.DeletionTimestamp != nil:
		return record.Eviction{Done: true, Note: "the Pod is being deleted"}, nil
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}}
	err = r.Client.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
		ObjectMeta:    pod.ObjectMeta,
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &seen.UID}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return record.Eviction{Done: true, Evicted: true, Note: "the Pod is evicted"}, nil
	case apierrors.IsForbidden(err):
		return record.Eviction{}, errMayNot
	case apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause):
		return record.Eviction{}, errors.New("a PodDisruptionBudget does not let the Pod be evicted now; the broker tries again")
	}
	return record.Eviction{}, fmt.Errorf("the Pod is not evicted: %w; the broker tries again", err)
}
