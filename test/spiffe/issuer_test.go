package spiffe

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

var up sync.Once

// accepted waits until the API server takes a token.
func accepted(t *testing.T, token string) {
	t.Helper()
	kit.Eventually(t, "the token to be accepted", func(context.Context) (bool, error) {
		_, err := whoami(t, token)
		return err == nil, err
	})
}

func refused(t *testing.T, what, token string) {
	t.Helper()
	if user, err := whoami(t, token); !apierrors.IsUnauthorized(err) {
		t.Errorf("%s: the API server takes it for %+v: %v", what, user, err)
	}
}

// comesUp starts the foreign issuer, once, and sees the API server find it.
func comesUp(t *testing.T) {
	t.Helper()
	up.Do(func() {
		if err := abroad.server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		guest := func() string { return must(t)(abroad.mint(t.Context(), abroad.id("/guest"), audience, time.Hour)) }
		refused(t, "its issuer is down", guest())
		if _, err := whoami(t, must(t)(spire.mint(t.Context(), spire.id("/x"), audience, time.Hour))); err != nil {
			t.Errorf("an issuer that is down keeps the workloads of another out: %v", err)
		}
		if err := abroad.provider.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		accepted(t, guest())
		t.Logf("its tokens are accepted %s after it came up", time.Since(begin).Round(100*time.Millisecond))
	})
}

// TestIssuerComesUp: the API server starts while an issuer is down, and finds it later.
func TestIssuerComesUp(t *testing.T) { comesUp(t) }

// rotate has the issuer sign with a new key, and returns the ids of old and new.
func (i *issuer) rotate(t *testing.T) (before, after string) {
	t.Helper()
	var prepared struct {
		Authority struct {
			ID string `json:"authority_id"`
		} `json:"prepared_authority"`
	}
	var shown struct {
		Active struct {
			ID string `json:"authority_id"`
		}
	}
	for _, step := range []struct {
		command string
		into    any
	}{{"show", &shown}, {"prepare", &prepared}} {
		output := must(t)(i.run(t.Context(), "localauthority", "jwt", step.command, "-output", "json"))
		if err := json.Unmarshal([]byte(output), step.into); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	must(t)(i.run(t.Context(), "localauthority", "jwt", "activate", "-authorityID", prepared.Authority.ID))
	return shown.Active.ID, prepared.Authority.ID
}

// TestRotation: an issuer signs with a new key. Old tokens hold to their end, new
// ones as soon as the issuer can be asked for the key; when it is down, the keys that
// are known go on.
func TestRotation(t *testing.T) {
	id := spire.id("/ns/a/sa/rotation")
	mint := func() string { return must(t)(spire.mint(t.Context(), id, audience, time.Hour)) }
	kid := func(token string) any { header, _ := parts(t, token); return header["kid"] }
	accepted(t, mint())
	spire.provider.Stop()
	if _, err := whoami(t, mint()); err != nil {
		t.Errorf("the issuer is down, and a token with a key that is known is not accepted: %v", err)
	}
	// None of these is in use, so the API server has to look at each.
	old, later, last := mint(), mint(), mint()
	before, after := spire.rotate(t)
	fresh := mint()
	if kid(old) != before || kid(fresh) != after {
		t.Fatalf("the keys are %v and %v, want %s and %s", kid(old), kid(fresh), before, after)
	}
	refused(t, "the key is new and the issuer down", fresh)
	if _, err := whoami(t, old); err != nil {
		t.Errorf("the issuer has another key, and an old token is not accepted: %v", err)
	}
	kit.Restart(t, spire.provider)
	begin := time.Now()
	accepted(t, fresh)
	t.Logf("the new key is accepted %s after the issuer came up", time.Since(begin).Round(100*time.Millisecond))
	if _, err := whoami(t, later); err != nil {
		t.Errorf("the new key is known, and an old token is not accepted: %v", err)
	}

	// A key that is revoked is published no more. The API server looks again when it
	// meets a key that it does not know, and not before: docs/workloads.md says so.
	must(t)(spire.run(t.Context(), "localauthority", "jwt", "taint", "-authorityID", before))
	must(t)(spire.run(t.Context(), "localauthority", "jwt", "revoke", "-authorityID", before))
	kit.Eventually(t, "the key to be published no more", func(ctx context.Context) (bool, error) {
		keys, err := spire.keys(ctx)
		return len(keys) > 0 && !slices.Contains(keys, before), err
	})
	spire.rotate(t)
	accepted(t, mint())
	refused(t, "its key is revoked", last)
	// Workloads go on: what the agent gives is accepted.
	registered(t, "/ns/a/sa/after-rotation").must(t, "access", "list")
}

// TestX509: an X.509-SVID has no common name. As a client certificate it is nobody's,
// even where the API server trusts SPIRE's authority.
func TestX509(t *testing.T) {
	dir := t.TempDir()
	must(t)(spire.run(t.Context(), "x509", "mint", "-spiffeID", spire.id("/ns/a/sa/deployer"), "-write", dir))
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	admin := e.AdminConfig()
	c, err := rest.HTTPClientFor(&rest.Config{Host: admin.Host, TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData, CertData: read("svid.pem"), KeyData: read("key.pem")}})
	if err != nil {
		t.Fatal(err)
	}
	// what the API server answers, and says.
	pods := func(ctx context.Context) (int, string, error) {
		c.CloseIdleConnections() // a connection is somebody's from its begin
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin.Host+"/api/v1/namespaces/default/pods", nil)
		if err != nil {
			return 0, "", err
		}
		response, err := c.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return response.StatusCode, string(body), err
	}
	if code, body, err := pods(t.Context()); code != http.StatusUnauthorized || err != nil {
		t.Errorf("signed by a stranger: %d %s %v", code, body, err)
	}
	// The API server reads its authorities again when the file changes.
	trusted, err := os.ReadFile(e.CA())
	if err != nil {
		t.Fatal(err)
	}
	bundle := must(t)(spire.run(t.Context(), "bundle", "show", "-format", "pem"))
	if err := os.WriteFile(e.CA(), slices.Concat(trusted, []byte("\n"+bundle+"\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(e.CA(), trusted, 0o600); err != nil {
			t.Error(err)
		}
	})
	kit.Within(t, 3*time.Minute, "the API server to trust SPIRE's authority", func(ctx context.Context) (bool, error) {
		code, body, err := pods(ctx)
		if err == nil && code == http.StatusOK {
			return false, lab.Hopeless(errors.New("the certificate is somebody's"))
		}
		return code == http.StatusForbidden && strings.Contains(body, `User \"system:anonymous\" cannot list`), err
	})
}
