package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/usage"
)

const ofGrant = "edit-x7k2p-93a9a96315c30a04"

// audited is an event as API servers write it; what users choose is s.
func audited(n int, s string, change func(*auditv1.Event)) auditv1.Event {
	at := metav1.NewMicroTime(now.Add(time.Duration(n-60) * time.Second))
	e := auditv1.Event{
		TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: "audit.k8s.io/v1"}, Level: auditv1.LevelMetadata,
		AuditID: types.UID(fmt.Sprint(n)), Stage: auditv1.StageResponseComplete, RequestURI: "/x", Verb: "get",
		User: authnv1.UserInfo{Username: "alice"}, SourceIPs: []string{"198.51.100.9", "192.0.2.7"}, UserAgent: "kubectl/v1.36 " + s,
		ObjectRef:                &auditv1.ObjectReference{Resource: "secrets", Namespace: "payments", Name: "db" + s},
		ResponseStatus:           &metav1.Status{Code: 200},
		RequestReceivedTimestamp: at, StageTimestamp: at,
		Annotations: map[string]string{
			"authorization.k8s.io/decision": "allow",
			"authorization.k8s.io/reason":   fmt.Sprintf("RBAC: allowed by RoleBinding %q of ClusterRole %q to User %q", ofGrant+"/payments", "edit", "alice"),
		},
	}
	if change != nil {
		change(&e)
	}
	return e
}

// anAuditLog has calls by a grant, by another binding, and refused ones.
func anAuditLog(t testing.TB, s string) string {
	t.Helper()
	var log bytes.Buffer
	for _, e := range []auditv1.Event{
		audited(0, s, nil), audited(1, s, func(e *auditv1.Event) { e.ObjectRef.Name, e.ResponseStatus.Code = "none"+s, 404 }),
		audited(2, s, func(e *auditv1.Event) {
			e.Verb, e.ObjectRef.Resource, e.ObjectRef.Name, e.ResponseStatus.Code = "create", "pods", "debug-x"+s, 201
		}),
		audited(3, s, func(e *auditv1.Event) {
			e.Verb, e.ObjectRef.Resource, e.ObjectRef.Subresource, e.ObjectRef.Name, e.Stage, e.ResponseStatus.Code = "create", "pods", "exec", "api-0"+s, auditv1.StageResponseStarted, 101
		}),
		audited(4, s, func(e *auditv1.Event) {
			e.Annotations = map[string]string{"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""}
			e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource, e.ResponseStatus.Code = "delete", "apps"+s, "deployments"+s, 403
		}),
		audited(5, s, func(e *auditv1.Event) {
			e.Annotations["authorization.k8s.io/reason"] = fmt.Sprintf("RBAC: allowed by ClusterRoleBinding %q of ClusterRole %q to User %q", "sre"+s, "view", "bob")
			e.ImpersonatedUser = &authnv1.UserInfo{Username: "bob" + s}
			e.ObjectRef = nil
		}),
	} {
		if err := json.NewEncoder(&log).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return log.String()
}

// run runs a command line of people who have no cluster.
func run(t testing.TB, in string, args ...string) (status int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(in), Out: &stdout, ErrOut: &stderr}
	status = Run(context.Background(), streams, "test", append([]string{"kubectl-access"}, args...))
	return status, stdout.String(), stderr.String()
}

func TestUsageCommand(t *testing.T) {
	log := anAuditLog(t, "")
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(log[:len(log)-10]), 0o600); err != nil {
		t.Fatal(err)
	}
	half := "1 event could not be read: 1 not whole, 0 too long. What they tell counts nowhere.\n"
	for name, tc := range map[string]struct {
		args   []string
		status int
		says   []string
	}{
		"list":              {nil, 0, []string{ofGrant + "\tpayments\talice\t4\t3\t", "By bindings that are not of grants: 1 call; --all lists them."}},
		"all":               {[]string{"--all", "--no-headers"}, 0, []string{ofGrant, "sre\t*\talice as bob\t1\t1\t"}},
		"grant":             {[]string{"--grant", ofGrant}, 0, []string{"Grant " + ofGrant, "4 calls in 3 seconds", "read 1 Secret;", "1 failed", "exec of pods/exec api-0 in payments by alice"}},
		"binding":           {[]string{"--binding", "payments/" + ofGrant}, 0, []string{"RoleBinding payments/" + ofGrant, "4 calls"}},
		"wide binding":      {[]string{"--binding", "sre"}, 0, []string{"ClusterRoleBinding sre", "1 call,", "get /x"}},
		"another's":         {[]string{"--binding", "other/" + ofGrant}, 1, []string{"The log has 4 calls by bindings of that name"}},
		"user":              {[]string{"--user", "alice"}, 0, []string{"User alice", "6 calls", "1 call refused", "delete deployments.apps in payments", "192.0.2.7 (for 198.51.100.9, it says)"}},
		"impersonated":      {[]string{"--user", "bob"}, 0, []string{"User bob", "1 call", "alice as bob"}},
		"user and grant":    {[]string{"--user", "alice", "--grant", ofGrant}, 0, []string{"4 calls"}},
		"too late":          {[]string{"--user", "alice", "--since", "2030-01-01T00:00:00Z"}, 1, []string{"since then; 6 are older"}},
		"nobody's":          {[]string{"--user", "carol"}, 1, []string{"no call of --user carol is in the log"}},
		"as JSON":           {[]string{"-o", "json", "--grant", ofGrant}, 0, []string{`"grant": "` + ofGrant + `"`, `"calls": 4`, `"claimedAddress": "198.51.100.9"`}},
		"as YAML":           {[]string{"-o", "yaml"}, 0, []string{"usage:\n- ", "  calls: 4\n", "skipped:\n"}},
		"none":              {[]string{"--since", "2030-01-01T00:00:00Z"}, 0, []string{"The log names no grant that allowed a call."}},
		"none at all":       {[]string{"--all", "--since", "2030-01-01T00:00:00Z"}, 0, []string{"The log names no binding that allowed a call."}},
		"none, as JSON":     {[]string{"-o", "json", "--since", "2030-01-01T00:00:00Z"}, 0, []string{`"usage": []`}},
		"a half line":       {[]string{"--audit-log", file}, 0, []string{half, ofGrant + "\tpayments\talice\t4\t"}},
		"no ServiceAccount": {[]string{"--user", "sa:x"}, 1, []string{"write sa:NAMESPACE/NAME"}},
	} {
		status, out, errOut := run(t, log, append([]string{"usage", "--audit-log", "-"}, tc.args...)...)
		for _, text := range tc.says {
			if status != tc.status || !strings.Contains(out+errOut, text) {
				t.Errorf("%s: status %d, does not say %q:\n%s%s", name, status, text, out, errOut)
			}
		}
	}
}

// What comes instead of an audit log is named.
func TestUsageOfOtherFiles(t *testing.T) {
	half := anAuditLog(t, "")[:100]
	for in, want := range map[string]string{
		"":              "standard input holds no audit events: it is empty",
		"hello\nworld":  "standard input holds no audit events: 2 lines or objects in it are something else",
		half:            "standard input holds no audit events: 0 lines or objects in it are something else, 1 are not whole and 0 too long",
		"\x1f\x8bhello": "read standard input: unexpected EOF",
	} {
		if status, _, errOut := run(t, in, "usage", "--audit-log", "-"); status != 1 || !strings.HasPrefix(errOut, "error: "+want) {
			t.Errorf("%q: %d, %s", in, status, errOut)
		}
	}
}

func TestUsagePage(t *testing.T) {
	tally := usage.NewTally()
	if _, err := usage.Read(strings.NewReader(anAuditLog(t, "")), nil, func(e *usage.Event) error {
		tally.Add(e)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	u := view.Usage{Grant: ofGrant, Kind: "RoleBinding", Namespaces: []string{"payments"}, Summary: tally.Summary()}
	var out strings.Builder
	write(&out, view.Usages([]view.Usage{u}, now), true)
	golden(t, "usage.txt", usagePage(view.PageOfUsage(u, now), term.Style{})+"\n"+out.String())
}
