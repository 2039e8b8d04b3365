// Package node puts a node under internal/lab's control plane: a kubelet, a
// scheduler, kube-proxy and containerd run Pods for real, Access Broker's among
// them. All of it, the control plane too, is in namespaces of its own, in which
// Main starts a program again. It needs Linux, root and what `make node-binaries`
// gets; Missing tells.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// BrokerReplicas is how many replicas config/manager asks for.
const BrokerReplicas = 2

// readyPatience is many times what the node and the Pods take on two busy cores.
const readyPatience = 2 * time.Minute

// ErrMissing is the error of a machine on which a node cannot run.
var ErrMissing = errors.New("no node can run here")

// Node is a control plane with a node, on which Access Broker runs.
type Node struct {
	*lab.Cluster
	// Containerd, Kubelet, Scheduler and Proxy may be stopped, killed and
	// started again one by one.
	Containerd, Kubelet, Scheduler, Proxy *lab.Process
	// Router enforces network policies; nil until StartRouter.
	Router *lab.Process

	folder string // with what is not Kubernetes's own
	output io.Writer
}

// Start starts a control plane and a node, and returns when both replicas of
// the broker are ready. It works inside Main alone, and Main ends it all.
func Start(ctx context.Context, output io.Writer) (*Node, error) {
	if !Inside() {
		return nil, errors.New("a node starts inside node.Main")
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return nil, err
	}
	n := &Node{folder: folder(root), output: output}
	if err := connect(); err != nil {
		return nil, err
	}
	group, both := errgroup.WithContext(ctx)
	group.Go(func() error {
		return n.step("the container runtime and its images", func() error { return n.startRuntime(both) })
	})
	group.Go(func() error {
		return n.step("the control plane, and kubectl apply -k config/default", func() (err error) {
			n.Cluster, err = lab.Start(both, lab.Options{Dir: filepath.Join(state, "controlplane"), Node: address})
			return err
		})
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		what  string
		start func(context.Context) error
	}{
		{"kube-scheduler", n.startScheduler},
		{"kubelet", n.startKubelet},
		{"the node to be ready", n.nodeReady},
		{"kube-proxy", n.startProxy},
		{"both replicas of the broker to be ready", n.BrokerReady},
	} {
		if err := n.step(part.what, func() error { return part.start(ctx) }); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Node) step(what string, do func() error) error {
	begin := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Fprintf(n.output, "%s: %.1fs\n", what, time.Since(begin).Seconds())
	return nil
}

// BrokerReady waits until every replica of the broker is ready.
func (n *Node) BrokerReady(ctx context.Context) error {
	err := lab.Until(ctx, readyPatience, func(ctx context.Context) (bool, error) {
		d, err := n.Clientset.AppsV1().Deployments(lab.BrokerNamespace).Get(ctx, "access-broker", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		s := d.Status
		if s.ObservedGeneration != d.Generation || s.UpdatedReplicas != BrokerReplicas || s.Replicas != BrokerReplicas || s.ReadyReplicas != BrokerReplicas {
			return false, fmt.Errorf("%d of %d replicas are ready", s.ReadyReplicas, BrokerReplicas)
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, n.Describe(context.WithoutCancel(ctx)))
	}
	return nil
}

// Describe is what can be told of the broker's Pods that are not ready.
func (n *Node) Describe(ctx context.Context) string {
	described, err := n.Run(ctx, lab.AdminName, "kubectl describe pods -n "+lab.BrokerNamespace)
	if err != nil {
		return err.Error()
	}
	return described + "\nthe end of the kubelet's log:\n" + n.Kubelet.LogTail()
}

func (n *Node) nodeReady(ctx context.Context) error {
	return lab.Until(ctx, readyPatience, func(ctx context.Context) (bool, error) {
		node, err := n.Clientset.CoreV1().Nodes().Get(ctx, hostname, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
		if i < 0 {
			return false, errors.New("the kubelet has not said that it is ready")
		}
		if ready := node.Status.Conditions[i]; ready.Status != corev1.ConditionTrue {
			return false, errors.New(ready.Message)
		}
		return true, nil
	})
}

// startRuntime starts containerd and gives it every image that was built.
func (n *Node) startRuntime(ctx context.Context) error {
	packages := filepath.Join(n.folder, packagesFolder)
	if _, err := write("cni/node.conflist", cniConfig, state); err != nil {
		return err
	}
	config, err := write("containerd.toml", containerdConfig, state, packages)
	if err != nil {
		return err
	}
	socket := filepath.Join(state, "containerd.sock")
	n.Containerd = lab.NewProcess("containerd", n.binary("containerd"), logOf("containerd"), func(ctx context.Context) error {
		_, err := n.ctr(ctx, "plugins", "ls", "-q", "id==cri")
		return err
	}, "--config="+config, "--address="+socket)
	if err := n.Containerd.Start(ctx); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(n.folder, imagesFolder, "*.tar"))
	if err != nil {
		return err
	}
	// As kind does: what an archive names of other platforms has to be in it.
	for _, image := range images {
		if output, err := n.ctr(ctx, "-n", "k8s.io", "images", "import", "--all-platforms", "--digests", image); err != nil {
			return fmt.Errorf("import %s: %w\n%s", image, err, output)
		}
	}
	return nil
}

func (n *Node) ctr(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, n.binary("ctr"), append([]string{"--address=" + filepath.Join(state, "containerd.sock")}, args...)...)
	output, err := cmd.CombinedOutput()
	return string(output), err
}

func (n *Node) startKubelet(ctx context.Context) error {
	kubeconfig, err := n.credential("system:node:"+hostname, "system:nodes")
	if err != nil {
		return err
	}
	cert, key, err := n.ServerCertificate("kubelet")
	if err != nil {
		return err
	}
	config, err := write("kubelet.yaml", kubeletConfig, state, "", Name(), n.CA(), cert, key)
	if err != nil {
		return err
	}
	n.Kubelet = lab.NewProcess("kubelet", n.Binary("kubelet"), logOf("kubelet"), n.Healthy("http://127.0.0.1:10248/healthz"),
		"--config="+config,
		"--kubeconfig="+kubeconfig,
		"--hostname-override="+hostname,
		"--node-ip="+address,
		"--root-dir="+filepath.Join(state, "kubelet"),
	)
	return n.Kubelet.Start(ctx)
}

func (n *Node) startScheduler(ctx context.Context) error {
	kubeconfig, err := n.credential("system:kube-scheduler")
	if err != nil {
		return err
	}
	cert, key, err := n.ServerCertificate("kube-scheduler")
	if err != nil {
		return err
	}
	n.Scheduler = lab.NewProcess("kube-scheduler", n.Binary("kube-scheduler"), logOf("kube-scheduler"), n.Healthy("https://127.0.0.1:10259/healthz"),
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--tls-cert-file="+cert,
		"--tls-private-key-file="+key,
		"--leader-elect=false",
	)
	return n.Scheduler.Start(ctx)
}

func (n *Node) startProxy(ctx context.Context) error {
	kubeconfig, err := n.credential("system:kube-proxy")
	if err != nil {
		return err
	}
	config, err := write("kube-proxy.yaml", proxyConfig, kubeconfig)
	if err != nil {
		return err
	}
	n.Proxy = lab.NewProcess("kube-proxy", n.Binary("kube-proxy"), logOf("kube-proxy"), n.Healthy("http://127.0.0.1:10256/healthz"), "--config="+config)
	return n.Proxy.Start(ctx)
}

// credential is a kubeconfig of a part of the cluster.
func (n *Node) credential(user string, groups ...string) (string, error) {
	config, err := n.User(user, groups...)
	if err != nil {
		return "", err
	}
	return n.Kubeconfig(user, config)
}
