package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
)

const (
	// workers that do something many times at once, the plain ones too.
	workers = 10
	// patience is many times what anything that is waited for should take.
	patience = 10 * time.Minute
	// floorNamespace is where the plain client's bindings go.
	floorNamespace = "floor"
)

// scene is a control plane with Access Broker on it and the people who use it.
type scene struct {
	*lab.Cluster
	n        counts
	profiles string

	// people ask, the approver decides, all with client certificates. alice is
	// not one of the people: nobody else adds to what is measured there.
	people   []person
	alice    person
	approver client.Client
	// asBroker writes what only the broker may write: a stock of grants.
	asBroker client.Client
	// namespaces that access is asked for in, by name.
	namespaces []corev1.Namespace
	proxy      *proxy

	broker *lab.Process
	pprof  string
	// webhook is where the API server sends audit events, where a row needs that.
	webhook *lab.Webhook
	dir     string // to be removed at the end

	mould *mould
	// role is edit while it is deleted.
	role *rbacv1.ClusterRole
	// issued: the grants of the stock have credentials of their own, for one key.
	issued string
	// stocked is how many grants were put into stock.
	stocked int
	// idleMemory is the broker's before there was any grant.
	idleMemory memory
}

type person struct {
	client.Client
	name string
}

func setScene(ctx context.Context, n counts, profiles string, observed bool) (_ *scene, err error) {
	fmt.Fprintln(os.Stderr, "starting a control plane ...")
	var o lab.Options
	var webhook *lab.Webhook
	if observed {
		if o.Dir, err = os.MkdirTemp("", "bench-"); err != nil {
			return nil, err
		}
		if webhook, err = lab.NewWebhook(o.Dir, "cp-1"); err != nil {
			return nil, err
		}
		o.AuditWebhook = webhook.Kubeconfig
	}
	running, err := lab.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &scene{Cluster: running, n: n, profiles: profiles, webhook: webhook, dir: o.Dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.strike())
		}
	}()
	if err := s.cast(ctx); err != nil {
		return nil, err
	}
	if err := s.furnish(ctx); err != nil {
		return nil, err
	}
	account, err := s.BrokerConfig(ctx)
	if err != nil {
		return nil, err
	}
	if s.asBroker, err = lab.NewClient(account); err != nil {
		return nil, err
	}
	if s.proxy, err = startProxy(account); err != nil {
		return nil, err
	}
	if err := s.startBroker(ctx, direct); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *scene) strike() error {
	err := s.Stop()
	if s.proxy != nil {
		s.proxy.stop()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

func (s *scene) cast(ctx context.Context) error {
	hire := func(name string) (person, error) {
		c, err := s.As(name, "dev")
		return person{c, name}, err
	}
	for i := range 20 {
		dev, err := hire(fmt.Sprintf("dev-%02d", i))
		if err != nil {
			return err
		}
		s.people = append(s.people, dev)
	}
	var err error
	if s.alice, err = hire("alice"); err != nil {
		return err
	}
	return errors.Join(
		s.Hire("sre", lab.People{"bob": &s.approver}),
		s.Bind(ctx, "access-requester", "dev"),
		s.Bind(ctx, "access-approver", "sre"),
	)
}

// furnish makes the namespaces and the policy.
func (s *scene) furnish(ctx context.Context) error {
	names := []string{floorNamespace}
	for i := range 100 {
		names = append(names, fmt.Sprintf("team-%03d", i))
	}
	for i, name := range names {
		namespace := corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"bench": "true"}}}
		if err := s.Admin.Create(ctx, &namespace); err != nil {
			return err
		}
		if i > 0 {
			s.namespaces = append(s.namespaces, namespace)
		}
	}
	return s.writePolicy(ctx)
}

// writePolicy: edit, with one approval.
func (s *scene) writePolicy(ctx context.Context) error {
	return s.Admin.Create(ctx, &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: "bench"}, Spec: policySpec()})
}

func policySpec() v1alpha1.AccessPolicySpec {
	return v1alpha1.AccessPolicySpec{
		Requesters:             v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}),
		Approvals:              []v1alpha1.ApprovalStage{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](1)}},
		Roles:                  []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}},
		Namespaces:             &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"bench": "true"}}},
		MaxDuration:            metav1.Duration{Duration: 24 * time.Hour},
		MaxPendingPerRequester: ptr.To[int32](1000),
	}
}

// pair is the i-th of the pairs of a person and a namespace, no two of the
// first 2,000 alike.
func (s *scene) pair(i int) (person, corev1.Namespace) {
	return s.people[i%len(s.people)], s.namespaces[i/len(s.people)%len(s.namespaces)]
}

// Ways for the broker to the API server.
const (
	direct   = false
	viaProxy = true
)

// startBroker starts the broker, after it stopped the one that runs.
func (s *scene) startBroker(ctx context.Context, counted bool) error {
	s.stopBroker()
	var err error
	if s.pprof, err = lab.FreeAddress(); err != nil {
		return err
	}
	args := []string{"--leader-elect", "--audit-log-path=" + s.Log("audit"), "--pprof-bind-address=" + s.pprof}
	if counted {
		kubeconfig, err := s.Kubeconfig("proxy", s.proxy.config())
		if err != nil {
			return err
		}
		args = append(args, "--kubeconfig="+kubeconfig)
	}
	if s.broker, err = s.Broker(ctx, "broker", args...); err != nil {
		return err
	}
	return s.broker.Start(ctx)
}

// startObserver starts an observer that takes what the API server sends.
func (s *scene) startObserver(ctx context.Context) error {
	if err := s.InstallObserver(ctx); err != nil {
		return err
	}
	observer, err := s.NewObserver(ctx, "observer", s.webhook.Flags...)
	if err != nil {
		return err
	}
	return observer.Start(ctx)
}

func (s *scene) stopBroker() {
	if s.broker != nil {
		s.broker.Stop()
	}
}

// each does something n times by some workers.
func each(ctx context.Context, workers, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(ctx, i)
		})
	}
	return group.Wait()
}
