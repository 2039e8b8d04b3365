// Package env is the whole product running for real: a control plane, Access
// Broker installed with kubectl, the broker's own binary under its own
// ServiceAccount, and people with client certificates. The end-to-end tests,
// the demo and the sandbox share it.
package env

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/controlplane"
)

// Namespace and ServiceAccount of the broker.
const (
	BrokerNamespace      = "access-broker-system"
	BrokerServiceAccount = "access-broker"
)

// Env is a running control plane with Access Broker installed.
type Env struct {
	*controlplane.ControlPlane
	// Admin is a client of a cluster administrator.
	Admin client.Client
	// Root is the folder of this module.
	Root string
	// Minor version of the Kubernetes that runs, and whether its API server fills
	// in who asks and who decides.
	Minor  int
	Stamps bool
}

// Main is a package's TestMain: run, which runs the tests, gets a control plane
// that is stopped afterwards. An error fails the package.
func Main(run func(ctx context.Context, e *Env) (code int, err error)) {
	MainOn(controlplane.Options{}, run)
}

// MainOn is Main on a control plane of another kind.
func MainOn(o controlplane.Options, run func(ctx context.Context, e *Env) (code int, err error)) {
	code, err := onOwnControlPlane(o, run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func onOwnControlPlane(o controlplane.Options, run func(ctx context.Context, e *Env) (int, error)) (code int, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Output = os.Stderr
	e, err := StartOn(ctx, o)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	return run(ctx, e)
}

// Run runs the tests while a broker does, and shows what it logged last when
// one fails.
func Run(ctx context.Context, m *testing.M, broker *controlplane.Process) (code int, err error) {
	if err := broker.Start(ctx); err != nil {
		return 1, err
	}
	defer broker.Stop()
	if code = m.Run(); code != 0 {
		fmt.Fprintln(os.Stderr, "the broker's last words:\n"+broker.LogTail())
	}
	return code, nil
}

// Start starts a control plane and installs config/default; the broker does
// not run yet. dir as in controlplane.Options.
func Start(ctx context.Context, dir string, output io.Writer) (*Env, error) {
	return StartOn(ctx, controlplane.Options{Dir: dir, Output: output})
}

// StartOn is Start on a control plane of another kind.
func StartOn(ctx context.Context, o controlplane.Options) (*Env, error) {
	logf.SetLogger(logr.Discard()) // the clients' own; errors are returned
	root, err := controlplane.ModuleRoot()
	if err != nil {
		return nil, err
	}
	cp, err := controlplane.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	e := &Env{ControlPlane: cp, Root: root}
	if err = e.discover(); err == nil {
		if e.Admin, err = e.newClient(cp.Admin()); err == nil {
			err = e.install(ctx)
		}
	}
	if err != nil {
		return nil, errors.Join(err, cp.Stop())
	}
	return e, nil
}

// discover asks which Kubernetes runs.
func (e *Env) discover() error {
	clientset, err := kubernetes.NewForConfig(e.ControlPlane.Admin())
	if err != nil {
		return err
	}
	version, err := clientset.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask for the version: %w", err)
	}
	if e.Minor, err = strconv.Atoi(version.Minor); err != nil {
		return fmt.Errorf("the minor version: %w", err)
	}
	e.Stamps = e.Minor >= stampedFrom
	return nil
}

// Installation is the folder of the kustomization that fits this Kubernetes.
func (e *Env) Installation() string {
	if e.Stamps {
		return "config/default"
	}
	return "config/variants/no-mutating-admission"
}

// NewClient is an uncached client that knows the product's kinds.
func NewClient(config *rest.Config) (client.Client, error) { return newClient(config) }

func newClient(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// newClient is NewClient for a user of this cluster.
func (e *Env) newClient(config *rest.Config) (client.Client, error) {
	c, err := newClient(config)
	if err != nil {
		return nil, err
	}
	return e.userClient(c), nil
}

// As is a client of a user with a certificate of his own.
func (e *Env) As(name string, groups ...string) (client.Client, error) {
	config, err := e.User(name, groups...)
	if err != nil {
		return nil, err
	}
	return e.newClient(config)
}

// AsServiceAccount is a client of a ServiceAccount with a token.
func (e *Env) AsServiceAccount(ctx context.Context, namespace, name string) (client.Client, error) {
	config, err := e.ServiceAccount(ctx, namespace, name)
	if err != nil {
		return nil, err
	}
	return e.newClient(config)
}

func (e *Env) install(ctx context.Context) error {
	kubeconfig, err := e.Kubeconfig("admin", e.ControlPlane.Admin())
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"apply", "-k", filepath.Join(e.Root, e.Installation())},
		{
			"wait", "--for=condition=Established", "--timeout=60s",
			"crd/accessrequests.jit.accessbroker.dev", "crd/accesspolicies.jit.accessbroker.dev", "crd/accessgrants.jit.accessbroker.dev",
		},
	} {
		if out, err := e.Kubectl(kubeconfig, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return e.AdmissionReady(ctx)
}

// AdmissionReady waits until the admission policies refuse what they are to
// refuse: the API server takes a moment to learn of them, after a restart too.
func (e *Env) AdmissionReady(ctx context.Context) error {
	forged := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe"},
		Spec: v1alpha1.AccessRequestSpec{
			Requester: v1alpha1.UserInfo{Username: "somebody-else"}, Reason: "probe",
			RoleRef: &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "view"},
		},
	}
	stamped := forged.DeepCopy()
	stamped.Spec.Requester = v1alpha1.UserInfo{}
	labelled := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "probe", Labels: map[string]string{v1alpha1.LabelGrant: "probe"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: v1alpha1.ClusterRoleKind, Name: "view"},
	}
	return eventually(ctx, 30*time.Second, func(ctx context.Context) error {
		if err := e.Admin.Create(ctx, forged.DeepCopy(), client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Errorf("a forged requester is not refused yet: %w", errOr(err))
		}
		if err := e.Admin.Create(ctx, labelled.DeepCopy(), client.DryRunAll); !apierrors.IsForbidden(err) {
			return fmt.Errorf("a forged binding is not refused yet: %w", errOr(err))
		}
		if err := e.Admin.Create(ctx, stamped.DeepCopy(), client.DryRunAll); e.Stamps && err != nil {
			return fmt.Errorf("the requester is not stamped yet: %w", err)
		}
		return nil
	})
}

var errNone = errors.New("no error")

func errOr(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// Broker is the broker's binary as a process that is not started yet, under
// its own ServiceAccount. name tells replicas apart. What cannot be granted ends
// at once, unless args set another --settle-time.
func (e *Env) Broker(ctx context.Context, name string, args ...string) (*controlplane.Process, error) {
	config, err := e.ServiceAccount(ctx, BrokerNamespace, BrokerServiceAccount)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := e.Kubeconfig(name, config)
	if err != nil {
		return nil, err
	}
	ports, err := controlplane.FreePorts(1)
	if err != nil {
		return nil, err
	}
	probes := fmt.Sprintf("127.0.0.1:%d", ports[0])
	args = append([]string{"--kubeconfig", kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=" + probes, "--settle-time=0"}, args...)
	binary := filepath.Join(e.Root, "bin", "access-broker")
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("the broker is missing, run `make build`: %w", err)
	}
	ready := controlplane.Healthy("http://"+probes+"/readyz", nil)
	return controlplane.NewProcess(name, binary, e.Log(name), ready, args...), nil
}

// eventually polls a condition until it holds or the time is up; its last
// error says what was missing.
func eventually(ctx context.Context, timeout time.Duration, condition func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, errOr(last))
	}
	return nil
}
