package usage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever comes, the first look loses nothing that the filter asks for, and an event
// that comes after it is found.
func FuzzRead(f *testing.F) {
	event := encoded(f, call())
	for _, seed := range []string{
		event, "[" + event + "]", `{"items":[` + event + "]}", `{"log":` + quoted(f, event) + "}", event[:300] + "\n" + event,
		`{"logEvents":[{"message":` + quoted(f, event) + `}]}`, "x " + event, `{"protoPayload":{"serviceName":"k8s.io","methodName":"io.k8s.core.v1.pods.get","resourceName":"core/v1/pods/x"},"insertId":"1","timestamp":"2026-05-04T12:00:00Z"}`,
		"\x1f\x8b\x08", indented2(f, event), strings.Replace(event, "fix", `\u0066ix`, 1), strings.Repeat("[", 20_000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		asked := NewFilter([]string{"fix"}, []string{"bob", "zoë", ":x"})
		collect := func(filter *Filter, text string) (found []Event, err error) {
			_, err = Read(strings.NewReader(text), filter, func(e *Event) error {
				found = append(found, *e)
				return nil
			})
			return found, err
		}
		all, err := collect(nil, string(data))
		if err != nil {
			return // not gzip
		}
		var want []Event
		for i := range all {
			if asked.asksFor(&all[i]) {
				want = append(want, all[i])
			}
		}
		got, err := collect(asked, string(data))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	})
}

// A reason is read back as Kubernetes writes it; no name can pass for another.
func FuzzBinding(f *testing.F) {
	f.Add("fix", "payments", "edit", "alice", false)
	f.Add(`fix" of ClusterRole "edit`, `pay/ments\`, `a" to User "b`, "\n", true)
	f.Fuzz(func(t *testing.T, name, namespace, role, user string, cluster bool) {
		want := Binding{Kind: "RoleBinding", Namespace: namespace, Name: name, RoleKind: "ClusterRole", Role: role}
		written := name + "/" + namespace
		if cluster {
			want.Kind, want.Namespace, written = "ClusterRoleBinding", "", name
		}
		e := Event{Allowed: true, Reason: fmt.Sprintf("RBAC: allowed by %s %q of ClusterRole %q to User %q", want.Kind, written, role, user)}
		got, ok := e.Binding()
		valid := strings.ToValidUTF8(name+namespace+role, "") == name+namespace+role && !strings.Contains(name, "/")
		if valid && (!ok || got != want) {
			t.Errorf("%s: %+v, want %+v", e.Reason, got, want)
		}
		for _, reason := range []string{name, allowedBy + name, allowedBy + "RoleBinding " + name} {
			(&Event{Allowed: true, Reason: reason}).Binding()
		}
		e.Allowed = false
		if _, ok := e.Binding(); ok {
			t.Error("a binding of a call that was not allowed")
		}
	})
}
