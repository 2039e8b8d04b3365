// Package attacks tries to get, keep or hide access that nobody approved: each
// test is one attack, by somebody with credentials of their own, on a real API
// server and the real broker. docs/threat-model.md lists them all by name.
package attacks

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e      *kit.Cluster
	broker *lab.Process
	// metrics is where the broker serves them.
	metrics string
	// The cast: alice and dave ask (group dev), bob, carol and erin approve
	// (group sre). mallory may ask and write decisions everywhere, as far as
	// RBAC goes, but no policy names them. nora administers the namespaces that
	// nora is given. stolen has the broker's own token.
	alice, dave, bob, carol, erin, mallory, nora, stolen client.Client
	// observer has the observer's own token.
	observer client.Client
	// checker has the checker's own token.
	checker client.Client
)

// zoe is an approver who does nothing.
var zoe = v1alpha1.PolicySubject{Kind: "User", Name: "zoe"}

// atOnce is how many attacks run at a time: they wait more than they work.
const atOnce = "12"

func TestMain(m *testing.M) {
	flag.Parse()
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := flag.Set("test.parallel", atOnce); err != nil {
		return 1, err
	}
	if stolen, err = e.AsBroker(ctx); err != nil {
		return 1, err
	}
	if err := errors.Join(
		e.Hire("dev", lab.People{"alice": &alice, "dave": &dave}),
		e.Hire("sre", lab.People{"bob": &bob, "carol": &carol, "erin": &erin}),
		e.Hire("mischief", lab.People{"mallory": &mallory}),
		e.Hire("ops", lab.People{"nora": &nora}),
		e.Bind(ctx, "access-requester", "dev", "mischief"),
		e.Bind(ctx, "access-approver", "dev", "sre", "mischief"),
		install(ctx),
	); err != nil {
		return 1, err
	}
	if observer, err = e.AsServiceAccount(ctx, lab.BrokerNamespace, "access-observer"); err != nil {
		return 1, err
	}
	if checker, err = e.AsServiceAccount(ctx, lab.BrokerNamespace, lab.CheckerServiceAccount); err != nil {
		return 1, err
	}
	if err := guarded(ctx); err != nil {
		return 1, err
	}
	if metrics, err = lab.FreeAddress(); err != nil {
		return 1, err
	}
	if broker, err = e.Broker(ctx, "broker", "--metrics-bind-address", metrics); err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

// install applies the kustomization of these tests, once more where it stands.
func install(ctx context.Context) error {
	variant := "stamped"
	if !e.Stamps {
		variant = "unstamped"
	}
	return e.MustRun(ctx, "kubectl apply -k test/attacks/testdata/"+variant)
}

// guarded waits until every admission policy is in force: the API server takes
// a moment to learn of them.
func guarded(ctx context.Context) error {
	request := lab.NewRequest("default", nil)
	err := lab.Until(ctx, lab.Patience, func(ctx context.Context) (bool, error) {
		err := alice.Create(ctx, request)
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("the requester is not stamped: %w", err)
	}
	forged := lab.NewRequest("default", func(s *v1alpha1.AccessRequestSpec) { s.Requester.Username = "somebody-else" })
	g := grantByHand(request, time.Hour)
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe"}, RoleRef: clusterRole("view")}
	labelled := binding.DeepCopy()
	labelled.Labels = map[string]string{v1alpha1.LabelGrant: "probe"}
	return lab.Until(ctx, lab.Patience, func(ctx context.Context) (bool, error) {
		for what, err := range map[string]error{
			"requests":       e.Admin.Create(ctx, forged.DeepCopy(), client.DryRunAll),
			"grants":         e.Admin.Create(ctx, g.DeepCopy(), client.DryRunAll),
			"usage":          e.Admin.Create(ctx, usageOf(g), client.DryRunAll),
			"bindings":       e.Admin.Create(ctx, labelled.DeepCopy(), client.DryRunAll),
			"the broker":     stolen.Create(ctx, binding.DeepCopy(), client.DryRunAll),
			"phases":         mergeStatus(ctx, e.Admin, request, `{"status":{"phase":"Active"}}`, client.DryRunAll),
			"bare decisions": mergeStatus(ctx, mallory, request, `{"status":{"decisions":[{"verdict":"Release"}]}}`, client.DryRunAll),
		} {
			if !apierrors.IsForbidden(err) {
				return false, errors.Join(fmt.Errorf("no policy holds for %s yet", what), err)
			}
		}
		return true, nil
	})
}

// attack is one attack, which does not disturb others.
func attack(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		do(t)
	})
}

// alone is an attack that needs the broker or the API server for itself.
func alone(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	t.Run(name, do)
}

// brokerDown kills the broker; it runs again at the end of the case at the latest.
func brokerDown(t *testing.T) {
	t.Helper()
	broker.Kill()
	t.Cleanup(func() {
		if broker.PID() == 0 {
			if err := broker.Start(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
}

// refused is an attack that fails on the spot, by a message that names the rule.
func refused(t *testing.T, name, rule string, do func(t *testing.T) error) {
	t.Helper()
	attack(t, name, func(t *testing.T) {
		mustRefuse(t, rule, do(t))
	})
}

func mustRefuse(t *testing.T, rule string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), rule) {
		t.Errorf("got %v, want a refusal that says %q", err, rule)
	}
}

// mustEnd waits until a request is over, for a reason that it tells.
func mustEnd(t *testing.T, request *v1alpha1.AccessRequest, phase v1alpha1.RequestPhase, why string) {
	t.Helper()
	ended := e.WaitFor(t, request, phase)
	if !kit.HasMessage(ended.Status.Conditions, why) {
		t.Errorf("want %q in: %s", why, kit.Describe(ended.Status.Conditions))
	}
}

// says waits until a condition of a request says something.
func says(t *testing.T, request *v1alpha1.AccessRequest, what string) *v1alpha1.AccessRequest {
	t.Helper()
	return e.WaitUntil(t, request, what, func(r *v1alpha1.AccessRequest) bool { return kit.HasMessage(r.Status.Conditions, what) })
}

func mustNot(t *testing.T, c client.Client, ns string) {
	t.Helper()
	if kit.Can(t, c, ns) {
		t.Error("the attacker has access")
	}
}

func must(t *testing.T, c client.Client, ns string) {
	t.Helper()
	if !kit.Can(t, c, ns) {
		t.Fatal("nobody has access, so that there is nothing to attack")
	}
}

// matched is a request of alice for edit in a namespace of its own, whose
// policy, changed by edit, is told.
func matched(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	newPolicy(t, ns, edit)
	return ns, e.WaitMatched(t, e.Ask(t, alice, ns, nil))
}

// held is access of alice to a namespace, approved by bob.
func held(t *testing.T) (ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) {
	t.Helper()
	ns, request = matched(t, nil)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
	request = e.WaitFor(t, request, v1alpha1.RequestActive)
	must(t, alice, ns)
	return ns, request, e.GrantOf(t, request)
}

// administers makes nora an administrator of a namespace, who may do all that
// RBAC has to offer there.
func administers(t *testing.T, ns string) {
	t.Helper()
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "nora"}, RoleRef: clusterRole("admin"),
		Subjects: []rbacv1.Subject{user("nora")},
	})
	kit.Eventually(t, "nora to be an administrator", func(context.Context) (bool, error) { return kit.Can(t, nora, ns), nil })
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}
}

// bindingOf is the binding of a grant in a namespace.
func bindingOf(g *v1alpha1.AccessGrant, ns string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
}

// grantByHand is the grant of a request as its forger would write it, true to
// the request as far as they can see.
func grantByHand(request *v1alpha1.AccessRequest, duration time.Duration) *v1alpha1.AccessGrant {
	g := &v1alpha1.AccessGrant{}
	g.Name = grant.Name(request.Name, request.UID)
	now := time.Now()
	g.Spec = v1alpha1.AccessGrantSpec{
		RequestRef:     v1alpha1.RequestRef{Namespace: request.Namespace, ObjectRef: v1alpha1.ObjectRef{Name: request.Name, UID: request.UID}},
		Requester:      request.Spec.Requester,
		Subjects:       []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: request.Spec.Requester.Username}}},
		RoleRef:        request.Spec.RoleRef,
		Decisions:      request.Status.Decisions,
		Reason:         request.Spec.Reason,
		RoleRules:      request.Status.Rules,
		RulesHash:      request.Status.RulesHash,
		NotBefore:      metav1.NewTime(now),
		ExpirationTime: metav1.NewTime(now.Add(duration)),
		PolicyRef:      v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "none", UID: "none"}, Generation: 1},
	}
	if request.Status.Policy != nil {
		g.Spec.PolicyRef = *request.Status.Policy
	}
	if request.Spec.Rules != nil {
		g.Spec.Rules, g.Spec.RoleRules = request.Spec.Rules, nil
	}
	return g
}

func mergeStatus(ctx context.Context, c client.Client, request *v1alpha1.AccessRequest, patch string, opts ...client.SubResourcePatchOption) error {
	return rawStatus(ctx, c, request, types.MergePatchType, patch, opts...)
}

func rawStatus(ctx context.Context, c client.Client, request *v1alpha1.AccessRequest, kind types.PatchType, patch string, opts ...client.SubResourcePatchOption) error {
	target := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}}
	return c.Status().Patch(ctx, target, client.RawPatch(kind, []byte(patch)), opts...)
}

// merge is a merge patch of some object.
func merge(t *testing.T, c client.Client, o client.Object, patch string) error {
	t.Helper()
	return c.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch)))
}

func clientKey(ns, name string) client.ObjectKey { return client.ObjectKey{Namespace: ns, Name: name} }

// pin writes into a grant what a forger can look up: UIDs, and what the role allows.
func pin(t *testing.T, g *v1alpha1.AccessGrant, ns string) {
	t.Helper()
	namespace, role := &corev1.Namespace{}, &rbacv1.ClusterRole{}
	if err := errors.Join(e.Admin.Get(t.Context(), client.ObjectKey{Name: ns}, namespace), e.Admin.Get(t.Context(), client.ObjectKey{Name: g.Spec.RoleRef.Name}, role)); err != nil {
		t.Fatal(err)
	}
	if !g.Spec.Cluster {
		g.Spec.Namespaces = []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: ns, UID: namespace.UID}}}
	}
	g.Spec.RoleUID, g.Spec.RoleRules = role.UID, rules.Show(role.Rules, rules.Limit{Lines: 511, Bytes: 63 << 10}).Lines
}

// somebodyNew is of group dev, with a policy for themselves alone that gives edit in a
// namespace at once: for a namespace that other tests look at, too.
func somebodyNew(t *testing.T, ns string) (name string, who client.Client) {
	t.Helper()
	name = strings.ToLower(rand.Text())
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters, s.Approvals[0].Count = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: name}), new(int32)
	})
	return name, e.Person(t, name, "dev")
}

// newPolicy is a policy that lets as many requests wait as the attacks make.
func newPolicy(t *testing.T, ns string, edit func(*v1alpha1.AccessPolicySpec)) *v1alpha1.AccessPolicy {
	t.Helper()
	return e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.MaxPendingPerRequester = ptr.To[int32](1000)
		if edit != nil {
			edit(s)
		}
		if everybody := func(of v1alpha1.PolicySubject) bool { return of.Kind == rbacv1.GroupKind }; ns == lab.BrokerNamespace && slices.ContainsFunc(s.RequestersAt(time.Now()), everybody) {
			t.Fatal("other tests look at this namespace: use somebodyNew")
		}
	})
}
