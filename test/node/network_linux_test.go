package node

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The component as a user applies it, with an enforcer: all that the broker is
// for goes on, and nothing else goes through. Each refusal is the policy's: the
// same connection works before it and after it.
func TestNetworkPolicyLetsThroughWhatTheBrokerNeeds(t *testing.T) {
	settled(t)
	routed(t)
	s := stage(t)
	for _, w := range s.ways(t) {
		soon(t, w, true)
	}

	confine(t, s)
	t.Run("connections", func(t *testing.T) { s.check(t) })
	t.Run("metrics through the Service, from a Pod", func(t *testing.T) {
		if status, page := kit.ScrapeThrough(t, s.stranger.dial, s.metrics, s.scraper); status != http.StatusOK || !strings.Contains(page, "access_broker_") {
			t.Errorf("the scraper gets %d: %s", status, page)
		}
		if status, _ := kit.ScrapeThrough(t, s.stranger.dial, s.metrics, ""); status != http.StatusUnauthorized {
			t.Errorf("nobody gets %d", status)
		}
	})
	t.Run("new replicas", func(t *testing.T) {
		rollout := "kubectl rollout %s deployment/access-broker -n " + lab.BrokerNamespace
		must(t, fmt.Sprintf(rollout, "restart"), fmt.Sprintf(rollout, "status")+" --timeout=60s")
		settled(t)
		s.check(t)
		givenAndEnds(t)
	})
	// A new Pod may connect before the enforcer knows it. A container that is
	// started again is in a Pod that is confined.
	t.Run("replicas that start again", func(t *testing.T) {
		for _, pod := range staying(t) {
			if restarts := pod.Status.ContainerStatuses[0].RestartCount; restarts != 0 {
				t.Errorf("%s was started again %d times", pod.Name, restarts)
			}
			if err := syscall.Kill(processOf(t, &pod, "/access-broker"), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			kit.Eventually(t, pod.Name+" to start again", func(ctx context.Context) (bool, error) {
				err := e.Admin.Get(ctx, client.ObjectKeyFromObject(&pod), &pod)
				return pod.Status.ContainerStatuses[0].RestartCount == 1 && pod.Status.ContainerStatuses[0].Ready, err
			})
		}
		settled(t)
		givenAndEnds(t)
	})
	t.Run("the sweep's Job", func(t *testing.T) {
		must(t, "kubectl apply -f config/components/sweep-cronjob/cronjob.yaml",
			`kubectl patch cronjob access-broker-sweep -n `+lab.BrokerNamespace+` --type=merge -p '{"spec":{"suspend":true}}'`,
			"kubectl create job confined --from=cronjob/access-broker-sweep -n "+lab.BrokerNamespace,
			"kubectl wait job/confined --for=condition=Complete --timeout=60s -n "+lab.BrokerNamespace,
			"kubectl delete cronjob/access-broker-sweep job/confined -n "+lab.BrokerNamespace)
	})
	t.Run("narrowed to the API server", func(t *testing.T) { narrow(t, s) })
	t.Run("without the API server", func(t *testing.T) { cutOff(t, s) })

	release(t)
	for _, w := range s.ways(t) {
		soon(t, w, true)
	}
}

// narrow names the API server in the policy. An enforcer that looks before the
// address of a Service is replaced sees the one, others see the other: a policy
// that is to work with both names both.
func narrow(t *testing.T, s *scene) {
	t.Helper()
	from := s.broker(t)
	sink := way{"a sink on port 443", from, "tcp", net.JoinHostPort(s.app, "443"), true}
	server := way{"the API server's Service", from, "tcp", s.service, true}
	only := func(addresses ...string) {
		t.Helper()
		var peers []string
		for _, a := range addresses {
			host, _, _ := net.SplitHostPort(a)
			peers = append(peers, fmt.Sprintf(`{"ipBlock":{"cidr":"%s/32"}}`, host))
		}
		patchRule(t, "add", "to", "["+strings.Join(peers, ",")+"]")
	}
	soon(t, sink, true)
	only(s.service)
	soon(t, sink, false)
	soon(t, server, false)
	only(s.service, s.endpoint)
	soon(t, server, true)
	soon(t, sink, false)
	givenAndEnds(t)
}

// cutOff leaves the API server out. The replicas work on over the connections that
// they have, and access ends on time; what docs/operations.md says to run shows
// the mistake.
func cutOff(t *testing.T, s *scene) {
	t.Helper()
	server := way{"the API server's Service", s.broker(t), "tcp", s.service, true}
	look := "kubectl exec -n access-broker-system deployment/access-broker -- /access-broker sweep"
	soon(t, server, true)
	must(t, look)
	patchRule(t, "replace", "ports", `[{"protocol":"TCP","port":8443}]`)
	soon(t, server, false)
	ends := given(t, 3*time.Second)
	begin := time.Now()
	if output, err := e.Run(t.Context(), lab.AdminName, look); err == nil {
		t.Errorf("it reaches the API server: %s", output)
	} else {
		t.Logf("it fails after %s: %s", time.Since(begin).Round(time.Millisecond), output)
	}
	endOnTime(t, ends)
	must(t, "kubectl apply -f config/components/network-policy/networkpolicy.yaml")
	soon(t, server, true)
	must(t, look)
}

// patchRule changes the rule of the policy that is about the API server.
func patchRule(t *testing.T, operation, field, value string) {
	t.Helper()
	must(t, fmt.Sprintf(`kubectl patch networkpolicy access-broker -n %s --type=json -p '[{op: %s, path: /spec/egress/0/%s, value: %s}]'`,
		lab.BrokerNamespace, operation, field, value))
}

// routed runs an enforcer until the end of the test.
func routed(t *testing.T) {
	t.Helper()
	begin := time.Now()
	if err := on.StartRouter(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("kube-router started in %s", time.Since(begin).Round(time.Millisecond))
	t.Cleanup(on.Router.Stop)
}

// confine applies the component in a kustomization, and takes the policy away at
// the end of the test if it is still there.
func confine(t *testing.T, s *scene) {
	t.Helper()
	temporary := filepath.Join(e.Root, "tmp")
	if err := os.MkdirAll(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(temporary, "overlay-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	text := "resources: [../../" + e.Installation() + "]\ncomponents: [../../config/components/network-policy]\n"
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { release(t) })
	must(t, "kubectl apply -k "+folder)
	begin := time.Now()
	soon(t, way{"another port", s.broker(t), "tcp", net.JoinHostPort(s.app, "8080"), false}, false)
	t.Logf("the policy is enforced %s after kubectl apply", time.Since(begin).Round(time.Millisecond))
}

// release deletes the policy.
func release(t *testing.T) {
	t.Helper()
	err := e.Clientset.NetworkingV1().NetworkPolicies(lab.BrokerNamespace).Delete(context.WithoutCancel(t.Context()), "access-broker", metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}
