// Package node runs Access Broker as it is installed: its Pods on a node, under
// a kubelet, and people's own Pods beside them. It needs Linux, root and what
// `make test-node` makes; without, it says what is missing and runs nothing.
package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/lab/node"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e  *kit.Cluster
	on *node.Node

	alice, bob client.Client
)

func TestMain(m *testing.M) {
	kit.NeedsNode("test/node")
	code, err := node.Main(func(ctx context.Context) (int, error) {
		if err := start(ctx); err != nil {
			return 1, err
		}
		return m.Run(), nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func start(ctx context.Context) (err error) {
	if on, err = node.Start(ctx, os.Stderr); err != nil {
		return err
	}
	e = &kit.Cluster{Cluster: on.Cluster}
	for _, set := range []func() error{
		func() error { return e.Hire("dev", lab.People{"alice": &alice}) },
		func() error { return e.Hire("sre", lab.People{"bob": &bob}) },
		func() error { return e.Bind(ctx, "access-requester", "dev") },
		func() error { return e.Bind(ctx, "access-approver", "sre") },
		func() error {
			config, err := e.User("alice", "dev")
			if err != nil {
				return err
			}
			_, err = e.Kubeconfig("alice", config)
			return err
		},
	} {
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

// automatic grants without an approval.
func automatic(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) }

// lasting is a request's duration.
func lasting(d time.Duration) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: d} }
}

// workload is a Pod's container that works as long as it is told, and ends with a code.
func workload(lasts time.Duration, code int) corev1.PodSpec {
	return corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: ptr.To[int64](5),
		Containers: []corev1.Container{{
			Name: "main", Image: node.PauseImage, ImagePullPolicy: corev1.PullIfNotPresent,
			Args: []string{"work", lasts.String(), fmt.Sprint(code)},
		}},
	}
}

// leader is the broker's Pod that holds the lease.
func leader(t *testing.T) *corev1.Pod {
	t.Helper()
	found := &corev1.Pod{}
	kit.Within(t, time.Minute, "a leader", func(ctx context.Context) (bool, error) {
		lease := &coordinationv1.Lease{}
		if err := e.Admin.Get(ctx, client.ObjectKey{Namespace: lab.BrokerNamespace, Name: "access-broker"}, lease); err != nil {
			return false, err
		}
		name, _, _ := strings.Cut(ptr.Deref(lease.Spec.HolderIdentity, ""), "_")
		if name == "" {
			return false, nil
		}
		err := e.Admin.Get(ctx, client.ObjectKey{Namespace: lab.BrokerNamespace, Name: name}, found)
		return err == nil, err
	})
	return found
}

// brokers are the broker's Pods.
func brokers(t *testing.T) []corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	if err := e.Admin.List(t.Context(), pods, client.InNamespace(lab.BrokerNamespace), client.MatchingLabels{"app.kubernetes.io/name": "access-broker"}); err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

// settled waits until every replica is ready again, and one of them leads.
func settled(t *testing.T) {
	t.Helper()
	if err := on.BrokerReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	leader(t)
}
