// Command access-broker is the operator: it turns approved AccessRequests into
// RoleBindings that end by themselves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/controllers"
	"github.com/accessbroker/accessbroker/controllers/request"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/notify"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/serve"
)

// version is set by the linker.
var version = "dev"

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "access-broker:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Exit statuses beside 0 and 1, which is any other failure.
const (
	// exitFound: a sweep found and removed overdue access, which nobody had removed.
	exitFound = 3
	// exitPolicies: an uninstallation was refused, because there is a policy. The
	// chart's Job does not try again then.
	exitPolicies = 4
)

// callTimeout is how long the broker waits for the answer to a call before it tries
// again: a lost call must not hold up a revocation.
const callTimeout = 10 * time.Second

func run() (code int, err error) {
	if err := cached.ListOnce(); err != nil {
		return 1, err
	}
	if len(os.Args) > 1 && os.Args[1] == "observe" { // with flags of its own
		return observeUsage(os.Args[2:])
	}
	if len(os.Args) > 1 && os.Args[1] == "check" {
		return checkRequests(os.Args[2:])
	}
	// --kubeconfig is registered by controller-runtime.
	var (
		metricsAddr      = flag.String("metrics-bind-address", ":8443", "address that serves metrics over HTTPS to authenticated clients; 0 turns it off")
		probeAddr        = flag.String("health-probe-bind-address", ":8081", "address that serves /healthz and /readyz; 0 turns it off")
		pprofAddr        = flag.String("pprof-bind-address", "0", "address that serves Go profiles at /debug/pprof to anyone who reaches it; 0 turns it off")
		leaderElect      = flag.Bool("leader-elect", false, "let one replica of several grant; every replica revokes")
		namespace        = flag.String("leader-election-namespace", "access-broker-system", "namespace of the lease")
		auditPath        = flag.String("audit-log-path", "stdout", "file, stdout or stderr that gets one JSON line for every transition")
		settleTime       = flag.Duration("settle-time", request.DefaultSettle, "how long a new request waits for something that it names and that does not exist yet, such as a role or a policy; 0 ends it at once")
		requestRetention = flag.Duration("request-retention", 7*24*time.Hour, "how long requests are kept after their end; 0 keeps them for ever")
		grantRetention   = flag.Duration("grant-retention", 90*24*time.Hour, "how long grants are kept after their end; 0 keeps them for ever")
		confirmed        = flag.Bool("require-confirmed-policies", false, "let policies give nothing until a second person has confirmed them as they are; see config/components/four-eyes")
		notifications    = flag.String("notification-config", "", "file that names the sinks to notify of every transition; none by default")
		logLevel         = zap.LevelFlag("log-level", zapcore.InfoLevel, "least severe level that is logged: debug, info, warn or error")
		showVersion      = flag.Bool("version", false, "print the version and exit")
	)
	flag.Usage = usage
	flag.Parse()
	if *showVersion {
		fmt.Println(version)
		return 0, nil
	}
	if flag.NArg() > 1 || !slices.Contains([]string{"", "sweep", "uninstall"}, flag.Arg(0)) {
		usage()
		return 2, nil
	}

	logger, memoryLimit, err := prepare(*logLevel)
	if err != nil {
		return 1, err
	}
	defer func() { _ = logger.Sync() }()
	scheme, restConfig, err := connection()
	if err != nil {
		return 1, err
	}
	switch flag.Arg(0) {
	case "sweep":
		return sweep(restConfig, scheme, logger)
	case "uninstall":
		return uninstall(restConfig, scheme)
	}
	var sinks *notify.Config
	if *notifications != "" {
		if sinks, err = notify.Load(*notifications); err != nil {
			return 1, err
		}
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   controllers.CacheOptions(),
		NewCache:                cached.New,
		HealthProbeBindAddress:  serve.Off, // below
		PprofBindAddress:        *pprofAddr,
		LeaderElection:          *leaderElect,
		LeaderElectionID:        "access-broker",
		LeaderElectionNamespace: *namespace,
		// The process ends when Start returns, so the next leader need not wait: the
		// broker gives up the lease well before the kubelet kills it, and the others
		// look for it every second or two.
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       ptr.To(15 * time.Second),
		RetryPeriod:                   ptr.To(time.Second),
		Metrics:                       metricsserver.Options{BindAddress: serve.Off}, // below
	})
	if err != nil {
		return 1, fmt.Errorf("create manager: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	audit, err := zap.Config{
		Level: zap.NewAtomicLevelAt(zapcore.InfoLevel), Encoding: "json", EncoderConfig: loggerConfig(*logLevel).EncoderConfig,
		OutputPaths: []string{*auditPath}, ErrorOutputPaths: []string{"stderr"}, DisableCaller: true, DisableStacktrace: true,
	}.Build()
	if err != nil {
		return 1, fmt.Errorf("open the audit log: %w", err)
	}
	defer func() { _ = audit.Sync() }()
	options := controllers.Options{
		Clock: clock.RealClock{}, Audit: audit.Named("audit"), Version: version,
		Settle: *settleTime, Retention: record.Retention{Requests: *requestRetention, Grants: *grantRetention},
		ConfirmedPolicies: *confirmed,
	}
	if sinks != nil {
		if options.AfterEnd, err = notify.Setup(ctx, mgr, sinks, *namespace, clock.RealClock{}); err != nil {
			return 1, fmt.Errorf("notifications: %w", err)
		}
	}
	if err := controllers.Setup(ctx, mgr, options); err != nil {
		return 1, err
	}
	if err := addServers(mgr, *probeAddr, *metricsAddr, controllers.CachesSynced(mgr.GetCache())); err != nil {
		return 1, err
	}
	go func() {
		if mgr.GetCache().WaitForCacheSync(ctx) { // while it fills, frequent collections would gain little
			tuneGC()
		}
	}()
	logger.Info("starting", zap.String("version", version), zap.Int64("memoryLimit", memoryLimit))
	return 0, mgr.Start(ctx)
}

// prepare does what every long-running command begins with: it sets the one logger, and
// the limit of memory in bytes, 0 where there is none.
func prepare(level zapcore.Level) (*zap.Logger, int64, error) {
	logger, err := loggerConfig(level).Build()
	if err != nil {
		return nil, 0, fmt.Errorf("build logger: %w", err)
	}
	ctrl.SetLogger(zapr.NewLogger(logger))
	klog.SetLogger(zapr.NewLogger(logger))
	memoryLimit, err := limitMemory(memlimit.FromCgroup)
	if err != nil {
		logger.Info("the container's memory limit is not known", zap.Error(err))
	}
	return logger, memoryLimit, nil
}

// loggerConfig logs all that happens, from a level on.
func loggerConfig(level zapcore.Level) zap.Config {
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(level)
	config.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.Sampling = nil
	return config
}

// connection is how the API server is reached.
func connection() (*runtime.Scheme, *rest.Config, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, nil, err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("find the API server: %w", err)
	}
	// The API server's own priority and fairness decides, not the client: a
	// revocation must not wait behind a client-side limit.
	config.QPS, config.Timeout = -1, callTimeout
	return scheme, config, nil
}

// sweep removes overdue access, once; see access.Sweep.
func sweep(config *rest.Config, scheme *runtime.Scheme, logger *zap.Logger) (code int, err error) {
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return 1, fmt.Errorf("create client: %w", err)
	}
	found, err := access.Sweep(ctrl.SetupSignalHandler(), c, time.Now())
	for _, object := range found.Overdue {
		logger.Warn("found overdue access", zap.String("object", object))
	}
	for _, object := range found.Left {
		logger.Warn("could not delete an object, which allows nothing any more", zap.String("object", object))
	}
	for _, object := range found.Copies {
		logger.Warn("found a binding that looks like a copy", zap.String("object", object))
	}
	switch {
	case err != nil:
		return 1, fmt.Errorf("sweep: %w", err)
	case len(found.Overdue) > 0:
		return exitFound, nil
	}
	logger.Info("nothing is overdue")
	return 0, nil
}

// addServers lets the manager run the servers that are not turned off.
func addServers(mgr ctrl.Manager, probes, scrapes string, ready healthz.Checker) error {
	if probes != serve.Off {
		server, err := serve.Probes(probes, healthz.Ping, ready)
		if err == nil {
			err = mgr.Add(server)
		}
		if err != nil {
			return err
		}
	}
	if scrapes == serve.Off {
		return nil
	}
	server, err := serve.Metrics(scrapes, metrics.Registry, mgr.GetConfig(), mgr.GetHTTPClient(), mgr.GetLogger().WithName("metrics"))
	if err != nil {
		return err
	}
	return mgr.Add(server)
}

// uninstall ends every grant; see access.Uninstall.
func uninstall(config *rest.Config, scheme *runtime.Scheme) (code int, err error) {
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return 1, fmt.Errorf("create client: %w", err)
	}
	ended := func(ctx context.Context, ended access.Ended) error {
		return record.Uninstalled(ctx, c, ended, time.Now())
	}
	switch err := access.Uninstall(ctrl.SetupSignalHandler(), c, ended, func(what string) { fmt.Println(what) }); {
	case errors.Is(err, access.ErrPoliciesLeft):
		return exitPolicies, fmt.Errorf("uninstall: %w", err)
	case err != nil:
		return 1, fmt.Errorf("uninstall: %w", err)
	}
	fmt.Println("no access of any grant is left; Access Broker can be deleted")
	return 0, nil
}

func usage() {
	fmt.Fprintf(flag.CommandLine.Output(), `access-broker turns approved AccessRequests into RoleBindings that end by themselves.

  access-broker [flags]        run until stopped
  access-broker [flags] sweep  remove whatever outlives its grant, once; exit status
                               0: nothing was found, %d: something was found and
                               removed, 1: it failed
  access-broker [flags] uninstall
                               end every grant, so that Access Broker can be deleted;
                               exit status 0: no access is left, %d: refused, because
                               there are policies, 1: it failed
  access-broker observe [flags]
                               tell from audit events what access was used for,
                               until stopped; access-broker observe --help
  access-broker check [flags]  ask servers outside of the cluster about requests, and
                               decide as itself, until stopped; access-broker check --help

Flags:
`, exitFound, exitPolicies)
	flag.PrintDefaults()
}
