package receive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/accessbroker/accessbroker/test/kit"
)

// patience is far more than an answer takes.
const patience = 30 * time.Second

// bench is a server under test, and who may send to it.
type bench struct {
	address        string
	ca, clients    *authority
	good           issued // a client certificate that counts
	options        Options
	receiver       *receiver
	handled        atomic.Int64 // deliveries that reached the handler
	stream, events atomic.Value // of the last delivery
}

// newBench starts a server whose handler reads all, then does what is given.
func newBench(t testing.TB, change func(*bench), then func(context.Context, []byte) error) *bench {
	t.Helper()
	b := &bench{ca: newAuthority(t), clients: newAuthority(t)}
	b.good = b.clients.client(t)
	dir, pair := t.TempDir(), b.ca.server(t)
	b.options = Options{
		CertFile: write(t, dir, "tls.crt", pair.cert), KeyFile: write(t, dir, "tls.key", pair.key),
		ClientCAFile: write(t, dir, "ca.crt", b.clients.pem), Log: logr.Discard(),
	}
	if change != nil {
		change(b)
	}
	b.events.Store("") // the first delivery may be one that never gets here
	handle := func(ctx context.Context, stream string, events io.Reader) error {
		b.handled.Add(1)
		text, err := io.ReadAll(events)
		b.stream.Store(stream)
		b.events.Store(string(text))
		if err != nil {
			return err
		}
		if then != nil {
			return then(ctx, text)
		}
		return nil
	}
	s, err := Server("127.0.0.1:0", b.options, handle)
	if err != nil {
		t.Fatal(err)
	}
	b.receiver = s.Server.Handler.(*receiver)
	b.address = s.Listener.Addr().String()
	run(t, s)
	return b
}

// run runs a server until the end of the test, or until it is stopped.
func run(t testing.TB, s *manager.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(log.IntoContext(context.WithoutCancel(t.Context()), logr.Discard()))
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// client connects with a certificate, or with none, and sends it whatever authorities
// the server names.
func (b *bench) client(cert *issued) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(b.ca.cert)
	config := &tls.Config{RootCAs: roots}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert.tls, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, ExpectContinueTimeout: patience}, Timeout: patience}
}

// answer is what a sender is told.
type answer struct {
	code   int
	header http.Header
	major  int // of the protocol
	text   string
}

// post sends a body, and returns the answer.
func post(t testing.TB, c *http.Client, url string, body io.Reader, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, c, request, headers...)
}

func do(t testing.TB, c *http.Client, request *http.Request, headers ...string) answer {
	t.Helper()
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, response.ProtoMajor, string(text)}
}

func (b *bench) url(path string) string { return "https://" + b.address + path }

// dial opens a connection by hand.
func (b *bench) dial(t testing.TB, cert *issued) net.Conn {
	t.Helper()
	config := b.client(cert).Transport.(*http.Transport).TLSClientConfig
	config.ServerName = "localhost"
	c, err := tls.Dial("tcp", b.address, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// status reads an answer.
func status(t testing.TB, c net.Conn) int {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func zipped(t testing.TB, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPaths(t *testing.T) {
	b := newBench(t, nil, nil)
	c := b.client(&b.good)
	for path, want := range map[string]struct {
		code   int
		stream string
	}{
		"/audit": {200, "webhook"}, "/audit/cp-1": {200, "cp-1"}, "/audit/eks.eu-west-1": {200, "eks.eu-west-1"}, "/audit?timeout=30s": {200, "webhook"},
		"/audit/" + strings.Repeat("a", 63): {200, strings.Repeat("a", 63)}, "/audit/" + strings.Repeat("a", 64): {404, ""},
		"/audit/": {404, ""}, "/audit/UPPER": {404, ""}, "/audit/a/b": {404, ""}, "/audit/a%2Fb": {404, ""}, "/audit/%0a": {404, ""}, "/audit/..": {404, ""},
		"/auditor": {404, ""}, "/": {404, ""}, "/metrics": {404, ""}, "//audit": {404, ""},
	} {
		got := post(t, c, b.url(path), strings.NewReader("{}"))
		if got.code != want.code || len(got.text) > 100 {
			t.Errorf("%s: %d, want %d: %s", path, got.code, want.code, got.text)
		}
		if stream := b.stream.Swap(""); want.code == 200 && stream != want.stream {
			t.Errorf("%s: stream %q, want %q", path, stream, want.stream)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} {
		request, err := http.NewRequestWithContext(t.Context(), method, b.url("/audit"), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got := do(t, c, request); got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, allowed is %q", method, got.code, got.header.Get("Allow"))
		}
	}
}

// Whatever a client certificate names counts, if one of the authorities signed it for
// clients, and it is valid now.
func TestCertificates(t *testing.T) {
	b := newBench(t, nil, nil)
	other := newAuthority(t)
	late := b.clients.issue(t, "late", -time.Minute, x509.ExtKeyUsageClientAuth)
	server := b.clients.server(t)
	foreign, self := other.client(t), b.ca.client(t)
	for name, tc := range map[string]struct {
		cert *issued
		want int
	}{
		"good": {&b.good, 200}, "none": {nil, 401}, "of another authority": {&foreign, 401}, "of the server's authority": {&self, 401},
		"ended": {&late, 401}, "a server's": {&server, 401},
	} {
		if got := post(t, b.client(tc.cert), b.url("/audit"), strings.NewReader("{}")); got.code != tc.want {
			t.Errorf("%s: %d, want %d: %s", name, got.code, tc.want, got.text)
		}
	}
	// What a sender writes about itself is no certificate.
	for _, headers := range [][]string{
		{"Authorization", "Bearer x"},
		{"Authorization", "Basic YTpi"},
		{accessKeyHeader, "x"},
		{"X-Remote-User", "system:admin"},
		{"X-Forwarded-Client-Cert", "x"},
		{"Impersonate-User", "system:admin"},
	} {
		if got := post(t, b.client(nil), b.url("/audit"), strings.NewReader("{}"), headers...); got.code != http.StatusUnauthorized {
			t.Errorf("%q: %d", headers, got.code)
		}
	}
	without := newBench(t, func(b *bench) { b.options.ClientCAFile = "" }, nil)
	if got := post(t, without.client(&without.good), without.url("/audit"), strings.NewReader("{}")); got.code != http.StatusUnauthorized {
		t.Errorf("without authorities: %d", got.code)
	}
	if b.handled.Load() != 1 || without.handled.Load() != 0 {
		t.Errorf("%d and %d deliveries reached the handler", b.handled.Load(), without.handled.Load())
	}
}

// Files that change count from the next connection on, and for deliveries on open ones.
func TestFilesChange(t *testing.T) {
	b := newBench(t, nil, nil)
	replace := func(path string, content []byte) {
		t.Helper()
		// As a kubelet does: another file takes the name.
		if err := os.Rename(write(t, t.TempDir(), "new", content), path); err != nil {
			t.Fatal(err)
		}
	}
	code := func(c *http.Client) int {
		t.Helper()
		got := post(t, c, b.url("/audit"), strings.NewReader("{}"))
		return got.code
	}
	open := b.client(&b.good) // its connection stays open
	if got := code(open); got != 200 {
		t.Fatal(got)
	}

	replace(b.options.ClientCAFile, []byte("not a certificate, and of another length"))
	if got := code(open); got != 200 {
		t.Errorf("a broken file replaces a good one: %d", got)
	}
	next := newAuthority(t)
	fresh := next.client(t)
	replace(b.options.ClientCAFile, next.pem)
	if got := code(b.client(&fresh)); got != 200 {
		t.Errorf("new authority: %d", got)
	}
	if got := code(open); got != 401 {
		t.Errorf("the old authority still counts on an open connection: %d", got)
	}

	serial := func() string {
		c := b.dial(t, nil).(*tls.Conn)
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before, pair := serial(), b.ca.server(t)
	replace(b.options.CertFile, pair.cert)
	if got := serial(); got != before {
		t.Error("a certificate is served without its key")
	}
	replace(b.options.KeyFile, pair.key)
	if got := serial(); got == before {
		t.Error("the new certificate is not served")
	}
}

func TestTLS(t *testing.T) {
	b := newBench(t, nil, nil)
	if _, err := tls.Dial("tcp", b.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	if got := post(t, b.client(&b.good), b.url("/audit"), strings.NewReader("{}")); got.major != 1 {
		t.Errorf("HTTP/%d", got.major)
	}
	plain, err := http.Post("http://"+b.address+"/audit", "application/json", strings.NewReader("{}"))
	if err == nil {
		_ = plain.Body.Close()
		if plain.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", plain.StatusCode)
		}
	}
	for name, o := range map[string]Options{"nothing": {}, "no key": {CertFile: b.options.CertFile}, "no file": {CertFile: "x", KeyFile: "y"}, "no authority": {CertFile: b.options.CertFile, KeyFile: b.options.KeyFile, ClientCAFile: b.options.KeyFile}} {
		if _, err := Server("127.0.0.1:0", o, nil); err == nil {
			t.Errorf("%s: a server starts", name)
		}
	}
}

func TestBodies(t *testing.T) {
	b := newBench(t, nil, nil)
	c := b.client(&b.good)
	text := []byte(`{"kind":"EventList","items":[]}` + "\n")
	zip := zipped(t, text)
	large := bytes.Repeat([]byte(" "), maxBody+1)
	for name, tc := range map[string]struct {
		body    io.Reader
		headers []string
		want    int
	}{
		"plain":                      {bytes.NewReader(text), nil, 200},
		"of unknown length":          {io.MultiReader(bytes.NewReader(text)), nil, 200},
		"nothing":                    {http.NoBody, nil, 200},
		"identity":                   {bytes.NewReader(text), []string{"Content-Encoding", "identity"}, 200},
		"gzip":                       {bytes.NewReader(zip), []string{"Content-Encoding", "gzip"}, 200},
		"gzip in members":            {bytes.NewReader(append(zip[:len(zip):len(zip)], zip...)), []string{"Content-Encoding", "GZIP"}, 200},
		"gzip, not told":             {bytes.NewReader(zip), nil, 200},
		"gzip of nothing":            {bytes.NewReader(zipped(t, nil)), []string{"Content-Encoding", "gzip"}, 200},
		"gzip that is plain":         {bytes.NewReader(text), []string{"Content-Encoding", "gzip"}, 400},
		"gzip that is short":         {strings.NewReader("\x1f"), []string{"Content-Encoding", "gzip"}, 400},
		"half of gzip":               {bytes.NewReader(zip[:len(zip)-6]), []string{"Content-Encoding", "gzip"}, 400},
		"gzip with a wrong sum":      {bytes.NewReader(append(zip[:len(zip)-8:len(zip)-8], "xxxxxxxx"...)), []string{"Content-Encoding", "gzip"}, 400},
		"gzip in brackets":           {io.MultiReader(strings.NewReader("["), bytes.NewReader(zip), strings.NewReader("]")), []string{"Content-Encoding", "gzip"}, 400}, // vector issue 4280
		"gzip twice":                 {bytes.NewReader(zipped(t, zip)), []string{"Content-Encoding", "gzip"}, 400},
		"zstd":                       {bytes.NewReader(zip), []string{"Content-Encoding", "zstd"}, 415},
		"two encodings":              {bytes.NewReader(zip), []string{"Content-Encoding", "gzip, gzip"}, 415},
		"as large as may be":         {bytes.NewReader(large[1:]), nil, 200},
		"too large":                  {bytes.NewReader(large), nil, 413},
		"too large, without length":  {io.MultiReader(bytes.NewReader(large)), nil, 413},
		"too large when it is large": {bytes.NewReader(zipped(t, large)), []string{"Content-Encoding", "gzip"}, 413},
		"a bomb":                     {bytes.NewReader(bytes.Repeat(zipped(t, large[1:]), 8)), nil, 413},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.handled.Load()
			got := post(t, c, b.url("/audit"), tc.body, tc.headers...)
			if got.code != tc.want {
				t.Errorf("%d, want %d: %s", got.code, tc.want, got.text)
			}
			if read := b.events.Swap("").(string); len(read) > maxBody || tc.want == 200 && read != "" && !strings.HasPrefix(read, string(text)) && !strings.HasPrefix(read, "  ") {
				t.Errorf("the handler got %d bytes: %.40q", len(read), read)
			}
			if tc.want == 415 && b.handled.Load() != before {
				t.Error("it reached the handler")
			}
		})
	}
}

// A header that tells of too much is enough.
func TestLengthIsLookedAtFirst(t *testing.T) {
	b := newBench(t, nil, nil)
	c := b.dial(t, &b.good)
	send(t, c, fmt.Sprintf("POST /audit HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", maxBody+1))
	if got := status(t, c); got != http.StatusRequestEntityTooLarge || b.handled.Load() != 0 {
		t.Errorf("%d, %d deliveries", got, b.handled.Load())
	}
}

// A connection that ends early has delivered nothing, whatever came before.
func TestHalfBody(t *testing.T) {
	result := make(chan error, 2)
	b := newBench(t, nil, nil)
	b.receiver.handle = func(_ context.Context, _ string, events io.Reader) error {
		_, err := io.ReadAll(events)
		result <- err
		return nil // a handler that believes what it got
	}
	for name, begin := range map[string]string{
		"length": "POST /audit HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{}\n", "chunks": "POST /audit HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n",
	} {
		c := b.dial(t, &b.good)
		send(t, c, begin)
		if err := c.(*tls.Conn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := <-result; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: the handler is told %v", name, err)
		}
		if got := status(t, c); got != http.StatusBadRequest {
			t.Errorf("%s: %d", name, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	var fails atomic.Value
	b := newBench(t, nil, func(context.Context, []byte) error {
		switch err, _ := fails.Load().(string); err {
		case "":
			return nil
		case "panic":
			panic("no handler should")
		default:
			return errors.New(err)
		}
	})
	c := b.client(&b.good)
	for _, tc := range []struct {
		fails string
		want  int
	}{{"", 200}, {"the API server is away", 503}, {"panic", 500}, {"", 200}} {
		fails.Store(tc.fails)
		got := post(t, c, b.url("/audit"), strings.NewReader("{}"))
		if got.code != tc.want || got.header.Get("Retry-After") != "" || strings.Contains(got.text, "away") {
			t.Errorf("%q: %d, want %d, %q: %s", tc.fails, got.code, tc.want, got.header, got.text)
		}
		if !json.Valid([]byte(got.text)) && tc.want == 200 {
			t.Errorf("no JSON: %s", got.text)
		}

		const id = "ed4acda5-034f-9f42-bba1-f29aea6d7d8f"
		got = post(t, c, b.url("/audit"), strings.NewReader(`{"records":[]}`), requestIDHeader, id, "X-Amz-Firehose-Protocol-Version", "1.0")
		told := map[string]any{}
		if err := json.Unmarshal([]byte(got.text), &told); err != nil || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%v: %q: %s", err, got.header, got.text)
		}
		now := float64(time.Now().UnixMilli())
		sent, _ := told["timestamp"].(float64)
		if told["requestId"] != id || sent < now-60_000 || sent > now || (told["errorMessage"] == nil) != (tc.want == 200) || got.code != tc.want {
			t.Errorf("Firehose: %d: %v", got.code, told)
		}
	}
	// Its header comes before anybody is known.
	got := post(t, b.client(nil), b.url("/audit"), strings.NewReader("{}"), requestIDHeader, `"},"x":{"`)
	if told := map[string]any{}; json.Unmarshal([]byte(got.text), &told) != nil || got.code != 401 || told["requestId"] != `"},"x":{"` {
		t.Errorf("%d: %s", got.code, got.text)
	}
}

// What is beyond the places is told to come again, at once; who is not known takes none.
func TestPlaces(t *testing.T) {
	leave := make(chan struct{})
	b := newBench(t, nil, func(context.Context, []byte) error { <-leave; return nil })
	var deliveries sync.WaitGroup
	for range maxDeliveries {
		deliveries.Go(func() {
			if got := post(t, b.client(&b.good), b.url("/audit"), strings.NewReader("{}")); got.code != 200 {
				t.Errorf("%d: %s", got.code, got.text)
			}
		})
	}
	kit.Eventually(t, "all places to be taken", func(context.Context) (bool, error) { return b.handled.Load() == maxDeliveries, nil })
	got := post(t, b.client(&b.good), b.url("/audit"), strings.NewReader("{}"))
	if got.code != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d, %q: %s", got.code, got.header, got.text)
	}
	if got := post(t, b.client(nil), b.url("/audit"), strings.NewReader("{}")); got.code != 401 {
		t.Errorf("unknown: %d", got.code)
	}
	close(leave)
	deliveries.Wait()
	if got := post(t, b.client(&b.good), b.url("/audit"), strings.NewReader("{}")); got.code != 200 {
		t.Errorf("after that: %d", got.code)
	}
}

// A hundred who are not known and send little by little are answered before they have
// sent it, and take nothing from who is known.
func TestSlowStrangers(t *testing.T) {
	b := newBench(t, nil, nil)
	var strangers []net.Conn
	for range 100 {
		c := b.dial(t, nil)
		send(t, c, "POST /audit HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
		strangers = append(strangers, c)
	}
	if got := post(t, b.client(&b.good), b.url("/audit"), strings.NewReader("{}")); got.code != 200 {
		t.Errorf("who is known: %d", got.code)
	}
	for _, c := range strangers {
		if got := status(t, c); got != 401 {
			t.Errorf("a stranger: %d", got)
		}
	}
	// And they are rid of soon, though they go on.
	for _, c := range strangers {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a stranger's connection stays")
		}
	}
	if n := b.handled.Load(); n != 1 {
		t.Errorf("%d deliveries", n)
	}
}

// Who is known and sends little by little has to leave the place.
func TestSlowSenders(t *testing.T) {
	b := newBench(t, nil, nil)
	b.receiver.bodyTime = 500 * time.Millisecond
	var slow []net.Conn
	for range maxDeliveries {
		c := b.dial(t, &b.good)
		send(t, c, "POST /audit HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
		slow = append(slow, c)
	}
	for _, c := range slow {
		if got := status(t, c); got != http.StatusRequestTimeout {
			t.Errorf("%d", got)
		}
	}
	if got := post(t, b.client(&b.good), b.url("/audit"), strings.NewReader("{}")); got.code != 200 {
		t.Errorf("after them: %d", got.code)
	}
}

// The time for the body is not that for counting it, which has its own.
func TestCountingTakesTime(t *testing.T) {
	b := newBench(t, nil, func(ctx context.Context, text []byte) error {
		if string(text) == "long" {
			<-ctx.Done()
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(600 * time.Millisecond):
			return nil
		}
	})
	b.receiver.bodyTime, b.receiver.answerTime = 200*time.Millisecond, 300*time.Millisecond
	// While another sender is served, the connection waits for longer than an answer
	// may take.
	c := b.client(&b.good)
	for i, sender := range []*http.Client{c, b.client(&b.good), c} {
		if got := post(t, sender, b.url("/audit"), strings.NewReader("{}"), "Expect", "100-continue"); got.code != 200 {
			t.Errorf("%d: %d: %s", i, got.code, got.text)
		}
	}
	b.receiver.handleTime = 700 * time.Millisecond
	if got := post(t, c, b.url("/audit"), strings.NewReader("long")); got.code != 503 {
		t.Errorf("a handler that does not end: %d: %s", got.code, got.text)
	}
}

// Who asks first whether to send the body is refused before.
func TestStrangersAreNotAskedForTheBody(t *testing.T) {
	b := newBench(t, nil, nil)
	b.receiver.refuseTime = time.Hour // no refusal waits for what comes of the body
	for _, header := range []string{"Expect: 100-continue", "X-Expect: nothing"} {
		c := b.dial(t, nil)
		send(t, c, "POST /audit HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"+header+"\r\n\r\n")
		if got := status(t, c); got != 401 {
			t.Errorf("%s: %d", header, got)
		}
	}
}

// Whatever is sent, a body is what was compressed, at most what may be, or an error.
func FuzzBody(f *testing.F) {
	f.Add([]byte("{}"), false)
	f.Add(zipped(f, []byte("{}")), true)
	f.Add(zipped(f, zipped(f, []byte("{}"))), true)
	f.Add([]byte{0x1f, 0x8b}, false)
	f.Fuzz(func(t *testing.T, sent []byte, zip bool) {
		b := newBody(bytes.NewReader(sent), zip)
		got, err := io.ReadAll(b)
		if (err == nil) != (b.err == nil) || isGzip(got[:min(len(got), 2)]) {
			t.Fatalf("%d bytes, %v, %v", len(got), err, b.err)
		}
		if again, err := io.ReadAll(b); len(again) > 0 || (err == nil) != (b.err == nil) {
			t.Fatalf("goes on with %d bytes, %v", len(again), err)
		}
		whole := newBody(bytes.NewReader(zipped(t, sent)), true)
		if got, err := io.ReadAll(whole); isGzip(sent[:min(len(sent), 2)]) != (err != nil) || err == nil && !bytes.Equal(got, sent) {
			t.Fatalf("%q becomes %q, %v", sent, got, err)
		}
	})
}
