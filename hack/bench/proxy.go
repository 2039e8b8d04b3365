package main

import (
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// proxy stands between the broker and the API server and counts requests.
type proxy struct {
	server  *http.Server
	address string

	mu   sync.Mutex
	seen map[string]int
}

// startProxy listens on loopback and forwards with a config's credentials.
func startProxy(cfg *rest.Config) (*proxy, error) {
	target, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{address: listener.Addr().String(), seen: map[string]int{}}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // a watch's events must not wait for more of them
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	p.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count(r)
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = p.server.Serve(listener) }()
	return p, nil
}

func (p *proxy) stop() { _ = p.server.Close() }

func (p *proxy) config() *rest.Config { return &rest.Config{Host: "http://" + p.address} }

func (p *proxy) count(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	verb := r.Method
	if r.URL.Query().Get("watch") != "" {
		verb = "WATCH"
	}
	p.seen[verb+" "+resource(r.URL.Path)]++
}

// resource of a path of the Kubernetes API, with its subresource.
func resource(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return "discovery"
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}

// reset begins to count anew.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.seen)
}

// counted adds up the requests that are of a sort, and lists them.
func (p *proxy) counted(of func(verb, resource string) bool) (total int, list string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(p.seen)) {
		verb, resource, _ := strings.Cut(key, " ")
		if of(verb, resource) {
			total += p.seen[key]
			lines = append(lines, fmt.Sprintf("%d %s", p.seen[key], key))
		}
	}
	return total, strings.Join(lines, ", ")
}

func isWrite(verb string) bool { return verb != http.MethodGet && verb != "WATCH" }

func isLease(resource string) bool { return resource == "leases" }

// isAside tells what is counted apart from the writes.
func isAside(resource string) bool {
	return resource == "events" || strings.HasSuffix(resource, "accessreviews") || strings.HasPrefix(resource, "selfsubject")
}
