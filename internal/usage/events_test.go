package usage

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// The events of these tests are written by the API server's own type.

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// call is a GET of Secret db in payments by alice, allowed by a binding of a grant.
func call(change ...func(*auditv1.Event)) auditv1.Event {
	e := auditv1.Event{
		TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: "audit.k8s.io/v1"},
		Level:    auditv1.LevelMetadata, AuditID: "7c9a0b4e-0001", Stage: auditv1.StageResponseComplete,
		RequestURI: "/api/v1/namespaces/payments/secrets/db?fieldManager=a&b=<c>", Verb: "get",
		User:      authnv1.UserInfo{Username: "alice", Groups: []string{"dev", "system:authenticated"}},
		SourceIPs: []string{"192.0.2.7", "10.0.0.1"}, UserAgent: "kubectl/v1.36.1 (linux/amd64) kubernetes/abc",
		ObjectRef:                &auditv1.ObjectReference{Resource: "secrets", Namespace: "payments", Name: "db", APIVersion: "v1"},
		ResponseStatus:           &metav1.Status{Code: 200},
		RequestReceivedTimestamp: metav1.NewMicroTime(noon), StageTimestamp: metav1.NewMicroTime(noon.Add(4 * time.Millisecond)),
		Annotations: map[string]string{
			decisionKey: "allow",
			reasonKey:   allowedByBinding("fix", "payments"),
		},
	}
	for _, change := range change {
		change(&e)
	}
	return e
}

// wanted is the Event of call.
func wanted() Event {
	return Event{
		ID: "7c9a0b4e-0001", Stage: "ResponseComplete", Received: noon, Stamped: noon.Add(4 * time.Millisecond), User: "alice",
		Verb: "get", Path: "/api/v1/namespaces/payments/secrets/db", Resource: "secrets", Namespace: "payments", Name: "db",
		Code: 200, Allowed: true, Reason: allowedByBinding("fix", "payments"),
		Addresses: []string{"192.0.2.7", "10.0.0.1"}, UserAgent: "kubectl/v1.36.1 (linux/amd64) kubernetes/abc",
	}
}

func allowedByBinding(name, namespace string) string {
	return fmt.Sprintf("RBAC: allowed by RoleBinding %q of ClusterRole %q to User %q", name+"/"+namespace, "edit", "alice")
}

func id(id string) func(*auditv1.Event) {
	return func(e *auditv1.Event) { e.AuditID = types.UID(id) }
}

// encoded is an event as API servers write it: by encoding/json, on one line.
func encoded(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// quoted is a text as a string in JSON.
func quoted(t testing.TB, text string) string {
	t.Helper()
	return encoded(t, text)
}
