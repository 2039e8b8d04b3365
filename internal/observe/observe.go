// Package observe is the observer: it takes the audit events of API servers, tells
// to which grants each call belongs, and writes what comes of it into AccessUsages.
// Several observers may run. None leads: what each adds is written under the version
// that it has read, and none counts what another has counted.
package observe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/observe/follow"
	"github.com/accessbroker/accessbroker/internal/resolve"
)

// Observer counts the usage of grants.
type Observer struct {
	// Client reads from the API server and writes AccessUsages. Cache has the grants
	// that have not ended, and the policies.
	Client client.Client
	Cache  cache.Cache
	Clock  clock.WithTicker
	Log    logr.Logger
	// Policies compiles what is suspicious.
	Policies *resolve.Policies
	// User is the observer's own name: its calls show that a stream is alive.
	User string
	// Streams is how many streams there must be before a window is told.
	Streams int
	// Logs to follow.
	Logs []Log

	books   *books
	streams streams
	recent  recent
	lookUps lookUps
	known   knownUsers
	kicked  chan struct{}
	stopped chan struct{}
	ready   chan struct{}
	metrics *metrics
}

// Log is one to follow, and what its stream is called.
type Log struct {
	Stream     string
	File       *follow.Log
	Checkpoint follow.Checkpoint
}

// Setup makes an observer ready to be started, and registers its metrics.
func (o *Observer) Setup(registry prometheus.Registerer) error {
	o.books, o.kicked = newBooks(), make(chan struct{}, 1)
	o.stopped, o.ready = make(chan struct{}), make(chan struct{})
	o.metrics = newMetrics(&o.streams)
	return o.metrics.register(registry)
}

// NeedLeaderElection is false: none leads.
func (*Observer) NeedLeaderElection() bool { return false }

// Start observes until ctx ends. The caches must be filled.
func (o *Observer) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer close(o.stopped)
	if err := o.watchGrants(ctx); err != nil {
		return err
	}
	if err := o.restore(ctx); err != nil {
		return err
	}
	close(o.ready)
	for _, log := range o.Logs {
		go func() {
			if err := o.Follow(ctx, log.File, log.Checkpoint, log.Stream); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("follow %s: %w", log.File.Path, err))
			}
		}()
	}
	go o.probe(ctx)
	o.flush(ctx)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) { // which is the plain end
		return err
	}
	return nil
}

// Ready tells whether events can be taken.
func (o *Observer) Ready() error {
	select {
	case <-o.ready:
		return nil
	default:
		return fmt.Errorf("the usages are not read yet")
	}
}

// probeEvery is how often the observer calls the API server, so that there is
// something to see.
const probeEvery = 15 * time.Second

// probe makes calls that audit policies have logged, to see that the streams are alive.
func (o *Observer) probe(ctx context.Context) {
	ticker := o.Clock.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		err := o.Client.Get(ctx, types.NamespacedName{Name: "stream-probe"}, &v1alpha1.AccessUsage{})
		if !apierrors.IsNotFound(err) && ctx.Err() == nil {
			o.failure(err, "probe the streams")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// failure logs and counts an error, if it is one.
func (o *Observer) failure(err error, what string) {
	if err == nil {
		return
	}
	o.metrics.failures.Inc()
	o.Log.Error(err, what)
}

// lose notes that events were there and could not be read.
func (o *Observer) lose(stream string, n int) {
	if n > 0 {
		o.metrics.lost.Add(float64(n))
		o.streams.lose(stream, n)
	}
}
