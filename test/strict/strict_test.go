// Package strict runs the product where the API server has more on than by
// default: admission plugins, as hardened distributions have them, quotas, and an
// authorizer beside RBAC, as clouds have one.
package strict

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	// alice asks, of group dev.
	alice client.Client
)

// outsider is allowed everything, and by no binding.
const outsider = "owner@example.com"

// oneEvent lets one Event a second pass.
const oneEvent = `
apiVersion: eventratelimit.admission.k8s.io/v1alpha1
kind: Configuration
limits:
  - {type: Server, qps: 1, burst: 1}
`

func TestMain(m *testing.M) {
	kit.MainOn(lab.Options{Outsider: outsider, AdmissionPlugins: map[string]string{
		"OwnerReferencesPermissionEnforcement": "",
		"EventRateLimit":                       oneEvent,
		"AlwaysPullImages":                     "",
		"DenyServiceExternalIPs":               "",
		"PodNodeSelector":                      "",
	}}, func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := errors.Join(e.Hire("dev", lab.People{"alice": &alice}), e.Bind(ctx, "access-requester", "dev")); err != nil {
		return 1, err
	}
	broker, err := e.Broker(ctx, "broker")
	if err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

// automatic grants without an approval.
func automatic(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) }

// lasting is a request's duration.
func lasting(d time.Duration) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} }
}

// says tells whether an error is the one that is waited for.
func says(err error, words string) (bool, error) {
	if err != nil && strings.Contains(err.Error(), words) {
		return true, nil
	}
	return false, err
}

// Without this, the other tests show nothing.
func TestPluginsAreOn(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	t.Run("OwnerReferencesPermissionEnforcement", func(t *testing.T) {
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "editor"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: "edit"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "editor"}},
		})
		owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "owner"}}
		kit.Create(t, e.Admin, owner)
		owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: "owned",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "owner", UID: owner.UID, BlockOwnerDeletion: ptr.To(true)}},
		}}
		editor := e.Person(t, "editor")
		kit.Eventually(t, "the refusal", func(ctx context.Context) (bool, error) {
			return says(editor.Create(ctx, owned.DeepCopy(), client.DryRunAll), "cannot set blockOwnerDeletion")
		})
	})
	t.Run("EventRateLimit", func(t *testing.T) {
		kit.Eventually(t, "the limit", func(ctx context.Context) (bool, error) {
			return says(e.Admin.Create(ctx, &corev1.Event{
				ObjectMeta:     metav1.ObjectMeta{Namespace: ns, GenerateName: "noise-"},
				InvolvedObject: corev1.ObjectReference{Namespace: ns},
			}), "limit reached")
		})
	})
	t.Run("AlwaysPullImages", func(t *testing.T) {
		pods := &corev1.PodList{}
		kit.Eventually(t, "the broker's Pods", func(ctx context.Context) (bool, error) {
			err := e.Admin.List(ctx, pods, client.InNamespace(lab.BrokerNamespace))
			return len(pods.Items) > 0, err
		})
		for _, pod := range pods.Items {
			if policy := pod.Spec.Containers[0].ImagePullPolicy; policy != corev1.PullAlways {
				t.Errorf("the image of %s is pulled %s", pod.Name, policy)
			}
		}
	})
}

// The whole life of an access, with its Events: the limit counts those of the old
// kind alone.
func TestLife(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	g := live(t, ns)
	kit.Eventually(t, "the Events of the grant", func(ctx context.Context) (bool, error) {
		reasons, err := eventsOf(ctx, g)
		return slices.Contains(reasons, "Ended"), err
	})
}

// live lets an access begin and expire.
func live(t *testing.T, ns string) *v1alpha1.AccessGrant {
	t.Helper()
	request := e.Ask(t, alice, ns, lasting(3*time.Second))
	e.WaitFor(t, request, v1alpha1.RequestActive)
	g := e.GrantOf(t, request)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	e.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	return g
}

// eventsOf a grant are the reasons of its Events.
func eventsOf(ctx context.Context, g *v1alpha1.AccessGrant) (reasons []string, err error) {
	list := &eventsv1.EventList{}
	if err := e.Admin.List(ctx, list); err != nil {
		return nil, err
	}
	for _, event := range list.Items {
		if event.Regarding.UID == g.UID {
			reasons = append(reasons, event.Reason)
		}
	}
	return reasons, nil
}

// Events are told to nobody where they are refused, and nothing waits for them.
func TestEventsAreRefused(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "no-events"},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{"", "events.k8s.io"}, APIVersions: []string{"*"}, Resources: []string{"events"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "no Events here"}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy.Name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	for _, o := range []client.Object{policy, binding} {
		kit.Create(t, e.Admin, o)
		t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), o) })
	}
	kit.Eventually(t, "the refusal", func(ctx context.Context) (bool, error) {
		return says(e.Admin.Create(ctx, &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "probe"}, EventTime: metav1.NowMicro(), Type: corev1.EventTypeNormal,
			ReportingController: "test", ReportingInstance: "test", Action: "Probe", Reason: "Probe", Regarding: corev1.ObjectReference{Namespace: ns},
		}, client.DryRunAll), "no Events here")
	})
	g := live(t, ns)
	if reasons, err := eventsOf(t.Context(), g); err != nil || len(reasons) != 0 {
		t.Errorf("there are Events: %q, %v", reasons, err)
	}
}

// A quota of bindings holds for the broker too: who is refused learns of it, and
// an access that ends makes room.
func TestQuotaOfBindings(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/rolebindings.rbac.authorization.k8s.io": resource.MustParse("1")}},
	}
	kit.Create(t, e.Admin, quota)
	used := func(t *testing.T, want int64) {
		t.Helper()
		kit.Within(t, time.Minute, "the quota", func(ctx context.Context) (bool, error) {
			err := e.Admin.Get(ctx, client.ObjectKeyFromObject(quota), quota)
			count, counted := quota.Status.Used["count/rolebindings.rbac.authorization.k8s.io"]
			return counted && count.Value() == want, err
		})
	}
	used(t, 0)
	first := e.Ask(t, alice, ns, nil)
	e.WaitFor(t, first, v1alpha1.RequestActive)
	second := e.Ask(t, alice, ns, nil)
	e.WaitUntil(t, second, "the refusal", func(r *v1alpha1.AccessRequest) bool {
		return r.Status.Phase == v1alpha1.RequestFailed && kit.HasMessage(r.Status.Conditions, "exceeded quota: few")
	})
	kit.MustDecide(t, alice, first, v1alpha1.VerdictRelease)
	e.WaitFor(t, first, v1alpha1.RequestCompleted)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	used(t, 0)
	third := e.Ask(t, alice, ns, nil)
	e.WaitFor(t, third, v1alpha1.RequestActive)
}
