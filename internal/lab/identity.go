package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// tokenLifetime outlasts any test and a day in the sandbox.
const tokenLifetime = 24 * time.Hour

// AdminConfig returns a config of a user in the group system:masters.
func (c *ControlPlane) AdminConfig() *rest.Config {
	return rest.CopyConfig(c.admin)
}

// User returns a config of a user with a client certificate of the cluster's
// certificate authority. The user may do what RBAC says and no more.
func (c *ControlPlane) User(name string, groups ...string) (*rest.Config, error) {
	pair, err := c.ca.client(name, groups...)
	if err != nil {
		return nil, err
	}
	cfg := c.anonymous()
	cfg.CertData, cfg.KeyData = pair.cert, pair.key
	return cfg, nil
}

// ServiceAccount returns a config with a token of a ServiceAccount that exists.
func (c *ControlPlane) ServiceAccount(ctx context.Context, namespace, name string) (*rest.Config, error) {
	token, err := c.Clientset.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLifetime.Seconds()))},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("get a token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	cfg := c.anonymous()
	cfg.BearerToken = token.Status.Token
	return cfg, nil
}

// anonymous returns a config that trusts the API server and is nobody.
func (c *ControlPlane) anonymous() *rest.Config {
	return &rest.Config{
		Host:            c.host,
		TLSClientConfig: rest.TLSClientConfig{CAData: c.ca.pem},
		QPS:             -1, // no throttling in the client: it would be measured as the server's
	}
}

// Kubeconfig writes a config to a file of that name for programs to use.
func (c *ControlPlane) Kubeconfig(name string, cfg *rest.Config) (string, error) {
	kubeconfig := clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"local": {
			Server:                   cfg.Host,
			CertificateAuthorityData: cfg.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			ClientCertificateData: cfg.CertData,
			ClientKeyData:         cfg.KeyData,
			Token:                 cfg.BearerToken,
		}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: "local", AuthInfo: name}},
		CurrentContext: name,
	}
	// At once: somebody else may read the one of the same name at this moment.
	path := c.KubeconfigOf(name)
	written := path + "-" + utilrand.String(8)
	err := clientcmd.WriteToFile(kubeconfig, written)
	if err == nil {
		err = os.Rename(written, path)
	}
	if err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", name, err)
	}
	return path, nil
}

// KubeconfigOf is the path of the kubeconfig of that name.
func (c *ControlPlane) KubeconfigOf(name string) string {
	return filepath.Join(c.dir, "kubeconfigs", name+".kubeconfig")
}

// Kubectl returns a kubectl command that is not started yet. Its environment
// is its own, so that no configuration or cache of the person here matters. It
// finds the module's commands: the broker, and the plugin.
func (c *ControlPlane) Kubectl(kubeconfig string, args ...string) *exec.Cmd {
	cmd := exec.Command(c.Binary("kubectl"), args...)
	cmd.Env = []string{
		"HOME=" + filepath.Join(c.dir, "home"),
		"KUBECONFIG=" + kubeconfig,
		"PATH=" + strings.Join([]string{c.binaries, filepath.Join(c.Root, "bin"), os.Getenv("PATH")}, string(os.PathListSeparator)),
	}
	return cmd
}
