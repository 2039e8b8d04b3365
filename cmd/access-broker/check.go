package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/accessbroker/accessbroker/controllers"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/check"
	"github.com/accessbroker/accessbroker/internal/checker"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/serve"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// checkFlags are the flags of check.
type checkFlags struct {
	config                 string
	verify                 bool
	metricsAddr, probeAddr string
	logLevel               zapcore.Level
}

func parseCheck(args []string) (*checkFlags, error) {
	f := &checkFlags{}
	set := flag.NewFlagSet("access-broker check", flag.ContinueOnError)
	set.StringVar(&f.config, "config", "", "file that names the checks; it is read again when it changes")
	set.BoolVar(&f.verify, "verify", false, "say what is wrong with the file, and exit")
	set.StringVar(&f.metricsAddr, "metrics-bind-address", ":8443", "address that serves metrics over HTTPS to authenticated clients; 0 turns it off")
	set.StringVar(&f.probeAddr, "health-probe-bind-address", ":8081", "address that serves /healthz and /readyz; 0 turns it off")
	set.Var(&f.logLevel, "log-level", "least severe level that is logged: debug, info, warn or error")
	if kubeconfig := flag.Lookup("kubeconfig"); kubeconfig != nil { // registered by controller-runtime
		set.Var(kubeconfig.Value, kubeconfig.Name, kubeconfig.Usage)
	}
	set.Usage = func() {
		fmt.Fprint(set.Output(), "access-broker check asks servers outside of the cluster about requests that wait for the\naccount that it runs as, and decides as that account.\n\n  access-broker check --config FILE [flags]\n\nFlags:\n")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case set.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", set.Arg(0))
	case f.config == "":
		return nil, errors.New("name the file with the checks: --config")
	}
	return f, nil
}

// checkRequests runs the checker until it is stopped.
func checkRequests(args []string) (code int, err error) {
	f, err := parseCheck(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return 2, fmt.Errorf("check: %w", err)
	case f.verify:
		return verifyChecks(f.config)
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
	decider, err := accessclient.New(restConfig)
	if err != nil {
		return 1, fmt.Errorf("create client: %w", err)
	}
	recorder, err := record.NewRecorder(mgr, "access-checker")
	if err != nil {
		return 1, err
	}
	c := &checker.Checker{Client: mgr.GetCache(), Decider: decider, Recorder: recorder, Clock: clock.RealClock{}, Path: f.config}
	if err := c.Setup(mgr, metrics.Registry); err != nil {
		return 1, fmt.Errorf("check: %w", err)
	}
	if err := addServers(mgr, f.probeAddr, f.metricsAddr, controllers.CachesSynced(mgr.GetCache())); err != nil {
		return 1, err
	}
	logger.Info("checking", zap.String("version", version), zap.Int64("memoryLimit", memoryLimit), zap.String("config", f.config))
	return 0, mgr.Start(ctrl.SetupSignalHandler())
}

// verifyChecks says what is wrong with a configuration.
func verifyChecks(path string) (code int, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 1, fmt.Errorf("check: config: %w", err)
	}
	checks, err := check.Parse(content)
	if err != nil {
		return 1, fmt.Errorf("check: config %s: %w", path, err)
	}
	for _, c := range checks {
		fmt.Printf("check %s decides stage %s and asks %s\n", c.Name, c.Stage, c.Allow)
	}
	return 0, nil
}
