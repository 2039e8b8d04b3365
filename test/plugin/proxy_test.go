package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/env"
)

// behindProxy is somebody whom a proxy in front of the API server signs in, with
// an attribute that is another one at each call.
func behindProxy(t *testing.T, name, group, attribute string) person {
	t.Helper()
	config := e.ControlPlane.Admin()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Impersonate-User", name)
			r.Out.Header.Set("Impersonate-Group", group)
			r.Out.Header.Set("Impersonate-Extra-"+attribute, fmt.Sprint("nonce-", calls.Add(1)))
		},
	}
	server := httptest.NewServer(http.Handler(proxy))
	t.Cleanup(server.Close)
	p, err := login("proxied-"+name+"-"+attribute, &rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Who asks is left to the API server, which alone knows what it takes us for at
// that moment.
func TestAttributesThatChange(t *testing.T) {
	t.Parallel()
	for _, attribute := range []string{"session-nonce", "sessionname"} {
		t.Run(attribute, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, nil)
			ann, sue := behindProxy(t, "ann", "dev", attribute), behindProxy(t, "sue", "sre", attribute)
			ann.run(t, "request", "edit", "-n", ns, "--name", "fix", "--reason", "INC-42").ok(t, "fix created")
			e.WaitMatched(t, request(ns, "fix"))
			sue.run(t, "approve", "fix", "-n", ns, "--yes").ok(t, "fix approved")
			e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive)
			sue.run(t, "revoke", "fix", "-n", ns).ok(t, "fix revoked")
			e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestRevoked)
		})
	}
}

// Where nothing fills in who asks, the plugin does, and a refusal says which
// part of it is another one by now. Not parallel: it takes the stamps away.
func TestAttributesThatChangeUnstamped(t *testing.T) {
	kubectl := func(args ...string) {
		t.Helper()
		if out, err := e.Kubectl(admin.kubeconfig, args...).CombinedOutput(); err != nil {
			t.Fatalf("kubectl %s: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() {
		kubectl("apply", "-f", filepath.Join(e.Root, "config", "admission", "stamp_requester.yaml"), "-f", filepath.Join(e.Root, "config", "admission", "stamp_decisions.yaml"))
		eventually(t, func() error {
			return admin.Create(context.WithoutCancel(t.Context()), env.NewRequest("default", nil), client.DryRunAll)
		})
	})
	kubectl("delete", "mutatingadmissionpolicybindings", "-l", "app.kubernetes.io/name=access-broker")
	eventually(t, func() error {
		if err := admin.Create(context.WithoutCancel(t.Context()), env.NewRequest("default", nil), client.DryRunAll); err != nil {
			return nil
		}
		return errors.New("the requester is stamped still")
	})

	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	ann, sue := behindProxy(t, "ann", "dev", "session-nonce"), behindProxy(t, "sue", "sre", "session-nonce")
	ann.run(t, "request", "edit", "-n", ns, "--name", "fix", "--reason", "INC-42").ok(t, "fix created")
	if kept := e.WaitMatched(t, request(ns, "fix")).Spec.Requester; len(kept.OmittedExtra) != 1 || kept.OmittedExtra[0] != "session-nonce" || len(kept.Extra) != 0 {
		t.Errorf("stored as %+v", kept)
	}
	sue.run(t, "approve", "fix", "-n", ns, "--yes").ok(t, "fix approved")
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive)
	ann.run(t, "release", "fix", "-n", ns).ok(t, "fix released")
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestCompleted)

	behindProxy(t, "ann", "dev", "sessionname").run(t, "request", "edit", "-n", ns, "--reason", "INC-42").
		ends(t, 1, "must be the authenticated user, ann", "these parts are not: extra, whose keys are [sessionname]").not(t, "groups")
}

// eventually waits until something holds.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(context.WithoutCancel(t.Context()), 20*time.Millisecond, env.Patience, true, func(context.Context) (bool, error) {
		last = condition()
		return last == nil, nil
	})
	if err != nil {
		t.Fatal(last)
	}
}
