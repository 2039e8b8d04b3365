package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
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

// Webhook is where an API server sends audit events: the address at which an
// observer takes them, and what both need to trust each other.
type Webhook struct {
	// Kubeconfig is the API server's, for Options.AuditWebhook.
	Kubeconfig string
	// Flags are the observer's.
	Flags []string
}

// NewWebhook chooses an address, and writes certificates into a folder. The API
// server shows one of its own.
func NewWebhook(dir, stream string) (*Webhook, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	server, err := ca.server()
	if err != nil {
		return nil, err
	}
	sender, err := ca.client("kube-apiserver")
	if err != nil {
		return nil, err
	}
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string][]byte{"tls.crt": server.cert, "tls.key": server.key, "ca.crt": ca.pem} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	w := &Webhook{Kubeconfig: path("webhook.kubeconfig"), Flags: []string{
		"--audit-bind-address=" + address, "--tls-cert-file=" + path("tls.crt"), "--tls-private-key-file=" + path("tls.key"), "--client-ca-file=" + path("ca.crt"),
	}}
	return w, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"observer": {Server: "https://" + address + "/audit/" + stream, CertificateAuthorityData: ca.pem}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"kube-apiserver": {ClientCertificateData: sender.cert, ClientKeyData: sender.key}},
		Contexts:       map[string]*clientcmdapi.Context{"observer": {Cluster: "observer", AuthInfo: "kube-apiserver"}},
		CurrentContext: "observer",
	}, w.Kubeconfig)
}
