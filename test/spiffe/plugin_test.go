package spiffe

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/accessbroker/accessbroker/test/kit"
)

// TestCredential: what kubectl gets, and when it ends.
func TestCredential(t *testing.T) {
	t.Parallel()
	w := registered(t, "/ns/a/sa/credential")
	stdout, stderr, err := w.run(t, "kubectl", "access", "credential", "spiffe", "--audience", audience)
	if err != nil || stderr != "" {
		t.Fatalf("%v: %s", err, stderr)
	}
	var credential struct {
		APIVersion, Kind string
		Status           struct {
			Token               string
			ExpirationTimestamp time.Time
		}
	}
	if err := json.Unmarshal([]byte(stdout), &credential); err != nil {
		t.Fatal(err)
	}
	_, claims := parts(t, credential.Status.Token)
	end := time.Unix(int64(claims["exp"].(float64)), 0)
	if credential.APIVersion != "client.authentication.k8s.io/v1" || credential.Kind != "ExecCredential" || claims["sub"] != w.id ||
		end.Sub(credential.Status.ExpirationTimestamp) != 10*time.Second {
		t.Errorf("%s of a token of %v until %s", stdout, claims, end)
	}
}

// TestCredentialWords: everything that goes wrong says what to do, and nothing hangs.
func TestCredentialWords(t *testing.T) {
	t.Parallel()
	nobody, two := newWorkload(t), registered(t, "/ns/a/sa/two-1")
	two.register(t, spire.id("/ns/a/sa/two-2"))
	kit.Eventually(t, "the second identity to reach the agent", func(context.Context) (bool, error) {
		_, stderr, err := two.run(t, "kubectl-access", "credential", "spiffe", "--audience", audience)
		return err != nil && strings.Contains(stderr, "2 identities"), nil
	})
	// A socket that nobody listens at any more, and one at which nobody answers.
	dead, silent := filepath.Join(open, "dead.sock"), filepath.Join(open, "silent.sock")
	for _, path := range []string{dead, silent} {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		if path == dead {
			listener.SetUnlinkOnClose(false)
			_ = listener.Close()
			continue
		}
		t.Cleanup(func() { _ = listener.Close() })
	}
	closed := filepath.Join(spire.dir, "server.sock") // in a folder that only root may enter
	for name, tc := range map[string]struct {
		who   *workload
		flags []string
		says  []string
	}{
		"not registered":      {nobody, nil, []string{"the Workload API does not know this workload", "spire-server entry create"}},
		"not registered so":   {two, []string{"--spiffe-id", spire.id("/ns/a/sa/three")}, []string{"does not know this workload as " + spire.id("/ns/a/sa/three")}},
		"several identities":  {two, nil, []string{"this workload has 2 identities: " + spire.id("/ns/a/sa/two-1") + ", " + spire.id("/ns/a/sa/two-2"), "--spiffe-id"}},
		"no audience":         {two, []string{"--audience="}, []string{"name an audience that the API server accepts"}},
		"no such socket":      {two, []string{"--socket=unix:///none/agent.sock"}, []string{"there is no Workload API at /none/agent.sock: no such file or directory", "mounted into this container"}},
		"a path alone":        {two, []string{"--socket=/none/agent.sock"}, []string{"there is no Workload API at /none/agent.sock"}},
		"no socket":           {two, []string{"--socket=unix:///etc/hostname"}, []string{"/etc/hostname is no socket"}},
		"no address":          {two, []string{"--socket=agent.sock"}, []string{`"agent.sock" is no address of the Workload API`, "unix:///run/spire/agent.sock"}},
		"over the network":    {two, []string{"--socket=tcp://spire.example:8081"}, []string{"is no address of the Workload API", "IP:port"}},
		"a socket not opened": {two, []string{"--socket=" + closed}, []string{"permission denied"}},
		"nobody listens":      {two, []string{"--socket=unix://" + dead}, []string{"nobody answers at unix://" + dead, "connection refused"}},
		"nobody answers":      {two, []string{"--socket=unix://" + silent, "--timeout=1s"}, []string{"did not answer within 1s", "spire-agent healthcheck"}},
		"no SPIFFE ID":        {two, []string{"--spiffe-id=two-1"}, []string{`"two-1" is no SPIFFE ID`}},
		"no time":             {two, []string{"--timeout=0s"}, []string{"--timeout must be above 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			stdout, stderr, err := tc.who.run(t, "kubectl-access", append([]string{"credential", "spiffe", "--audience", audience}, tc.flags...)...)
			if err == nil || stdout != "" {
				t.Errorf("it succeeds: %q", stdout)
			}
			for _, words := range tc.says {
				if !strings.Contains(stderr, words) {
					t.Errorf("it does not say %q:\n%s", words, stderr)
				}
			}
			if took := time.Since(begin); took > 9*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("one of several", func(t *testing.T) {
		t.Parallel()
		id := spire.id("/ns/a/sa/two-2")
		if user, err := whoami(t, two.token(t, "--spiffe-id", id)); err != nil || user.Username != id {
			t.Errorf("%+v, %v", user, err)
		}
	})
}
