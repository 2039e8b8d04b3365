package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestExplain(t *testing.T) {
	resource := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "accessrequests"}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"plain":  {errors.New("no\x1b[2J"), `no\x1b[2J`},
		"lines":  {errors.New("one\n\ttwo"), "one\n  two"},
		"hinted": {hintf("Do this.", "not %s", "that"), "not that\nDo this."},
		"a policy's refusal": {
			apierrors.NewForbidden(resource, "fix", errors.New("ValidatingAdmissionPolicy 'access-broker-decisions' with binding 'access-broker-decisions' denied request: alice would benefit: nobody decides on their own request")),
			"alice would benefit: nobody decides on their own request",
		},
		"not installed": {
			apierrors.NewGenericServerResponse(http.StatusNotFound, "get", resource, "", "404 page not found", 0, true),
			"Access Broker is not installed on this cluster: the API server has no jit.accessbroker.dev\n" +
				"An administrator installs it with 'kubectl apply -k config/default'. Is it the right --context?",
		},
		"not found": {
			apierrors.NewNotFound(resource, "fix"),
			"accessrequests.jit.accessbroker.dev \"fix\" not found\nSee 'kubectl access list --all' for your requests, in all namespaces.",
		},
		"forbidden": {
			apierrors.NewForbidden(resource, "", errors.New(`User "eve" cannot list resource`)),
			"accessrequests.jit.accessbroker.dev is forbidden: User \"eve\" cannot list resource\nAsk an administrator to bind the ClusterRole access-requester to you.",
		},
		"unauthorized": {
			apierrors.NewUnauthorized("Unauthorized"),
			"Unauthorized\nThe API server does not know you: log in again, or check --context. A workload's token must be of an issuer, and for an --audience, that the API server accepts.",
		},
		"unreachable": {
			fmt.Errorf("wrapped: %w", &url.Error{Op: "Get", URL: "https://x", Err: errors.New("connection refused")}),
			"cannot reach the API server: connection refused\nIs the cluster up, and is it the right --context?",
		},
		"interrupted": {&url.Error{Op: "Get", URL: "https://x", Err: context.Canceled}, "interrupted"},
		"invalid": {
			apierrors.NewInvalid(schema.GroupKind{Kind: "AccessRequest"}, "fix", field.ErrorList{
				field.Invalid(field.NewPath("spec", "duration"), "string", "duration must be between 1s and 720h"),
				field.Required(field.NewPath("spec", "reason"), ""),
			}),
			"the API server does not accept this:\n  spec.duration: duration must be between 1s and 720h\n  spec.reason: Required value",
		},
		"invalid, no details": {
			&apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonInvalid, Message: "bad"}}, "bad",
		},
	} {
		if got := explain(tc.err, "access-requester"); got != tc.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, tc.want)
		}
	}
}
