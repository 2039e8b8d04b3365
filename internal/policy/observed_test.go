package policy

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// The suspicious uses to copy find what they are for, and nothing in a common call.
func TestSuspiciousUsesToCopy(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", "observed.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	object := &v1alpha1.AccessPolicy{}
	if err := yaml.UnmarshalStrict(content, object); err != nil {
		t.Fatal(err)
	}
	p := Compile(object)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	type vars = map[string]any
	pod := func(spec vars) vars {
		return vars{"verb": "create", "resource": "pods", "object": vars{"metadata": vars{"name": "x"}, "spec": spec}}
	}
	privileged := []any{vars{"name": "c", "securityContext": vars{"privileged": true}}}
	plain := []any{vars{"name": "c"}}
	tried := map[string]bool{}
	for name, test := range map[string]struct {
		event, usage, known vars
		want                string
	}{
		"a common call":                    {},
		"a common Pod":                     {event: pod(vars{"containers": plain, "volumes": []any{vars{"name": "v", "emptyDir": vars{}}}})},
		"a Pod whose body is not logged":   {event: vars{"verb": "create", "resource": "pods"}},
		"a Pod without a spec":             {event: vars{"verb": "create", "resource": "pods", "object": vars{}}},
		"an exec, which is a create":       {event: vars{"verb": "create", "resource": "pods", "subresource": "exec"}},
		"a second address":                 {usage: vars{"addresses": []any{"10.0.0.2"}}, want: "second-address"},
		"a few refusals":                   {event: vars{"allowed": false, "code": 403}, usage: vars{"refusedLately": 19}},
		"many refusals":                    {event: vars{"allowed": false, "code": 403}, usage: vars{"refusedLately": 20}, want: "refused-burst"},
		"a call after many refusals":       {usage: vars{"refusedLately": 20}},
		"Secrets of a namespace":           {event: vars{"verb": "list", "resource": "secrets"}},
		"Secrets of all":                   {event: vars{"verb": "list", "resource": "secrets", "namespace": ""}, want: "secrets-everywhere"},
		"Secrets of all, watched":          {event: vars{"verb": "watch", "resource": "secrets", "namespace": ""}, want: "secrets-everywhere"},
		"Secrets of another kind":          {event: vars{"verb": "list", "group": "vault.example.com", "resource": "secrets", "namespace": ""}},
		"a binding is read":                {event: vars{"verb": "get", "group": "rbac.authorization.k8s.io", "resource": "rolebindings"}},
		"a binding is written":             {event: vars{"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "rolebindings"}, want: "rbac-written"},
		"a binding was not let be written": {event: vars{"verb": "create", "group": "rbac.authorization.k8s.io", "resource": "rolebindings", "allowed": false}},
		"a Pod in the network of its node": {event: pod(vars{"hostNetwork": true, "containers": plain}), want: "host-access"},
		"a Pod among the processes of it":  {event: pod(vars{"hostPID": true, "containers": plain}), want: "host-access"},
		"a Pod with its memory":            {event: pod(vars{"hostIPC": true, "containers": plain}), want: "host-access"},
		"a Pod with its files":             {event: pod(vars{"volumes": []any{vars{"name": "v", "hostPath": vars{"path": "/"}}}}), want: "host-access"},
		"the Pod of kubectl debug node": {event: pod(vars{
			"hostIPC": true, "hostNetwork": true, "hostPID": true, "nodeName": "n1", "restartPolicy": "Never",
			"containers": []any{vars{"name": "debugger", "volumeMounts": []any{vars{"mountPath": "/host", "name": "host-root"}}}},
			"volumes":    []any{vars{"name": "host-root", "hostPath": vars{"path": "/"}}},
		}), want: "host-access"},
		"a privileged Pod":                    {event: pod(vars{"containers": privileged}), want: "host-access"},
		"a Pod with a privileged beginning":   {event: pod(vars{"containers": plain, "initContainers": privileged}), want: "host-access"},
		"a client never seen":                 {event: vars{"client": "curl"}, want: "new-client"},
		"a client of somebody who is new":     {event: vars{"client": "curl"}, known: vars{"clients": []any{}, "grants": 0}},
		"a client that does not say its name": {event: vars{"client": ""}, want: "new-client"},
	} {
		with := func(rest, more vars) vars {
			out := maps.Clone(rest)
			maps.Copy(out, more)
			return out
		}
		in := vars{
			"event": with(vars{
				"user": "alice", "as": "", "groups": []any{"developers"}, "verb": "get", "group": "", "resource": "deployments", "subresource": "", "namespace": "shop",
				"name": "web", "path": "", "code": 200, "allowed": true, "address": "10.0.0.1", "claimedAddress": "", "userAgent": "kubectl/v1.37.0", "client": "kubectl",
				"time": noon, "object": nil,
			}, test.event),
			"grant": vars{"spec": vars{"reason": "INC-42"}},
			"usage": with(vars{
				"calls": 5, "refusedCalls": 0, "failedCalls": 0, "sharedCalls": 0, "refusedLately": 0, "callsLately": 1, "addresses": []any{}, "clients": []any{"kubectl"},
				"users": []any{"alice"}, "risks": vars{}, "firstCall": noon, "lastCall": noon,
			}, test.usage),
			"known": with(vars{"clients": []any{"kubectl", "k9s"}, "addresses": []any{"10.0.0.1"}, "grants": 7}, test.known),
		}
		for _, use := range p.Suspicious() {
			got, err := use.Program.Eval(t.Context(), in)
			if err != nil {
				t.Errorf("%s, %s: %v", name, use.Name, err)
			}
			if got != (use.Name == test.want) {
				t.Errorf("%s: %s is %v", name, use.Name, got)
			}
		}
		tried[test.want] = true
	}
	for _, use := range p.Suspicious() {
		if !tried[use.Name] {
			t.Errorf("nothing was tried that is %s", use.Name)
		}
	}
}
