package faults

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/controllers/request"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// bundle is what a repository holds, the request before all that it needs.
const bundle = `
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessRequest
metadata: {name: NAME, namespace: default}
spec:
  roleRef: {kind: ClusterRole, name: NAME}
  subjects: [{kind: ServiceAccount, name: worker, namespace: NAME}]
  scope: {namespaces: [NAME]}
  policyName: NAME
  reason: the worker starts
---
apiVersion: v1
kind: Namespace
metadata: {name: NAME}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker, namespace: NAME}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME}
rules: [{apiGroups: [""], resources: [pods], verbs: [delete]}]
---
apiVersion: jit.accessbroker.dev/v1alpha1
kind: AccessPolicy
metadata: {name: NAME}
spec:
  requesters: [{kind: Group, name: "system:masters"}]
  approvals: []
  roles: [{kind: ClusterRole, name: NAME}]
  namespaces: {names: [NAME]}
  subjects: Any
  maxDuration: 1h
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME-grantable}
rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [NAME], verbs: [bind]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAME-grantable}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME-grantable}
subjects: [{kind: ServiceAccount, name: access-broker, namespace: access-broker-system}]
`

// settle is a broker as it is installed.
var settle = "--settle-time=" + request.DefaultSettle.String()

// One kubectl apply makes a request before its role, ServiceAccount, namespace,
// policy and what lets the broker bind: it waits for them, whatever the order.
func TestOneApply(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker", settle)
	admin := c.KubeconfigOf(lab.AdminName)
	objects := strings.Split(bundle, "\n---\n")
	apply := func(t *testing.T, name string, documents ...string) {
		t.Helper()
		cmd := c.Kubectl(admin, "apply", "-f", "-")
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(strings.Join(documents, "\n---\n"), "NAME", name))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	active := func(t *testing.T, name string) {
		t.Helper()
		request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		c.WaitFor(t, request, v1alpha1.RequestActive)
		worker, err := c.AsServiceAccount(t.Context(), name, "worker")
		if err != nil {
			t.Fatal(err)
		}
		if !kit.Can(t, worker, name) {
			t.Error("the worker has no access")
		}
	}
	apply(t, "whole", objects...)
	active(t, "whole")

	// One object after another, each the moment that the request says it waits.
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "stepwise"}}
	waits := func(reason string) {
		t.Helper()
		waiting := c.WaitUntil(t, request, reason, func(r *v1alpha1.AccessRequest) bool {
			return kit.HasReason(r.Status.Conditions, reason)
		})
		if waiting.Status.Policy != nil {
			t.Errorf("somebody is asked while it waits: %s", kit.Describe(waiting.Status.Conditions))
		}
	}
	apply(t, "stepwise", objects[0])
	waits(v1alpha1.ReasonWaitingForNamespace)
	apply(t, "stepwise", objects[1])
	waits(v1alpha1.ReasonWaitingForServiceAccount)
	apply(t, "stepwise", objects[2])
	waits(v1alpha1.ReasonWaitingForRole)
	apply(t, "stepwise", objects[3])
	waits(v1alpha1.ReasonWaitingForPolicy)
	apply(t, "stepwise", objects[4])
	waits(v1alpha1.ReasonWaitingForPermission)
	apply(t, "stepwise", objects[5:]...)
	active(t, "stepwise")
}

// Who waits at the terminal reads at once what is missing, and goes on when it
// is there.
func TestToldWhatIsMissing(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker", settle)
	ns := c.NewNamespace(t, nil)
	config, err := c.User("alice", "dev")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := c.Kubeconfig("alice", config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.Root, "bin", "kubectl-access"), "--kubeconfig", kubeconfig, "-n", ns, "request", "edit", "--reason", "INC-42", "--wait") //nolint:gosec // the test's own words
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := ""
	for lines := bufio.NewScanner(said); lines.Scan(); {
		told += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "no policy lets alice (group dev) request ClusterRole edit") && strings.Contains(lines.Text(), "; waits until ") {
			c.NewPolicy(t, ns, automatic)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v; alice was told:\n%s", err, told)
	}
	if !kit.Can(t, c.alice, ns) {
		t.Error("alice has no access")
	}
}

// Many that wait for ever are no burden: each is looked at a few times, and
// nobody else waits for them.
func TestManyWaitForNothing(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker", settle, "--log-level=error")
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, automatic)
	var waiting []*v1alpha1.AccessRequest
	for i := range 200 {
		waiting = append(waiting, c.Ask(t, c.alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: fmt.Sprintf("nosuch-%d", i)}}
		}))
	}
	// What one of them waits for comes, and it goes on to the next: the policy is
	// for the requester only.
	kit.Create(t, c.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "nosuch-7"}})
	c.WaitUntil(t, waiting[7], "a policy", func(r *v1alpha1.AccessRequest) bool {
		return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForPolicy)
	})
	served := c.Ask(t, c.dave, ns, nil)
	c.WaitFor(t, served, v1alpha1.RequestActive)
	for _, i := range []int{0, 199} {
		c.WaitUntil(t, waiting[i], "a ServiceAccount", func(r *v1alpha1.AccessRequest) bool {
			return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForServiceAccount)
		})
	}
}
