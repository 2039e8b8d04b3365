package usage

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The words of GKE, as its documentation and reports of users show them.
func TestReadGKE(t *testing.T) {
	entry := func(change ...string) string {
		text := `{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","authenticationInfo":{"principalEmail":"alice@example.com"},"authorizationInfo":[{"granted":true,"permission":"io.k8s.core.v1.pods.exec.create","resource":"core/v1/namespaces/payments/pods/api-0/exec"}],"methodName":"io.k8s.core.v1.pods.exec.create","requestMetadata":{"callerIp":"192.0.2.7","callerSuppliedUserAgent":"kubectl/v1.36.1"},"resourceName":"core/v1/namespaces/payments/pods/api-0/exec","serviceName":"k8s.io","status":{}},"insertId":"a","labels":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":` + quoted(t, allowedByBinding("fix", "payments")) + `},"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","operation":{"first":true,"id":"7c9a0b4e","last":true,"producer":"k8s.io"},"receiveTimestamp":"2026-05-04T12:00:05Z","resource":{"labels":{"cluster_name":"c"},"type":"k8s_cluster"},"timestamp":"2026-05-04T12:00:00Z"}`
		return strings.NewReplacer(change...).Replace(text)
	}
	exec := Event{
		ID: "7c9a0b4e", Stage: "ResponseComplete", Received: noon, Stamped: noon, User: "alice@example.com", Verb: "create",
		Resource: "pods", Subresource: "exec", Namespace: "payments", Name: "api-0", Code: 200, Allowed: true,
		Reason: allowedByBinding("fix", "payments"), Addresses: []string{"192.0.2.7"}, UserAgent: "kubectl/v1.36.1",
	}
	method := "io.k8s.core.v1.pods.exec.create"
	path := "core/v1/namespaces/payments/pods/api-0/exec"
	for name, tc := range map[string]struct {
		text   string
		change func(*Event)
	}{
		"exec": {entry(), func(*Event) {}},
		"refused": {
			entry(`"granted":true,`, "", `"status":{}`, `"status":{"code":7,"message":"Forbidden"}`, `"allow"`, `"forbid"`, encodedReason(t), `""`),
			func(e *Event) { e.Allowed, e.Code, e.Reason = false, 403, "" },
		},
		"before there were labels": {entry(`"labels":{"authorization`, `"labels2":{"authorization`), func(e *Event) { e.Reason = "" }},
		"impersonated":             {entry(`"principalEmail":`, `"authoritySelector":"bob","principalEmail":`), func(e *Event) { e.Impersonated = "bob" }},
		"no operation":             {entry(`"operation":`, `"operation2":`), func(e *Event) { e.ID = "a" }},
		"another group": {
			entry(method, "com.coreos.database.etcd.v1beta2.etcdbackups.list", path, "etcd.database.coreos.com/v1beta2/namespaces/payments/etcdbackups"),
			func(e *Event) {
				e.Group, e.Resource, e.Subresource, e.Name, e.Verb = "etcd.database.coreos.com", "etcdbackups", "", "", "list"
			},
		},
		"cluster-wide": {
			entry(method, "io.k8s.core.v1.nodes.proxy.get", path, "core/v1/nodes/n1/proxy/logs/x/y/z"),
			func(e *Event) {
				e.Resource, e.Subresource, e.Namespace, e.Name, e.Verb = "nodes", "proxy", "", "n1", "get"
			},
		},
		"a Namespace": {
			entry(method, "io.k8s.core.v1.namespaces.delete", path, "core/v1/namespaces/payments"),
			func(e *Event) {
				e.Resource, e.Subresource, e.Name, e.Verb = "namespaces", "", "payments", "delete"
			},
		},
		"a path": {
			entry(method, "io.k8s.get", path, "healthz"),
			func(e *Event) {
				e.Resource, e.Subresource, e.Namespace, e.Name, e.Verb, e.Path = "", "", "", "", "get", "/healthz"
			},
		},
		"created": {
			entry(method, "io.k8s.core.v1.pods.create", path, "core/v1/namespaces/payments/pods", `"serviceName"`, `"response":{"kind":"Pod","metadata":{"name":"debug-x","uid":"u1"}},"serviceName"`),
			func(e *Event) { e.Subresource, e.Name, e.UID = "", "debug-x", "u1" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := exec
			tc.change(&want)
			for _, text := range []string{tc.text, "[" + tc.text + "]", indented(t, "["+tc.text+"]")} {
				found, skipped := reading(t, nil, text)
				if len(found) != 1 || !reflect.DeepEqual(found[0], want) {
					t.Fatalf("%+v\n%s", skipped, cmp.Diff([]Event{want}, found))
				}
			}
			if found, _ := reading(t, NewFilter(nil, []string{"alice@example.com"}), tc.text); len(found) != 1 {
				t.Error("the first look does not see the user")
			}
		})
	}
}

func encodedReason(t *testing.T) string { return quoted(t, allowedByBinding("fix", "payments")) }
