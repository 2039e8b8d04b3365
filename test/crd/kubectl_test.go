package crd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/test/kit"
)

func kubectl(args ...string) (string, error) {
	out, err := e.Kubectl(kubeconfig, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The columns of kubectl get, as the API server hands them out.
func TestColumns(t *testing.T) {
	for _, x := range []struct {
		target target
		// narrow columns are always shown, wide ones with -o wide.
		narrow, wide []string
		row          []string
	}{
		{
			requestSpec,
			[]string{"Name", "Requester", "Role", "Phase", "Expires", "Age"},
			[]string{"Rules", "Extends", "Policy", "Review", "Ticket", "Reason", "Ended"},
			[]string{"stored", "admin", "edit", "Active", "2026-10-01T08:30:00Z", "prod-edit", "AfterEnd", "INC-42", "INC-42: stuck consumers"},
		},
		{
			policySpec,
			[]string{"Name", "Approvals", "Max", "Ready", "Age"},
			[]string{"Cluster", "Review by", "Confirmed by", "Message"},
			[]string{"stored", "sre 1, owners 1", "8h", "Forbidden", "True", "2026-12-31T22:00:00Z", "carol", "it is"},
		},
		{
			grantSpec,
			[]string{"Name", "Requester", "Subjects", "Role", "Scope", "Phase", "Expires", "Ended", "Why", "Age"},
			[]string{"Calls", "Extends", "Review", "Policy", "Approvers", "Ticket", "Reason"},
			[]string{
				"stored", "alice", "alice, sa:payments/migrate", "Role/edit", "payments", "Ended", "2026-10-01T08:30:00Z", "2026-10-01T08:30:00Z", "Expired",
				"41", "fix-0a1b", "Waiting", "prod-edit", "bob", "INC-42", "INC-42: stuck consumers",
			},
		},
		{
			lockSpec,
			[]string{"Name", "Kind", "Subject", "Until", "By", "Reason", "Age"},
			nil,
			[]string{"stored", "ServiceAccount", "migrate", "2026-10-01T08:00:00Z", "admin", "INC-43: the laptop was stolen"},
		},
		{
			usageSpec,
			[]string{"Name", "Calls", "Refused", "Last", "Until", "Gaps", "Suspicious", "Age"},
			[]string{"Since", "Phase"},
			[]string{"stored", "41", "1", "2026-10-01T08:29:00Z", "2026-10-01T08:00:01Z", "2026-10-01T08:29:30Z", "1", "secrets", "Observing"},
		},
	} {
		t.Run(x.target.kind, func(t *testing.T) {
			body, err := admin.Get().Resource(x.target.resource).NamespaceIfScoped(x.target.namespace, x.target.namespace != "").Name(storedName).
				SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(t.Context()).Raw()
			if err != nil {
				t.Fatal(err)
			}
			var table struct {
				ColumnDefinitions []struct {
					Name, Description string
					Priority          int
				}
				Rows []struct{ Cells []any }
			}
			if err := json.Unmarshal(body, &table); err != nil {
				t.Fatal(err)
			}
			var narrow, wide []string
			for _, c := range table.ColumnDefinitions {
				if c.Priority == 0 {
					narrow = append(narrow, c.Name)
				} else {
					wide = append(wide, c.Name)
				}
			}
			if !slices.Equal(narrow, x.narrow) || !slices.Equal(wide, x.wide) {
				t.Errorf("got columns %q and wide %q, want %q and %q", narrow, wide, x.narrow, x.wide)
			}
			if len(table.Rows) != 1 {
				t.Fatalf("got %d rows", len(table.Rows))
			}
			var cells []string
			for _, cell := range table.Rows[0].Cells {
				cells = append(cells, fmt.Sprint(cell))
			}
			rest := cells
			for _, want := range x.row {
				i := slices.Index(rest, want)
				if i < 0 {
					t.Fatalf("no %q, or not in its place, in %q", want, cells)
				}
				rest = rest[i+1:]
			}
		})
	}
}

func TestKubectlGet(t *testing.T) {
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"get areq", []string{"NAME", "REQUESTER", "PHASE", "stored"}},
		{"get apol", []string{"NAME", "APPROVALS", "READY", "stored"}},
		{"get agrant", []string{"NAME", "SUBJECTS", "SCOPE", "WHY", "stored"}},
		{"get accessgrants", []string{"NAME", "SUBJECTS", "SCOPE", "WHY", "stored"}},
		{"get ause", []string{"NAME", "CALLS", "REFUSED", "GAPS", "SUSPICIOUS", "stored"}},
		{"get alock", []string{"NAME", "SUBJECT", "UNTIL", "BY", "REASON", "stored"}},
		{"get areq -o wide", []string{"POLICY", "TICKET", "REASON", "ENDED", "stuck consumers"}},
		{"get apol -o wide", []string{"CLUSTER", "MESSAGE", "Forbidden"}},
		{"get agrant -o wide", []string{"POLICY", "APPROVERS", "TICKET", "REASON", "stuck consumers"}},
		{"get access", []string{"accessrequest.jit.accessbroker.dev/stored", "accesspolicy.jit.accessbroker.dev/stored", "accessgrant.jit.accessbroker.dev/stored", "accessusage.jit.accessbroker.dev/stored", "accesslock.jit.accessbroker.dev/stored"}},
		{"api-resources --api-group=jit.accessbroker.dev", []string{"areq", "apol", "agrant", "ause", "alock", "AccessLock", "AccessUsage", "AccessRequest", "AccessPolicy", "AccessGrant"}},
		{"api-resources --categories=access -o name", []string{"accessrequests.", "accesspolicies.", "accessgrants.", "accessusages.", "accesslocks."}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			mustContain(t, mustKubectl(t, strings.Fields(tc.args)...), tc.want...)
		})
	}
	if out := mustKubectl(t, "get", "agrant"); strings.Contains(out, "APPROVERS") {
		t.Errorf("wide columns without -o wide:\n%s", out)
	}
}

func TestKubectlExplain(t *testing.T) {
	// The API server publishes the schema of a CRD a moment after it is there.
	kit.Eventually(t, "kubectl explain agrant.spec", func(context.Context) (bool, error) {
		_, err := kubectl("explain", "agrant.spec")
		return err == nil, err
	})
	for _, tc := range []struct {
		field string
		want  []string
	}{
		{"areq", []string{"AccessRequest asks for a role", "FIELDS:", "spec", "status"}},
		{"areq.spec", []string{"what is asked for", "duration", "startTime", "reason", "-required-"}},
		{"areq.spec.duration", []string{"Between 1s and 720h"}},
		{"areq.spec.scope.cluster", []string{"the whole cluster"}},
		{"areq.status.decisions.verdict", []string{"Approve, Deny, Revoke, Release or Review", "ENUM:"}},
		{"apol.spec", []string{"who may ask for what", "approvals", "onRoleWidened", "-required-"}},
		{"apol.spec.conditions.expression", []string{"CEL"}},
		{"agrant.spec", []string{"what was approved; immutable", "expirationTime", "requestRef"}},
		{"ause.status", []string{"sharedCalls", "the newest moment up to which every stream has told all"}},
		{"agrant.status.endReason", []string{"why it ended"}},
	} {
		t.Run(tc.field, func(t *testing.T) { mustContain(t, mustKubectl(t, "explain", tc.field), tc.want...) })
	}
}

// kubectl apply says at the fields what is wrong, with the words of the schema.
func TestKubectlApplySaysWhatIsWrong(t *testing.T) {
	e.NeedsStamps(t)
	cmd := e.Kubectl(kubeconfig, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Replace(validRequest, "duration: 30m0s", "duration: 1d", 1))
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("applied:\n%s", out)
	}
	mustContain(t, string(out), "spec.duration", "1d", "must be written like 90s, 30m or 1h30m")
}

func mustContain(t *testing.T, out string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}
