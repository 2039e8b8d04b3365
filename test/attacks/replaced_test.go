package attacks

import (
	"context"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What was resolved when the request was made is replaced, by another object of
// the same name, before the access is given.
func TestReplaced(t *testing.T) {
	t.Parallel()
	attack(t, "task replaced before the approval", func(t *testing.T) {
		ns, request := ofTask(t, nil, nil)
		replaceJob(t, ns)
		_ = kit.Decide(t, bob, request, v1alpha1.VerdictApprove) // refused once the request is over
		mustEnd(t, request, v1alpha1.RequestFailed, "was deleted or replaced before the access was given")
		mustNot(t, alice, ns)
	})
	attack(t, "task replaced between the approval and the start", func(t *testing.T) {
		ns, request := ofTask(t, nil, func(s *v1alpha1.AccessRequestSpec) {
			s.StartTime = ptr.To(metav1.NewTime(time.Now().Add(5 * time.Second)))
		})
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestApproved)
		replaceJob(t, ns)
		mustEnd(t, request, v1alpha1.RequestFailed, "was deleted or replaced before the access was given")
		mustNot(t, alice, ns)
	})
	attack(t, "task that came after the approval, then another of its name", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			jobTask(s)
			s.StartTime = ptr.To(metav1.NewTime(time.Now().Add(8 * time.Second)))
		}))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestApproved)
		kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
		e.WaitUntil(t, request, "the task's UID", func(r *v1alpha1.AccessRequest) bool { return r.Status.Pins.Task.UID != "" })
		replaceJob(t, ns)
		mustEnd(t, request, v1alpha1.RequestFailed, "was deleted or replaced before the access was given")
		mustNot(t, alice, ns)
	})
	attack(t, "ServiceAccount replaced between two approvals", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = ptr.To[int32](2), v1alpha1.SubjectsServiceAccounts
		})
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrator"}}
		kit.Create(t, e.Admin, account.DeepCopy())
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "migrator"}}
		}))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		request = says(t, request, "1 of 2 approvals")
		kit.Delete(t, e.Admin, account.DeepCopy())
		kit.Create(t, e.Admin, account.DeepCopy())
		countsNoMore(t, request)
		mustNot(t, alice, ns)
	})
	attack(t, "namespace replaced between two approvals", func(t *testing.T) {
		ns, other := e.NewNamespace(t, nil), e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Namespaces.Names = ptr.To[int32](2), []string{ns, other}
		})
		request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{Namespaces: []string{ns, other}}
		}))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		request = says(t, request, "1 of 2 approvals")
		kit.Delete(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}})
		kit.CreateSoon(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}})
		countsNoMore(t, request)
		mustNot(t, alice, other)
	})
}

// countsNoMore: bob approved something else, so that carol's approval is not the
// second of two. While the thing was gone the broker may have looked; then the request is
// over.
func countsNoMore(t *testing.T, request *v1alpha1.AccessRequest) {
	t.Helper()
	var over error
	kit.Eventually(t, "carol's approval", func(context.Context) (bool, error) {
		err := kit.Decide(t, carol, request, v1alpha1.VerdictApprove)
		if err == nil || strings.Contains(err.Error(), "the request is over (Failed)") {
			over = err
			return true, nil
		}
		return false, err // what carol read is older than what the broker wrote
	})
	if over != nil {
		return
	}
	// Nor does carol's, when carol decided before the broker had looked again.
	current := says(t, request, "bob approved before the role changed, or something it is for was replaced, and must approve again")
	if current.Status.Phase != v1alpha1.RequestPending {
		t.Errorf("the request is %s", current.Status.Phase)
	}
}

func jobTask(s *v1alpha1.AccessRequestSpec) {
	s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
}

// ofTask is a request of alice for as long as the Job migrate runs, which does.
func ofTask(t *testing.T, policy func(*v1alpha1.AccessPolicySpec), edit func(*v1alpha1.AccessRequestSpec)) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	newPolicy(t, ns, policy)
	kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
	return ns, e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		jobTask(s)
		if edit != nil {
			edit(s)
		}
	}))
}

// replaceJob puts another Job in the place of migrate.
func replaceJob(t *testing.T, ns string) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrate"}}
	kit.Delete(t, e.Admin, job)
	e.WaitGone(t, job)
	kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
}
