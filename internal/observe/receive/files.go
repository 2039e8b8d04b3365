package receive

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/accessbroker/accessbroker/internal/serve"
)

// files are the certificate, its key and the clients' authorities. They are looked at
// for each connection and read when they have changed: a renewed certificate needs
// no restart, and no event of the file system can get lost.
type files struct {
	cert, key, clientCA string
	log                 logr.Logger

	mu     sync.Mutex
	stamps [3]stamp
	config *tls.Config
}

// stamp is what changes with a file.
type stamp struct {
	time time.Time
	size int64
}

func newFiles(o Options) (*files, error) {
	if o.CertFile == "" || o.KeyFile == "" {
		return nil, errors.New("a certificate and its key are needed: API servers send to whom they know")
	}
	f := &files{cert: o.CertFile, key: o.KeyFile, clientCA: o.ClientCAFile, log: o.Log}
	f.stamps = f.look()
	var err error
	f.config, err = f.read()
	return f, err
}

func (f *files) look() (stamps [3]stamp) {
	for i, name := range []string{f.cert, f.key, f.clientCA} {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

func (f *files) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	config := serve.TLS()
	config.Certificates = []tls.Certificate{pair}
	// A session that is resumed would bring along what was verified long ago.
	config.SessionTicketsDisabled = true
	if f.clientCA == "" {
		return config, nil
	}
	authorities, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("read the authorities of client certificates: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("no certificate in %s", f.clientCA)
	}
	// Clients prove that they have the key. Who signed is looked at for each delivery:
	// connections last for days, longer than some certificates and authorities.
	config.ClientAuth = tls.RequestClientCert
	return config, nil
}

// current is what the files have. What cannot be read does not replace what could.
func (f *files) current() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if stamps := f.look(); stamps != f.stamps {
		f.stamps = stamps
		if config, err := f.read(); err != nil {
			f.log.Error(err, "cannot read changed certificates, the old ones stay")
		} else {
			f.config = config
		}
	}
	return f.config
}

func (f *files) configForClient(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current(), nil }

// knows tells whether the sender has a certificate of one of the authorities.
func (f *files) knows(connection *tls.ConnectionState) bool {
	if f.clientCA == "" || connection == nil || len(connection.PeerCertificates) == 0 {
		return false
	}
	options := x509.VerifyOptions{
		Roots: f.current().ClientCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, cert := range connection.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := connection.PeerCertificates[0].Verify(options)
	return err == nil
}
