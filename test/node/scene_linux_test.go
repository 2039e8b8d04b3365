package node

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// localDNS is where a node-local cache of DNS listens: an address of the node
// that is no Pod's.
const localDNS = "169.254.20.10"

// scene is what there is beside the broker.
type scene struct {
	t *testing.T // with which it ends

	stranger, sweep, uninstall place
	app                        string // the address of a Pod
	// Addresses with a port: of the API server's Service, of the API server, and of
	// other Services.
	service, endpoint, metrics, front, dns, openShiftDNS string

	scraper   string // the token of somebody who may read metrics
	listening map[place]bool
}

func stage(t *testing.T) *scene {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	s := &scene{
		t:         t,
		stranger:  placeOf(t, house(t, ns, "stranger", nil)),
		sweep:     placeOf(t, house(t, lab.BrokerNamespace, "as-sweep", named("access-broker-sweep"))),
		uninstall: placeOf(t, house(t, lab.BrokerNamespace, "as-uninstall", named("access-broker-uninstall"))),
		listening: map[place]bool{},
	}
	_, s.scraper = scrapers(t, ns)
	s.service = addressOf(t, metav1.NamespaceDefault, "kubernetes")
	s.metrics = addressOf(t, lab.BrokerNamespace, "access-broker-metrics")
	slice, err := e.Clientset.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault).Get(t.Context(), "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint = net.JoinHostPort(slice.Endpoints[0].Addresses[0], fmt.Sprint(*slice.Ports[0].Port))

	app := house(t, ns, "app", named("app"))
	s.app = app.Status.PodIP
	placeOf(t, app).listen(t, "tcp", ":443", ":8080", ":5353")
	placeOf(t, app).listen(t, "udp", ":8125", ":5353")
	s.front = front(t, ns, "app", 443, 8080)

	// DNS as it comes: Pods of kube-system, a cache on the node, and OpenShift's
	// Pods, which have a port of their own.
	pods := placeOf(t, house(t, metav1.NamespaceSystem, "dns", named("dns")))
	pods.listen(t, "udp", ":53")
	pods.listen(t, "tcp", ":53")
	s.dns = front(t, metav1.NamespaceSystem, "dns", 53, 53)
	kit.Create(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "openshift-dns"}})
	pods = placeOf(t, house(t, "openshift-dns", "dns", named("dns")))
	pods.listen(t, "udp", ":5353")
	pods.listen(t, "tcp", ":5353")
	s.openShiftDNS = front(t, "openshift-dns", "dns", 53, 5353)
	addAddress(t, localDNS)

	node := place(0)
	cache := net.JoinHostPort(localDNS, "53")
	node.listen(t, "udp", cache)
	node.listen(t, "tcp", cache, ":8443", ":16443", ":9999")
	return s
}

func named(name string) map[string]string { return map[string]string{"app.kubernetes.io/name": name} }

// broker is the network of one replica.
func (s *scene) broker(t *testing.T) place {
	t.Helper()
	return placeOf(t, &staying(t)[0])
}

// staying are the broker's Pods but for those that are about to go.
func staying(t *testing.T) []corev1.Pod {
	t.Helper()
	return slices.DeleteFunc(brokers(t), func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// ways are all connections, with the Pods that there are now.
func (s *scene) ways(t *testing.T) []way {
	t.Helper()
	host, _, _ := net.SplitHostPort(s.endpoint)
	var ways []way
	for _, pod := range staying(t) {
		at, ip := placeOf(t, &pod), pod.Status.PodIP
		if !s.listening[at] {
			at.listen(s.t, "tcp", ":9999")
			s.listening[at] = true
		}
		ways = append(ways, s.out(host, "a replica", at)...)
		ways = append(ways,
			way{"a replica's metrics from a Pod", s.stranger, "tcp", net.JoinHostPort(ip, "8443"), true},
			way{"a replica's probes from the node", 0, "tcp", net.JoinHostPort(ip, "8081"), true},
			// For enforcers to which the node is one like others.
			way{"a replica's probes from a Pod", s.stranger, "tcp", net.JoinHostPort(ip, "8081"), true},
			way{"another port of a replica from a Pod", s.stranger, "tcp", net.JoinHostPort(ip, "9999"), false},
		)
	}
	ways = append(ways, s.out(host, "the sweep's Pod", s.sweep)...)
	ways = append(ways, s.out(host, "the uninstallation's Pod", s.uninstall)...)
	return append(ways,
		way{"metrics through the Service", s.stranger, "tcp", s.metrics, true},
		way{"a Pod that is not the broker's", s.stranger, "tcp", net.JoinHostPort(s.app, "8080"), true},
	)
}

// out are the connections that a Pod of the broker's tries to make.
func (s *scene) out(host, who string, from place) []way {
	to := func(what, network, address string, open bool) way {
		return way{who + " to " + what, from, network, address, open}
	}
	at := net.JoinHostPort
	ways := []way{
		to("the API server's Service", "tcp", s.service, true),
		to("the API server", "tcp", s.endpoint, true),
		to("an API server as minikube has it", "tcp", at(host, "8443"), true),
		to("an API server as MicroK8s has it", "tcp", at(host, "16443"), true),
		to("a sink on port 443", "tcp", at(s.app, "443"), true),
		to("a Pod", "tcp", at(s.app, "8080"), false),
		to("a Pod behind port 443 of a Service", "tcp", s.front, false),
		to("a Pod, with UDP", "udp", at(s.app, "8125"), false),
		to("the kubelet", "tcp", at(host, "10250"), false),
		to("the node", "tcp", at(host, "9999"), false),
	}
	for _, network := range []string{"udp", "tcp"} {
		ways = append(ways,
			to("DNS in Pods with "+network, network, s.dns, true),
			to("DNS on the node with "+network, network, at(localDNS, "53"), true),
			to("DNS of OpenShift with "+network, network, s.openShiftDNS, true),
			to("port 5353 elsewhere with "+network, network, at(s.app, "5353"), false),
		)
	}
	return ways
}

// addressOf is a Service's address with its first port.
func addressOf(t *testing.T, ns, name string) string {
	t.Helper()
	service := &corev1.Service{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, service); err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(service.Spec.ClusterIP, fmt.Sprint(service.Spec.Ports[0].Port))
}

// front puts a Service before the Pod of that name, and returns its address.
func front(t *testing.T, ns, name string, port, target int32) string {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ServiceSpec{Selector: named(name)}}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{Name: strings.ToLower(string(protocol)), Protocol: protocol, Port: port, TargetPort: intstr.FromInt32(target)})
	}
	kit.Create(t, e.Admin, service)
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(e.Admin.Delete(context.WithoutCancel(t.Context()), service)); err != nil {
			t.Error(err)
		}
	})
	return addressOf(t, ns, name)
}

// addAddress gives the node one more address, which it keeps.
func addAddress(t *testing.T, address string) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(socket) }()
	device, err := unix.NewIfreq("lo:dns")
	if err != nil {
		t.Fatal(err)
	}
	if err := device.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFADDR, device); err != nil {
		t.Fatal(err)
	}
}
