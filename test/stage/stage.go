// Package stage sets the scene for the demo and the sandbox: a control plane
// with Access Broker installed and running, and the people who use it.
package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/controllers/request"
	"github.com/accessbroker/accessbroker/test/controlplane"
	"github.com/accessbroker/accessbroker/test/env"
)

const (
	// Admin is the name under which the cluster's administrator runs commands.
	Admin = "admin"

	// brokerTimeout bounds the start of the broker.
	brokerTimeout = 30 * time.Second
)

// Stage is a control plane with Access Broker on it.
type Stage struct {
	*env.Env

	// Broker runs outside of the cluster, which has no nodes, as the
	// ServiceAccount that it has inside.
	Broker *controlplane.Process

	kubeconfigs map[string]string
}

// Set starts a control plane in a temporary folder, installs Access Broker and
// runs it. It tells the output what it does.
func Set(ctx context.Context, output io.Writer) (_ *Stage, err error) {
	fmt.Fprintln(output, "Starting etcd, kube-apiserver and kube-controller-manager, installing with kubectl apply -k config/default ...")
	running, err := env.Start(ctx, "", nil)
	if err != nil {
		return nil, err
	}
	s := &Stage{Env: running, kubeconfigs: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Strike())
		}
	}()
	if err := s.Login(Admin, running.ControlPlane.Admin()); err != nil {
		return nil, err
	}
	fmt.Fprintf(output, "Running the broker as ServiceAccount %s/%s ...\n", env.BrokerNamespace, env.BrokerServiceAccount)
	if s.Broker, err = s.Env.Broker(ctx, "access-broker", "--leader-elect", "--settle-time="+request.DefaultSettle.String()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, brokerTimeout, fmt.Errorf("not ready within %s", brokerTimeout))
	defer cancel()
	if err := s.Broker.Start(ctx); err != nil {
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
	cmd.Dir = s.Root
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
