// Package serve has the broker's HTTP servers. Anyone in the cluster may connect
// to them, so what a connection costs is bounded before anybody is known: a broker
// that is out of memory ends nothing.
package serve

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
)

const (
	// maxConnections of one server at a time. Others wait.
	maxConnections = 500
	// maxHeader is many times what a kubelet or Prometheus sends, a token included.
	maxHeader = 16 << 10
	// headerTime is how long a request's header may take, and idleTime how long a
	// connection may be kept without one.
	headerTime, idleTime = 5 * time.Second, 90 * time.Second
	// endTime is how long an answer may take when the broker stops.
	endTime = 2 * time.Second
)

// Off is the address of a server that is turned off.
const Off = "0"

// Probes answers the kubelet at /healthz and /readyz.
func Probes(address string, healthy, ready healthz.Checker) (*manager.Server, error) {
	mux := http.NewServeMux()
	for path, check := range map[string]healthz.Checker{"/healthz": healthy, "/readyz": ready} {
		mux.Handle(path, healthz.CheckHandler{Checker: check})
	}
	return New("probes", address, mux, nil)
}

// Metrics serves what is gathered at /metrics, over TLS with a certificate that is
// made at the start. Clients are authenticated by TokenReview and authorized by
// SubjectAccessReview, for get on /metrics.
func Metrics(address string, gatherer prometheus.Gatherer, config *rest.Config, client *http.Client, log logr.Logger) (*manager.Server, error) {
	authorize, err := filters.WithAuthenticationAndAuthorization(config, client)
	if err != nil {
		return nil, fmt.Errorf("authorize clients of metrics: %w", err)
	}
	handler, err := authorize(log, promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	if err != nil {
		return nil, fmt.Errorf("authorize clients of metrics: %w", err)
	}
	cert, key, err := certutil.GenerateSelfSignedCertKeyWithFixtures("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil, "")
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	secure := TLS()
	secure.Certificates = []tls.Certificate{pair}
	return New("metrics", address, mux, secure)
}

// TLS is what all servers have in common, still without a certificate. There is one
// request at a time on a connection, and so no HTTP/2: what bounds the connections
// bounds the requests, too.
func TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

// New is a server whose connections are bounded in number, and in what each may cost
// until its header has come. It listens already; secure is nil for plain HTTP.
func New(name, address string, handler http.Handler, secure *tls.Config) (*manager.Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	listener = netutil.LimitListener(listener, maxConnections)
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	return &manager.Server{Name: name, Listener: listener, ShutdownTimeout: ptr.To(endTime), Server: &http.Server{
		Handler: handler, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime,
	}}, nil
}
