package attacks

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The broker keeps nothing of what has ended, so an end that was only written is
// a place to hide. The admission policies, which let nobody write it, are gone.
func TestForgedEnd(t *testing.T) {
	unguard(t)
	active := func(t *testing.T) (ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) {
		t.Helper()
		ns = e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		request = e.WaitMatched(t, asks(t, ns, nil))
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		request = e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
		return ns, request, e.GrantOf(t, request)
	}
	end := func(t *testing.T, o client.Object, patch string) {
		t.Helper()
		if err := e.Admin.Status().Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			t.Fatal(err)
		}
	}
	alone(t, "end of a grant forged while no broker runs", func(t *testing.T) {
		ns, request, g := active(t)
		brokerDown(t)
		end(t, g.DeepCopy(), `{"status":{"phase":"Ended","bindings":[]}}`)
		must(t, alice, ns)
		kit.Restart(t, broker)
		gone(t, alice, ns)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
	})
	alone(t, "end of a grant forged while no replica leads", func(t *testing.T) {
		ns, request, g := active(t)
		brokerDown(t)
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: lab.BrokerNamespace, Name: "access-broker"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("nobody"), LeaseDurationSeconds: ptr.To[int32](3600), RenewTime: ptr.To(metav1.NewMicroTime(time.Now()))},
		}
		kit.Create(t, e.Admin, lease)
		t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), lease) })
		end(t, g.DeepCopy(), `{"status":{"phase":"Ended","bindings":[]}}`)
		follower, err := e.Broker(t.Context(), "follower", "--leader-elect")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(follower.Stop)
		if err := follower.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		gone(t, alice, ns)
		follower.Stop()
		kit.Restart(t, broker)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
	})
	alone(t, "binding of a grant that ended before the broker started", func(t *testing.T) {
		ns, request, g := active(t)
		decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke))
		e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		mustNot(t, alice, ns)
		brokerDown(t)
		kit.Restart(t, broker)
		owner := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID}
		for _, forged := range []metav1.ObjectMeta{
			{Name: "mine", OwnerReferences: []metav1.OwnerReference{owner}},
			{Name: g.Name},
		} {
			forged.Namespace, forged.Labels = ns, map[string]string{v1alpha1.LabelGrant: g.Name}
			kit.Create(t, e.Admin, &rbacv1.RoleBinding{ObjectMeta: forged, RoleRef: clusterRole("edit"), Subjects: []rbacv1.Subject{user("alice")}})
			gone(t, alice, ns)
			e.WaitGone(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: forged.Name}})
		}
	})
	attack(t, "end of a request forged so that no Revoke is heard", func(t *testing.T) {
		ns, request, g := active(t)
		end(t, request.DeepCopy(), `{"status":{"phase":"Completed"}}`)
		gone(t, alice, ns)
		e.WaitEnded(t, g.Name, v1alpha1.EndNotApproved)
	})
	attack(t, "end of a grant forged and taken back", func(t *testing.T) {
		ns, request, g := active(t)
		end(t, g.DeepCopy(), `{"status":{"phase":"Ended"}}`)
		end(t, g.DeepCopy(), `{"status":{"phase":"Active"}}`)
		decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke)) // it is as much the broker's as before
		gone(t, alice, ns)
		settled(t, g.Name)
	})
}
