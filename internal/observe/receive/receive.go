// Package receive is the HTTPS server that audit events are sent to: by API servers
// (the webhook backend), log shippers and clouds. Anyone in the cluster may connect to
// it. Nothing of a body is read before the sender is known, and what all senders
// together may cost is bounded.
//
// It speaks HTTP/1.1 only. With HTTP/2, one connection carries hundreds of requests at
// a time, each with a buffer of its own before its sender is known. API servers and
// shippers fall back without being told, and their connections spread over several
// observers behind one Service, where all of HTTP/2 would go to one.
package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/accessbroker/accessbroker/internal/serve"
)

const (
	// root is the path of deliveries, and what senders must be allowed to post to.
	// The name of a stream may follow.
	root = "/audit"
	// DefaultStream is the stream of deliveries that do not name theirs.
	DefaultStream = "webhook"

	// maxBody is how much a delivery may be, compressed or not. The API server sends 400
	// events at a time, of at most 100 KiB each where it cuts them; Firehose up to 64 MiB.
	maxBody = 64 << 20
	// bodyTime is how long a body may take to come, and handleTime how long a delivery
	// may take in all. API servers wait for 30 seconds.
	bodyTime, handleTime = 30 * time.Second, time.Minute
	// refuseTime is how long more of a body is thrown away after it was refused, so that
	// the sender sees why.
	refuseTime = time.Second
	// answerTime is how long an answer may take to be taken.
	answerTime = 5 * time.Second
	// maxDeliveries are handled at a time.
	maxDeliveries = 16
)

// Handle takes the events of one delivery. It returns when what is in it was counted
// for good; after an error, the sender is to send all of it again.
type Handle func(ctx context.Context, stream string, events io.Reader) error

// Options say who may send events.
type Options struct {
	// CertFile and KeyFile are the server's certificate and its key. ClientCAFile,
	// when set, has the authorities whose client certificates are let in, whoever
	// they name. All of them are read again when they change.
	CertFile, KeyFile, ClientCAFile string
	// Config and HTTPClient reach the API server that knows tokens (TokenReview), and
	// who may post to /audit (SubjectAccessReview). Without them no token counts.
	Config     *rest.Config
	HTTPClient *http.Client
	Log        logr.Logger
}

// Server takes deliveries at /audit and /audit/STREAM. It listens already.
func Server(address string, o Options, handle Handle) (*manager.Server, error) {
	r, err := newReceiver(o, handle)
	if err != nil {
		return nil, fmt.Errorf("receive audit events: %w", err)
	}
	secure := serve.TLS()
	secure.GetConfigForClient = r.files.configForClient
	server, err := serve.New("audit", address, r, secure)
	if err != nil {
		return nil, err
	}
	// Anyone can cause what net/http logs.
	server.Server.ErrorLog = stdlog.New(quiet{o.Log}, "", 0)
	return server, nil
}

type quiet struct{ log logr.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.V(1).Info(strings.TrimSpace(string(p)))
	return len(p), nil
}

type receiver struct {
	handle  Handle
	files   *files
	senders senders
	places  chan struct{}
	log     logr.Logger

	bodyTime, handleTime, refuseTime, answerTime time.Duration
}

func newReceiver(o Options, handle Handle) (*receiver, error) {
	f, err := newFiles(o)
	if err != nil {
		return nil, err
	}
	s, err := newSenders(o, f)
	if err != nil {
		return nil, err
	}
	return &receiver{
		handle: handle, files: f, senders: s, places: make(chan struct{}, maxDeliveries), log: o.Log,
		bodyTime: bodyTime, handleTime: handleTime, refuseTime: refuseTime, answerTime: answerTime,
	}, nil
}

// refusal is an answer that is not 200. Senders send again after most of them.
type refusal struct {
	code int
	text string
}

var (
	notFound = &refusal{http.StatusNotFound, "post audit events to /audit or /audit/STREAM"}
	noName   = &refusal{http.StatusNotFound, "the name of a stream is at most 63 lower case letters, digits, '-' and '.'"}
	noPost   = &refusal{http.StatusMethodNotAllowed, "post audit events"}
	unknown  = &refusal{http.StatusUnauthorized, "no valid bearer token or client certificate"}
	forbids  = &refusal{http.StatusForbidden, "the sender may not post to /audit"}
	unasked  = &refusal{http.StatusServiceUnavailable, "the API server does not say who the sender is"}
	busy     = &refusal{http.StatusServiceUnavailable, "too many deliveries at a time"}
	encoding = &refusal{http.StatusUnsupportedMediaType, "bodies may be compressed by gzip only"}
	tooLarge = &refusal{http.StatusRequestEntityTooLarge, "at most 64 MiB at a time, uncompressed"}
	tooSlow  = &refusal{http.StatusRequestTimeout, "the body took too long"}
	broken   = &refusal{http.StatusBadRequest, "the body is broken"}
	failed   = &refusal{http.StatusServiceUnavailable, "the events were not counted, send them again"}
	panicked = &refusal{http.StatusInternalServerError, "the events were not counted, send them again"}
)

func (s *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refused := s.deliver(w, r)
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(s.answerTime))
	if refused == nil {
		accept(w, r)
		return
	}
	s.log.V(1).Info("refused a delivery", "from", r.RemoteAddr, "code", refused.code, "why", refused.text)
	// What comes of the body is not waited for.
	_ = control.SetReadDeadline(time.Now().Add(s.refuseTime))
	w.Header().Set("Connection", "close")
	refuse(w, r, refused)
}

// deliver reads nothing of the body, and takes no place, before all that can be said
// against the delivery was looked at.
func (s *receiver) deliver(w http.ResponseWriter, r *http.Request) *refusal {
	stream, refused := streamOf(r)
	if refused != nil {
		return refused
	}
	// A cheap lie about its length: the body is bounded where it is read, too.
	if r.ContentLength > maxBody {
		return tooLarge
	}
	zipped := false
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "", "identity":
	case "gzip", "x-gzip":
		zipped = true
	default:
		return encoding
	}
	if refused := s.senders.refuse(r); refused != nil {
		return refused
	}
	select {
	case s.places <- struct{}{}:
	default:
		return busy
	}
	defer func() { <-s.places }()
	return s.take(w, r, stream, zipped)
}

// take hands the body to who counts. What went wrong with the body goes before what
// comes of it: half a body that was counted is sent again.
func (s *receiver) take(w http.ResponseWriter, r *http.Request, stream string, zipped bool) (refused *refusal) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error(fmt.Errorf("panic: %v", p), "cannot count a delivery", "stream", stream, "stack", string(debug.Stack()))
			refused = panicked
		}
	}()
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(s.bodyTime)); err != nil {
		s.log.Error(err, "cannot bound the time of a delivery")
		return failed
	}
	// At its end, net/http takes the deadline away, and looks whether the sender leaves.
	b := newBody(r.Body, zipped)
	ctx, cancel := context.WithTimeout(r.Context(), s.handleTime)
	defer cancel()
	err := s.handle(ctx, stream, b)
	switch {
	case errors.Is(b.err, errTooLarge):
		return tooLarge
	case errors.Is(b.err, os.ErrDeadlineExceeded):
		return tooSlow
	case b.err != nil:
		return broken
	case err != nil && r.Context().Err() != nil:
		return failed // nobody waits for the answer
	case err != nil:
		s.log.Error(err, "cannot count a delivery", "stream", stream)
		return failed
	}
	return nil
}

// streamOf reads the name of the stream.
func streamOf(r *http.Request) (string, *refusal) {
	rest, ok := strings.CutPrefix(r.URL.Path, root)
	name, named := strings.CutPrefix(rest, "/")
	switch {
	case !ok, rest != "" && !named:
		return "", notFound
	case named && (len(name) > validation.DNS1123LabelMaxLength || len(validation.IsDNS1123Subdomain(name)) > 0):
		return "", noName
	case r.Method != http.MethodPost:
		return "", noPost
	case !named:
		return DefaultStream, nil
	}
	return name, nil
}
