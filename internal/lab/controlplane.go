// Package lab is the whole product running for real on this machine: a control
// plane (etcd, kube-apiserver and kube-controller-manager), Access Broker
// installed with kubectl, the broker's own binary under its own ServiceAccount,
// and people with client certificates. The tests, the demo, the sandbox and the
// benchmark all set their stage with it. There is no node: Pods stay Pending
// until FinishPod sets their phase. All servers listen on 127.0.0.1 only. Package
// node puts a node under it, in namespaces of their own.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// startTimeout is many times what a start takes on two busy cores.
	startTimeout = 2 * time.Minute

	// startAttempts bounds the starts with new ports: between asking the
	// kernel for a free port and using it, somebody else may take it.
	startAttempts = 3

	serviceAccountIssuer = "https://kubernetes.default.svc"

	// ServiceRange has the addresses of Services.
	ServiceRange      = "10.96.0.0/16"
	kubernetesService = "10.96.0.1" // the first of them

	// NodeAPIPort is the port of the API server where there is a node: the usual
	// one, which network policies name.
	NodeAPIPort = 6443
)

// Options says where a control plane lives and what it is made of.
type Options struct {
	// Dir holds certificates, data and logs. It is created when missing and
	// left for the caller to remove. Empty means a temporary folder that Stop
	// removes.
	Dir string

	// Binaries is the folder with etcd, kube-apiserver,
	// kube-controller-manager and kubectl. Empty means $KUBEBUILDER_ASSETS or
	// else the module's bin folder.
	Binaries string

	// Output, when set, gets a line for each step of the start.
	Output io.Writer

	// Node, when set, is the address of this machine at which Pods and a kubelet
	// reach the API server, which then lets them in; package node runs them. It
	// needs a network namespace of its own: everybody in it may connect.
	Node string

	// OneIdentity runs all controllers as system:kube-controller-manager, as a
	// cluster does without --use-service-account-credentials.
	OneIdentity bool

	// AdmissionPlugins are on besides those that are on by default, as
	// distributions have them: names with their configuration in YAML, or with
	// none.
	AdmissionPlugins map[string]string

	// Outsider, when set, is a user whom an authorizer beside RBAC lets do
	// everything, as the one of a cloud does.
	Outsider string

	// Audit has the API server write an audit log of all calls, without bodies.
	Audit bool

	// APIServerFlags are given to the API server besides its own.
	APIServerFlags []string

	// AuditWebhook, when set, is the path of a kubeconfig that says where the API
	// server sends the same events, in batches of a second.
	AuditWebhook string
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	// Etcd, APIServer and ControllerManager may be stopped, killed and
	// started again one by one.
	Etcd, APIServer, ControllerManager *Process
	// Root is the folder of this module.
	Root string
	// Clientset is the administrator's.
	Clientset *kubernetes.Clientset

	dir      string
	ownsDir  bool
	binaries string
	output   io.Writer
	node     string            // Options.Node
	one      bool              // Options.OneIdentity
	plugins  map[string]string // Options.AdmissionPlugins
	outsider string            // Options.Outsider
	audit    bool              // Options.Audit
	flags    []string          // Options.APIServerFlags

	auditWebhook string // Options.AuditWebhook

	ca    *authority
	host  string
	admin *rest.Config

	stop sync.Once
	err  error // what Stop returns
}

// StartControlPlane runs a control plane and returns when it is ready for use: the API
// server serves, the controllers run, the aggregated ClusterRoles (view, edit
// and admin) are complete and the default namespace has its ServiceAccount.
// On failure nothing is left running.
func StartControlPlane(ctx context.Context, o Options) (*ControlPlane, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		fmt.Errorf("not ready within %s", startTimeout))
	defer cancel()

	c, err := prepare(o)
	if err != nil {
		return nil, fmt.Errorf("prepare the control plane: %w", err)
	}
	for attempt := 1; ; attempt++ {
		err = c.run(ctx)
		if err == nil {
			return c, nil
		}
		c.stopProcesses()
		if attempt == startAttempts || !strings.Contains(err.Error(), "address already in use") {
			return nil, errors.Join(err, c.Stop())
		}
	}
}

// Stop ends all of it and removes the folder if it is a temporary one.
func (c *ControlPlane) Stop() error {
	c.stop.Do(func() {
		c.stopProcesses()
		if c.ownsDir {
			c.err = os.RemoveAll(c.dir)
		}
	})
	return c.err
}

// Dir is the folder that the control plane lives in.
func (c *ControlPlane) Dir() string { return c.dir }

// Binary is the path of one of the control plane's programs.
func (c *ControlPlane) Binary(name string) string {
	return filepath.Join(c.binaries, name)
}

// Log is the path of the log of the program with that name.
func (c *ControlPlane) Log(name string) string {
	return filepath.Join(c.dir, "logs", name+".log")
}

// CA is the path of the certificate of the cluster's certificate authority.
func (c *ControlPlane) CA() string { return c.pki("ca.crt") }

// ServerCertificate writes a certificate of that name for a server on the node,
// and its key.
func (c *ControlPlane) ServerCertificate(name string) (cert, key string, err error) {
	pair, err := c.ca.server(c.addresses()...)
	if err != nil {
		return "", "", err
	}
	cert, key = c.pki(name+".crt"), c.pki(name+".key")
	return cert, key, errors.Join(os.WriteFile(cert, pair.cert, 0o600), os.WriteFile(key, pair.key, 0o600))
}

// addresses that servers have besides the loopback address.
func (c *ControlPlane) addresses() []net.IP {
	if c.node == "" {
		return nil
	}
	return []net.IP{net.ParseIP(c.node), net.ParseIP(kubernetesService)}
}

// prepare finds the programs and makes everything that does not depend on a port.
func prepare(o Options) (_ *ControlPlane, err error) {
	c := &ControlPlane{
		dir: o.Dir, output: o.Output, node: o.Node, one: o.OneIdentity,
		plugins: maps.Clone(o.AdmissionPlugins), outsider: o.Outsider, audit: o.Audit, flags: o.APIServerFlags, auditWebhook: o.AuditWebhook,
	}
	if c.output == nil {
		c.output = io.Discard
	}
	if c.node != "" {
		if c.plugins == nil {
			c.plugins = map[string]string{}
		}
		c.plugins["NodeRestriction"] = "" // it is of no use without a node
	}
	if c.Root, err = ModuleRoot(); err != nil {
		return nil, err
	}
	if c.binaries, err = c.findBinaries(o.Binaries); err != nil {
		return nil, err
	}
	if c.ca, err = newAuthority(); err != nil {
		return nil, err
	}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "controlplane-"); err != nil {
			return nil, err
		}
		c.ownsDir = true
	} else if c.dir, err = filepath.Abs(c.dir); err != nil {
		return nil, err
	}
	if err := c.writeFiles(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// writeFiles writes the keys and certificates that the programs read.
func (c *ControlPlane) writeFiles() error {
	for _, folder := range []string{"pki", "logs", "kubeconfigs", "home"} {
		if err := os.MkdirAll(filepath.Join(c.dir, folder), 0o700); err != nil {
			return err
		}
	}
	server, err := c.ca.server(c.addresses()...)
	if err != nil {
		return err
	}
	kubelets, err := c.ca.client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	// One file serves both sides: public keys are read out of private ones.
	serviceAccountKey, err := encodeKey(key)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt":              c.ca.pem,
		"server.crt":          server.cert,
		"server.key":          server.key,
		"kubelet-client.crt":  kubelets.cert,
		"kubelet-client.key":  kubelets.key,
		"service-account.key": serviceAccountKey,
		"audit-policy.yaml":   []byte(auditPolicy),
	} {
		if err := os.WriteFile(c.pki(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *ControlPlane) pki(name string) string {
	return filepath.Join(c.dir, "pki", name)
}

// run starts the programs on new ports, one after another: each needs the one before.
func (c *ControlPlane) run(ctx context.Context) error {
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	etcdPort, peerPort, apiPort, managerPort := ports[0], ports[1], ports[2], ports[3]
	if c.node != "" {
		apiPort = NodeAPIPort
	}

	if err := c.configureEtcd(etcdPort, peerPort); err != nil {
		return err
	}
	if err := c.configureAPIServer(apiPort, etcdPort); err != nil {
		return err
	}
	if err := c.configureControllerManager(managerPort); err != nil {
		return err
	}
	for _, p := range c.processes() {
		if err := c.step("start "+p.name, func() error { return p.Start(ctx) }); err != nil {
			return err
		}
	}
	return c.step("wait for the controllers", func() error {
		if err := Until(ctx, startTimeout, c.bootstrapped); err != nil {
			return fmt.Errorf("%w; the end of %s:\n%s", err, c.ControllerManager.log, c.ControllerManager.LogTail())
		}
		return nil
	})
}

func (c *ControlPlane) step(what string, do func() error) error {
	begin := time.Now()
	if err := do(); err != nil {
		return err
	}
	fmt.Fprintf(c.output, "%s: %.1fs\n", what, time.Since(begin).Seconds())
	return nil
}

// processes in the order in which they start.
func (c *ControlPlane) processes() []*Process {
	return slices.DeleteFunc([]*Process{c.Etcd, c.APIServer, c.ControllerManager},
		func(p *Process) bool { return p == nil })
}

func (c *ControlPlane) stopProcesses() {
	for _, p := range slices.Backward(c.processes()) {
		p.Stop()
	}
}

func (c *ControlPlane) process(name string, ready func(context.Context) error, args ...string) *Process {
	return NewProcess(name, c.Binary(name), c.Log(name), ready, args...)
}

func (c *ControlPlane) configureEtcd(port, peerPort int) error {
	// A member remembers its address, so a start with new ports begins anew.
	data := filepath.Join(c.dir, "etcd")
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	client, peer := httpURL(port), httpURL(peerPort)
	c.Etcd = c.process("etcd", healthy(client+"/health", nil),
		"--data-dir="+data,
		"--listen-client-urls="+client,
		"--advertise-client-urls="+client,
		"--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer,
		"--initial-cluster=default="+peer,
		"--unsafe-no-fsync", // survives a killed process, not a power cut
		"--log-level=warn",
	)
	return nil
}

func (c *ControlPlane) configureAPIServer(port, etcdPort int) error {
	c.host = "https://" + loopback(port)
	admin, err := c.User("admin", "system:masters")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return fmt.Errorf("make the admin's client: %w", err)
	}
	c.admin, c.Clientset = admin, client

	plugins, err := c.admissionPlugins()
	if err != nil {
		return fmt.Errorf("configure the admission plugins: %w", err)
	}
	authorizers, err := c.authorizers()
	if err != nil {
		return fmt.Errorf("configure the authorizers: %w", err)
	}
	c.APIServer = c.process("kube-apiserver", c.apiServerReady, append(slices.Concat(c.reach(), plugins, authorizers, c.auditing(), c.flags),
		"--etcd-servers="+httpURL(etcdPort),
		"--secure-port="+strconv.Itoa(port),
		"--service-cluster-ip-range="+ServiceRange,
		"--tls-cert-file="+c.pki("server.crt"),
		"--tls-private-key-file="+c.pki("server.key"),
		"--client-ca-file="+c.pki("ca.crt"),
		"--service-account-issuer="+serviceAccountIssuer,
		"--service-account-signing-key-file="+c.pki("service-account.key"),
		"--service-account-key-file="+c.pki("service-account.key"),
		"--allow-privileged=true",
	)...)
	return nil
}

// reach is who reaches the API server, and whom it reaches: people on this
// machine, or a node as well.
func (c *ControlPlane) reach() []string {
	if c.node == "" {
		return []string{
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			"--endpoint-reconciler-type=none", // a loopback address cannot be an endpoint
		}
	}
	return []string{
		"--bind-address=0.0.0.0",
		"--advertise-address=" + c.node,
		"--kubelet-client-certificate=" + c.pki("kubelet-client.crt"),
		"--kubelet-client-key=" + c.pki("kubelet-client.key"),
		"--kubelet-certificate-authority=" + c.CA(),
		"--kubelet-preferred-address-types=InternalIP",
	}
}

func (c *ControlPlane) configureControllerManager(port int) error {
	const user = "system:kube-controller-manager"
	var groups []string
	if c.one {
		groups = []string{"system:masters"} // it needs the rights of every controller
	}
	cfg, err := c.User(user, groups...)
	if err != nil {
		return err
	}
	kubeconfig, err := c.Kubeconfig("kube-controller-manager", cfg)
	if err != nil {
		return err
	}
	c.ControllerManager = c.process("kube-controller-manager", c.Healthy("https://"+loopback(port)+"/healthz"),
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--secure-port="+strconv.Itoa(port),
		"--tls-cert-file="+c.pki("server.crt"),
		"--tls-private-key-file="+c.pki("server.key"),
		"--root-ca-file="+c.pki("ca.crt"),
		"--service-account-private-key-file="+c.pki("service-account.key"),
		"--use-service-account-credentials="+strconv.FormatBool(!c.one),
		"--leader-elect=false",
		"--kube-api-qps=200", // with the default the controllers are still starting when the tests are
		"--kube-api-burst=400",
	)
	return nil
}

func (c *ControlPlane) apiServerReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return c.Clientset.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// bootstrapped asks whether the controllers have done what a cluster that is
// up for a minute takes for granted.
func (c *ControlPlane) bootstrapped(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if c.ControllerManager.PID() == 0 {
		return false, Hopeless(errors.New("kube-controller-manager ended"))
	}
	roles, err := c.Clientset.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	if err := aggregated(roles.Items); err != nil {
		return false, err
	}
	_, err = c.Clientset.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err == nil, err
}

// aggregated checks that every aggregated role has all the rules it is made
// of. The controller fills edit before and after view: one that merely has
// rules may still grow, which a broker takes for somebody widening it.
func aggregated(roles []rbacv1.ClusterRole) error {
	for _, role := range roles {
		if role.AggregationRule == nil {
			continue
		}
		for _, term := range role.AggregationRule.ClusterRoleSelectors {
			selector, err := metav1.LabelSelectorAsSelector(&term)
			if err != nil {
				return err
			}
			for _, part := range roles {
				if part.Name == role.Name || !selector.Matches(labels.Set(part.Labels)) {
					continue
				}
				if len(part.Rules) == 0 || !containsRules(role.Rules, part.Rules) {
					return fmt.Errorf("ClusterRole %s lacks rules of %s", role.Name, part.Name)
				}
			}
		}
	}
	return nil
}

func containsRules(rules, wanted []rbacv1.PolicyRule) bool {
	for _, w := range wanted {
		if !slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool { return reflect.DeepEqual(r, w) }) {
			return false
		}
	}
	return true
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func httpURL(port int) string { return "http://" + loopback(port) }
