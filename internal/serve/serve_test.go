package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// patience is far more than an answer takes.
const patience = 30 * time.Second

// start runs a server until the end of the test, and returns how to connect to it.
func start(t *testing.T, s *manager.Server, err error, secure bool) (dial func() net.Conn) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return c
	}
}

func probes(t *testing.T) func() net.Conn {
	t.Helper()
	s, err := Probes("127.0.0.1:0", healthz.Ping, func(*http.Request) error { return errors.New("not yet") })
	return start(t, s, err, false)
}

// scrapes serves metrics to nobody: no API server tells who a client is.
func scrapes(t *testing.T) func() net.Conn {
	t.Helper()
	s, err := Metrics("127.0.0.1:0", prometheus.NewRegistry(), &rest.Config{Host: "http://127.0.0.1:1"}, http.DefaultClient, logr.Discard())
	return start(t, s, err, true)
}

// status sends what is given, and returns the status of the answer.
func status(t *testing.T, c net.Conn, request string) int {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: broker\r\n\r\n" }

func TestAnswers(t *testing.T) {
	dial, secure := probes(t), scrapes(t)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 500, "/metrics": 404} {
		if got := status(t, dial(), get(path)); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]int{"/metrics": 401, "/healthz": 404} {
		if got := status(t, secure(), get(path)); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// A header that does not end is refused when it is long.
func TestLongHeader(t *testing.T) {
	for name, dial := range map[string]func() net.Conn{"probes": probes(t), "metrics": scrapes(t)} {
		if got := status(t, dial(), "GET /healthz HTTP/1.1\r\nX-Filler: "+strings.Repeat("a", 2*maxHeader)); got != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// A header that does not come is not waited for.
func TestSlowHeader(t *testing.T) {
	for name, dial := range map[string]func() net.Conn{"probes": probes(t), "metrics": scrapes(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial()
			if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: "); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}

// Connections beyond the bound wait for others to end.
func TestConnectionsAreBounded(t *testing.T) {
	dial := probes(t)
	var open []net.Conn
	for range maxConnections {
		c := dial()
		if got := status(t, c, get("/healthz")); got != http.StatusOK {
			t.Fatal(got)
		}
		open = append(open, c) // kept open for another request
	}
	one := dial()
	if _, err := io.WriteString(one, get("/healthz")); err != nil {
		t.Fatal(err)
	}
	if err := one.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("one more is served: %v", err)
	}
	if err := errors.Join(one.SetReadDeadline(time.Now().Add(patience)), open[0].Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(make([]byte, 1)); err != nil {
		t.Errorf("it does not come in when another has ended: %v", err)
	}
}
