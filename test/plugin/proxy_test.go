package plugin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// behindProxy is somebody whom a proxy in front of the API server signs in, with
// an attribute that is another one at each call.
func behindProxy(t *testing.T, name, group, attribute string) person {
	t.Helper()
	config := e.AdminConfig()
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
	t.Cleanup(func() {
		kubectl(t, "apply", "-f", filepath.Join(e.Root, "config", "admission", "stamp_requester.yaml"), "-f", filepath.Join(e.Root, "config", "admission", "stamp_decisions.yaml"))
		kit.Eventually(t, "the stamps", func(ctx context.Context) (bool, error) {
			err := admin.Create(ctx, lab.NewRequest("default", nil), client.DryRunAll)
			return err == nil, err
		})
	})
	kubectl(t, "delete", "mutatingadmissionpolicybindings", "-l", "app.kubernetes.io/name=access-broker")
	kit.Eventually(t, "the end of the stamps", func(ctx context.Context) (bool, error) {
		return admin.Create(ctx, lab.NewRequest("default", nil), client.DryRunAll) != nil, nil
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
