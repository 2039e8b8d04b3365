package faults

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// given is access of alice's.
func (c *cluster) given(t *testing.T, lasts time.Duration) (ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant, policy *v1alpha1.AccessPolicy) {
	t.Helper()
	ns = c.NewNamespace(t, nil)
	policy = c.NewPolicy(t, ns, automatic)
	request = c.Ask(t, c.alice, ns, lasting(lasts))
	c.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, c.alice, ns) {
		t.Fatal("alice has no access: the test shows nothing")
	}
	return ns, request, c.GrantOf(t, request), policy
}

// wantDisarmed: the access is gone, and what is left says so.
func (c *cluster) wantDisarmed(t *testing.T, ns string, g *v1alpha1.AccessGrant) {
	t.Helper()
	c.waitNoAccess(t, ns, kit.Patience)
	binding := &rbacv1.RoleBinding{}
	if err := c.Admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: g.Name}, binding); err != nil || len(binding.Subjects) != 0 {
		t.Errorf("left is %v, %v", binding.Subjects, err)
	}
}

// A cluster in which bindings cannot be deleted: the access goes all the same,
// for whatever reason it ends, and the grant tells what is left and why.
func TestDeletionRefused(t *testing.T) {
	c := take(t)
	broker := c.StartBroker(t, "broker")
	for _, end := range []struct {
		reason v1alpha1.EndReason
		lasts  time.Duration
		do     func(ns string, request *v1alpha1.AccessRequest, policy *v1alpha1.AccessPolicy)
	}{
		{v1alpha1.EndExpired, 6 * time.Second, func(string, *v1alpha1.AccessRequest, *v1alpha1.AccessPolicy) {}},
		{v1alpha1.EndReleased, time.Hour, func(_ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
			kit.MustDecide(t, c.alice, request, v1alpha1.VerdictRelease)
		}},
		{v1alpha1.EndPolicyGone, time.Hour, func(_ string, _ *v1alpha1.AccessRequest, policy *v1alpha1.AccessPolicy) {
			kit.Delete(t, c.Admin, policy.DeepCopy())
		}},
		{v1alpha1.EndRequestDeleted, time.Hour, func(_ string, request *v1alpha1.AccessRequest, _ *v1alpha1.AccessPolicy) {
			kit.Delete(t, c.alice, request.DeepCopy())
		}},
	} {
		ns, request, g, policy := c.given(t, end.lasts)
		c.Freeze(t, g, admissionregistrationv1.Delete)
		end.do(ns, request, policy)
		c.wantDisarmed(t, ns, g)
		ended := c.WaitEnded(t, g.Name, end.reason)
		removed := meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionAccessRemoved)
		if removed.Reason != v1alpha1.ReasonRemovalRefused || !strings.Contains(removed.Message, kit.Frozen) {
			t.Errorf("%s: it does not say what is left and why: %s", end.reason, kit.Describe(ended.Status.Conditions))
		}
	}

	// And without a broker.
	sweptNS, _, swept, _ := c.given(t, 4*time.Second)
	c.Freeze(t, swept, admissionregistrationv1.Delete)
	broker.Kill()
	kit.WaitPast(t, swept.Spec.ExpirationTime.Time)
	if code, output := c.sweep(t); code != exitFound || !strings.Contains(output, kit.Frozen) {
		t.Errorf("the sweep ends with %d:\n%s", code, output)
	}
	c.wantDisarmed(t, sweptNS, swept)
	if code, output := c.sweep(t); code != 0 || !strings.Contains(output, kit.Frozen) {
		t.Errorf("what allows nothing is no finding, but told: the sweep ends with %d:\n%s", code, output)
	}
}

// The role of the broker lost verbs: what is left of them is enough.
func TestRoleWithoutDelete(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker")
	original := &rbacv1.ClusterRole{}
	if err := c.Admin.Get(t.Context(), client.ObjectKey{Name: "access-broker"}, original); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		current := original.DeepCopy()
		current.ResourceVersion = ""
		if err := c.Admin.Update(context.WithoutCancel(t.Context()), current); err != nil {
			t.Errorf("give the broker its role back: %v", err)
		}
	})
	for _, lost := range [][]string{{"delete"}, {"delete", "update"}, {"delete", "patch"}} {
		ns, request, g, _ := c.given(t, time.Hour)
		poorer := original.DeepCopy()
		poorer.ResourceVersion = ""
		for i, rule := range poorer.Rules {
			if slices.Contains(rule.Resources, "rolebindings") {
				poorer.Rules[i].Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool { return slices.Contains(lost, verb) })
			}
		}
		if err := c.Admin.Update(t.Context(), poorer); err != nil {
			t.Fatal(err)
		}
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
		kit.Eventually(t, "the loss", func(ctx context.Context) (bool, error) {
			return apierrors.IsForbidden(c.broker.Delete(ctx, binding.DeepCopy(), client.DryRunAll)), nil
		})
		kit.MustDecide(t, c.alice, request, v1alpha1.VerdictRelease)
		c.wantDisarmed(t, ns, g)
		c.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	}
}

// Neither deletion nor change: the access stands, everybody can read so and why,
// and in the end how late it was.
func TestRemovalRefused(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker")
	ns, request, g, _ := c.given(t, 6*time.Second)
	thaw := c.Freeze(t, g, admissionregistrationv1.Delete, admissionregistrationv1.Update)

	current := &v1alpha1.AccessGrant{}
	kit.Eventually(t, "the grant to say so", func(ctx context.Context) (bool, error) {
		err := c.Admin.Get(ctx, client.ObjectKeyFromObject(g), current)
		removed := meta.FindStatusCondition(current.Status.Conditions, v1alpha1.ConditionAccessRemoved)
		return removed != nil && removed.Status == metav1.ConditionFalse && strings.Contains(removed.Message, kit.Frozen), err
	})
	if current.Status.Phase != v1alpha1.GrantActive || !kit.Can(t, c.alice, ns) {
		t.Errorf("the grant is %s, alice has access: %v", current.Status.Phase, kit.Can(t, c.alice, ns))
	}
	c.WaitUntil(t, request, "the request to say so", func(r *v1alpha1.AccessRequest) bool {
		granted := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionGranted)
		return granted != nil && granted.Reason == v1alpha1.ReasonRemovalRefused && strings.Contains(granted.Message, kit.Frozen)
	})
	kit.Eventually(t, "an Event", func(ctx context.Context) (bool, error) {
		events := &eventsv1.EventList{}
		err := c.Admin.List(ctx, events)
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Regarding.UID == g.UID && e.Type == "Warning" && e.Reason == v1alpha1.ReasonRemovalRefused
		}), err
	})

	thaw()
	c.waitNoAccess(t, ns, kit.Patience)
	ended := c.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	given := meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionAccessGiven)
	if !strings.Contains(given.Message, "late") || !strings.Contains(given.Message, kit.Frozen) || !ended.Status.EndedTime.After(g.Spec.ExpirationTime.Time) {
		t.Errorf("the record does not tell how late it was: ended at %s: %s", ended.Status.EndedTime, kit.Describe(ended.Status.Conditions))
	}
}

// uninstall ends what cannot be deleted, too.
func TestUninstallWhileDeletionIsRefused(t *testing.T) {
	c := take(t)
	broker := c.StartBroker(t, "broker")
	ns, _, g, _ := c.given(t, time.Hour)
	c.Freeze(t, g, admissionregistrationv1.Delete)
	broker.Kill()
	if out := c.uninstall(t); !strings.Contains(out, kit.Frozen) {
		t.Errorf("it does not tell what is left:\n%s", out)
	}
	c.wantDisarmed(t, ns, g)
	ended := c.WaitEnded(t, g.Name, v1alpha1.EndPolicyGone)
	if !kit.HasReason(ended.Status.Conditions, v1alpha1.ReasonRemovalRefused) || !kit.HasMessage(ended.Status.Conditions, kit.Frozen) {
		t.Errorf("the record does not tell what is left: %s", kit.Describe(ended.Status.Conditions))
	}
}

// Access that somebody has by other means is recorded, and holds up nothing.
func TestUninstallBesideStandingAccess(t *testing.T) {
	c := take(t)
	broker := c.StartBroker(t, "broker")
	ns, _, g, _ := c.given(t, time.Hour)
	broker.Kill()
	kit.Create(t, c.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "friends"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "alice"}},
	})
	c.uninstall(t)
	ended := c.WaitEnded(t, g.Name, v1alpha1.EndPolicyGone)
	standing := meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionStandingAccess)
	if standing == nil || standing.Status != metav1.ConditionTrue || !strings.Contains(standing.Message, "friends") {
		t.Errorf("the record does not name the other binding: %s", kit.Describe(ended.Status.Conditions))
	}
}

// uninstall deletes all policies, of earlier tests too, and ends all access as the
// broker's program does before it is deleted.
func (c *cluster) uninstall(t *testing.T) string {
	t.Helper()
	policies := &v1alpha1.AccessPolicyList{}
	kit.Eventually(t, "the end of the policies", func(ctx context.Context) (bool, error) {
		if err := c.Admin.DeleteAllOf(ctx, &v1alpha1.AccessPolicy{}); err != nil {
			return false, err
		}
		err := c.Admin.List(ctx, policies)
		return len(policies.Items) == 0, err
	})
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.Root, "bin", "access-broker"), "--kubeconfig", c.BrokerKubeconfig(t, "uninstall"), "uninstall")
	cmd.Env = append(os.Environ(), "KUBECONFIG=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("uninstall: %v\n%s", err, out)
	}
	return string(out)
}

// What ends access waits for no verification: while not one question to the API
// server is answered, more grants than there are workers lose their access.
func TestEndsDoNotWaitForVerification(t *testing.T) {
	c := take(t)
	p := c.newProxy(t)
	c.startBehind(t, p)
	ns := c.NewNamespace(t, nil)
	policy := c.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		automatic(s)
		s.MaxPendingPerRequester, s.Subjects = ptr.To[int32](1000), v1alpha1.SubjectsAny
	})
	const grants = 40 // four times the workers
	var requests []*v1alpha1.AccessRequest
	for i := range grants {
		requests = append(requests, c.Ask(t, c.alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "User", Name: fmt.Sprintf("worker-%d", i)}}
		}))
	}
	for _, request := range requests {
		c.WaitFor(t, request, v1alpha1.RequestActive)
	}
	var givenUp atomic.Int32
	p.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "subjectaccessreviews") {
			<-r.Context().Done()
			givenUp.Add(1)
			return
		}
		next.ServeHTTP(w, r)
	})
	kit.Delete(t, c.Admin, policy.DeepCopy())
	kit.Eventually(t, "the end of all access", func(ctx context.Context) (bool, error) {
		left := &rbacv1.RoleBindingList{}
		err := c.Admin.List(ctx, left, client.InNamespace(ns))
		return len(left.Items) == 0, err
	})
	if n := givenUp.Load(); n > 0 {
		t.Errorf("%d questions were given up before all access was gone", n)
	}
	p.set(nil)
	for _, request := range requests {
		c.WaitFor(t, request, v1alpha1.RequestRevoked)
	}
}
