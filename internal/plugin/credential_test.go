package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
)

// kubernetes/kubernetes#106768: what is past already is asked for again at every call.
func TestAskAgainAt(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		time.Hour: time.Hour - askAgain, askAgain + 1: 1, askAgain: askAgain, time.Second: time.Second,
	} {
		if got := askAgainAt(now.Add(left), now); !got.Equal(now.Add(want)) || !got.After(now) {
			t.Errorf("with %s left: %s", left, got.Sub(now))
		}
	}
}

func TestRequestName(t *testing.T) {
	for arg, want := range map[string]string{
		"fix": "fix", "areq/spiffe": "spiffe", "accessrequest/fix": "fix", "accessrequests.jit.accessbroker.dev/fix": "fix", "pod/x": "pod/x",
	} {
		if got := requestName(arg); got != want {
			t.Errorf("%s: %s", arg, got)
		}
	}
}

// What was sealed for this grant to this key opens, and nothing else does.
func TestOpen(t *testing.T) {
	key, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	seal := func(name, uid, token string) *v1alpha1.AccessRequest {
		sealed, err := credential.Seal(key.Public(), credential.Grant{Name: name, UID: "u1"}, token)
		if err != nil {
			t.Fatal(err)
		}
		r := anActiveRequest()
		r.Status.GrantName, r.Status.Credential = "fix-1", &v1alpha1.SealedCredential{GrantUID: "u1", Sealed: sealed}
		if uid != "u1" {
			r.Status.Credential.GrantUID = "u2"
		}
		return r
	}
	if token, err := open(key, seal("fix-1", "u1", "a.b.c")); err != nil || token != "a.b.c" {
		t.Errorf("%q, %v", token, err)
	}
	for name, r := range map[string]*v1alpha1.AccessRequest{
		"another grant":       seal("fix-2", "u1", "a.b.c"),
		"another of the name": seal("fix-1", "u2", "a.b.c"),
		"nothing":             seal("fix-1", "u1", ""),
		"a header after it":   seal("fix-1", "u1", "a.b.c\r\nX: y"),
	} {
		if token, err := open(key, r); err == nil || token != "" {
			t.Errorf("%s: %q", name, token)
		}
	}
}

// Whether the request may have been made decides whether its key may go.
func TestMayBeDone(t *testing.T) {
	resource := schema.GroupResource{Resource: "accessrequests"}
	reset := func(err error) error {
		return &url.Error{Op: "Post", URL: "https://x", Err: &net.OpError{Op: "read", Err: os.NewSyscallError("read", err)}}
	}
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{apierrors.NewForbidden(resource, "x", errors.New("no")), false},
		{apierrors.NewUnauthorized("no"), false},
		{apierrors.NewAlreadyExists(resource, "x"), false},
		{apierrors.NewTooManyRequests("later", 1), false},
		{apierrors.NewInternalError(errors.New("x")), true},
		{apierrors.NewTimeoutError("x", 1), true},
		{apierrors.NewGenericServerResponse(502, "post", resource, "x", "bad gateway", 0, true), true},
		{reset(syscall.ECONNRESET), true},
		{reset(syscall.ECONNREFUSED), false},
		{&url.Error{Op: "Post", Err: io.EOF}, true},
		{fmt.Errorf("x: %w", context.Canceled), true},
		{&url.Error{Op: "Post", Err: context.DeadlineExceeded}, true},
		{&url.Error{Op: "Post", Err: errors.New("getting credentials: exec: executable aws failed with exit code 255")}, false},
		{&url.Error{Op: "Post", Err: errors.New("tls: failed to verify certificate")}, false},
	} {
		if got := mayBeDone(tc.err); got != tc.want {
			t.Errorf("%v: %v", tc.err, got)
		}
	}
}

func TestPrintExecCredential(t *testing.T) {
	for info, want := range map[string]string{
		"": `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false},"status":{"expirationTimestamp":"2026-05-04T10:00:00Z","token":"a.b.c"}}` + "\n",
		`{"apiVersion":"client.authentication.k8s.io/v1beta1"}`: `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false},"status":{"expirationTimestamp":"2026-05-04T10:00:00Z","token":"a.b.c"}}` + "\n",
		`{"apiVersion":"client.authentication.k8s.io/v2"}`:      "",
		`{`: "",
	} {
		t.Setenv(execInfoVariable, info)
		var out bytes.Buffer
		o := &options{IOStreams: genericiooptions.IOStreams{Out: &out}}
		err := o.printExecCredential("a.b.c", time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC))
		if out.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %v, %s", info, err, out.String())
		}
	}
}
