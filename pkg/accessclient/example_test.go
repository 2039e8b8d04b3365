package accessclient_test

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// config is how the operator signs in: ctrl.GetConfigOrDie(), or rest.InClusterConfig().
var config *rest.Config

// An operator has the right to change Deployments while it does so, and at no other
// time.
func Example() {
	ctx := context.Background()
	c, err := accessclient.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	request := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "migrate-"},
		Spec: v1alpha1.AccessRequestSpec{
			RoleRef: &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"},
			Reason:  "schema 42",
		},
	}
	err = c.Do(ctx, request, func(context.Context) error {
		fmt.Println("may delete Pods:", mayDeletePods())
		return nil
	})
	if over := (*accessclient.EndedError)(nil); errors.As(err, &over) {
		fmt.Println("there is no access:", over)
		return
	}
	if err != nil {
		fmt.Println(err)
	}
	// Output: may delete Pods: true
}
