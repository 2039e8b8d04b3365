// Package admission tells whether the admission policies are in force. The
// identities of people who ask and decide rest on them.
package admission

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	installed "github.com/accessbroker/accessbroker/config/admission"
)

// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingadmissionpolicies;validatingadmissionpolicybindings,verbs=get;list;watch

// Check compares the admission policies of the cluster with those that this
// version of the broker is installed with.
type Check struct {
	client   client.Reader
	policies []admissionregistrationv1.ValidatingAdmissionPolicy
	bindings []admissionregistrationv1.ValidatingAdmissionPolicyBinding

	mu sync.Mutex
	// asInstalled is the resourceVersion in which a policy, by its name, was
	// last found to be as it was installed.
	asInstalled map[string]string
}

// New makes a Check that reads with a client. components are the manifests of the
// components that are installed and bring admission policies of their own.
func New(c client.Reader, components ...fs.FS) (*Check, error) {
	policies, bindings, err := installed.Validating(components...)
	if err != nil {
		return nil, fmt.Errorf("admission policies: %w", err)
	}
	return &Check{client: c, policies: policies, bindings: bindings, asInstalled: map[string]string{}}, nil
}

// NotEnforced lists what is missing or not as it was installed.
func (a *Check) NotEnforced(ctx context.Context) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, want := range a.policies {
		live := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		err := a.client.Get(ctx, client.ObjectKey{Name: want.Name}, live, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
		switch {
		case apierrors.IsNotFound(err):
			out = append(out, "ValidatingAdmissionPolicy "+want.Name+" is missing")
		case err != nil:
			return nil, fmt.Errorf("read admission policy: %w", err)
		case a.asInstalled[want.Name] == live.ResourceVersion:
		case equality.Semantic.DeepEqual(plain(live.Spec), plain(want.Spec)):
			a.asInstalled[want.Name] = live.ResourceVersion
		default:
			out = append(out, "ValidatingAdmissionPolicy "+want.Name+" was changed")
		}
	}
	for _, want := range a.bindings {
		live := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
		err := a.client.Get(ctx, client.ObjectKey{Name: want.Name}, live, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
		switch {
		case apierrors.IsNotFound(err):
			out = append(out, "ValidatingAdmissionPolicyBinding "+want.Name+" is missing")
		case err != nil:
			return nil, fmt.Errorf("read admission policy binding: %w", err)
		case live.Spec.PolicyName != want.Spec.PolicyName, live.Spec.MatchResources != nil, live.Spec.ParamRef != nil,
			!slices.Contains(live.Spec.ValidationActions, admissionregistrationv1.Deny):
			out = append(out, "ValidatingAdmissionPolicyBinding "+want.Name+" was changed")
		}
	}
	return out, nil
}

// Condition says what NotEnforced found.
func (a *Check) Condition(ctx context.Context) (status metav1.ConditionStatus, reason, message string, err error) {
	missing, err := a.NotEnforced(ctx)
	if err != nil {
		return "", "", "", err
	}
	if len(missing) > 0 {
		return metav1.ConditionFalse, v1alpha1.ReasonNotEnforced, "the API server did not verify who asked and who decided: " + strings.Join(missing, "; "), nil
	}
	return metav1.ConditionTrue, v1alpha1.ReasonEnforced, "the API server verified who asked and who decided", nil
}

// plain is a policy's spec without what the API server fills in, and without
// what an administrator may edit.
func plain(spec admissionregistrationv1.ValidatingAdmissionPolicySpec) admissionregistrationv1.ValidatingAdmissionPolicySpec {
	out := *spec.DeepCopy()
	installed.IgnoreKeptExtra(&out)
	if m := out.MatchConstraints; m != nil {
		if m.MatchPolicy != nil && *m.MatchPolicy == admissionregistrationv1.Equivalent {
			m.MatchPolicy = nil
		}
		for _, selector := range []**metav1.LabelSelector{&m.NamespaceSelector, &m.ObjectSelector} {
			if *selector != nil && len((*selector).MatchLabels)+len((*selector).MatchExpressions) == 0 {
				*selector = nil
			}
		}
		for i := range m.ResourceRules {
			if s := m.ResourceRules[i].Scope; s != nil && *s == admissionregistrationv1.AllScopes {
				m.ResourceRules[i].Scope = nil
			}
		}
	}
	return out
}
