package lab

import (
	"context"
	"path/filepath"
	"strings"
)

// ObserverServiceAccount is that of the observer, in the broker's namespace.
const ObserverServiceAccount = "access-observer"

// InstallObserver makes the observer's ServiceAccount and roles, without the
// Deployment: here it is a process.
func (c *Cluster) InstallObserver(ctx context.Context) error {
	var files []string
	for _, file := range []string{"service_account.yaml", "role.yaml", "sender_role.yaml"} {
		files = append(files, "-f "+filepath.Join("config", "components", "observer", file))
	}
	return c.MustRun(ctx, "kubectl apply "+strings.Join(files, " "))
}

// NewObserver is the observer's process, not started yet, under its own ServiceAccount;
// Stop ends it. name tells several apart.
func (c *Cluster) NewObserver(ctx context.Context, name string, args ...string) (*Process, error) {
	config, err := c.ServiceAccount(ctx, BrokerNamespace, ObserverServiceAccount)
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
	args = append([]string{"observe", "--kubeconfig", kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=" + probes}, args...)
	observer := NewProcess(name, filepath.Join(c.Root, "bin", "access-broker"), c.Log(name), healthy("http://"+probes+"/readyz", nil), args...)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = append(c.brokers, observer)
	return observer, nil
}

// ObserveLog are the flags that have an observer of that name follow the audit log
// of this control plane.
func (c *Cluster) ObserveLog(name string) []string {
	return []string{
		"--audit-log=" + c.AuditLog(), "--stream-name=" + name,
		"--audit-log-checkpoint=" + filepath.Join(c.dir, name+".checkpoint"),
	}
}
