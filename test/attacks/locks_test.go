package attacks

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// Somebody who is locked out tries to go on. lotte and lou are in group dev; lou may
// also lock people out, as sam may. It runs alone: a lock on a group also meets
// everybody whose stored groups are cut, in whichever test they are.
func TestLocks(t *testing.T) {
	lotte, lou, sam := e.Person(t, "lotte", "dev"), e.Person(t, "lou", "dev", "security"), e.Person(t, "sam", "security")
	if err := e.Bind(t.Context(), "access-locker", "security"); err != nil {
		t.Fatal(err)
	}
	newLock := func(subject v1alpha1.Subject, by string) *v1alpha1.AccessLock {
		return &v1alpha1.AccessLock{ObjectMeta: metav1.ObjectMeta{GenerateName: "stop-"}, Spec: v1alpha1.AccessLockSpec{Subject: subject, Reason: "INC-43", By: by}}
	}
	onUser := func(name string) v1alpha1.Subject { return v1alpha1.Subject{Kind: "User", Name: name} }
	locked := func(t *testing.T, subject v1alpha1.Subject) *v1alpha1.AccessLock {
		t.Helper()
		l := newLock(subject, "")
		kit.Create(t, sam, l)
		t.Cleanup(func() {
			err := e.Admin.Delete(context.WithoutCancel(t.Context()), l)
			if client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
		return l
	}

	refused(t, "lock written by a requester", "cannot create resource \"accesslocks\"", func(t *testing.T) error {
		return lotte.Create(t.Context(), newLock(onUser("bob"), ""))
	})
	refused(t, "lock in another's name", "by must be you", func(t *testing.T) error {
		return sam.Create(t.Context(), newLock(onUser("nobody-1"), "bob"))
	})
	refused(t, "lock changed after it was made", "spec is immutable", func(t *testing.T) error {
		l := locked(t, onUser("nobody-2"))
		return e.Admin.Patch(t.Context(), l, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"until":"2026-01-01T00:00:00Z"}}`)))
	})
	refused(t, "lock lifted by the one whom it is on", "this lock is on you", func(t *testing.T) error {
		return lou.Delete(t.Context(), locked(t, onUser("lou")))
	})
	refused(t, "lock on a group lifted by a member", "this lock is on you", func(t *testing.T) error {
		member := e.Person(t, "mo", "security", "night-shift")
		return member.Delete(t.Context(), locked(t, v1alpha1.Subject{Kind: "Group", Name: "night-shift"}))
	})
	attack(t, "locked person asks by another spelling", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		locked(t, onUser("Lotte"))
		mustEnd(t, e.Ask(t, lotte, ns, nil), v1alpha1.RequestDenied, "Lotte is locked out")
		mustNot(t, lotte, ns)
	})
	attack(t, "somebody else asks for the locked person", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = new(int32), v1alpha1.SubjectsAny
		})
		locked(t, onUser("lea"))
		mustEnd(t, e.Ask(t, dave, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{onUser("lea")} }), v1alpha1.RequestDenied, "lea is locked out")
	})
}
