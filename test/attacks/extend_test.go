package attacks

import (
	"context"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// moreOf asks for half an hour more of a request.
func moreOf(name string) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) {
		s.RoleRef, s.Extends, s.Duration = nil, name, &metav1.Duration{Duration: 30 * time.Minute}
	}
}

// heldOnce is access of alice that can be extended once, by one of sre.
func heldOnce(t *testing.T, edit func(*v1alpha1.AccessPolicySpec), ask func(*v1alpha1.AccessRequestSpec)) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.MaxExtensions = 1
		if edit != nil {
			edit(s)
		}
	})
	return ns, e.Approved(t, bob, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Duration = &metav1.Duration{Duration: 20 * time.Minute}
		if ask != nil {
			ask(s)
		}
	}))
}

// Somebody wants more time than anybody gave them, or more than time.
func TestExtensions(t *testing.T) {
	attack(t, "extension of somebody else's access", func(t *testing.T) {
		ns, request := heldOnce(t, nil, nil)
		mustEnd(t, e.Ask(t, dave, ns, moreOf(request.Name)), v1alpha1.RequestDenied, "is somebody else's: only its requester asks for more time")
		mustNot(t, dave, ns)
		must(t, alice, ns)
	})
	attack(t, "extension under another spelling of the name", func(t *testing.T) {
		ns, request := heldOnce(t, nil, nil)
		mustEnd(t, e.Ask(t, e.Person(t, "Alice", "dev"), ns, moreOf(request.Name)), v1alpha1.RequestDenied, "is somebody else's")
	})
	attack(t, "extension of access that ended a moment ago", func(t *testing.T) {
		ns, request := heldOnce(t, nil, nil)
		kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
		mustEnd(t, e.Ask(t, alice, ns, moreOf(request.Name)), v1alpha1.RequestFailed, "which it extends, ")
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
		mustEnd(t, e.Ask(t, alice, ns, moreOf(request.Name)), v1alpha1.RequestFailed, "is over (Revoked): there is nothing to extend")
		mustNot(t, alice, ns)
	})
	attack(t, "extension approved after the end of what it extends", func(t *testing.T) {
		ns, request := heldOnce(t, nil, nil)
		more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(request.Name)))
		kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
		e.WaitFor(t, more, v1alpha1.RequestFailed)
		mustRefuse(t, "the request is over", kit.Decide(t, bob, more, v1alpha1.VerdictApprove))
		mustNot(t, alice, ns)
	})
	asking := func(edit func(*v1alpha1.AccessRequestSpec)) func(*testing.T) error {
		return func(t *testing.T) error {
			request := lab.NewRequest("default", moreOf("fix"))
			edit(&request.Spec)
			return alice.Create(t.Context(), request)
		}
	}
	refused(t, "extension with another role", "exactly one of roleRef, rules and extends is required", asking(func(s *v1alpha1.AccessRequestSpec) {
		s.RoleRef = &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "admin"}
	}))
	const only = "write only duration, reason and ticket"
	refused(t, "extension to the whole cluster", only, asking(func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
	}))
	refused(t, "extension for somebody else", only, asking(func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "mallory"}}
	}))
	refused(t, "extension under another policy", only, asking(func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = "break-glass" }))
	refused(t, "extension with another task", only, asking(func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "x"}
	}))
	attack(t, "one extension more than allowed", func(t *testing.T) {
		ns, request := heldOnce(t, nil, nil)
		more := e.Approved(t, bob, e.Ask(t, alice, ns, moreOf(request.Name)))
		mustEnd(t, e.Ask(t, alice, ns, moreOf(more.Name)), v1alpha1.RequestDenied, "it has maxExtensions 1, and this would be extension number 2")
		e.WaitFor(t, request, v1alpha1.RequestCompleted)
		mustEnd(t, e.Ask(t, alice, ns, moreOf(request.Name)), v1alpha1.RequestFailed, "was extended already")
	})
	attack(t, "extension under a policy that was made again", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		strict := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 })
		request := e.Approved(t, bob, e.Ask(t, alice, ns, nil))
		more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(request.Name)))
		again := strict.DeepCopy()
		again.ObjectMeta, again.Spec.Approvals[0].Count = metav1.ObjectMeta{Name: strict.Name}, new(int32)
		kit.Delete(t, e.Admin, strict)
		kit.CreateSoon(t, e.Admin, again)
		t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), again) })
		over := &v1alpha1.AccessRequest{}
		kit.Eventually(t, "the end of the extension", func(ctx context.Context) (bool, error) {
			err := e.Admin.Get(ctx, client.ObjectKeyFromObject(more), over)
			return over.Status.Phase.Ended(), err
		})
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
		mustNot(t, alice, ns)
	})
	attack(t, "revocation of the first in the moment of the second", func(t *testing.T) {
		for round := range 6 {
			ns, request := heldOnce(t, nil, nil)
			more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(request.Name)))
			var approved, revoked error
			var both sync.WaitGroup
			both.Go(func() { approved = kit.Decide(t, bob, more, v1alpha1.VerdictApprove) })
			if round%2 == 1 { // or as soon as the second grant is there
				kit.Eventually(t, "the grant", func(ctx context.Context) (bool, error) {
					err := e.Admin.Get(ctx, client.ObjectKey{Name: grant.Name(more.Name, more.UID)}, &v1alpha1.AccessGrant{})
					return err == nil, client.IgnoreNotFound(err)
				})
			}
			both.Go(func() { revoked = kit.Decide(t, carol, request, v1alpha1.VerdictRevoke) })
			both.Wait()
			if revoked != nil { // the first had ended, and carol is told what to revoke
				mustRefuse(t, "extended by AccessRequest "+ns+"/"+more.Name, revoked)
				kit.MustDecide(t, carol, more, v1alpha1.VerdictRevoke)
			}
			gone(t, alice, ns)
			for _, r := range []*v1alpha1.AccessRequest{request, more} {
				kit.Eventually(t, "the end of "+r.Name, func(ctx context.Context) (bool, error) {
					err := e.Admin.Get(ctx, client.ObjectKeyFromObject(r), r)
					return r.Status.Phase.Ended(), err
				})
			}
			mustNot(t, alice, ns)
			t.Logf("approved: %v, revoked: %v; the first is %s, the second %s", approved, revoked, request.Status.Phase, more.Status.Phase)
		}
	})
	attack(t, "two extensions of one access at a time", func(t *testing.T) {
		ns, request := heldOnce(t, nil, nil)
		var asked []*v1alpha1.AccessRequest
		for range 3 {
			asked = append(asked, e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(request.Name))))
		}
		var all sync.WaitGroup
		for _, more := range asked {
			all.Go(func() { _ = kit.Decide(t, bob, more, v1alpha1.VerdictApprove) })
		}
		all.Wait()
		var holder *v1alpha1.AccessRequest
		kit.Eventually(t, "one holder", func(ctx context.Context) (bool, error) {
			active, over := 0, 0
			for _, more := range asked {
				if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(more), more); err != nil {
					return false, err
				}
				switch {
				case more.Status.Phase == v1alpha1.RequestActive:
					active, holder = active+1, more
				case more.Status.Phase.Ended():
					over++
				}
			}
			return active == 1 && over == 2, nil
		})
		kit.MustDecide(t, carol, holder, v1alpha1.VerdictRevoke)
		gone(t, alice, ns)
	})
	attack(t, "beneficiary approves an extension", func(t *testing.T) {
		_, request := heldOnce(t, func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny },
			func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "Erin"}} })
		more := e.WaitMatched(t, e.Ask(t, alice, request.Namespace, moreOf(request.Name)))
		mustRefuse(t, "nobody decides on their own request", kit.Decide(t, erin, more, v1alpha1.VerdictApprove))
		mustRefuse(t, "nobody decides on their own request", kit.Decide(t, alice, more, v1alpha1.VerdictApprove))
		mustNot(t, erin, request.Namespace)
	})
	attack(t, "member of a group that gets the access approves an extension", func(t *testing.T) {
		group := []v1alpha1.Subject{{Kind: "Group", Name: "night"}}
		ns, request := heldOnce(t, func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny },
			func(s *v1alpha1.AccessRequestSpec) { s.Subjects = group })
		more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(request.Name)))
		mustRefuse(t, "nobody decides on their own request", kit.Decide(t, e.Person(t, "nick", "sre", "night"), more, v1alpha1.VerdictApprove))
	})
	refused(t, "what is extended forged by an approver", "the status is written by the broker alone", func(t *testing.T) error {
		ns, request := heldOnce(t, nil, nil)
		more := e.WaitMatched(t, e.Ask(t, alice, ns, moreOf(request.Name)))
		return mergeStatus(t.Context(), mallory, more, `{"status":{"extended":{"roleRef":{"kind":"ClusterRole","name":"cluster-admin"}}}}`)
	})
	refused(t, "what is extended forged on a plain request", "the status is written by the broker alone", func(t *testing.T) error {
		_, request := matched(t, nil)
		return mergeStatus(t.Context(), mallory, request, `{"status":{"extended":{"requestUID":"x","grant":{"name":"x","uid":"x"},"policyName":"x","expirationTime":"2030-01-01T00:00:00Z"}}}`)
	})
	attack(t, "extension of a credential", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.MaxExtensions = 1
			kit.Issues(s)
		})
		request := e.Approved(t, bob, e.AskIssued(t, alice, ns, kit.NewKey(t), nil))
		mustEnd(t, e.Ask(t, alice, ns, moreOf(request.Name)), v1alpha1.RequestFailed, "has a credential of its own, which ends with it")
	})
}
