package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// Share lets people outside reach the API server until the context ends: the
// kubeconfigs of these names work on the machine, too. It returns their folder.
func (n *Node) Share(ctx context.Context, names ...string) (string, error) {
	door, err := net.FileListener(os.NewFile(doorFD, "door"))
	if err != nil {
		return "", fmt.Errorf("open the door to the machine: %w", err)
	}
	go func() {
		<-ctx.Done()
		_ = door.Close()
	}()
	go serve(door, net.JoinHostPort("127.0.0.1", strconv.Itoa(lab.NodeAPIPort)))
	for _, name := range names {
		if err := n.export(name, "https://"+door.Addr().String()); err != nil {
			return "", err
		}
	}
	return folderOf(Name()), nil
}

// serve connects everybody who comes to the door with the address inside.
func serve(door net.Listener, inside string) {
	for {
		outer, err := door.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outer.Close()
			inner, err := net.Dial("tcp", inside)
			if err != nil {
				return
			}
			defer inner.Close()
			go func() {
				_, _ = io.Copy(inner, outer)
				_ = inner.Close()
			}()
			_, _ = io.Copy(outer, inner)
		}()
	}
}

// export writes a kubeconfig for people outside, who come through the door.
func (n *Node) export(name, server string) error {
	config, err := clientcmd.LoadFromFile(n.KubeconfigOf(name))
	if err != nil {
		return fmt.Errorf("read the kubeconfig of %s: %w", name, err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = server
	}
	return clientcmd.WriteToFile(*config, filepath.Join(folderOf(Name()), name+".kubeconfig"))
}
