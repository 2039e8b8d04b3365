// Package e2e plays the product as the people who use it: real users with
// certificates of their own, a real API server, the real broker.
package e2e

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/test/controlplane"
	"github.com/accessbroker/accessbroker/test/env"
)

var (
	e      *env.Env
	broker *controlplane.Process
	// The cast: alice and dave ask (group dev), bob, carol and erin approve
	// (group sre), mallory may write the status of requests but is in no policy.
	alice, dave, bob, carol, erin, mallory client.Client
)

func TestMain(m *testing.M) {
	env.Main(func(ctx context.Context, started *env.Env) (int, error) {
		e = started
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	for _, user := range []struct {
		client *client.Client
		name   string
		groups []string
	}{
		{&alice, "alice", []string{"dev"}},
		{&dave, "dave", []string{"dev"}},
		{&bob, "bob", []string{"sre"}},
		{&carol, "carol", []string{"sre"}},
		{&erin, "erin", []string{"sre"}},
		{&mallory, "mallory", []string{"mischief"}},
	} {
		if *user.client, err = e.As(user.name, user.groups...); err != nil {
			return 1, err
		}
	}
	for role, groups := range map[string][]string{"access-requester": {"dev", "mischief"}, "access-approver": {"sre", "mischief", "dev"}} {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "test-" + role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}}
		for _, g := range groups {
			binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: g})
		}
		if err := e.Admin.Create(ctx, binding); err != nil {
			return 1, err
		}
	}
	// It tells at this level what it leaves out on purpose.
	if broker, err = e.Broker(ctx, "broker", "--log-level=debug"); err != nil {
		return 1, err
	}
	return env.Run(ctx, m, broker)
}
