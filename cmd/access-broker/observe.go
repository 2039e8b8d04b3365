package main

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/observe"
	"github.com/accessbroker/accessbroker/internal/observe/follow"
	"github.com/accessbroker/accessbroker/internal/observe/receive"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/serve"
)

// observer is the ServiceAccount that writes AccessUsages. The admission policies
// name it.
const observer = "system:serviceaccount:access-broker-system:access-observer"

// observeFlags are the flags of observe.
type observeFlags struct {
	logs                      files
	checkpoint, stream        string
	streams                   int
	address                   string
	certFile, keyFile, caFile string
	metricsAddr, probeAddr    string
	logLevel                  zapcore.Level
}

// files are the values of a flag that may be repeated.
type files []string

func (f *files) String() string { return strings.Join(*f, ",") }

// Set adds a value.
func (f *files) Set(path string) error {
	*f = append(*f, path)
	return nil
}

func parseObserve(args []string) (*observeFlags, error) {
	f := &observeFlags{logLevel: zapcore.InfoLevel}
	set := flag.NewFlagSet("access-broker observe", flag.ContinueOnError)
	host, _ := os.Hostname()
	set.Var(&f.logs, "audit-log", "audit log to follow through its rotation; may be repeated")
	set.StringVar(&f.checkpoint, "audit-log-checkpoint", "", "file that keeps how far the log was read, so that a restart goes on there; with several logs, their numbers are added to its name")
	set.StringVar(&f.stream, "stream-name", host, "what the stream of the log is called; with several logs, their numbers are added")
	set.IntVar(&f.streams, "streams", 1, "how many streams of audit events there must be, one for each API server, before a window is told in which usage was observed")
	set.StringVar(&f.address, "audit-bind-address", "0", "address that takes audit events at /audit and /audit/STREAM over HTTPS; 0 turns it off")
	set.StringVar(&f.certFile, "tls-cert-file", "", "certificate of that address, in PEM; it is read again when it changes")
	set.StringVar(&f.keyFile, "tls-private-key-file", "", "key of the certificate")
	set.StringVar(&f.caFile, "client-ca-file", "", "authorities whose client certificates may send events; none by default: senders need a token")
	set.StringVar(&f.metricsAddr, "metrics-bind-address", ":8443", "address that serves metrics over HTTPS to authenticated clients; 0 turns it off")
	set.StringVar(&f.probeAddr, "health-probe-bind-address", ":8081", "address that serves /healthz and /readyz; 0 turns it off")
	set.Var(&f.logLevel, "log-level", "least severe level that is logged: debug, info, warn or error")
	if kubeconfig := flag.Lookup("kubeconfig"); kubeconfig != nil { // registered by controller-runtime
		set.Var(kubeconfig.Value, kubeconfig.Name, kubeconfig.Usage)
	}
	set.Usage = func() {
		fmt.Fprint(set.Output(), "access-broker observe tells what access was used for, from the audit events of API servers.\n\n  access-broker observe --audit-log FILE | --audit-bind-address ADDRESS [flags]\n\nFlags:\n")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case set.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", set.Arg(0))
	case len(f.logs) == 0 && f.address == serve.Off:
		return nil, errors.New("name a log to follow with --audit-log, or an address that takes events with --audit-bind-address")
	case f.address != serve.Off && (f.certFile == "" || f.keyFile == ""):
		return nil, errors.New("--audit-bind-address needs --tls-cert-file and --tls-private-key-file, which senders trust")
	case f.streams < 1 || f.streams > 16:
		return nil, errors.New("--streams must be between 1 and 16")
	}
	return f, nil
}

// observeUsage runs the observer until it is stopped.
func observeUsage(args []string) (code int, err error) {
	f, err := parseObserve(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return 2, fmt.Errorf("observe: %w", err)
	}
	logger, memoryLimit, err := prepare(f.logLevel)
	if err != nil {
		return 1, err
	}
	defer func() { _ = logger.Sync() }()
	scheme, restConfig, err := connection()
	if err != nil {
		return 1, err
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme: scheme, Cache: cached.Options(), NewCache: cached.New,
		HealthProbeBindAddress: serve.Off, Metrics: metricsserver.Options{BindAddress: serve.Off}, // below
	})
	if err != nil {
		return 1, fmt.Errorf("create manager: %w", err)
	}
	o, err := newObserver(mgr, scheme, restConfig, f)
	if err != nil {
		return 1, err
	}
	if err := errors.Join(mgr.Add(o), addReceiver(mgr, o, f)); err != nil {
		return 1, err
	}
	ready := func(*http.Request) error { return o.Ready() }
	if err := addServers(mgr, f.probeAddr, f.metricsAddr, ready); err != nil {
		return 1, err
	}
	logger.Info("observing", zap.String("version", version), zap.Int64("memoryLimit", memoryLimit), zap.Strings("logs", f.logs), zap.String("address", f.address))
	return 0, mgr.Start(ctrl.SetupSignalHandler())
}

func newObserver(mgr ctrl.Manager, scheme *runtime.Scheme, config *rest.Config, f *observeFlags) (*observe.Observer, error) {
	// What is written is read as it is, not as the cache last saw it.
	live, err := client.New(config, client.Options{Scheme: scheme, HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	log := mgr.GetLogger().WithName("observe")
	o := &observe.Observer{
		Client: live, Cache: mgr.GetCache(), Clock: clock.RealClock{}, Log: log,
		Policies: &resolve.Policies{Client: mgr.GetCache(), Live: live}, User: observer, Streams: f.streams,
	}
	for i, path := range f.logs {
		number := ""
		if len(f.logs) > 1 {
			number = fmt.Sprintf("-%d", i+1)
		}
		checkpoint := ""
		if f.checkpoint != "" {
			checkpoint = filepath.Clean(f.checkpoint) + number
		}
		o.Logs = append(o.Logs, observe.Log{
			Stream: f.stream + number, Checkpoint: follow.Checkpoint{Path: checkpoint},
			File: &follow.Log{Path: path, Clock: clock.RealClock{}, Log: log},
		})
	}
	if err := o.Setup(metrics.Registry); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return o, nil
}

// addReceiver lets the manager run the server that takes events, if there is one.
func addReceiver(mgr ctrl.Manager, o *observe.Observer, f *observeFlags) error {
	if f.address == serve.Off {
		return nil
	}
	server, err := receive.Server(f.address, receive.Options{
		CertFile: f.certFile, KeyFile: f.keyFile, ClientCAFile: f.caFile,
		Config: mgr.GetConfig(), HTTPClient: mgr.GetHTTPClient(), Log: mgr.GetLogger().WithName("receive"),
	}, o.Deliver)
	if err != nil {
		return err
	}
	return mgr.Add(server)
}
