package env

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/controlplane"
)

// Patience is how long a test waits for what must come; it is never waited out.
const Patience = 30 * time.Second

// Somebody is a client of whoever an authenticator would make this user: a
// client certificate cannot say all that OIDC, a cloud or a proxy say.
func (e *Env) Somebody(t testing.TB, user rest.ImpersonationConfig) client.Client {
	t.Helper()
	config := e.ControlPlane.Admin()
	config.Impersonate = user
	c, err := e.newClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// CreateAsBefore creates an RBAC object in a namespace as it may stand there
// from before the admission policies were installed, which refuse it to
// everybody now.
func (e *Env) CreateAsBefore(t testing.TB, o client.Object) {
	t.Helper()
	guard := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "access-broker-bindings"}}
	e.Patch(t, guard, fmt.Sprintf(`{"spec":{"matchResources":{"namespaceSelector":{"matchExpressions":[{"key":%q,"operator":"NotIn","values":[%q]}]}}}}`, corev1.LabelMetadataName, o.GetNamespace()))
	err := eventually(t.Context(), Patience, func(ctx context.Context) error { return e.Admin.Create(ctx, o) })
	e.Patch(t, guard, `{"spec":{"matchResources":null}}`)
	if err != nil {
		t.Fatalf("create %T: %v", o, err)
	}
	err = eventually(t.Context(), Patience, func(ctx context.Context) error {
		again := o.DeepCopyObject().(client.Object)
		again.SetName("probe")
		again.SetResourceVersion("")
		if err := e.Admin.Create(ctx, again, client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Errorf("it is not refused again: %w", errOr(err))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// FinishJob ends a Job, in place of a kubelet, by the phase of its Pod.
func (e *Env) FinishJob(t testing.TB, ns, name string, phase corev1.PodPhase) {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(e.ControlPlane.Admin())
	if err != nil {
		t.Fatal(err)
	}
	if err := controlplane.FinishPod(t.Context(), clientset, ns, name, phase); err != nil {
		t.Fatal(err)
	}
}

// Patch merges into an object as the administrator.
func (e *Env) Patch(t testing.TB, o client.Object, merge string) {
	t.Helper()
	if err := e.Admin.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(merge))); err != nil {
		t.Fatalf("patch %T: %v", o, err)
	}
}

// PatchStatus merges into the status of an object as the administrator.
func (e *Env) PatchStatus(t testing.TB, o client.Object, merge string) {
	t.Helper()
	if err := e.Admin.Status().Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(merge))); err != nil {
		t.Fatalf("patch status of %T: %v", o, err)
	}
}

// Delete deletes an object and, in the background, what it owns.
func Delete(t testing.TB, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Delete(t.Context(), o, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatalf("delete %T: %v", o, err)
	}
}

// NewJob is a Job that runs until FinishJob.
func NewJob(ns, name string) *batchv1.Job {
	none := int32(0)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: batchv1.JobSpec{BackoffLimit: &none, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main", Image: "migrate"}},
		}}},
	}
}

// NewPod is a Pod that no kubelet runs.
func NewPod(ns, name string) *corev1.Pod {
	now := int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &now, Containers: []corev1.Container{{Name: "main", Image: "fix"}}},
	}
}

// NewNamespace makes a namespace of the test's own.
func (e *Env) NewNamespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-", Labels: labels}}
	Create(t, e.Admin, ns)
	return ns.Name
}

// NewPolicy makes a policy that lets dev have view and edit in a namespace with
// the approval of one of sre, changed by edit.
func (e *Env) NewPolicy(t testing.TB, namespace string, edit func(*v1alpha1.AccessPolicySpec)) *v1alpha1.AccessPolicy {
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
	Create(t, e.Admin, p)
	t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), p) })
	return p
}

// Ask makes a request for edit, changed by edit.
func (e *Env) Ask(t testing.TB, c client.Client, namespace string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	t.Helper()
	request := NewRequest(namespace, edit)
	Create(t, c, request)
	return request
}

// WaitFor waits until the request is in a phase.
func (e *Env) WaitFor(t testing.TB, request *v1alpha1.AccessRequest, phase v1alpha1.RequestPhase) *v1alpha1.AccessRequest {
	t.Helper()
	return e.WaitUntil(t, request, "phase "+string(phase), func(r *v1alpha1.AccessRequest) bool { return r.Status.Phase == phase })
}

// WaitMatched waits until the broker has told whom to ask.
func (e *Env) WaitMatched(t testing.TB, request *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	t.Helper()
	return e.WaitUntil(t, request, "a policy", func(r *v1alpha1.AccessRequest) bool { return r.Status.Policy != nil })
}

// WaitUntil waits until something holds of a request; it fails when the request ends first.
func (e *Env) WaitUntil(t testing.TB, request *v1alpha1.AccessRequest, what string, holds func(*v1alpha1.AccessRequest) bool) *v1alpha1.AccessRequest {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
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
		t.Fatalf("waiting for %s: %v; it is %s: %s", what, err, current.Status.Phase, Describe(current.Status.Conditions))
	}
	return current
}

// GrantOf is the grant of a request.
func (e *Env) GrantOf(t testing.TB, request *v1alpha1.AccessRequest) *v1alpha1.AccessGrant {
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

// WaitEnded waits until the grant of a request is over, and checks why, what
// the user may do then, and that the API server was asked.
func (e *Env) WaitEnded(t testing.TB, grantName string, reason v1alpha1.EndReason) *v1alpha1.AccessGrant {
	t.Helper()
	g := &v1alpha1.AccessGrant{}
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKey{Name: grantName}, g)
		return g.Status.Phase == v1alpha1.GrantEnded, err
	})
	if err != nil {
		t.Fatalf("waiting for the end of grant %s: %v; it is %s", grantName, err, g.Status.Phase)
	}
	if g.Status.EndReason != reason {
		t.Errorf("grant ended with %s, want %s: %s", g.Status.EndReason, reason, Describe(g.Status.Conditions))
	}
	if !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionAccessRemoved) {
		t.Errorf("the end is not verified: %s", Describe(g.Status.Conditions))
	}
	return g
}

// Create creates an object.
func Create(t testing.TB, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatalf("create %T: %v", o, err)
	}
}

// NewRequest is a request for edit that is not created yet, changed by edit.
func NewRequest(namespace string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	request := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "fix-"},
		Spec:       v1alpha1.AccessRequestSpec{RoleRef: &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Reason: "INC-42: stuck consumers"},
	}
	if edit != nil {
		edit(&request.Spec)
	}
	return request
}

// Decide is the plain merge patch that the README tells people to use.
func Decide(t testing.TB, c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) error {
	t.Helper()
	return PatchDecisions(t, c, request, map[string]any{"verdict": verdict})
}

// PatchDecisions sends decisions in a plain merge patch.
func PatchDecisions(t testing.TB, c client.Client, request *v1alpha1.AccessRequest, decisions ...map[string]any) error {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"decisions": decisions}})
	if err != nil {
		t.Fatal(err)
	}
	target := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}}
	return c.Status().Patch(t.Context(), target, client.RawPatch(types.MergePatchType, patch))
}

// MustDecide is Decide that must succeed.
func MustDecide(t testing.TB, c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) {
	t.Helper()
	if err := Decide(t, c, request, verdict); err != nil {
		t.Fatalf("%s: %v", verdict, err)
	}
}

// Describe tells conditions for a failed test.
func Describe(list []metav1.Condition) string {
	var out []string
	for _, c := range list {
		out = append(out, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(out, "\n")
}

// Can asks the API server, as the user, whether he may delete pods in a namespace.
func Can(t testing.TB, c client.Client, namespace string) bool {
	t.Helper()
	return CanDo(t, c, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "delete", Resource: "pods"})
}

// CanDo asks the API server, as the user, whether he may do something.
func CanDo(t testing.TB, c client.Client, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &what}}
	if err := c.Create(t.Context(), review); err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// WaitPast waits until the clock, which is the API server's too, is past a moment.
func WaitPast(t testing.TB, moment time.Time) {
	t.Helper()
	err := wait.PollUntilContextCancel(t.Context(), 20*time.Millisecond, true, func(context.Context) (bool, error) {
		return time.Now().After(moment), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// HasReason tells whether any condition has the reason.
func HasReason(conditions []metav1.Condition, reason string) bool {
	for _, c := range conditions {
		if c.Reason == reason {
			return true
		}
	}
	return false
}

// HasMessage tells whether any condition says this.
func HasMessage(list []metav1.Condition, part string) bool {
	for _, c := range list {
		if strings.Contains(c.Message, part) {
			return true
		}
	}
	return false
}
