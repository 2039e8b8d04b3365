package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// The network of the node: a bridge that Pods are plugged into, and whose
// address is the node's.
const (
	bridge  = "cni0"
	address = "10.88.0.1"
	podNet  = "10.88.0.0/16"
)

// PauseImage holds the namespaces of a Pod, and is a workload: see
// hack/controlplane/runtime/pause.
const PauseImage = "access-broker-pause:latest"

// PluginImage is that of kubectl access.
const PluginImage = "kubectl-access:latest"

// The configuration of what runs on the node. %[1]s is the folder of the
// node's state, %[2]s of the Debian packages.
const containerdConfig = `version = 3
root = '%[1]s/containerd'
state = '%[1]s/containerd-state'
imports = []
[grpc]
  address = '%[1]s/containerd.sock'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '` + PauseImage + `'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  cdi_spec_dirs = []
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '%[2]s/usr/sbin/runc'
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['%[2]s/usr/lib/cni']
  conf_dir = '%[1]s/cni'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
`

// The bridge is there already: the plugin plugs Pods into it.
const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "node",
  "plugins": [{
    "type": "bridge", "bridge": "` + bridge + `", "isDefaultGateway": true, "hairpinMode": true,
    "ipam": {"type": "host-local", "dataDir": "%[1]s/addresses", "ranges": [[{"subnet": "` + podNet + `", "gateway": "` + address + `"}]]}
  }]
}
`

// %[3]s is the cgroup of the Pods, %[4]s the certificate authority, %[5]s and
// %[6]s the kubelet's certificate and key.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[4]s}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /%[3]s
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
# The machine's disk and memory are shared: the node has no say in how full they are.
evictionHard: {memory.available: 1Mi, nodefs.available: 0%%, imagefs.available: 0%%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
podLogsDir: %[1]s/pod-logs
resolvConf: ""
tlsCertFile: %[5]s
tlsPrivateKeyFile: %[6]s
volumePluginDir: %[1]s/volume-plugins
`

// Zero leaves the machine's settings of connection tracking as they are.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %[1]s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
detectLocalMode: BridgeInterface
detectLocal: {bridgeInterface: ` + bridge + `}
hostnameOverride: ` + hostname + `
nftables: {minSyncPeriod: 0s}
`

// write makes a file of the node's configuration, and returns its path.
func write(name, format string, values ...any) (string, error) {
	path := filepath.Join(state, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, fmt.Appendf(nil, format, values...), 0o600)
}
