package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
)

// stockWorkers write the stock, more than the API server has cores.
const stockWorkers = 16

// mould is a request and its grant that the broker made, to cast others from:
// while the access was held, and after its end.
type mould struct {
	request, endedRequest v1alpha1.AccessRequest
	grant, endedGrant     v1alpha1.AccessGrant
	// pins and their hash are each namespace's own.
	pinned map[string]v1alpha1.AccessRequestStatus
}

// stockUp brings the number of active grants to n and leaves the broker stopped.
func (s *scene) stockUp(ctx context.Context, n int) error {
	more := n - s.stocked
	if more <= 0 {
		return nil
	}
	s.stocked = n
	return s.stock(ctx, more, time.Now().Add(12*time.Hour))
}

// stock writes active grants, with all that belongs to them, as the broker
// leaves them: written directly, because to be decided one by one would take
// minutes, and to choose their deadline. The broker is stopped meanwhile.
func (s *scene) stock(ctx context.Context, n int, deadline time.Time) error {
	if s.mould == nil {
		if err := s.cut(ctx); err != nil {
			return err
		}
	}
	s.stopBroker()
	fmt.Fprintf(os.Stderr, "writing %d active grants ...\n", n)
	return each(ctx, stockWorkers, n, func(ctx context.Context, i int) error { return s.castOne(ctx, i, deadline) })
}

// cut lets the broker make the mould, and looks at its memory before.
func (s *scene) cut(ctx context.Context) (err error) {
	if s.idleMemory, err = s.settledMemory(ctx); err != nil {
		return err
	}
	who, namespace := s.pair(0)
	request, err := s.pending(ctx, who, namespace, time.Hour)
	if err != nil {
		return err
	}
	if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
		return err
	}
	if err := s.active(ctx, request); err != nil {
		return err
	}
	m := &mould{request: *request.DeepCopy(), pinned: map[string]v1alpha1.AccessRequestStatus{}}
	if err := s.Admin.Get(ctx, client.ObjectKey{Name: request.Status.GrantName}, &m.grant); err != nil {
		return err
	}
	if err := s.decide(ctx, request, v1alpha1.VerdictRevoke); err != nil {
		return err
	}
	if err := s.ended(ctx, request); err != nil {
		return err
	}
	m.endedRequest = *request
	s.mould = m
	if err := s.Admin.Get(ctx, client.ObjectKey{Name: request.Status.GrantName}, &m.endedGrant); err != nil {
		return err
	}
	for _, namespace := range s.namespaces {
		request, err := s.pending(ctx, s.alice, namespace, time.Hour)
		if err != nil {
			return err
		}
		m.pinned[namespace.Name] = *request.Status.DeepCopy()
		if err := s.alice.Delete(ctx, request); err != nil {
			return err
		}
	}
	return nil
}

// castOne writes the request as a user and the rest as the broker.
func (s *scene) castOne(ctx context.Context, i int, deadline time.Time) error {
	who, namespace := s.pair(i)
	request, err := ask(ctx, who, namespace, time.Hour, s.issued)
	if err != nil {
		return err
	}
	g := s.grantFor(i, &s.mould.grant, client.ObjectKeyFromObject(request), request.UID, deadline)
	if err := s.castStatus(ctx, request, g, &s.mould.request); err != nil {
		return err
	}
	status := g.Status
	if err := s.asBroker.Create(ctx, g); err != nil {
		return err
	}
	status.Bindings = nil
	for _, want := range grant.Objects(g) {
		object := access.New(want)
		if err := s.asBroker.Create(ctx, object); err != nil {
			return err
		}
		status.Bindings = append(status.Bindings, want.Ref(object.GetUID()))
	}
	g.Status = status
	return s.asBroker.Status().Update(ctx, g)
}

// castEnded writes a grant that has ended, and its request unless that is
// deleted already.
func (s *scene) castEnded(ctx context.Context, i int, withRequest bool) error {
	who, namespace := s.pair(i)
	// One of that name and UID was there once.
	key, uid := client.ObjectKey{Namespace: namespace.Name, Name: fmt.Sprintf("fix-%05d", i)}, uuid.NewUUID()
	deadline := s.mould.endedGrant.Spec.ExpirationTime.Time
	if withRequest {
		request, err := ask(ctx, who, namespace, time.Hour, "")
		if err != nil {
			return err
		}
		key, uid = client.ObjectKeyFromObject(request), request.UID
		if err := s.castStatus(ctx, request, s.grantFor(i, &s.mould.endedGrant, key, uid, deadline), &s.mould.endedRequest); err != nil {
			return err
		}
	}
	g := s.grantFor(i, &s.mould.endedGrant, key, uid, deadline)
	status := g.Status
	if err := s.asBroker.Create(ctx, g); err != nil {
		return err
	}
	g.Status = status
	return s.asBroker.Status().Update(ctx, g)
}

// grantFor is the grant of the i-th pair's request, cast from another.
func (s *scene) grantFor(i int, from *v1alpha1.AccessGrant, request client.ObjectKey, uid types.UID, deadline time.Time) *v1alpha1.AccessGrant {
	who, namespace := s.pair(i)
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: grant.Name(request.Name, uid)}, Spec: *from.Spec.DeepCopy(), Status: *from.Status.DeepCopy()}
	controllerutil.AddFinalizer(g, v1alpha1.FinalizerRevoke)
	g.Spec.RequestRef = v1alpha1.RequestRef{Namespace: request.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: request.Name, UID: uid}}
	g.Spec.Requester.Username = who.name
	g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: who.name}}}
	g.Spec.Namespaces = []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: namespace.Name, UID: namespace.UID}}}
	g.Spec.RulesHash = s.mould.pinned[namespace.Name].RulesHash
	g.Spec.ExpirationTime = metav1.NewTime(deadline.Truncate(time.Second))
	g.Spec.Summary = grant.Summarize(&g.Spec)
	if c := g.Status.Credential; c != nil && len(c.Sealed) > len(uid) { // no two are alike
		c.GrantUID, c.Sealed = uid, string(uid)+c.Sealed[len(uid):]
	}
	return g
}

// castStatus writes the status of a request, cast from another. First it is as
// the broker leaves one that waits, so that it can be approved: decisions are
// made in one's own name.
func (s *scene) castStatus(ctx context.Context, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant, from *v1alpha1.AccessRequest) error {
	final := *from.Status.DeepCopy()
	pinned := s.mould.pinned[request.Namespace]
	final.Pins, final.RulesHash = pinned.Pins, pinned.RulesHash
	request.Status = v1alpha1.AccessRequestStatus{
		Phase: v1alpha1.RequestPending, Policy: final.Policy, Approvals: final.Approvals,
		Rules: final.Rules, Pins: final.Pins, RulesHash: final.RulesHash, Risks: final.Risks,
	}
	if err := s.asBroker.Status().Update(ctx, request); err != nil {
		return err
	}
	if err := s.decide(ctx, request, v1alpha1.VerdictApprove); err != nil {
		return err
	}
	final.Credential = g.Status.Credential
	final.GrantName, final.ExpirationTime = g.Name, g.Spec.ExpirationTime.DeepCopy()
	for i, c := range final.Conditions {
		if c.Type == v1alpha1.ConditionGranted && c.Status == metav1.ConditionTrue {
			final.Conditions[i].Message = fmt.Sprintf("%s in %s for %s until %s",
				g.Spec.Summary.Role, g.Spec.Summary.Scope, g.Spec.Summary.Subjects, g.Spec.ExpirationTime.UTC().Format(time.RFC3339))
		}
	}
	before := request.DeepCopy()
	request.Status = final
	request.Status.Decisions = before.Status.Decisions // another's, left as they are
	return s.asBroker.Status().Patch(ctx, request, client.MergeFrom(before))
}

// thousands writes a count as people do.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	if len(digits) <= 3 {
		return digits
	}
	return strings.Join([]string{digits[:len(digits)-3], digits[len(digits)-3:]}, ",")
}
