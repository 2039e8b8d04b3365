// Package stage sets the scene for the demo and the sandbox: a control plane
// with Access Broker installed and running, and the people who use it.
package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/test/controlplane"
)

const (
	// Admin is the name under which the cluster's administrator runs commands.
	Admin = "admin"

	// brokerNamespace and brokerName are the broker's ServiceAccount.
	brokerNamespace, brokerName = "access-broker-system", "access-broker"

	// installTimeout bounds each wait for something that was installed.
	installTimeout = 30 * time.Second
)

// Stage is a control plane with Access Broker on it.
type Stage struct {
	*controlplane.ControlPlane

	// Broker runs outside of the cluster, which has no nodes, as the
	// ServiceAccount that it has inside.
	Broker *controlplane.Process

	root        string
	output      io.Writer
	kubeconfigs map[string]string
}

// Set starts a control plane in a temporary folder, installs Access Broker and
// runs it. It tells the output what it does.
func Set(ctx context.Context, output io.Writer) (_ *Stage, err error) {
	root, err := controlplane.ModuleRoot()
	if err != nil {
		return nil, err
	}
	broker := filepath.Join(root, "bin", "access-broker")
	if _, err := os.Stat(broker); err != nil {
		return nil, fmt.Errorf("the broker is missing, run `make build`: %w", err)
	}

	fmt.Fprintln(output, "Starting etcd, kube-apiserver and kube-controller-manager ...")
	plane, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		return nil, err
	}
	s := &Stage{ControlPlane: plane, root: root, output: output, kubeconfigs: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Strike())
		}
	}()
	if err := s.Login(Admin, plane.Admin()); err != nil {
		return nil, err
	}
	if err := s.install(ctx); err != nil {
		return nil, fmt.Errorf("install Access Broker: %w", err)
	}
	if err := s.runBroker(ctx, broker); err != nil {
		return nil, err
	}
	return s, nil
}

// Strike stops all of it and removes its folder.
func (s *Stage) Strike() error {
	if s.Broker != nil {
		s.Broker.Stop()
	}
	return s.Stop()
}

// Cast gives every person of the story a client certificate, and the workload
// its token. The namespace with the workload's ServiceAccount must be there.
func (s *Stage) Cast(ctx context.Context) error {
	for name, group := range map[string]string{"alice": "dev", "bob": "sre", "carol": "sre"} {
		cfg, err := s.User(name, group)
		if err != nil {
			return err
		}
		if err := s.Login(name, cfg); err != nil {
			return err
		}
	}
	cfg, err := s.ServiceAccount(ctx, "payments", "migrator")
	if err != nil {
		return err
	}
	return s.Login("migrator", cfg)
}

// Login lets Run run commands as that user.
func (s *Stage) Login(name string, cfg *rest.Config) error {
	path, err := s.Kubeconfig(name, cfg)
	if err != nil {
		return err
	}
	s.kubeconfigs[name] = path
	return nil
}

// KubeconfigOf returns the path of the kubeconfig of a user who is logged in.
func (s *Stage) KubeconfigOf(name string) string { return s.kubeconfigs[name] }

// Run runs a command line as a user would type it in the folder of this
// module, and returns all that it printed.
func (s *Stage) Run(ctx context.Context, user, line string) (string, error) {
	// With exec there is no shell between us and the command to outlive it.
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Dir = s.root
	cmd.Env = s.Kubectl(s.kubeconfigs[user]).Env
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return strings.TrimRight(output.String(), "\n"), err
}

// MustRun runs commands of the administrator of which none may fail.
func (s *Stage) MustRun(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if output, err := s.Run(ctx, Admin, line); err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, output)
		}
	}
	return nil
}

func (s *Stage) install(ctx context.Context) error {
	fmt.Fprintln(s.output, "Installing: kubectl apply -k config/default ...")
	if err := s.MustRun(ctx,
		"kubectl apply -k config/default",
		"kubectl wait --for=condition=Established --timeout=30s crd/accessrequests.jit.accessbroker.dev"+
			" crd/accesspolicies.jit.accessbroker.dev crd/accessgrants.jit.accessbroker.dev",
	); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(s.Admin())
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, installTimeout, true, func(ctx context.Context) (bool, error) {
		last = enforced(ctx, client)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the admission policies are not in force: %w: %w", err, last)
	}
	return nil
}

// enforced asks whether the API server acts upon the admission policies yet,
// which it does a moment after they are stored: it must stamp a request that
// names no requester, and refuse a forged one. Nothing is created.
func enforced(ctx context.Context, client *kubernetes.Clientset) error {
	create := func(requester string) error {
		const request = `{
			"apiVersion": "jit.accessbroker.dev/v1alpha1", "kind": "AccessRequest",
			"metadata": {"name": "is-admission-in-force"},
			"spec": {%s "roleRef": {"kind": "ClusterRole", "name": "view"}, "reason": "a dry run"}
		}`
		return client.RESTClient().Post().
			AbsPath("/apis/jit.accessbroker.dev/v1alpha1/namespaces/default/accessrequests").
			Param("dryRun", "All").
			SetHeader("Content-Type", "application/json").
			Body(fmt.Appendf(nil, request, requester)).
			Do(ctx).Error()
	}
	if err := create(""); err != nil {
		return fmt.Errorf("a request is not stamped: %w", err)
	}
	if err := create(`"requester": {"username": "somebody-else"},`); !apierrors.IsForbidden(err) {
		return fmt.Errorf("a forged request is not refused: %w", err)
	}
	return nil
}

func (s *Stage) runBroker(ctx context.Context, path string) error {
	fmt.Fprintf(s.output, "Running the broker as ServiceAccount %s/%s ...\n", brokerNamespace, brokerName)
	cfg, err := s.ServiceAccount(ctx, brokerNamespace, brokerName)
	if err != nil {
		return err
	}
	kubeconfig, err := s.Kubeconfig(brokerName, cfg)
	if err != nil {
		return err
	}
	ports, err := controlplane.FreePorts(1)
	if err != nil {
		return err
	}
	health := fmt.Sprintf("127.0.0.1:%d", ports[0])
	s.Broker = controlplane.NewProcess(brokerName, path, s.Log(brokerName), controlplane.Healthy("http://"+health+"/readyz", nil),
		"--kubeconfig="+kubeconfig,
		"--leader-elect",
		"--metrics-bind-address=0",
		"--health-probe-bind-address="+health,
	)
	ctx, cancel := context.WithTimeoutCause(ctx, installTimeout, fmt.Errorf("not ready within %s", installTimeout))
	defer cancel()
	return s.Broker.Start(ctx)
}
