package faults

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// fault decides what becomes of a request on its way to the API server, which
// next is.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// proxy stands between a broker and the API server and does what a network
// and a busy API server may do.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	fault fault // nil for fair weather
}

// newProxy runs on the loopback address until the end of the test.
func (c *cluster) newProxy(t *testing.T) *proxy {
	t.Helper()
	api := c.AdminConfig()
	target, err := url.Parse(api.Host)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(api.CAData)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, ForceAttemptHTTP2: true}
	next := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p := &proxy{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := p.weather(); f != nil {
			f(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	p.EnableHTTP2 = true
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(func() {
		p.CloseClientConnections() // watches are never idle
		p.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// set changes the weather, for the requests that come from now on.
func (p *proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *proxy) weather() fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// startBehind runs a broker whose way to the API server is the proxy.
func (c *cluster) startBehind(t *testing.T, p *proxy) *lab.Process {
	t.Helper()
	config, err := c.BrokerConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The proxy's certificate, which signed itself, is all that is trusted.
	config.Host = p.URL
	config.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	kubeconfig, err := c.Kubeconfig("behind-the-proxy", config)
	if err != nil {
		t.Fatal(err)
	}
	return c.StartBroker(t, "broker", "--kubeconfig="+kubeconfig)
}

// changes tells whether a request writes what access is made of. The status of
// policies and Events are not, and questions, which are POSTs too, write nothing.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && slices.ContainsFunc(
		[]string{"/accessrequests", "/accessgrants", "/rbac.authorization.k8s.io/", "/serviceaccounts"},
		func(part string) bool { return strings.Contains(r.URL.Path, part) })
}
