package kit

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

// Observer is a client of the ServiceAccount that alone may write AccessUsages.
func (c *Cluster) Observer(t testing.TB) client.Client {
	t.Helper()
	const name = "lab-observer"
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
			Verbs: []string{"get", "list", "watch", "create", "update"}, APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"accessusages"},
		}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: lab.BrokerNamespace, Name: "access-observer"}},
		},
	} {
		if err := c.Admin.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	return c.Somebody(t, rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + lab.BrokerNamespace + ":access-observer",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + lab.BrokerNamespace, "system:authenticated"},
	})
}

// Observe writes what the observer saw of the use of a grant: a change of what it wrote
// before, or of a window that begins and ends when the access was given.
func Observe(t testing.TB, observer client.Client, g *v1alpha1.AccessGrant, edit func(*v1alpha1.AccessUsageStatus)) *v1alpha1.AccessUsage {
	t.Helper()
	var u *v1alpha1.AccessUsage
	Eventually(t, "the usage to be written", func(ctx context.Context) (bool, error) {
		u = &v1alpha1.AccessUsage{}
		err := observer.Get(ctx, client.ObjectKey{Name: g.Name}, u)
		if err == nil {
			edit(&u.Status)
			return true, observer.Update(ctx, u)
		}
		if !apierrors.IsNotFound(err) {
			return false, err // the authorizer takes a moment to know the observer
		}
		u = &v1alpha1.AccessUsage{
			ObjectMeta: metav1.ObjectMeta{Name: g.Name, OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID,
			}}},
			Spec:   v1alpha1.AccessUsageSpec{GrantRef: v1alpha1.ObjectRef{Name: g.Name, UID: g.UID}},
			Status: v1alpha1.AccessUsageStatus{Phase: v1alpha1.UsageObserving, Since: g.Status.GrantedTime, Until: g.Status.GrantedTime},
		}
		edit(&u.Status)
		return true, observer.Create(ctx, u)
	})
	return u
}
