package install

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// The administrator whom kubeadm makes, and kind with it, is bound to
// cluster-admin by RBAC and is not in system:masters. Kubernetes lets nobody
// write a role that allows more than they hold: they hold enough. Stamps need no
// such right.
func TestKubeadmAdminInstalls(t *testing.T) {
	bare, err := lab.StartControlPlane(t.Context(), lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bare.Stop(); err != nil {
			t.Error(err)
		}
	})
	const group = "kubeadm:cluster-admins"
	if _, err := bare.Clientset.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: group},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := bare.User("kubernetes-admin", group)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := bare.Kubeconfig("kubernetes-admin", config)
	if err != nil {
		t.Fatal(err)
	}
	cmd := bare.Kubectl(kubeconfig, "apply", "-k", "config/variants/no-mutating-admission")
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
