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
		`{"awslogs":{"data":` + inBase64(event) + "}}", `{"records":[{"data":` + inBase64(zipped(f, event)) + `}]}`, nest(event, 2), event + nest(event, 1),
		`{"specversion":"1.0","data_base64":` + inBase64(event) + "}", `{"message":` + quoted(f, nest(event, 1)) + "}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { losesNothing(t, string(data)) })
}

// The same of what is packed: the fuzzer does not guess base64.
func FuzzReadPackages(f *testing.F) {
	event := encoded(f, call())
	for _, seed := range []string{event, subscription(f, "kube-apiserver-audit-1", event, event), nest(event, 1), event + "\n" + event[:300], `{"auditID":"a","stage":"Panic","user":{"username":"bob"},"stageTimestamp":"2026-05-04T12:00:00Z"}`} {
		for envelope := range uint8(5) {
			f.Add([]byte(seed), envelope, envelope%2 == 0, 0)
			f.Add([]byte(seed), envelope, true, 30)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, envelope uint8, zip bool, cut int) {
		text := string(data)
		if zip {
			text = zipped(t, text)
		}
		packed := inBase64(text)
		if 0 < cut && cut < len(packed)-2 {
			packed = packed[:len(packed)-1-cut] + `"`
		}
		losesNothing(t, []string{
			`{"awslogs":{"data":` + packed + `}}`, `{"records":[{"data":` + packed + `},{"data":` + packed + `}]}`, `{"message":{"data":` + packed + `}}`,
			`{"data_base64":` + packed + `}`, "[\n{\"message\":" + `{"data":` + strings.ReplaceAll(packed, "/", `\/`) + "}}\n]\n",
		}[envelope%5])
	})
}

// losesNothing: what a filter asks for is what it finds.
func losesNothing(t *testing.T, text string) {
	t.Helper()
	asked := NewFilter([]string{"fix"}, []string{"bob", "zoë", ":x"})
	collect := func(filter *Filter) (found []Event, err error) {
		_, err = Read(strings.NewReader(text), filter, func(e *Event) error {
			found = append(found, *e)
			return nil
		})
		return found, err
	}
	all, err := collect(nil)
	if err != nil {
		return // not gzip
	}
	var want []Event
	for i := range all {
		if asked.asksFor(&all[i]) {
			want = append(want, all[i])
		}
	}
	got, err := collect(asked)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
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
