package e2e

import (
	"context"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What has ended is not in the broker's memory, least of all after a restart.
// These tests replace the broker that all tests share, so they are not parallel.

// released is access that alice had and gave back.
func released(t *testing.T) (*v1alpha1.AccessRequest, *v1alpha1.AccessGrant) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	request := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Fatal("alice has no access")
	}
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	request = e.WaitFor(t, request, v1alpha1.RequestCompleted)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	return request, e.WaitEnded(t, request.Status.GrantName, v1alpha1.EndReleased)
}

func isGone(ctx context.Context, o client.Object) bool {
	return apierrors.IsNotFound(e.Admin.Get(ctx, client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object)))
}

// whileOtherBroker runs another broker instead of the shared one, and returns
// what it logged.
func whileOtherBroker(t *testing.T, name string, do func(), args ...string) string {
	t.Helper()
	broker.Kill()
	defer startBroker(t)
	other, err := e.Broker(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	do()
	other.Stop()
	log, err := os.ReadFile(e.Log(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

func TestWhatEndedIsDeletedAfterARestart(t *testing.T) {
	request, g := released(t)
	log := whileOtherBroker(t, "short-requests", func() {
		e.WaitGone(t, request.DeepCopy())
	}, "--request-retention=1s")
	if isGone(t.Context(), g) {
		t.Fatal("the grant went with its request: its time is not over")
	}
	wantDeleted(t, log, request)
	log = whileOtherBroker(t, "short-grants", func() {
		e.WaitGone(t, g.DeepCopy())
	}, "--grant-retention=1s")
	wantDeleted(t, log, g)
}

// wantDeleted looks for the last line of an object in the audit log.
func wantDeleted(t *testing.T, log string, o client.Object) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"msg":"Deleted"`) && strings.Contains(line, string(o.GetUID())) && strings.Contains(line, "alice") {
			return
		}
	}
	t.Errorf("the audit log does not say that %s was deleted", o.GetName())
}

// An API server that cannot select by the phase, as 1.30 or one with the CRDs of
// an older version, from one moment to the next and at a start.
func TestAPIServerThatCannotSelect(t *testing.T) {
	if e.Minor < 31 {
		t.Skipf("Kubernetes 1.%d never selects by a field of a custom resource: all other tests are about that", e.Minor)
	}
	crds := map[string]client.ObjectList{
		"accessrequests.jit.accessbroker.dev": &v1alpha1.AccessRequestList{},
		"accessgrants.jit.accessbroker.dev":   &v1alpha1.AccessGrantList{},
	}
	selects := func(ctx context.Context, list client.ObjectList) bool {
		err := e.Admin.List(ctx, list, client.MatchingFields{"status.phase": "Active"}, client.Limit(1))
		if err != nil && !apierrors.IsBadRequest(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	set := func(ctx context.Context, patch string) {
		for name := range crds {
			crd := &unstructured.Unstructured{}
			crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
			crd.SetName(name)
			if err := e.Admin.Patch(ctx, crd, client.RawPatch(types.JSONPatchType, []byte(patch))); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		set(ctx, `[{"op":"add","path":"/spec/versions/0/selectableFields","value":[{"jsonPath":".status.phase"}]}]`)
		for _, list := range crds {
			kit.Eventually(t, "the API server to select again", func(ctx context.Context) (bool, error) { return selects(ctx, list), nil })
		}
	})
	set(t.Context(), `[{"op":"remove","path":"/spec/versions/0/selectableFields"}]`)
	for _, list := range crds {
		kit.Eventually(t, "the API server not to select", func(ctx context.Context) (bool, error) { return !selects(ctx, list), nil })
	}
	released(t)
	whileOtherBroker(t, "does-not-select", func() {
		request, g := released(t)
		e.WaitGone(t, request)
		e.WaitGone(t, g)
	}, "--request-retention=3s", "--grant-retention=3s")
}
