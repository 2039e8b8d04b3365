package kit

import (
	"context"
	"encoding/json"
	"errors"
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
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// Patience is how long a test waits for what must come; it is never waited out.
const Patience = lab.Patience

// Eventually waits until something holds; see lab.Until.
func Eventually(t testing.TB, what string, holds func(context.Context) (bool, error)) {
	t.Helper()
	Within(t, Patience, what, holds)
}

// Within is Eventually with another patience. It serves a Cleanup too, in which
// the test's own context has ended.
func Within(t testing.TB, patience time.Duration, what string, holds func(context.Context) (bool, error)) {
	t.Helper()
	if err := lab.Until(context.WithoutCancel(t.Context()), patience, holds); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

// WaitGone waits until an object is deleted.
func (c *Cluster) WaitGone(t testing.TB, o client.Object) {
	t.Helper()
	c.WaitGoneWithin(t, Patience, o)
}

// WaitGoneWithin is WaitGone with another patience.
func (c *Cluster) WaitGoneWithin(t testing.TB, patience time.Duration, o client.Object) {
	t.Helper()
	Within(t, patience, fmt.Sprintf("the end of %T %s", o, o.GetName()), func(ctx context.Context) (bool, error) {
		err := c.Admin.Get(ctx, client.ObjectKeyFromObject(o), o)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}

// CreateSoon creates an object as soon as it can be, for instance when another
// of its name is gone.
func CreateSoon(t testing.TB, c client.Client, o client.Object) {
	t.Helper()
	Eventually(t, fmt.Sprintf("the creation of %T %s", o, o.GetName()), func(ctx context.Context) (bool, error) {
		err := c.Create(ctx, o)
		return err == nil, err
	})
}

// NeedsStamps skips a test that is about what the API server fills in.
func (c *Cluster) NeedsStamps(t testing.TB) {
	t.Helper()
	if !c.Stamps {
		t.Skipf("Kubernetes 1.%d has no MutatingAdmissionPolicy: nothing is filled in there", c.Minor)
	}
}

// Person is a client of somebody who exists for one test only.
func (c *Cluster) Person(t testing.TB, name string, groups ...string) client.Client {
	t.Helper()
	person, err := c.As(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return person
}

// Somebody is a client of whoever an authenticator would make this user: a
// client certificate cannot say all that OIDC, a cloud or a proxy say.
func (c *Cluster) Somebody(t testing.TB, user rest.ImpersonationConfig) client.Client {
	t.Helper()
	config := c.AdminConfig()
	config.Impersonate = user
	somebody, err := c.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return somebody
}

// BrokerKubeconfig is a kubeconfig of that name of the broker's ServiceAccount,
// which lets commands act as the broker.
func (c *Cluster) BrokerKubeconfig(t testing.TB, name string) string {
	t.Helper()
	config, err := c.BrokerConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path, err := c.Kubeconfig(name, config)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// CreateAsBefore creates an RBAC object in a namespace as it may stand there
// from before the admission policies were installed, which refuse it to
// everybody now.
func (c *Cluster) CreateAsBefore(t testing.TB, o client.Object) {
	t.Helper()
	guard := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "access-broker-bindings"}}
	c.Patch(t, guard, fmt.Sprintf(`{"spec":{"matchResources":{"namespaceSelector":{"matchExpressions":[{"key":%q,"operator":"NotIn","values":[%q]}]}}}}`, corev1.LabelMetadataName, o.GetNamespace()))
	err := lab.Until(t.Context(), Patience, func(ctx context.Context) (bool, error) {
		err := c.Admin.Create(ctx, o)
		return err == nil, err
	})
	c.Patch(t, guard, `{"spec":{"matchResources":null}}`)
	if err != nil {
		t.Fatalf("create %T: %v", o, err)
	}
	Eventually(t, "it to be refused again", func(ctx context.Context) (bool, error) {
		again := o.DeepCopyObject().(client.Object)
		again.SetName("probe")
		again.SetResourceVersion("")
		return apierrors.IsForbidden(c.Admin.Create(ctx, again, client.DryRunAll)), nil
	})
}

// FinishJob ends a Job, in place of a kubelet, by the phase of its Pod.
func (c *Cluster) FinishJob(t testing.TB, ns, name string, phase corev1.PodPhase) {
	t.Helper()
	if err := c.FinishPod(t.Context(), ns, name, phase); err != nil {
		t.Fatal(err)
	}
}

// Patch merges into an object as the administrator.
func (c *Cluster) Patch(t testing.TB, o client.Object, merge string) {
	t.Helper()
	if err := c.Admin.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(merge))); err != nil {
		t.Fatalf("patch %T: %v", o, err)
	}
}

// PatchStatus merges into the status of an object as the administrator.
func (c *Cluster) PatchStatus(t testing.TB, o client.Object, merge string) {
	t.Helper()
	if err := c.Admin.Status().Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(merge))); err != nil {
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
func (c *Cluster) NewNamespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-", Labels: labels}}
	Create(t, c.Admin, ns)
	return ns.Name
}

// NewPolicy makes a policy that lets dev have view and edit in a namespace with
// the approval of one of sre, changed by edit.
func (c *Cluster) NewPolicy(t testing.TB, namespace string, edit func(*v1alpha1.AccessPolicySpec)) *v1alpha1.AccessPolicy {
	t.Helper()
	p := &v1alpha1.AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"},
		Spec: v1alpha1.AccessPolicySpec{
			Requesters:  v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}),
			Approvals:   []v1alpha1.ApprovalStage{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)}},
			Roles:       []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "view"}, {Kind: "ClusterRole", Name: "edit"}},
			Namespaces:  &v1alpha1.PolicyNamespaces{Names: []string{namespace}},
			MaxDuration: metav1.Duration{Duration: time.Hour},
		},
	}
	if edit != nil {
		edit(&p.Spec)
	}
	Create(t, c.Admin, p)
	t.Cleanup(func() { _ = c.Admin.Delete(context.WithoutCancel(t.Context()), p) })
	return p
}

// Ask makes a request for edit, changed by edit.
func (c *Cluster) Ask(t testing.TB, who client.Client, namespace string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	t.Helper()
	request := lab.NewRequest(namespace, edit)
	Create(t, who, request)
	return request
}

// WaitFor waits until the request is in a phase.
func (c *Cluster) WaitFor(t testing.TB, request *v1alpha1.AccessRequest, phase v1alpha1.RequestPhase) *v1alpha1.AccessRequest {
	t.Helper()
	return c.WaitUntil(t, request, "phase "+string(phase), func(r *v1alpha1.AccessRequest) bool { return r.Status.Phase == phase })
}

// WaitMatched waits until the broker has told whom to ask.
func (c *Cluster) WaitMatched(t testing.TB, request *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	t.Helper()
	return c.WaitUntil(t, request, "a policy", func(r *v1alpha1.AccessRequest) bool { return r.Status.Policy != nil })
}

// Approved waits until the broker has told whom to ask, approves a request as
// one of them, and waits until the access is given and all of that is on record: a
// request tells of an issued credential before its grant does.
func (c *Cluster) Approved(t testing.TB, approver client.Client, request *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	t.Helper()
	c.WaitMatched(t, request)
	MustDecide(t, approver, request, v1alpha1.VerdictApprove)
	active := c.WaitFor(t, request, v1alpha1.RequestActive)
	Eventually(t, "the record of the grant", func(context.Context) (bool, error) {
		return c.GrantOf(t, request).Status.Phase != "", nil
	})
	return active
}

// WaitUntil waits until something holds of a request; it fails when the request ends first.
func (c *Cluster) WaitUntil(t testing.TB, request *v1alpha1.AccessRequest, what string, holds func(*v1alpha1.AccessRequest) bool) *v1alpha1.AccessRequest {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	err := lab.Until(t.Context(), Patience, func(ctx context.Context) (bool, error) {
		if err := c.Admin.Get(ctx, client.ObjectKeyFromObject(request), current); err != nil {
			return false, lab.Hopeless(err)
		}
		if holds(current) {
			return true, nil
		}
		if current.Status.Phase.Ended() {
			return false, lab.Hopeless(errors.New("the request is over"))
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v; it is %s: %s", what, err, current.Status.Phase, Describe(current.Status.Conditions))
	}
	return current
}

// GrantOf is the grant of a request.
func (c *Cluster) GrantOf(t testing.TB, request *v1alpha1.AccessRequest) *v1alpha1.AccessGrant {
	t.Helper()
	current := &v1alpha1.AccessRequest{}
	g := &v1alpha1.AccessGrant{}
	if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), current); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin.Get(t.Context(), client.ObjectKey{Name: current.Status.GrantName}, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// WaitEnded waits until the grant of a request is over, and checks why, what
// the user may do then, and that the API server was asked.
func (c *Cluster) WaitEnded(t testing.TB, grantName string, reason v1alpha1.EndReason) *v1alpha1.AccessGrant {
	t.Helper()
	g := &v1alpha1.AccessGrant{}
	err := lab.Until(t.Context(), Patience, func(ctx context.Context) (bool, error) {
		if err := c.Admin.Get(ctx, client.ObjectKey{Name: grantName}, g); err != nil {
			return false, lab.Hopeless(err)
		}
		return g.Status.Phase == v1alpha1.GrantEnded, nil
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

// Decide is lab.Decide.
func Decide(t testing.TB, c client.Client, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict) error {
	t.Helper()
	return lab.Decide(t.Context(), c, request, verdict)
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

// Can asks the API server, as the user, whether they may delete pods in a namespace.
func Can(t testing.TB, c client.Client, namespace string) bool {
	t.Helper()
	return CanDo(t, c, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "delete", Resource: "pods"})
}

// CanDo asks the API server, as the user, whether they may do something.
func CanDo(t testing.TB, c client.Client, what authorizationv1.ResourceAttributes) bool {
	t.Helper()
	can, err := lab.Can(t.Context(), c, what)
	if err != nil {
		t.Fatal(err)
	}
	return can
}

// WaitPast waits until the clock, which is the API server's too, is past a moment.
func WaitPast(t testing.TB, moment time.Time) {
	t.Helper()
	Within(t, Patience+time.Until(moment), moment.String(), func(context.Context) (bool, error) {
		return time.Now().After(moment), nil
	})
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
