package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SignatureHeader carries `t=<seconds since 1970>,v1=<hex>`: when the request
// was signed, and the HMAC-SHA256 of "<t>.<body>" under the sink's secret.
const SignatureHeader = "X-Accessbroker-Signature"

const (
	// sendTimeout bounds one request, its answer included.
	sendTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read, so that the connection can be
	// used again.
	maxAnswer = 64 << 10
	// maxRetryAfter bounds what a sink may ask for.
	maxRetryAfter = 5 * time.Minute
)

// refused is an answer other than 2xx.
type refused struct {
	status     int
	retryAfter time.Duration
}

func (r *refused) Error() string { return fmt.Sprintf("the sink answered %d", r.status) }

// newHTTPClient makes the client of one sink. It follows no redirects: a sink must
// not choose whom the broker talks to.
func newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 1
	return &http.Client{
		Transport:     transport,
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send tells a sink of one transition. No error holds its URL or secret.
func (s *Sink) send(ctx context.Context, c *http.Client, source string, o client.Object, t transition, now time.Time) error {
	body, contentType, err := s.encode(source, o, t)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	target, err := s.target()
	if err != nil {
		return err
	}
	secret, err := s.secret()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "access-broker")
	if secret != nil {
		req.Header.Set(SignatureHeader, sign(secret, now, body))
	}
	resp, err := c.Do(req)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err // without the URL
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	if resp.StatusCode/100 == 2 {
		return nil
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &refused{status: resp.StatusCode, retryAfter: min(max(0, time.Duration(seconds)*time.Second), maxRetryAfter)}
}

func (s *Sink) encode(source string, o client.Object, t transition) (body []byte, contentType string, err error) {
	if s.Format == FormatSlack {
		body, err = slackMessage(o, t)
		return body, "application/json; charset=utf-8", err
	}
	body, err = cloudEvent(source, o, t)
	return body, "application/cloudevents+json; charset=utf-8", err
}

func sign(secret []byte, now time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%d.", now.Unix())
	mac.Write(body)
	return fmt.Sprintf("t=%d,v1=%s", now.Unix(), hex.EncodeToString(mac.Sum(nil)))
}
