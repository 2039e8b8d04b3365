package faults

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A tool makes the cluster what a repository says, again and again. A request in
// there is granted once: not when its retention is over, not by the next leader,
// and whoever takes it out of the repository can.
func TestRequestInARepository(t *testing.T) {
	c := take(t)
	retention := "--request-retention=1s"
	broker := c.StartBroker(t, "broker", retention)
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, automatic)
	key := client.ObjectKey{Namespace: ns, Name: "nightly"}
	// sync is one round of the tool, which acts as alice here.
	sync := func(t *testing.T) (made bool) {
		t.Helper()
		request := lab.NewRequest(ns, lasting(2*time.Second))
		request.GenerateName, request.Name = "", key.Name
		err := c.alice.Create(t.Context(), request)
		if client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
		return err == nil
	}
	if !sync(t) {
		t.Fatal("it is there before it is made")
	}
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: key.Name}}
	c.WaitFor(t, request, v1alpha1.RequestActive)
	made := 0
	refused := func(context.Context) (bool, error) {
		if sync(t) {
			made++
		}
		*request = v1alpha1.AccessRequest{}
		err := c.Admin.Get(t.Context(), key, request)
		return request.Status.Phase == v1alpha1.RequestFailed, client.IgnoreNotFound(err)
	}
	kit.Eventually(t, "the refusal of the second", refused)
	if !kit.HasReason(request.Status.Conditions, v1alpha1.ReasonGrantedBefore) || made != 1 {
		t.Errorf("it was recreated %d times: %s", made, kit.Describe(request.Status.Conditions))
	}

	// It stays, so that nobody makes it anew; and if somebody does, the next
	// leader knows too.
	broker.Stop()
	if err := c.alice.Delete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	kit.Restart(t, broker)
	kit.Eventually(t, "the refusal of the third", refused)
	var grants v1alpha1.AccessGrantList
	if err := c.Admin.List(t.Context(), &grants); err != nil {
		t.Fatal(err)
	}
	granted := 0
	for i := range grants.Items {
		if ref := grants.Items[i].Spec.RequestRef; ref.Namespace == ns && ref.Name == key.Name {
			granted++
		}
	}
	if granted != 1 || kit.Can(t, c.alice, ns) {
		t.Errorf("it was granted %d times, and alice has access: %t", granted, kit.Can(t, c.alice, ns))
	}
	if err := c.alice.Delete(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := c.Admin.Get(t.Context(), key, request); !apierrors.IsNotFound(err) {
		t.Errorf("taken out, it is still there: %v", err)
	}
}
