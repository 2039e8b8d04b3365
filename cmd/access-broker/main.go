// Command access-broker is the operator: it turns approved AccessRequests into
// RoleBindings that end by themselves.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/controllers"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "access-broker:", err)
		os.Exit(1)
	}
}

func run() error {
	// --kubeconfig is registered by controller-runtime.
	var (
		metricsAddr = flag.String("metrics-bind-address", ":8443", "address that serves metrics over HTTPS to authenticated clients; 0 turns it off")
		probeAddr   = flag.String("health-probe-bind-address", ":8081", "address that serves /healthz and /readyz; 0 turns it off")
		leaderElect = flag.Bool("leader-elect", false, "let one replica of several grant; every replica revokes")
		namespace   = flag.String("leader-election-namespace", "access-broker-system", "namespace of the lease")
		logLevel    = zap.LevelFlag("log-level", zapcore.InfoLevel, "least severe level that is logged: debug, info, warn or error")
		showVersion = flag.Bool("version", false, "print the version and exit")
	)
	flag.Parse()
	if *showVersion {
		fmt.Println(version)
		return nil
	}

	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(*logLevel)
	config.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.Sampling = nil
	logger, err := config.Build()
	if err != nil {
		return fmt.Errorf("build logger: %w", err)
	}
	defer func() { _ = logger.Sync() }()
	ctrl.SetLogger(zapr.NewLogger(logger))
	klog.SetLogger(zapr.NewLogger(logger))

	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	rest, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	// The API server's own priority and fairness decides, not the client: a
	// revocation must not wait behind a client-side limit.
	rest.QPS = -1

	mgr, err := ctrl.NewManager(rest, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   controllers.CacheOptions(),
		HealthProbeBindAddress:  *probeAddr,
		LeaderElection:          *leaderElect,
		LeaderElectionID:        "access-broker",
		LeaderElectionNamespace: *namespace,
		// The process ends when Start returns, so the next leader need not wait.
		LeaderElectionReleaseOnCancel: true,
		Metrics: metricsserver.Options{
			BindAddress: *metricsAddr, SecureServing: true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
	})
	if err != nil {
		return fmt.Errorf("create manager: %w", err)
	}
	ctx := ctrl.SetupSignalHandler()
	if err := controllers.Setup(ctx, mgr, clock.RealClock{}); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("caches", controllers.CachesSynced(mgr.GetCache())); err != nil {
		return err
	}
	logger.Info("starting", zap.String("version", version))
	return mgr.Start(ctx)
}
