package observe

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// access is that of somebody who exists for one test only.
type access struct {
	client.Client
	user, ns, grant string
}

// held is access to a namespace of its own, by a policy changed by edit.
func held(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) access {
	t.Helper()
	a := access{ns: e.NewNamespace(t, nil)}
	a.user = "user-of-" + a.ns
	a.Client = e.Person(t, a.user, "dev")
	e.NewPolicy(t, a.ns, edit)
	a.grant = granted(t, a, a.ns, nil)
	return a
}

func granted(t *testing.T, who client.Client, ns string, edit func(*v1alpha1.AccessRequestSpec)) (grant string) {
	t.Helper()
	request := e.Ask(t, who, ns, edit)
	e.WaitMatched(t, request)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	return e.WaitFor(t, request, v1alpha1.RequestActive).Status.GrantName
}

// usageWhen waits until the usage of a grant is so.
func usageWhen(t *testing.T, grant, what string, so func(*v1alpha1.AccessUsageStatus) bool) *v1alpha1.AccessUsage {
	t.Helper()
	usage := &v1alpha1.AccessUsage{}
	kit.Eventually(t, what, func(ctx context.Context) (bool, error) {
		if err := e.Admin.Get(ctx, client.ObjectKey{Name: grant}, usage); err != nil {
			return false, err
		}
		if !so(&usage.Status) {
			usage.Status.RecentEvents = ""
			return false, fmt.Errorf("it is %+v", usage.Status)
		}
		return true, nil
	})
	return usage
}

func calls(n int64) func(*v1alpha1.AccessUsageStatus) bool {
	return func(s *v1alpha1.AccessUsageStatus) bool { return s.Calls >= n }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pod(ns, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}
}

// What alice does is counted, hers alone, and each call once.
func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	alice := held(t, nil)
	ns, grant := alice.ns, alice.grant
	usageWhen(t, grant, "the usage of new access", func(s *v1alpha1.AccessUsageStatus) bool { return s.Phase == v1alpha1.UsageObserving })
	for range 3 {
		must(t, alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)))
	}
	must(t, alice.Create(t.Context(), pod(ns, "debug-x")))
	must(t, alice.Create(t.Context(), pod(ns, "debug-y")))
	must(t, alice.Delete(t.Context(), pod(ns, "debug-y"), client.GracePeriodSeconds(0)))
	if err := alice.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "none"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if err := alice.List(t.Context(), &corev1.NodeList{}); !apierrors.IsForbidden(err) {
		t.Fatal(err)
	}
	if err := dave.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)); !apierrors.IsForbidden(err) {
		t.Fatal(err)
	}
	u := usageWhen(t, grant, "all calls", func(s *v1alpha1.AccessUsageStatus) bool { return s.Calls >= 7 && s.RefusedCalls >= 1 })
	s := u.Status
	if s.Calls != 7 || s.FailedCalls != 1 || s.RefusedCalls != 1 || s.SharedCalls != 0 || s.Gaps != 0 {
		t.Errorf("%d calls, %d failed, %d refused, %d shared, %d gaps", s.Calls, s.FailedCalls, s.RefusedCalls, s.SharedCalls, s.Gaps)
	}
	if len(s.Callers) != 1 || s.Callers[0].User != alice.user || s.Callers[0].Address != "127.0.0.1" {
		t.Errorf("called by %+v", s.Callers)
	}
	if len(s.Created) != 1 || s.Created[0].Name != "debug-x" || s.Created[0].Resource != "pods" || s.Created[0].Namespace != ns {
		t.Errorf("created %+v", s.Created)
	}
	if i := slices.IndexFunc(s.Used, func(r v1alpha1.UsageRight) bool { return r.Verb == "list" }); i < 0 || s.Used[i].Calls != 3 || s.Used[i].Resource != "pods" {
		t.Errorf("used %+v", s.Used)
	}
	if len(s.Refused) != 1 || s.Refused[0].Resource != "nodes" {
		t.Errorf("refused %+v", s.Refused)
	}
	if s.Since == nil || s.Until == nil || s.Until.Before(s.LastCall) || !slices.ContainsFunc(s.Streams, func(st v1alpha1.UsageStream) bool { return st.Name == "node-1" }) {
		t.Errorf("the window: %+v", s)
	}
	g := &v1alpha1.AccessGrant{}
	must(t, e.Admin.Get(t.Context(), client.ObjectKey{Name: grant}, g))
	if !metav1.IsControlledBy(u, g) && (len(u.OwnerReferences) != 1 || u.OwnerReferences[0].UID != g.UID) {
		t.Errorf("owned by %+v", u.OwnerReferences)
	}
}
