package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// grant writes the AccessGrant: the intent, with its deadline, before any
// binding. What people may have changed since the cache last heard of it, the
// decisions and the policy, must be what was weighed; a role or namespace that
// changes in this moment ends the grant as soon as it is seen.
func (r *RequestReconciler) grant(ctx context.Context, s *requestStep, want *resolved, match *policy.Match, approvers []string) error {
	fresh, err := r.fresh(ctx, s.AccessRequest, match.Policy)
	if err != nil {
		return err
	}
	if !fresh {
		s.wait = staleAgain // the newer version is on its way, and most likely comes sooner
		return nil
	}
	given := newGrant(s.AccessRequest, want, match, approvers, s.now)
	r.Backlog.begin(given, s.now)
	if err := r.Client.Create(ctx, given); err != nil {
		r.Backlog.end(given.Name)
		if apierrors.IsAlreadyExists(err) {
			// It was made before a restart, or the cache is behind, and its deadline
			// stands; or it has ended, and is not in the cache any more.
			given, err := r.readGrant(ctx, r.Live, s.AccessRequest)
			if given != nil {
				r.mirror(s, given)
			}
			return err
		}
		return fmt.Errorf("write grant: %w", err)
	}
	r.Metrics.wroteGrant(s.AccessRequest, given.Name, s.now)
	return nil
}

// fresh asks the API server whether the request and the policy are those that
// were weighed. It reads their metadata alone: this lies between an approval and
// the access.
func (r *RequestReconciler) fresh(ctx context.Context, request *v1alpha1.AccessRequest, p *policy.Policy) (bool, error) {
	var sameRequest, samePolicy bool
	group, groupCtx := errgroup.WithContext(ctx)
	read := func(kind string, key client.ObjectKey, same *bool, is func(*metav1.PartialObjectMetadata) bool) {
		group.Go(func() error {
			live := &metav1.PartialObjectMetadata{}
			live.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
			err := r.Live.Get(groupCtx, key, live)
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("look whether %s %s has changed: %w", kind, key, err)
			}
			*same = err == nil && is(live)
			return nil
		})
	}
	read("AccessRequest", client.ObjectKeyFromObject(request), &sameRequest, func(live *metav1.PartialObjectMetadata) bool {
		return live.UID == request.UID && live.ResourceVersion == request.ResourceVersion
	})
	read("AccessPolicy", client.ObjectKey{Name: p.Name}, &samePolicy, func(live *metav1.PartialObjectMetadata) bool {
		return live.UID == p.UID && live.Generation == p.Generation && live.DeletionTimestamp == nil
	})
	err := group.Wait()
	return sameRequest && samePolicy, err
}

// newGrant is the record of what was approved, complete with its deadline. The
// deadline is cut to whole seconds, as the API stores it: never later than
// what was approved. Of the decisions it records those that counted.
func newGrant(request *v1alpha1.AccessRequest, want *resolved, match *policy.Match, approvers []string, now time.Time) *v1alpha1.AccessGrant {
	given := &v1alpha1.AccessGrant{}
	given.Name = grant.Name(request.Name, request.UID)
	controllerutil.AddFinalizer(given, v1alpha1.FinalizerRevoke)
	given.Spec = v1alpha1.AccessGrantSpec{
		RequestRef:     v1alpha1.RequestRef{Namespace: request.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: request.Name, UID: request.UID}},
		Requester:      request.Spec.Requester,
		Subjects:       want.subjects,
		RoleRef:        request.Spec.RoleRef,
		RoleUID:        want.roleUID,
		Namespaces:     want.namespaces,
		Cluster:        want.ask.Cluster,
		PolicyRef:      *policyRef(match.Policy),
		Reason:         text.Trim(request.Spec.Reason),
		Ticket:         text.Trim(request.Spec.Ticket),
		RoleRules:      want.lines,
		RulesHash:      want.rulesHash,
		NotBefore:      metav1.NewTime(now.Truncate(time.Second)),
		ExpirationTime: metav1.NewTime(now.Add(match.Duration).Truncate(time.Second)),
	}
	for _, d := range request.Status.Decisions {
		if d.Verdict == v1alpha1.VerdictApprove && slices.Contains(approvers, d.Username) {
			d.Comment = text.Trim(d.Comment)
			given.Spec.Decisions = append(given.Spec.Decisions, d)
		}
	}
	if request.Spec.RoleRef == nil {
		given.Spec.Rules, given.Spec.RoleRules = want.rules, nil
	}
	if want.task != nil {
		given.Spec.Task = &v1alpha1.GrantTask{TaskRef: *request.Spec.Task, UID: want.task.GetUID()}
	}
	given.Spec.Summary = grant.Summarize(&given.Spec)
	return given
}

func policyRef(p *policy.Policy) *v1alpha1.PolicyRef {
	return &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: p.Name, UID: p.UID}, Generation: p.Generation}
}
