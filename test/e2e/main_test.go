// Package e2e plays the product as the people who use it: real users with
// certificates of their own, a real API server, the real broker.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/controlplane"
	"github.com/accessbroker/accessbroker/test/env"
)

// patience is how long a test waits for what must come; it is never waited out.
const patience = 30 * time.Second

var (
	e      *env.Env
	broker *controlplane.Process
	// The cast: alice and dave ask (group dev), bob, carol and erin approve
	// (group sre), mallory may write the status of requests but is in no policy.
	alice, dave, bob, carol, erin, mallory client.Client
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctx := context.Background()
	if e, err = env.Start(ctx, "", os.Stderr); err != nil {
		return 1, err
	}
	defer func() {
		if stopErr := e.Stop(); err == nil {
			err = stopErr
		}
	}()
	for _, user := range []struct {
		client *client.Client
		name   string
		groups []string
	}{
		{&alice, "alice", []string{"dev"}},
		{&dave, "dave", []string{"dev"}},
		{&bob, "bob", []string{"sre"}},
		{&carol, "carol", []string{"sre"}},
		{&erin, "erin", []string{"sre"}},
		{&mallory, "mallory", []string{"mischief"}},
	} {
		if *user.client, err = e.As(user.name, user.groups...); err != nil {
			return 1, err
		}
	}
	for role, groups := range map[string][]string{"access-requester": {"dev", "mischief"}, "access-approver": {"sre", "mischief", "dev"}} {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "test-" + role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
		for _, g := range groups {
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: g})
		}
		if err := e.Admin.Create(ctx, binding); err != nil {
			return 1, err
		}
	}
	if broker, err = e.Broker(ctx, "broker"); err != nil {
		return 1, err
	}
	if err := broker.Start(ctx); err != nil {
		return 1, err
	}
	code = m.Run()
	if code != 0 {
		fmt.Fprintln(os.Stderr, "the broker's last words:\n"+broker.LogTail())
	}
	broker.Stop()
	return code, nil
}

// newNamespace makes a namespace of the test's own.
func newNamespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-", Labels: labels}}
	create(t, e.Admin, ns)
	return ns.Name
}

func create(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatalf("create %T: %v", o, err)
	}
}

// newPolicy makes a policy that lets dev have view and edit in a namespace with
// the approval of one of sre, changed by edit.
func newPolicy(t *testing.T, namespace string, edit func(*v1alpha1.AccessPolicySpec)) *v1alpha1.AccessPolicy {
	t.Helper()
	p := &v1alpha1.AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"},
		Spec: v1alpha1.AccessPolicySpec{
			Requesters:        []v1alpha1.Subject{{Kind: "Group", Name: "dev"}},
			Approvers:         []v1alpha1.Subject{{Kind: "Group", Name: "sre"}},
			RequiredApprovals: ptr.To[int32](1),
			Roles:             []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "view"}, {Kind: "ClusterRole", Name: "edit"}},
			Namespaces:        &v1alpha1.PolicyNamespaces{Names: []string{namespace}},
			MaxDuration:       metav1.Duration{Duration: time.Hour},
		},
	}
	if edit != nil {
		edit(&p.Spec)
	}
	create(t, e.Admin, p)
	t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), p) })
	return p
}

// ask makes a request for edit, changed by edit.
func ask(t *testing.T, c client.Client, namespace string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	t.Helper()
	request := newRequest(namespace, edit)
	create(t, c, request)
	return request
}

func newRequest(namespace string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	request := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "fix-"},
		Spec:       v1alpha1.AccessRequestSpec{RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Reason: "INC-42: stuck consumers"},
	}
	if edit != nil {
		edit(&request.Spec)
	}
	return request
}

// decide is the plain merge patch that the README tells people to use.
func decide(t *testing.T, c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) error {
	t.Helper()
	return patchDecisions(t, c, request, map[string]any{"verdict": verdict})
}

func patchDecisions(t *testing.T, c client.Client, request *v1alpha1.AccessRequest, decisions ...map[string]any) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"decisions": decisions}})
	if err != nil {
		t.Fatal(err)
	}
	target := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}}
	return c.Status().Patch(t.Context(), target, client.RawPatch(types.MergePatchType, patch))
}

func mustDecide(t *testing.T, c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) {
	t.Helper()
	if err := decide(t, c, request, verdict); err != nil {
		t.Fatalf("%s: %v", verdict, err)
	}
}

// waitFor waits until the request is in a phase.
func waitFor(t *testing.T, request *v1alpha1.AccessRequest, phase v1alpha1.RequestPhase) *v1alpha1.AccessRequest {
	t.Helper()
	return waitUntil(t, request, "phase "+string(phase), func(r *v1alpha1.AccessRequest) bool { return r.Status.Phase == phase })
}

// waitMatched waits until the broker has told whom to ask.
func waitMatched(t *testing.T, request *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	t.Helper()
	return waitUntil(t, request, "a policy", func(r *v1alpha1.AccessRequest) bool { return r.Status.Policy != nil })
}

func waitUntil(t *testing.T, request *v1alpha1.AccessRequest, what string, holds func(*v1alpha1.AccessRequest) bool) *v1alpha1.AccessRequest {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(request), current); err != nil {
			return false, err
		}
		if holds(current) {
			return true, nil
		}
		if current.Status.Phase.Ended() {
			return false, fmt.Errorf("the request is over")
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v; it is %s: %s", what, err, current.Status.Phase, conditions(current.Status.Conditions))
	}
	return current
}

func conditions(list []metav1.Condition) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(out, "\n")
}

// grantOf is the grant of a request.
func grantOf(t *testing.T, request *v1alpha1.AccessRequest) *v1alpha1.AccessGrant {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	g := &v1alpha1.AccessGrant{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), current); err != nil {
		t.Fatal(err)
	}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: current.Status.GrantName}, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// can asks the API server, as the user, whether he may delete pods in a namespace.
func can(t *testing.T, c client.Client, namespace string) bool {
	t.Helper()
	return canDo(t, c, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "delete", Resource: "pods"})
}

func canDo(t *testing.T, c client.Client, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// waitEnded waits until the grant of a request is over, and checks why, what
// the user may do then, and that the API server was asked.
func waitEnded(t *testing.T, grantName string, reason v1alpha1.EndReason) *v1alpha1.AccessGrant {
	t.Helper()
	g := &v1alpha1.AccessGrant{}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKey{Name: grantName}, g)
		return g.Status.Phase == v1alpha1.GrantEnded, err
	})
	if err != nil {
		t.Fatalf("waiting for the end of grant %s: %v; it is %s", grantName, err, g.Status.Phase)
	}
	if g.Status.EndReason != reason {
		t.Errorf("grant ended with %s, want %s: %s", g.Status.EndReason, reason, conditions(g.Status.Conditions))
	}
	if !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAccessRemoved) {
		t.Errorf("the end is not verified: %s", conditions(g.Status.Conditions))
	}
	return g
}
