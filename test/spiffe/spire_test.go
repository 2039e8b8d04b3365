package spiffe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// authority signs the certificates that the issuers serve HTTPS with.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuers"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, err
}

// serve writes a certificate for localhost and its key.
func (a *authority) serve(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600),
	)
}

// issuer is the SPIRE server of a trust domain, and the OIDC discovery provider at
// which an API server finds its keys.
type issuer struct {
	domain, url, dir string
	port             int // of the server's, for agents
	ca               *authority
	server, provider *lab.Process
}

func program(name string) string {
	root, err := lab.ModuleRoot()
	if err != nil {
		panic(err)
	}
	return filepath.Join(root, "bin", "spire", name)
}

func freePort() (string, int, error) {
	address, err := lab.FreeAddress()
	if err != nil {
		return "", 0, err
	}
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return "", 0, err
	}
	return address, tcp.Port, nil
}

// newIssuer is an issuer that does not run yet. Its keys are in a file, so that it
// has the same after a restart, and a thief finds them.
func newIssuer(ca *authority, domain string) (*issuer, error) {
	i := &issuer{domain: domain, dir: filepath.Join(open, domain), ca: ca}
	if err := os.Mkdir(i.dir, 0o700); err != nil {
		return nil, err
	}
	if err := ca.serve(i.dir); err != nil {
		return nil, err
	}
	provider, port, err := freePort()
	if err != nil {
		return nil, err
	}
	i.url = fmt.Sprintf("https://localhost:%d", port)
	if _, i.port, err = freePort(); err != nil {
		return nil, err
	}
	if err := i.write("server.conf", `
server {
  bind_address = "127.0.0.1"
  bind_port = "%d"
  socket_path = "%[2]s/server.sock"
  trust_domain = "%[3]s"
  data_dir = "%[2]s"
  log_level = "INFO"
  jwt_issuer = "%[4]s"
  ca_ttl = "24h"
  default_jwt_svid_ttl = "5m"
}
plugins {
  DataStore "sql" {
    plugin_data {
      database_type = "sqlite3"
      connection_string = "%[2]s/datastore.sqlite3"
    }
  }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { keys_path = "%[2]s/keys.json" } }
}
`, i.port, i.dir, domain, i.url); err != nil {
		return nil, err
	}
	if err := i.write("provider.conf", `
log_level = "info"
domains = ["localhost"]
jwt_issuer = "%s"
serving_cert_file {
  cert_file_path = "%[2]s/tls.crt"
  key_file_path = "%[2]s/tls.key"
  addr = "%[3]s"
}
server_api {
  address = "unix://%[2]s/server.sock"
  poll_interval = "1s"
}
`, i.url, i.dir, provider); err != nil {
		return nil, err
	}
	i.server = lab.NewProcess("spire-server", program("spire-server"), filepath.Join(i.dir, "server.log"), func(ctx context.Context) error {
		_, err := i.run(ctx, "healthcheck")
		return err
	}, "run", "-config", filepath.Join(i.dir, "server.conf"))
	i.provider = lab.NewProcess("oidc-discovery-provider", program("oidc-discovery-provider"), filepath.Join(i.dir, "provider.log"), i.published,
		"-config", filepath.Join(i.dir, "provider.conf"))
	return i, nil
}

func (i *issuer) write(name, format string, args ...any) error {
	return os.WriteFile(filepath.Join(i.dir, name), fmt.Appendf(nil, format, args...), 0o600)
}

func (i *issuer) start(ctx context.Context) error {
	return errors.Join(i.server.Start(ctx), i.provider.Start(ctx))
}

func (i *issuer) stop() {
	i.provider.Stop()
	i.server.Stop()
}

// keys are the ids of the keys that the issuer publishes now.
func (i *issuer) keys(ctx context.Context) ([]string, error) {
	pool := x509.NewCertPool()
	pool.AddCert(i.ca.cert)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+"/keys", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var found struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		return nil, err
	}
	var ids []string
	for _, key := range found.Keys {
		ids = append(ids, key.ID)
	}
	return ids, nil
}

// published asks whether the provider serves keys.
func (i *issuer) published(ctx context.Context) error {
	switch keys, err := i.keys(ctx); {
	case err != nil:
		return err
	case len(keys) == 0:
		return errors.New("no keys yet")
	}
	return nil
}

// run runs a command of spire-server, as its administrator does.
func (i *issuer) run(ctx context.Context, args ...string) (string, error) {
	// The words of a command come before its flags.
	at := 0
	for at < len(args) && !strings.HasPrefix(args[at], "-") {
		at++
	}
	line := append(append(append([]string{}, args[:at]...), "-socketPath", filepath.Join(i.dir, "server.sock")), args[at:]...)
	cmd := exec.CommandContext(ctx, program("spire-server"), line...)
	var output, words strings.Builder // what it warns of is no part of the result
	cmd.Stdout, cmd.Stderr = &output, &words
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("spire-server %s: %w\n%s%s", strings.Join(args, " "), err, output.String(), words.String())
	}
	return strings.TrimSpace(output.String()), err
}

// id is a SPIFFE ID of the trust domain.
func (i *issuer) id(path string) string { return "spiffe://" + i.domain + path }

// mint is a JWT-SVID straight from the server, which gives its administrator one in
// any workload's name.
func (i *issuer) mint(ctx context.Context, id, audience string, ttl time.Duration) (string, error) {
	return i.run(ctx, "jwt", "mint", "-spiffeID", id, "-audience", audience, "-ttl", ttl.String())
}

// newAgent is an agent that has joined, and tells workloads apart by their users.
func (i *issuer) newAgent(ctx context.Context) (*lab.Process, error) {
	output, err := i.run(ctx, "token", "generate", "-spiffeID", i.id("/node"))
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(strings.TrimPrefix(strings.SplitN(output, "\n", 2)[0], "Token:"))
	path := filepath.Join(open, "agent.sock")
	socket = "unix://" + path
	if err := i.write("agent.conf", `
agent {
  data_dir = "%s/agent"
  log_level = "INFO"
  server_address = "127.0.0.1"
  server_port = "%d"
  socket_path = "%s"
  trust_domain = "%s"
  insecure_bootstrap = true
  join_token = "%s"
  experimental { sync_interval = "1s" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`, i.dir, i.port, path, i.domain, token); err != nil {
		return nil, err
	}
	return lab.NewProcess("spire-agent", program("spire-agent"), filepath.Join(i.dir, "agent.log"), func(ctx context.Context) error {
		output, err := exec.CommandContext(ctx, program("spire-agent"), "healthcheck", "-socketPath", path).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	}, "run", "-config", filepath.Join(i.dir, "agent.conf")), nil
}
