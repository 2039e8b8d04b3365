package node

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/lab/node"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The Deployment as it is written: what it asks of the kubelet is so.
func TestReplicasAreConfined(t *testing.T) {
	settled(t)
	namespace := &corev1.Namespace{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: lab.BrokerNamespace}, namespace); err != nil {
		t.Fatal(err)
	}
	if level := namespace.Labels["pod-security.kubernetes.io/enforce"]; level != "restricted" {
		t.Errorf("the namespace enforces %q", level)
	}
	pods := brokers(t)
	if len(pods) != node.BrokerReplicas {
		t.Fatalf("%d replicas", len(pods))
	}
	for i := range pods {
		pid := processOf(t, &pods[i], brokerProcess)
		status := statusOf(t, pid)
		for name, want := range map[string]string{
			"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532",
			"CapEff": "0000000000000000", "CapBnd": "0000000000000000",
			"NoNewPrivs": "1", "Seccomp": "2",
		} {
			if status[name] != want {
				t.Errorf("%s: %s is %q, want %q", pods[i].Name, name, status[name], want)
			}
		}
		if options := rootOptions(t, pid); !strings.HasPrefix(options, "ro,") {
			t.Errorf("%s: the root file system is mounted %s", pods[i].Name, options)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if code := get(t, "http://"+net.JoinHostPort(pods[i].Status.PodIP, "8081")+path); code != http.StatusOK {
				t.Errorf("%s: %s answers %d", pods[i].Name, path, code)
			}
		}
		if restarts := pods[i].Status.ContainerStatuses[0].RestartCount; restarts != 0 {
			t.Errorf("%s was started again %d times", pods[i].Name, restarts)
		}
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// Metrics are for those who may read them, through the Service.
func TestMetricsNeedAToken(t *testing.T) {
	settled(t)
	service := &corev1.Service{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: lab.BrokerNamespace, Name: "access-broker-metrics"}, service); err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(service.Spec.ClusterIP, "8443")
	ns := e.NewNamespace(t, nil)
	stranger, scraper := scrapers(t, ns)
	for _, tc := range []struct {
		who, token string
		want       int
	}{
		{"nobody", "", http.StatusUnauthorized},
		{"a stranger", stranger, http.StatusForbidden},
		{"the scraper", scraper, http.StatusOK},
	} {
		status, page := kit.Scrape(t, address, tc.token)
		if status != tc.want {
			t.Errorf("%s gets %d, want %d", tc.who, status, tc.want)
		}
		if shown := strings.Contains(page, "access_broker_"); shown != (tc.want == http.StatusOK) {
			t.Errorf("%s sees metrics: %t", tc.who, shown)
		}
	}
}

// scrapers are the tokens of somebody who may not read metrics, and of somebody
// who may.
func scrapers(t *testing.T, ns string) (stranger, scraper string) {
	t.Helper()
	token := func(name string) string {
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}})
		config, err := e.ServiceAccount(t.Context(), ns, name)
		if err != nil {
			t.Fatal(err)
		}
		return config.BearerToken
	}
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper-" + ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: "access-broker-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "scraper"}},
	})
	return token("stranger"), token("scraper")
}

// The whole life of a request, with the broker in its Pods.
func TestRequestIsGivenAndEnds(t *testing.T) {
	settled(t)
	givenAndEnds(t)
}

func givenAndEnds(t *testing.T) {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	begin := time.Now()
	request := e.Ask(t, alice, ns, lasting(5*time.Second))
	if kit.Can(t, alice, ns) {
		t.Error("alice has access before the approval")
	}
	e.Approved(t, bob, request)
	t.Logf("asked, matched, approved and given in %s", time.Since(begin).Round(time.Millisecond))
	ends := []end{{ns, e.GrantOf(t, request).Spec.ExpirationTime.Time}}
	endOnTime(t, ends)
	e.WaitFor(t, request, v1alpha1.RequestExpired)
	e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndExpired)
}
