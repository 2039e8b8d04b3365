package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/accessbroker/accessbroker/internal/usage/advice"
)

// auditLine is an event as the API server writes it.
func auditLine(verb, namespace, resource, subresource, name, reason string, code int) string {
	decision := "allow"
	if code == 403 {
		decision = "forbid"
	}
	line, err := json.Marshal(map[string]any{
		"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "ResponseComplete", "verb": verb,
		"auditID":    uuid.NewUUID(),
		"requestURI": "/api/v1/namespaces/" + namespace + "/" + resource, "user": map[string]any{"username": "alice"},
		"objectRef":                map[string]any{"resource": resource, "namespace": namespace, "name": name, "subresource": subresource},
		"responseStatus":           map[string]any{"code": code},
		"requestReceivedTimestamp": "2026-05-04T10:00:00.000000Z", "stageTimestamp": "2026-05-04T10:00:00.000000Z",
		"annotations": map[string]any{"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason},
	})
	if err != nil {
		panic(err)
	}
	return string(line)
}

const byEdit = `RBAC: allowed by RoleBinding "fix-1/pay" of ClusterRole "edit" to User "alice"`

// evil is a name that tries to be a line of YAML, and to turn what is written.
const evil = "x\nrules: [{verbs: ['*']}]\n---\n\u202e"

func logFile(t *testing.T) string {
	t.Helper()
	return writeFile(t, "audit.log", strings.Join([]string{
		auditLine("list", "pay", "pods", "", "", byEdit, 200),
		auditLine("get", "pay", "pods", "log", "web-7d4b9c6f5-x2x7k", byEdit, 200),
		auditLine("get", "pay", "pods", "", evil, byEdit, 404),
		auditLine("list", "shop", "pods", "", "", "", 403),
		auditLine("list", "pay", "services", "", "", `RBAC: allowed by ClusterRoleBinding "ops" of ClusterRole "view" to User "alice"`, 200),
	}, "\n"))
}

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const roleEdit = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: edit}
rules:
- {apiGroups: [""], resources: [pods, secrets], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: view}
`

// adviseOn runs the command without any cluster.
func adviseOn(t *testing.T, args ...string) (out, errOut string, err error) {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	var stdout, stderr bytes.Buffer
	cmd := NewCommand(genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &stdout, ErrOut: &stderr}, "test")
	cmd.SetArgs(append([]string{"advise"}, args...))
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestAdviseText(t *testing.T) {
	out, _, err := adviseOn(t, "--audit-log", logFile(t), "--role", "edit", "--role-file", writeFile(t, "roles.yaml", roleEdit))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"What was used by the role edit", "Calls: 3, by people: 1, under grants or other bindings: 1. Rights used: 3.", "none of these calls is denied",
		"In pay:\n    list pods\n", `get pods "x\nrules`, "get pods/log web-7d4b9c6f5-x2x7k",
		"generated-names: get pods/log in namespace pay: all names", "reads: get, list, watch pods in namespace pay",
		"roles.yaml: 2 of 4 permissions\n  get,list secrets\n", "list pods\tshop\t1\t1\t", "which do not count here (1): ClusterRoleBinding ops",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\u202e") || strings.Contains(out, "\nrules:") {
		t.Errorf("a name deceives:\n%s", out)
	}
}

// What callers named ends up as a name in YAML, and as nothing else.
func TestAdviseYAML(t *testing.T) {
	out, _, err := adviseOn(t, "--audit-log", logFile(t), "--widen", "generated-names", "--bind", "sa:ci/deployer", "-o", "yaml", "--name", "least")
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(out), 4096)
	var rules []rbacv1.PolicyRule
	kinds := map[string]int{}
	for {
		var role rbacv1.ClusterRole
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if role.Kind == "" {
			continue // comments alone
		}
		kinds[role.Kind+" "+role.Namespace+"/"+role.Name]++
		rules = append(rules, role.Rules...)
	}
	if len(kinds) != 2 || kinds["Role pay/least"] != 1 || kinds["RoleBinding pay/least"] != 1 {
		t.Errorf("%v\n%s", kinds, out)
	}
	names := 0
	for _, rule := range rules {
		names += len(rule.ResourceNames)
		for _, verb := range rule.Verbs {
			if verb != "get" && verb != "list" {
				t.Errorf("nobody used %q", verb)
			}
		}
	}
	if names != 1 || len(rules) != 3 {
		t.Errorf("%+v", rules)
	}
}

func TestAdvisePolicies(t *testing.T) {
	out, _, err := adviseOn(t, "--audit-log", logFile(t), "--policy-rules", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var parts []policyPart
	if err := json.Unmarshal([]byte(out), &parts); err != nil {
		t.Fatal(err)
	}
	if len(parts) != 1 || parts[0].ClusterScope != "Forbidden" || parts[0].Namespaces.Names[0] != "pay" || len(parts[0].Rules) != 3 {
		t.Errorf("%s", out)
	}
}

// A policy's rule has at most 256 names: more become several rules, of the same names.
func TestPolicyNamesAreSplit(t *testing.T) {
	rule := rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: make([]string, 600)}
	a := &advice.Advice{Roles: []advice.Role{{Namespaces: []string{"pay"}, Rules: []rbacv1.PolicyRule{rule}}}}
	var out bytes.Buffer
	if err := writePolicyRules(&out, a, "json"); err != nil {
		t.Fatal(err)
	}
	var parts []policyPart
	if err := json.Unmarshal(out.Bytes(), &parts); err != nil {
		t.Fatal(err)
	}
	if rules := parts[0].Rules; len(rules) != 3 || len(rules[0].ResourceNames) != 256 || len(rules[2].ResourceNames) != 88 {
		t.Errorf("%+v", rules)
	}
	a.Roles[0].Rules[0].ResourceNames = make([]string, 256*65)
	if err := writePolicyRules(&out, a, "json"); err == nil || !strings.Contains(err.Error(), "65 rules") {
		t.Errorf("%v", err)
	}
}

func TestAdviseMistakes(t *testing.T) {
	log := logFile(t)
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"a binding, no log":  {[]string{"--binding", "pay/x"}, "--binding looks into an audit log"},
		"a policy and a log": {[]string{"--audit-log", log, "--policy", "on-call"}, "no audit log tells which policy it was"},
		"no such log":        {[]string{"--audit-log", log + "x"}, "no such file"},
		"no audit log":       {[]string{"--audit-log", writeFile(t, "x", "hello")}, "holds no audit events"},
		"an empty log":       {[]string{"--audit-log", writeFile(t, "x", "")}, "holds no audit events"},
		"too late":           {[]string{"--audit-log", log, "--since", "2036-01-01T00:00:00Z"}, "there is no call in the log"},
		"a step":             {[]string{"--audit-log", log, "--widen", "everything"}, `there is no "everything"`},
		"a format":           {[]string{"--audit-log", log, "-o", "xml"}, "unknown output format"},
		"a role":             {[]string{"--audit-log", log, "--role", "Pod/x"}, "not a kind of role"},
		"a binding":          {[]string{"--audit-log", log, "--binding", "/x"}, "is not a binding: write NAMESPACE/NAME"},
		"no account":         {[]string{"--audit-log", log, "--user", "sa:x"}, "write sa:NAMESPACE/NAME"},
		"a role not there":   {[]string{"--audit-log", log, "--role", "admin", "--role-file", writeFile(t, "r", roleEdit)}, "0 roles of the name admin"},
		"several roles":      {[]string{"--audit-log", log, "--role-file", writeFile(t, "r", roleEdit)}, "2 roles, and one is needed"},
		"a wrong subject":    {[]string{"--audit-log", log, "--bind", "alice"}, "--bind"},
		"no names at all":    {[]string{"--audit-log", log, "--max-names", "0"}, "--max-names"},
		"an argument":        {[]string{"audit.log"}, "unexpected argument"},
		"a time":             {[]string{"--audit-log", log, "--since", "soon"}, "--since"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := adviseOn(t, test.args...); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("says %v, want %q", err, test.says)
			}
		})
	}
	out, errOut, err := adviseOn(t, "--audit-log", log, "--role", "edit")
	if err != nil || strings.Contains(out, "Never used") || !strings.Contains(errOut, "--role-file") {
		t.Errorf("without a cluster: %v\n%s%s", err, out, errOut)
	}
}
