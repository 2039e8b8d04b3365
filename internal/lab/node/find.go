package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// What hack/controlplane/node.sh puts where.
const (
	packagesFolder = "packages" // Debian's, unpacked
	imagesFolder   = "images"
)

func folder(root string) string { return filepath.Join(root, "bin", "node") }

func (n *Node) binary(name string) string { return filepath.Join(n.folder, name) }

func logOf(name string) string { return filepath.Join(state, name+".log") }

// Missing tells what keeps a node from running here, and how to get it; nil
// when nothing does. Its error is an ErrMissing.
func Missing() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: it needs Linux, this is %s", ErrMissing, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root, for namespaces, mounts and cgroups of its own", ErrMissing)
	}
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	assets, err := lab.Assets()
	if err != nil {
		return err
	}
	var missing []string
	for folder, names := range map[string][]string{
		assets: {"kubelet", "kube-scheduler", "kube-proxy"},
		folder(root): {
			"containerd", "containerd-shim-runc-v2", "ctr", "kube-router",
			packagesFolder + "/usr/sbin/runc", packagesFolder + "/usr/sbin/nft", packagesFolder + "/usr/lib/cni/bridge",
			packagesFolder + "/usr/sbin/iptables-restore", packagesFolder + "/usr/sbin/ipset",
			imagesFolder + "/access-broker-latest.tar", imagesFolder + "/kubectl-access-latest.tar", imagesFolder + "/pause.tar",
		},
	} {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
				missing = append(missing, filepath.Join(folder, name))
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: there is no %s; run `make node-binaries`, which needs apt-get and dpkg of Debian or Ubuntu", ErrMissing, strings.Join(slices.Sorted(slices.Values(missing)), ", "))
	}
	return nil
}

// tools lets programs inside find those of the node, and their libraries.
func tools() error {
	root, err := lab.ModuleRoot()
	if err != nil {
		return err
	}
	packages := filepath.Join(folder(root), packagesFolder)
	libraries, err := filepath.Glob(filepath.Join(packages, "usr", "lib", "*-linux-gnu"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(packages, "lib", "*-linux-gnu"))
	if err != nil {
		return err
	}
	extensions, err := filepath.Glob(filepath.Join(packages, "usr", "lib", "*-linux-gnu", "xtables"))
	if err != nil {
		return err
	}
	list := string(os.PathListSeparator)
	path := []string{folder(root), filepath.Join(packages, "usr", "sbin"), os.Getenv("PATH")}
	return errors.Join(
		os.Setenv("PATH", strings.Join(path, list)),
		os.Setenv("LD_LIBRARY_PATH", strings.Join(append(libraries, more...), list)),
		os.Setenv("XTABLES_LIBDIR", strings.Join(extensions, list)),
	)
}
