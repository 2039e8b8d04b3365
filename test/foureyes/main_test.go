// Package foureyes runs the product where nobody's policy gives anything before a
// second person has confirmed it, and tries to get around that person.
package foureyes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	// metrics is where the broker serves them.
	metrics string
	// The cast: alice and mallory ask (group dev), nobody needs to approve. anna, boris
	// and clara write policies and confirm them (group policy-admins).
	alice, mallory, anna, boris, clara client.Client
)

func TestMain(m *testing.M) {
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if err := errors.Join(
		install(ctx),
		e.Hire("dev", lab.People{"alice": &alice, "mallory": &mallory}),
		e.Hire("policy-admins", lab.People{"anna": &anna, "boris": &boris, "clara": &clara}),
		e.Bind(ctx, "access-requester", "dev"),
		e.Bind(ctx, "access-policy-admin", "policy-admins"),
	); err != nil {
		return 1, err
	}
	for _, name := range []string{"anna", "boris", "clara"} {
		config, err := e.User(name, "policy-admins")
		if err != nil {
			return 1, err
		}
		if _, err := e.Kubeconfig(name, config); err != nil {
			return 1, err
		}
	}
	if err := inForce(ctx); err != nil {
		return 1, err
	}
	if metrics, err = lab.FreeAddress(); err != nil {
		return 1, err
	}
	broker, err := e.Broker(ctx, "broker", "--require-confirmed-policies", "--metrics-bind-address", metrics)
	if err != nil {
		return 1, err
	}
	return kit.Run(ctx, m, broker)
}

func install(ctx context.Context) error {
	variant := "stamped"
	if !e.Stamps {
		variant = "unstamped"
	}
	return e.MustRun(ctx, "kubectl apply -k test/foureyes/testdata/"+variant)
}

// inForce waits until the admission policies of the component hold.
func inForce(ctx context.Context) error {
	var p *v1alpha1.AccessPolicy
	err := lab.Until(ctx, lab.Patience, func(ctx context.Context) (bool, error) {
		p = policyOf("nobody", "default", "anna")
		if err := anna.Create(ctx, p); err != nil {
			return false, err
		}
		if p.Annotations[v1alpha1.AnnotationChangedBy] != "anna" {
			return false, errors.New("the author is not stamped")
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	return lab.Until(ctx, lab.Patience, func(ctx context.Context) (bool, error) {
		for what, err := range map[string]error{
			"authors":       e.Admin.Patch(ctx, p.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationChangedBy+`":"x"}}}`)), client.DryRunAll),
			"confirmations": confirm(ctx, anna, p, "x", client.DryRunAll),
		} {
			if !apierrors.IsForbidden(err) {
				return false, errors.Join(fmt.Errorf("nothing holds for %s yet", what), err)
			}
		}
		return true, nil
	})
}

// policyOf gives alice edit in a namespace without anybody's approval. Where nothing
// stamps its author, they write themselves.
func policyOf(who, ns, author string) *v1alpha1.AccessPolicy {
	p := &v1alpha1.AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"},
		Spec: v1alpha1.AccessPolicySpec{
			Requesters:  v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: who}),
			Approvals:   []v1alpha1.ApprovalStage{},
			Roles:       []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}},
			Namespaces:  &v1alpha1.PolicyNamespaces{Names: []string{ns}},
			MaxDuration: metav1.Duration{Duration: 3600e9},
		},
	}
	if !e.Stamps {
		p.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: author}
	}
	return p
}

// written is a policy for alice that somebody wrote.
func written(t *testing.T, author client.Client, name string) (*v1alpha1.AccessPolicy, string) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	p := policyOf("alice", ns, name)
	kit.Create(t, author, p)
	remove(t, p)
	return p, ns
}

// remove deletes a policy at the end of the test.
func remove(t *testing.T, p *v1alpha1.AccessPolicy) {
	t.Helper()
	t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), p) })
}

// changed is a change of the spec by somebody, on top of who changed it before.
func changed(t *testing.T, c client.Client, p *v1alpha1.AccessPolicy, minutes int, authors ...string) {
	t.Helper()
	patch := map[string]any{"spec": map[string]any{"maxDuration": fmt.Sprintf("%dm", minutes)}}
	if !e.Stamps {
		patch["metadata"] = map[string]any{"annotations": map[string]any{v1alpha1.AnnotationChangedBy: strings.Join(authors, "\n")}}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, body)); err != nil {
		t.Fatal(err)
	}
	if got := p.Annotations[v1alpha1.AnnotationChangedBy]; got != strings.Join(authors, "\n") {
		t.Fatalf("changed by %q, want %q", got, authors)
	}
}

// confirm writes a confirmation of a policy as it was read, under a name.
func confirm(ctx context.Context, c client.Client, p *v1alpha1.AccessPolicy, username string, opts ...client.SubResourcePatchOption) error {
	return confirmAs(ctx, c, p, v1alpha1.PolicyConfirmation{Username: username, UID: p.UID, Generation: p.Generation}, opts...)
}

func confirmAs(ctx context.Context, c client.Client, p *v1alpha1.AccessPolicy, confirmation v1alpha1.PolicyConfirmation, opts ...client.SubResourcePatchOption) error {
	body, err := json.Marshal(map[string]any{"status": map[string]any{"confirmed": confirmation}})
	if err != nil {
		return err
	}
	return c.Status().Patch(ctx, p.DeepCopy(), client.RawPatch(types.MergePatchType, body), opts...)
}

// ready waits until a policy is Ready, or not so for a reason, in its current state.
func ready(t *testing.T, p *v1alpha1.AccessPolicy, reason, words string) {
	t.Helper()
	kit.Eventually(t, "the policy to be "+reason, func(ctx context.Context) (bool, error) {
		seen := &v1alpha1.AccessPolicy{}
		if err := e.Admin.Get(ctx, client.ObjectKeyFromObject(p), seen); err != nil {
			return false, err
		}
		c := meta.FindStatusCondition(seen.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.ObservedGeneration != seen.Generation || c.Reason != reason || !strings.Contains(c.Message, words) {
			return false, fmt.Errorf("it is %+v", c)
		}
		return true, nil
	})
}

// waits is true while a request waits because no policy can be used.
func waits(t *testing.T, request *v1alpha1.AccessRequest, words string) {
	t.Helper()
	e.WaitUntil(t, request, "the policy to be confirmed", func(r *v1alpha1.AccessRequest) bool {
		return r.Status.Phase == v1alpha1.RequestPending && kit.HasReason(r.Status.Conditions, v1alpha1.ReasonPolicyNotReady) && kit.HasMessage(r.Status.Conditions, words)
	})
}

func mustRefuse(t *testing.T, what, rule string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), rule) {
		t.Errorf("%s: got %v, want a refusal that says %q", what, err, rule)
	}
}

func short(s *v1alpha1.AccessRequestSpec) { s.Duration = ptr.To(metav1.Duration{Duration: 60e9}) }
