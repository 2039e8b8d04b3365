package lab

import (
	"context"
	"path/filepath"
	"strings"
)

// CheckerServiceAccount is that of the checker, in the broker's namespace.
const CheckerServiceAccount = "access-checker"

// Checker is the username of the checker.
const Checker = "system:serviceaccount:" + BrokerNamespace + ":" + CheckerServiceAccount

// InstallChecker makes the checker's ServiceAccount and role, without the Deployment:
// here it is a process.
func (c *Cluster) InstallChecker(ctx context.Context) error {
	var files []string
	for _, file := range []string{"service_account.yaml", "role.yaml"} {
		files = append(files, "-f "+filepath.Join("config", "components", "checks", file))
	}
	return c.MustRun(ctx, "kubectl apply "+strings.Join(files, " "))
}

// NewChecker is the checker's process with a configuration file, not started yet, under
// its own ServiceAccount; Stop ends it. name tells several apart.
func (c *Cluster) NewChecker(ctx context.Context, name, config string, args ...string) (*Process, error) {
	account, err := c.ServiceAccount(ctx, BrokerNamespace, CheckerServiceAccount)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.Kubeconfig(name, account)
	if err != nil {
		return nil, err
	}
	probes, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	args = append([]string{"check", "--config", config, "--kubeconfig", kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=" + probes}, args...)
	checker := NewProcess(name, filepath.Join(c.Root, "bin", "access-broker"), c.Log(name), healthy("http://"+probes+"/readyz", nil), args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = append(c.brokers, checker)
	return checker, nil
}
