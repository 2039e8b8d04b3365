package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/accessbroker/accessbroker/internal/plugin/asking"
)

// What needs no Workload API that knows somebody; test/spiffe has the rest.
func TestCredentialSPIFFEWords(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, "silent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	silent := "unix://" + listener.Addr().String()
	for name, tc := range map[string]struct {
		socket, info string // in the environment
		args         []string
		want         string
	}{
		"no audience":       {"", "", nil, "name an audience that the API server accepts with --audience\nSee 'kubectl access credential spiffe --help'."},
		"no socket":         {"", "", []string{"--audience=a"}, "it is not known where the Workload API is\nName it with --socket or $SPIFFE_ENDPOINT_SOCKET, as in unix:///run/spire/agent.sock: ask whoever runs SPIRE here."},
		"an argument":       {silent, "", []string{"x"}, `unexpected argument "x"`},
		"too long":          {silent, "", []string{"--audience=a", "--timeout=1h"}, "--timeout must be above 0 and at most 5m"},
		"socket not there":  {"unix://" + dir + "/none", "", []string{"--audience=a"}, "there is no Workload API at " + dir + "/none: no such file or directory"},
		"socket by a flag":  {"unix:///wrong", "", []string{"--audience=a", "--socket=" + dir}, dir + " is no socket"},
		"no address":        {"spire.sock", "", []string{"--audience=a"}, `"spire.sock" is no address of the Workload API: workload endpoint socket URI must have a "tcp" or "unix" scheme`},
		"nobody answers":    {silent, "", []string{"--audience=a", "--timeout=100ms"}, "did not answer within"},
		"a pattern":         {silent, "", []string{"--audience=a", "--spiffe-id=spiffe://example.org/*"}, `"spiffe://example.org/*" is no SPIFFE ID`},
		"an old kubeconfig": {silent, `{"apiVersion":"client.authentication.k8s.io/v1alpha1","kind":"ExecCredential"}`, []string{"--audience=a"}, `asks for a credential in version "client.authentication.k8s.io/v1alpha1", which is not known` + "\nWrite apiVersion: client.authentication.k8s.io/v1 in the exec of the kubeconfig."},
		"no kubeconfig":     {silent, "{", []string{"--audience=a"}, "$KUBERNETES_EXEC_INFO is not what client-go writes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SPIFFE_ENDPOINT_SOCKET", tc.socket)
			t.Setenv("KUBERNETES_EXEC_INFO", tc.info)
			var out, errs bytes.Buffer
			streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errs}
			code := Run(t.Context(), streams, "dev", append([]string{"kubectl-access", "credential", "spiffe"}, tc.args...))
			if code == 0 || out.Len() > 0 || !strings.Contains(errs.String(), tc.want) {
				t.Errorf("%d: %q; want %q\n%s", code, errs.String(), tc.want, out.String())
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := svidRequest{socket: silent, audience: "a", timeout: time.Minute}
		if _, err := r.fetch(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestExecCredential(t *testing.T) {
	for info, want := range map[string]string{
		"": "client.authentication.k8s.io/v1",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}`:      "client.authentication.k8s.io/v1",
		`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}`: "client.authentication.k8s.io/v1beta1",
	} {
		if got, err := execVersion(info); got != want || err != nil {
			t.Errorf("%s: %q, %v", info, got, err)
		}
	}
	body, err := json.Marshal(execCredential("client.authentication.k8s.io/v1", "e30.e30.e30", time.Date(2026, 5, 4, 9, 59, 57, 999, time.UTC)))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false},"status":{"expirationTimestamp":"2026-05-04T09:59:57Z","token":"e30.e30.e30"}}`
	if string(body) != want {
		t.Errorf("%s", body)
	}
}

func TestOnlySVID(t *testing.T) {
	svid := func(path string) *jwtsvid.SVID {
		return &jwtsvid.SVID{ID: spiffeid.RequireFromString("spiffe://example.org" + path)}
	}
	a, b := svid("/a"), svid("/b")
	for name, tc := range map[string]struct {
		id    string
		svids []*jwtsvid.SVID
		want  *jwtsvid.SVID
		says  string
	}{
		"one":                 {"", []*jwtsvid.SVID{a}, a, ""},
		"one, twice":          {"", []*jwtsvid.SVID{a, svid("/a")}, a, ""},
		"two":                 {"", []*jwtsvid.SVID{b, a}, nil, "2 identities: spiffe://example.org/a, spiffe://example.org/b"},
		"the one wanted":      {"spiffe://example.org/b", []*jwtsvid.SVID{a, b}, b, ""},
		"another one":         {"spiffe://example.org/c", []*jwtsvid.SVID{a}, nil, "another identity than spiffe://example.org/c"},
		"of another spelling": {"spiffe://example.org/A", []*jwtsvid.SVID{a}, nil, "another identity"},
	} {
		got, err := svidRequest{id: tc.id}.only(tc.svids)
		if got != tc.want || (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestExplainWorkloadAPI(t *testing.T) {
	r := svidRequest{timeout: 3 * time.Second}
	for want, err := range map[string]error{
		"does not know this workload: no identity issued": status.Error(codes.PermissionDenied, "no identity issued"),
		"did not answer within 3s":                        status.Error(codes.DeadlineExceeded, "x"),
		"nobody answers at unix:///x: refused":            status.Error(codes.Unavailable, "refused"),
		"does not accept this: audience":                  status.Error(codes.InvalidArgument, "audience"),
		"a token that is over by the clock":               errors.New("jwtsvid: token has expired"),
		"the Workload API at unix:///x: odd":              errors.New("odd"),
	} {
		if got := r.explain(err, "unix:///x").Error(); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// TestParseWorkload: people write a SPIFFE ID where they write a subject.
func TestParseWorkload(t *testing.T) {
	const id = "spiffe://example.org/ns/payments/sa/deployer"
	for _, word := range []string{id, "user:" + id} {
		if s, err := asking.Subject(word); err != nil || s.Kind != "User" || s.Name != id {
			t.Errorf("%s: %+v, %v", word, s, err)
		}
	}
	for word, want := range map[string]string{
		"spiffe://example.org":         "it is a trust domain",
		"spiffe://example.org/ns/*":    "it is a pattern",
		"user:spiffe://example.org/**": "it is a pattern",
		"spiffe://Example.org/a":       "trust domain characters",
		"spiffe:/example.org/a":        "is not a subject",
		"group:spiffe":                 "",
	} {
		s, err := asking.Subject(word)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", word, s, err, want)
		}
	}
}
