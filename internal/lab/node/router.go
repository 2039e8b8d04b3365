package node

import (
	"context"
	"errors"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// router is the user that kube-router is, and its ClusterRole.
const router = "kube-router"

// StartRouter starts kube-router, which enforces network policies and does
// nothing else here. Start does not: without a policy it changes nothing, and it
// works at each change of a Pod, which the tests of other things would measure.
func (n *Node) StartRouter(ctx context.Context) error {
	return n.step("kube-router", func() error { return n.startRouter(ctx) })
}

func (n *Node) startRouter(ctx context.Context) error {
	if n.Router != nil {
		return n.Router.Start(ctx)
	}
	if err := n.allowRouter(ctx); err != nil {
		return err
	}
	kubeconfig, err := n.credential(router)
	if err != nil {
		return err
	}
	n.Router = lab.NewProcess(router, n.binary("kube-router"), logOf(router), n.Healthy("http://127.0.0.1:20244/healthz"),
		"--kubeconfig="+kubeconfig,
		"--hostname-override="+hostname,
		"--run-firewall",
		"--run-router=false",
		"--run-service-proxy=false",
		"--service-cluster-ip-range="+lab.ServiceRange,
		"--health-port=20244",
		"--v=1", // tells how long it takes
	)
	return n.Router.Start(ctx)
}

// allowRouter gives kube-router what it reads: it writes nothing.
func (n *Node) allowRouter(ctx context.Context) error {
	watch := []string{"list", "watch"}
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: router},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "namespaces", "services", "endpoints", "nodes"}, Verbs: watch},
			{APIGroups: []string{""}, Resources: []string{"nodes"}, ResourceNames: []string{hostname}, Verbs: []string{"get"}},
			{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: watch},
			{APIGroups: []string{"networking.k8s.io"}, Resources: []string{"networkpolicies"}, Verbs: watch},
		},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: router},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: router},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: router}},
	}
	return errors.Join(n.Admin.Create(ctx, role), n.Admin.Create(ctx, binding))
}
