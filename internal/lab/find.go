package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// assetsVariable names the folder with the programs, as envtest has it.
	assetsVariable = "KUBEBUILDER_ASSETS"

	module = "module github.com/accessbroker/accessbroker"

	// probeTimeout bounds one question whether a program is ready.
	probeTimeout = 5 * time.Second
)

// findBinaries returns the folder with all the programs.
func (c *ControlPlane) findBinaries(folder string) (string, error) {
	var err error
	if folder == "" {
		folder, err = Assets()
	} else {
		folder, err = filepath.Abs(folder)
	}
	if err != nil {
		return "", err
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			return "", fmt.Errorf("%s is missing (run `make controlplane`, or set %s to a folder that has it): %w",
				name, assetsVariable, err)
		}
	}
	return folder, nil
}

// Assets is the folder with the programs of Kubernetes, unless Options say
// otherwise: $KUBEBUILDER_ASSETS, or else the module's bin folder.
func Assets() (string, error) {
	if folder := os.Getenv(assetsVariable); folder != "" {
		return filepath.Abs(folder)
	}
	root, err := ModuleRoot()
	return filepath.Join(root, "bin"), err
}

// ModuleRoot returns the folder of this module's go.mod, at or above the
// working directory.
func ModuleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil && isModule(string(content)):
			return dir, nil
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return "", err
		case dir == filepath.Dir(dir):
			return "", fmt.Errorf("no go.mod with %q at or above %s", module, start)
		}
	}
}

// isModule tells our go.mod from those of the modules in folders below.
func isModule(content string) bool {
	first, _, _ := strings.Cut(content, "\n")
	return strings.TrimSpace(first) == module
}

// freePorts asks the kernel for ports on the loopback address. All are held
// until the last is known, so they differ.
func freePorts(n int) ([]int, error) {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// FreeAddress is the loopback address with a free port.
func FreeAddress() (string, error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	return loopback(ports[0]), nil
}

// Healthy returns a check that the URL answers 200, for NewProcess.
func (c *ControlPlane) Healthy(url string) func(context.Context) error {
	trusted := x509.NewCertPool()
	trusted.AddCert(c.ca.cert)
	return healthy(url, trusted)
}

// healthy returns a check that the URL answers 200, for NewProcess. The pool is
// needed for https only.
func healthy(url string, trusted *x509.CertPool) func(context.Context) error {
	client := &http.Client{
		Timeout: probeTimeout,
		// A connection kept from before a restart would only fail once more.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trusted}},
	}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
			return fmt.Errorf("%s answers %s: %s", url, response.Status, body)
		}
		return nil
	}
}
