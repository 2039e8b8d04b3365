// Package checker is the machine that decides: it sees which requests wait for the
// account that it runs as, asks the servers of its checks, and approves or denies as
// itself. It gives and takes nothing: its decision is one like any other.
package checker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/check"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

const (
	// firstWait is how long it takes until a server is asked a second time; it doubles
	// up to the period of the check.
	firstWait = time.Second
	// busyWait is when a request comes again whose server has enough questions open.
	busyWait = time.Second
	// lookEvery is how often the configuration is looked at.
	lookEvery = 10 * time.Second
	// evaluateWithin bounds the expressions of one check.
	evaluateWithin = 5 * time.Second
)

// Reasons of Events on a request.
const (
	// ReasonWaiting: the server was asked, and the answer is not yet.
	ReasonWaiting = "CheckWaiting"
	// ReasonFailed: there is no answer.
	ReasonFailed = "CheckFailed"
	// ReasonUnchecked: a stage waits for this account and no check is for it.
	ReasonUnchecked = "NotChecked"
)

// Checker decides on requests.
type Checker struct {
	// Client reads the cache.
	Client client.Reader
	// Decider decides as this account.
	Decider  *accessclient.Client
	Recorder events.EventRecorder
	Clock    clock.WithTicker
	// Path of the configuration.
	Path string

	metrics *metrics
	memory  memory
	changed chan event.GenericEvent

	mu        sync.Mutex
	content   string
	broken    string
	endpoints []*endpoint
	me        *v1alpha1.UserInfo
}

// Setup loads the configuration and lets the manager run the checker.
func (c *Checker) Setup(mgr ctrl.Manager, registry prometheus.Registerer) error {
	c.metrics, c.changed = newMetrics(&c.memory), make(chan event.GenericEvent)
	if _, err := c.load(); err != nil {
		return err
	}
	if err := c.metrics.register(registry); err != nil {
		return err
	}
	if err := mgr.Add(c); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).Named("check").
		For(&v1alpha1.AccessRequest{}).
		WatchesRawSource(source.Channel(c.changed, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: check.MaxChecks * together}).
		Complete(c)
}

// load reads the configuration, and tells whether it is another one. One that cannot
// be used changes nothing.
func (c *Checker) load() (bool, error) {
	content, err := os.ReadFile(c.Path)
	if err != nil {
		return false, fmt.Errorf("config: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if string(content) == c.content {
		return false, nil
	}
	compiled, err := check.Parse(content)
	if err != nil {
		return false, fmt.Errorf("config %s: %w", c.Path, err)
	}
	for _, old := range c.endpoints {
		old.close()
	}
	c.content, c.endpoints = string(content), nil
	var names []string
	for _, one := range compiled {
		c.endpoints = append(c.endpoints, newEndpoint(one))
		names = append(names, one.Name)
	}
	c.memory.begin(names)
	c.metrics.config.Set(1)
	return true, nil
}

// Start looks at the configuration until the context ends.
func (c *Checker) Start(ctx context.Context) error {
	ticker := c.Clock.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
		c.reload(ctx)
	}
}

// reload takes a changed configuration, and has every request looked at with it.
func (c *Checker) reload(ctx context.Context) {
	logger := log.FromContext(ctx).WithName("check")
	other, err := c.load()
	if err != nil {
		c.metrics.config.Set(0)
		if c.broken != err.Error() { // once
			c.broken = err.Error()
			logger.Error(err, "the configuration cannot be used; the one before stays in use")
		}
		return
	}
	c.broken = ""
	c.metrics.config.Set(1)
	if !other {
		return
	}
	logger.Info("the configuration is another one")
	list := &v1alpha1.AccessRequestList{}
	if err := c.Client.List(ctx, list); err != nil {
		logger.Error(err, "list the requests")
		return
	}
	for i := range list.Items {
		select {
		case <-ctx.Done():
			return
		case c.changed <- event.GenericEvent{Object: &list.Items[i]}:
		}
	}
}

// use are the checks and who they decide as.
func (c *Checker) use(ctx context.Context) ([]*check.Compiled, map[string]*endpoint, v1alpha1.UserInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.me == nil {
		me, err := c.Decider.Me(ctx)
		if err != nil {
			return nil, nil, me, err
		}
		c.me = &me
	}
	var compiled []*check.Compiled
	byName := map[string]*endpoint{}
	for _, e := range c.endpoints {
		compiled = append(compiled, e.Compiled)
		byName[e.Name] = e
	}
	return compiled, byName, *c.me, nil
}

// Reconcile decides on one request, if it waits for this account.
func (c *Checker) Reconcile(ctx context.Context, key ctrl.Request) (ctrl.Result, error) {
	request := &v1alpha1.AccessRequest{}
	if err := c.Client.Get(ctx, key.NamespacedName, request); err != nil {
		if apierrors.IsNotFound(err) { // gone, or over
			c.memory.forget(key.NamespacedName)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	checks, endpoints, me, err := c.use(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	applying, unchecked := check.Applying(checks, request, me)
	if len(applying)+len(unchecked) == 0 || request.DeletionTimestamp != nil || check.Decided(request, me.Username) {
		c.memory.forget(key.NamespacedName)
		return ctrl.Result{}, nil
	}
	known := c.memory.of(key.NamespacedName, request.UID)
	if left := known.next.Sub(c.Clock.Now()); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	var asked []*endpoint
	for _, one := range applying {
		asked = append(asked, endpoints[one.Name])
	}
	release, free := take(asked)
	if !free {
		return ctrl.Result{RequeueAfter: busyWait}, nil
	}
	defer release()
	o := c.askAll(ctx, request, asked)
	if known.unchecked = len(unchecked) > 0; known.unchecked {
		if o.verdict.Word == check.Approve {
			o.verdict.Word = check.Wait
		}
		if o.verdict.Word == check.Wait {
			o.say(ReasonUnchecked, fmt.Sprintf("no check is for the stage %s, which waits for %s: nothing is approved", quoted(unchecked), me.Username))
		}
	}
	if o.verdict.Word != check.Wait {
		err := c.decide(ctx, request, me, o.verdict)
		if err == nil {
			return ctrl.Result{}, nil
		}
		o.say(ReasonFailed, text.Message(err.Error()))
	}
	known.checks = o.failed
	known.tries++
	wait := max(o.retryAfter, backoff(known.tries, asked))
	known.next = c.Clock.Now().Add(wait)
	if o.note != "" && known.told != o.note {
		known.told = o.note
		c.Recorder.Eventf(request, nil, o.kind, o.reason, "Check", "%s", text.Note(o.note))
	}
	c.memory.remember(key.NamespacedName, known)
	return ctrl.Result{RequeueAfter: wait}, nil
}

// take takes a slot of each server, or none.
func take(asked []*endpoint) (release func(), ok bool) {
	var taken []*endpoint
	release = func() {
		for _, e := range taken {
			<-e.slots
		}
	}
	for _, e := range asked {
		select {
		case e.slots <- struct{}{}:
			taken = append(taken, e)
		default:
			release()
			return nil, false
		}
	}
	return release, true
}

// backoff is how long to wait before the servers are asked again.
func backoff(tries int, asked []*endpoint) time.Duration {
	longest := time.Hour
	for _, e := range asked {
		longest = min(longest, e.Period.Duration)
	}
	wait := min(firstWait<<min(tries-1, 12), longest)
	return wait + rand.N(wait/10+1) //nolint:gosec // not all at the same moment; nobody gains from knowing it
}

// outcome is what came of asking all the servers of one request.
type outcome struct {
	verdict check.Verdict
	// failed are the checks that were asked, and whether there was no answer.
	failed     map[string]bool
	retryAfter time.Duration
	// What an Event says.
	kind, reason, note string
}

// say puts something into the Event, before what is there.
func (o *outcome) say(reason, note string) {
	o.kind, o.reason = corev1.EventTypeWarning, reason
	o.note = strings.TrimSuffix(note+"; "+o.note, "; ")
}

// askAll asks the servers of a request. Where one denies, no other is asked.
func (c *Checker) askAll(ctx context.Context, request *v1alpha1.AccessRequest, asked []*endpoint) outcome {
	o := outcome{failed: map[string]bool{}, kind: corev1.EventTypeNormal, reason: ReasonWaiting}
	seen := *request
	seen.Spec = *request.Asked() // of a request for more time, what it is more of
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&seen)
	if err != nil {
		o.verdict = check.Verdict{Word: check.Wait}
		o.say(ReasonFailed, err.Error())
		return o
	}
	var verdicts []check.Verdict
	var failures []string
	for _, e := range asked {
		begun := c.Clock.Now()
		v, err := e.decide(ctx, object, c.Clock)
		c.metrics.seconds.WithLabelValues(e.Name).Observe(c.Clock.Since(begun).Seconds())
		result := string(v.Word)
		if o.failed[e.Name] = err != nil; err != nil {
			v, result = check.Verdict{Word: check.Wait}, "Failed"
			failures = append(failures, fmt.Sprintf("check %s: %s", e.Name, err))
			if later := (*notNow)(nil); errors.As(err, &later) {
				o.retryAfter = max(o.retryAfter, later.retryAfter)
			}
			log.FromContext(ctx).Info("no answer", "check", e.Name, "why", text.Note(err.Error()))
		}
		c.metrics.asked.WithLabelValues(e.Name, result).Inc()
		verdicts = append(verdicts, v)
		if v.Word == check.Deny {
			break
		}
	}
	o.verdict = check.Together(verdicts)
	o.note = o.verdict.Comment
	if len(failures) > 0 {
		o.say(ReasonFailed, strings.Join(failures, "; ")+"; the request waits, and the server is asked again")
	}
	return o
}

// decide asks one server and weighs its answer.
func (e *endpoint) decide(ctx context.Context, request map[string]any, now clock.PassiveClock) (check.Verdict, error) {
	evaluating, cancel := context.WithTimeout(ctx, evaluateWithin)
	defer cancel()
	lacks, err := e.Required(evaluating, request, now.Now())
	if err != nil {
		return check.Verdict{}, err
	}
	if lacks != "" {
		return check.Verdict{Word: check.Deny, Comment: e.Name + ": " + lacks}, nil
	}
	q, err := e.Question(evaluating, request, now.Now())
	if err != nil {
		return check.Verdict{}, err
	}
	answer, err := e.ask(ctx, q)
	if err != nil {
		return check.Verdict{}, err
	}
	weighing, done := context.WithTimeout(ctx, evaluateWithin)
	defer done()
	return e.Weigh(weighing, request, answer, now.Now())
}

// decide writes the decision, as this account.
func (c *Checker) decide(ctx context.Context, request *v1alpha1.AccessRequest, me v1alpha1.UserInfo, v check.Verdict) error {
	verdict, limits := v1alpha1.VerdictDeny, []accessclient.Limit(nil)
	if v.Word == check.Approve {
		verdict = v1alpha1.VerdictApprove
		if !v.NotAfter.IsZero() {
			limits = append(limits, accessclient.Until(v.NotAfter))
		}
	}
	_, _, err := c.Decider.Decide(ctx, request, me, verdict, v.Comment, limits...)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		c.metrics.refused.Inc()
		return fmt.Errorf("%s the request: %w", verdict, err)
	}
	log.FromContext(ctx).Info("decided", "verdict", verdict, "comment", v.Comment, "notAfter", v.NotAfter)
	return nil
}

func quoted(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, text.Quote(name))
	}
	return strings.Join(all, ", ")
}
