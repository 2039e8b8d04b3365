package checker

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/json"

	"github.com/accessbroker/accessbroker/internal/check"
)

const (
	// maxFile is how long what a file holds may be: a token, or authorities.
	maxFile = 1 << 20
	// maxRedirects that are followed, all of them under what the check allows.
	maxRedirects = 3
	// maxHeaderBytes of an answer.
	maxHeaderBytes = 64 << 10
	// together is how many questions one check asks at a time.
	together = 4
	// maxRetryAfter bounds what a server may ask for.
	maxRetryAfter = time.Hour
)

// endpoint asks the server of one check.
type endpoint struct {
	*check.Compiled
	// slots bound the questions that are open: a slow server keeps no other waiting.
	slots chan struct{}

	mu     sync.Mutex
	client *http.Client
	// authorities of caFile that the client was made with.
	authorities string
}

func newEndpoint(c *check.Compiled) *endpoint {
	return &endpoint{Compiled: c, slots: make(chan struct{}, together)}
}

// notNow is a server that answers and has no answer to the question: it fails, or it
// wants to be asked later.
type notNow struct {
	status     int
	retryAfter time.Duration
}

// Error says what that means.
func (n *notNow) Error() string {
	switch n.status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return fmt.Sprintf("the server answered %d: it does not take the credentials of the check", n.status)
	case http.StatusForbidden:
		return fmt.Sprintf("the server answered %d: the credentials of the check do not allow this question, or it was asked too often", n.status)
	case http.StatusTooManyRequests:
		return fmt.Sprintf("the server answered %d: it was asked too often", n.status)
	}
	return fmt.Sprintf("the server answered %d", n.status)
}

// answers tells whether a status is an answer to the question, and no trouble of the
// server or of the way to it.
func answers(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 2 || status/100 == 4
}

// ask asks a question. No error holds a credential or what the server answered.
func (e *endpoint) ask(ctx context.Context, q *check.Question) (check.Answer, error) {
	none := check.Answer{}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout.Duration)
	defer cancel()
	client, err := e.connection()
	if err != nil {
		return none, err
	}
	var body io.Reader
	if q.Body != nil {
		body = bytes.NewReader(q.Body)
	}
	req, err := http.NewRequestWithContext(ctx, q.Method, q.URL, body)
	if err != nil {
		return none, errors.New("the URL cannot be used")
	}
	if err := e.Allows(req.URL); err != nil { // as it is sent, not as it was made
		return none, err
	}
	req.Header.Set("User-Agent", "access-broker")
	req.Header.Set("Accept", "application/json")
	if q.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range q.Headers {
		if h.File {
			if h.Value, err = credential(e.Headers[h.Index]); err != nil {
				return none, fmt.Errorf("headers[%d].valueFile: %w", h.Index, err)
			}
		}
		req.Header.Set(h.Name, h.Value)
	}
	resp, err := client.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return none, fmt.Errorf("the server did not answer within %s", e.Timeout.Duration)
	case err != nil:
		return none, fmt.Errorf("the server cannot be asked: %w", err)
	}
	defer resp.Body.Close()
	if !answers(resp.StatusCode) {
		return none, &notNow{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"))}
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, int64(e.MaxBytes)+1))
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return none, fmt.Errorf("the server's answer did not end within %s", e.Timeout.Duration)
	case err != nil:
		return none, fmt.Errorf("the server's answer broke off: %w", err)
	case len(content) > e.MaxBytes:
		return none, fmt.Errorf("the server's answer is larger than %d bytes", e.MaxBytes)
	}
	answer := check.Answer{Status: resp.StatusCode, Headers: map[string]string{}}
	for name, values := range resp.Header {
		answer.Headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	var parsed any
	if utf8.Valid(content) && json.Unmarshal(content, &parsed) == nil {
		answer.Body = parsed
	} else if resp.StatusCode/100 == 2 {
		return none, errors.New("the server's answer is no JSON")
	}
	return answer, nil
}

// retryAfter reads seconds; a moment is not read, and the check asks as it would.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.Atoi(header)
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, int(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter)
}

// credential is the value of a header that a file holds.
func credential(h check.Header) (string, error) {
	content, err := readFile(h.ValueFile)
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(content)
	if value == "" || strings.ContainsAny(value, "\r\n\x00") {
		return "", errors.New("it must hold one line")
	}
	if h.Base64 {
		value = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return h.Prefix + value, nil
}

func readFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = errors.New("it is too large")
	}
	return string(content), err
}

// connection is the client of the server, made anew when its authorities change.
func (e *endpoint) connection() (*http.Client, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	authorities := ""
	if e.CAFile != "" {
		var err error
		if authorities, err = readFile(e.CAFile); err != nil {
			return nil, fmt.Errorf("caFile: %w", err)
		}
	}
	if e.client != nil && authorities == e.authorities {
		return e.client, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // with the proxy that the environment names
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	transport.MaxIdleConnsPerHost = together
	transport.MaxResponseHeaderBytes = maxHeaderBytes
	if e.CAFile != "" {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(authorities)) {
			return nil, errors.New("caFile: it holds no certificate in PEM")
		}
	}
	e.close()
	e.client, e.authorities = &http.Client{Transport: transport, CheckRedirect: e.redirect}, authorities
	return e.client, nil
}

// redirect refuses to be sent anywhere else: a server must not choose whom the check
// talks to, and a POST is not sent twice.
func (e *endpoint) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case via[0].Method != http.MethodGet:
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return errors.New("it redirects too often")
	}
	if err := e.Allows(req.URL); err != nil {
		return fmt.Errorf("it redirects: %w", err)
	}
	return nil
}

func (e *endpoint) close() {
	if e.client != nil {
		e.client.CloseIdleConnections()
	}
}
