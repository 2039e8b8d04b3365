package e2e

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// lockOut makes a lock as somebody whom RBAC lets, and lifts it at the end of the
// test: other tests use the same people.
func lockOut(t *testing.T, subject v1alpha1.Subject, until *time.Time) *v1alpha1.AccessLock {
	t.Helper()
	l := &v1alpha1.AccessLock{Spec: v1alpha1.AccessLockSpec{Subject: subject, Reason: "INC-43: the laptop was stolen"}}
	l.GenerateName = "stop-"
	if until != nil {
		l.Spec.Until = &metav1.Time{Time: *until}
	}
	kit.Create(t, locker(t), l)
	t.Cleanup(func() { _ = client.IgnoreNotFound(e.Admin.Delete(context.WithoutCancel(t.Context()), l)) })
	return l
}

// locker is somebody of the group security, who may lock people out.
func locker(t *testing.T) client.Client {
	t.Helper()
	return e.Person(t, "sam", "security")
}

// A lock ends what somebody holds, refuses what they ask for, and nothing else.
func TestLock(t *testing.T) {
	t.Parallel()
	lena, lars := e.Person(t, "lena", "dev"), e.Person(t, "lars", "dev")
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	approved := e.NewNamespace(t, nil)
	e.NewPolicy(t, approved, nil)
	held := e.WaitFor(t, e.Ask(t, lena, ns, nil), v1alpha1.RequestActive)
	others := e.WaitFor(t, e.Ask(t, lars, ns, nil), v1alpha1.RequestActive)
	waiting := e.WaitMatched(t, e.Ask(t, lena, approved, nil))
	if !kit.Can(t, lena, ns) {
		t.Fatal("lena holds nothing: this shows nothing")
	}

	l := lockOut(t, v1alpha1.Subject{Kind: "User", Name: "lena"}, nil)
	if l.Spec.By != "sam" {
		t.Errorf("the lock is by %q", l.Spec.By)
	}
	g := e.WaitEnded(t, e.GrantOf(t, held).Name, v1alpha1.EndLocked)
	if g.Status.EndedBy != "sam" || !kit.HasMessage(g.Status.Conditions, "INC-43") {
		t.Errorf("the record does not say who and why: %q\n%s", g.Status.EndedBy, kit.Describe(g.Status.Conditions))
	}
	if kit.Can(t, lena, ns) || !kit.Can(t, lars, ns) {
		t.Error("lena still has access, or lars has lost it")
	}
	for name, request := range map[string]*v1alpha1.AccessRequest{"what waits": waiting, "a new one": e.Ask(t, lena, ns, nil)} {
		if denied := e.WaitFor(t, request, v1alpha1.RequestDenied); !kit.HasMessage(denied.Status.Conditions, "lena is locked out until it is deleted by AccessLock "+l.Name+" of sam") {
			t.Errorf("%s: nobody can tell why: %s", name, kit.Describe(denied.Status.Conditions))
		}
	}
	if current := e.WaitFor(t, others, v1alpha1.RequestActive); current.Status.Phase.Ended() {
		t.Error("the lock ended what another holds")
	}

	if err := locker(t).Delete(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "lena to be given access again", func(context.Context) (bool, error) {
		again := e.Ask(t, lena, ns, nil)
		ended := e.WaitUntil(t, again, "an answer", func(r *v1alpha1.AccessRequest) bool {
			return r.Status.Phase == v1alpha1.RequestActive || r.Status.Phase.Ended()
		})
		return ended.Status.Phase == v1alpha1.RequestActive, nil
	})
}

// A group, a ServiceAccount that somebody asked for, and a lock whose time is over.
func TestLockOfOthers(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Subjects = v1alpha1.SubjectsServiceAccounts
	}))
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "robot"}})
	con := e.WaitFor(t, e.Ask(t, e.Person(t, "con", "dev", "contractors"), ns, nil), v1alpha1.RequestActive)
	robot := e.WaitFor(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "robot"}}
	}), v1alpha1.RequestActive)
	own := e.WaitFor(t, e.Ask(t, e.Person(t, "olga", "dev"), ns, nil), v1alpha1.RequestActive)

	past := time.Now().Add(-time.Minute)
	lockOut(t, v1alpha1.Subject{Kind: "User", Name: "olga"}, &past)
	lockOut(t, v1alpha1.Subject{Kind: "Group", Name: "contractors"}, nil)
	lockOut(t, v1alpha1.Subject{Kind: "ServiceAccount", Namespace: ns, Name: "robot"}, nil)
	e.WaitEnded(t, e.GrantOf(t, con).Name, v1alpha1.EndLocked)
	e.WaitEnded(t, e.GrantOf(t, robot).Name, v1alpha1.EndLocked)
	// The lock that is over was made first, so it has been seen by now.
	if g := e.GrantOf(t, own); g.Status.Phase != v1alpha1.GrantActive {
		t.Errorf("a lock whose time is over ended it: %s", kit.Describe(g.Status.Conditions))
	}
}
