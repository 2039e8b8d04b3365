package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Namespace and ServiceAccount of the broker.
const (
	BrokerNamespace      = "access-broker-system"
	BrokerServiceAccount = "access-broker"
)

// Cluster is a running control plane with Access Broker installed.
type Cluster struct {
	*ControlPlane
	// Admin is a client of a cluster administrator.
	Admin client.Client
	// Minor version of the Kubernetes that runs, and whether its API server fills
	// in who asks and who decides.
	Minor  int
	Stamps bool

	// settles tells that brokers wait before they call something impossible, as
	// they do unless they are told otherwise.
	settles bool

	mu      sync.Mutex
	brokers []*Process
}

// Start starts a control plane and installs config/default, or the variant of
// it that fits; the broker does not run yet.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	logf.SetLogger(logr.Discard()) // the clients' own; errors are returned
	cp, err := StartControlPlane(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &Cluster{ControlPlane: cp}
	if err := c.furnish(ctx); err != nil {
		return nil, errors.Join(err, cp.Stop())
	}
	return c, nil
}

// Stop ends the brokers and the control plane.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, broker := range c.brokers {
		broker.Stop()
	}
	return c.ControlPlane.Stop()
}

func (c *Cluster) furnish(ctx context.Context) error {
	version, err := c.Clientset.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the version: %w", err)
	}
	if c.Minor, err = strconv.Atoi(version.Minor); err != nil {
		return fmt.Errorf("the minor version: %w", err)
	}
	c.Stamps = c.Minor >= stampedFrom
	if c.Admin, err = c.NewClient(c.AdminConfig()); err != nil {
		return err
	}
	if _, err := c.Kubeconfig(AdminName, c.AdminConfig()); err != nil {
		return err
	}
	if err := c.MustRun(ctx,
		"kubectl apply -k "+c.Installation(),
		"kubectl wait --for=condition=Established --timeout=60s"+
			" crd/accessrequests.jit.accessbroker.dev crd/accesspolicies.jit.accessbroker.dev crd/accessgrants.jit.accessbroker.dev crd/accessusages.jit.accessbroker.dev",
	); err != nil {
		return err
	}
	return c.AdmissionReady(ctx)
}

// Installation is the folder of the kustomization that fits this Kubernetes.
func (c *Cluster) Installation() string {
	if c.Stamps {
		return "config/default"
	}
	return "config/variants/no-mutating-admission"
}

// NewClient is an uncached client that knows the product's kinds.
func NewClient(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// NewClient is a client of a user of this cluster.
func (c *Cluster) NewClient(config *rest.Config) (client.Client, error) {
	plain, err := NewClient(config)
	if err != nil {
		return nil, err
	}
	return c.userClient(plain), nil
}

// AdmissionReady waits until the admission policies refuse what they are to
// refuse: the API server takes a moment to learn of them, after a restart too.
func (c *Cluster) AdmissionReady(ctx context.Context) error {
	stamped := NewRequest(metav1.NamespaceDefault, nil)
	forged := stamped.DeepCopy()
	forged.Spec.Requester = v1alpha1.UserInfo{Username: "somebody-else"}
	labelled := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "probe", Labels: map[string]string{v1alpha1.LabelGrant: "probe"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: "view"},
	}
	return Until(ctx, Patience, func(ctx context.Context) (bool, error) {
		if err := c.Admin.Create(ctx, forged.DeepCopy(), client.DryRunAll); !apierrors.IsForbidden(err) {
			return false, errors.Join(errors.New("a forged requester is not refused yet"), err)
		}
		if err := c.Admin.Create(ctx, labelled.DeepCopy(), client.DryRunAll); !apierrors.IsForbidden(err) {
			return false, errors.Join(errors.New("a forged binding is not refused yet"), err)
		}
		if err := c.Admin.Create(ctx, stamped.DeepCopy(), client.DryRunAll); c.Stamps && err != nil {
			return false, fmt.Errorf("the requester is not stamped yet: %w", err)
		}
		return true, nil
	})
}

// Broker is the broker's binary as a process that is not started yet, under
// its own ServiceAccount; Stop ends it. name tells replicas apart. What cannot
// be granted ends at once, unless args set another --settle-time.
func (c *Cluster) Broker(ctx context.Context, name string, args ...string) (*Process, error) {
	config, err := c.BrokerConfig(ctx)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.Kubeconfig(name, config)
	if err != nil {
		return nil, err
	}
	probes, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	if !c.settles {
		args = append([]string{"--settle-time=0"}, args...)
	}
	args = append([]string{"--kubeconfig", kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=" + probes}, args...)
	binary := filepath.Join(c.Root, "bin", "access-broker")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("the broker is missing, run `make build`: %w", err)
	}
	broker := NewProcess(name, binary, c.Log(name), healthy("http://"+probes+"/readyz", nil), args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = append(c.brokers, broker)
	return broker, nil
}
