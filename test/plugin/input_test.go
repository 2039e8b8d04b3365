package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

const interrupt = syscall.SIGINT

// What is wrong is said in words that tell what to do, and nothing is made of it.
func TestBadInput(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	for name, tc := range map[string]struct {
		who  person
		args []string
		says []string
	}{
		"unknown command":   {alice, []string{"aprove"}, []string{`unknown command "aprove" for "kubectl access"`, "approve"}},
		"unknown flag":      {alice, []string{"list", "--foo"}, []string{"unknown flag: --foo", "See 'kubectl access list --help'."}},
		"no role":           {alice, []string{"request", "--reason", "r"}, []string{"name a role, or give --rules"}},
		"no reason":         {alice, []string{"request", "edit"}, []string{"say why you need it, with --reason"}},
		"bad duration":      {alice, []string{"request", "edit", "--reason", "r", "--for", "1"}, []string{`--for: "1" is not a duration: write it as 30m`}},
		"too long":          {alice, []string{"request", "edit", "--reason", "r", "--for", "99d"}, []string{"spec.duration: ", "between 1s and 720h"}},
		"bad start":         {alice, []string{"request", "edit", "--reason", "r", "--start", "noon"}, []string{"--start: "}},
		"bad subject":       {alice, []string{"request", "edit", "--reason", "r", "--subject", "bob"}, []string{"write user:NAME"}},
		"system group":      {alice, []string{"request", "edit", "--reason", "r", "--subject", "group:system:masters"}, []string{"belong to Kubernetes and cannot be given access"}},
		"unknown task":      {alice, []string{"request", "edit", "--reason", "r", "--task", "workflow/x"}, []string{`no resource type "workflow"`, "kubectl api-resources"}},
		"unknown resource":  {alice, []string{"request", "--reason", "r", "--rules", "get gadgets"}, []string{`no resource type "gadgets"`}},
		"no such request":   {alice, []string{"show", "nosuch"}, []string{`"nosuch" not found`, "kubectl access list --all"}},
		"no name":           {bob, []string{"approve"}, []string{"name one request"}},
		"two names":         {bob, []string{"approve", "a", "b"}, []string{"name one request; you named 2"}},
		"unknown format":    {alice, []string{"list", "-o", "xml"}, []string{`unknown output format "xml"`, "wide, json"}},
		"bad since":         {vera, []string{"audit", "--since", "monday"}, []string{"24h or 7d"}},
		"bad until":         {vera, []string{"audit", "--until", "2026-02-30"}, []string{"--until: ", "24h or 7d"}},
		"until before":      {vera, []string{"audit", "--since", "1d", "--until", "2d"}, []string{"--until is before --since"}},
		"eve may not look":  {eve, []string{"usage"}, []string{"forbidden", "access-auditor"}},
		"nor at a grant":    {alice, []string{"usage", "x-93a9a96315c30a04"}, []string{"forbidden", "access-auditor"}},
		"nor for advice":    {bob, []string{"advise", "--role", "edit"}, []string{"forbidden", "access-auditor"}},
		"usage of nothing":  {vera, []string{"usage", "nosuch"}, []string{`"nosuch" not found`}},
		"of no grant":       {vera, []string{"usage", "x-93a9a96315c30a04"}, []string{"there is no grant x-93a9a96315c30a04", "kubectl access audit"}},
		"a grant twice":     {vera, []string{"usage", "a", "--grant", "b"}, []string{"name the grant once"}},
		"all, of no log":    {vera, []string{"usage", "--all"}, []string{"--binding and --all look into an audit log"}},
		"a log and a name":  {eve, []string{"usage", "a", "--audit-log", e.AuditLog()}, []string{"with --audit-log, name the grant with --grant"}},
		"no such policy's":  {vera, []string{"advise", "--policy", "nosuch"}, []string{"What nobody used of the policy is left out", "no access was given by the policy nosuch"}},
		"no access in time": {vera, []string{"advise", "--role", "nosuch", "--since", "1d"}, []string{"no access was given by the role nosuch", "since 1d"}},
		"no such log":       {eve, []string{"usage", "--audit-log", "/no/such"}, []string{"open /no/such: no such file or directory"}},
		"a folder":          {eve, []string{"usage", "--audit-log", "/"}, []string{"/ is a folder"}},
		"no audit events":   {eve, []string{"usage", "--audit-log", "main_test.go"}, []string{"main_test.go holds no audit events: ", "are something else", "--audit-policy-file"}},
		"an empty log":      {eve, []string{"usage", "--audit-log", "/dev/null"}, []string{"/dev/null holds no audit events: it is empty"}},
		"no such grant":     {eve, []string{"usage", "--audit-log", e.AuditLog(), "--grant", "nosuch"}, []string{"no call of --grant nosuch is in the log", "lists the grants"}},
		"no such user":      {eve, []string{"usage", "--audit-log", e.AuditLog(), "--user", "sa:no/such"}, []string{"no call of --user system:serviceaccount:no:such is in the log"}},
		"grant and binding": {eve, []string{"usage", "--audit-log", e.AuditLog(), "--grant", "a", "--binding", "b"}, []string{"[binding grant]"}},
		"no binding":        {eve, []string{"usage", "--audit-log", e.AuditLog(), "--binding", "ns/"}, []string{"write NAMESPACE/NAME"}},
		"usage as XML":      {eve, []string{"usage", "--audit-log", e.AuditLog(), "-o", "xml"}, []string{`unknown output format "xml"`}},
		"usage since when":  {eve, []string{"usage", "--audit-log", e.AuditLog(), "--since", "monday"}, []string{"24h or 7d"}},
		"eve may not ask":   {eve, []string{"request", "edit", "--reason", "r"}, []string{"forbidden", "Ask an administrator to bind the ClusterRole access-requester to you."}},
		"eve may not list":  {eve, []string{"list"}, []string{"forbidden", "access-requester"}},
		"eve may not audit": {eve, []string{"audit"}, []string{"forbidden", "access-auditor"}},
		"bob may not audit": {bob, []string{"audit"}, []string{"forbidden", "access-auditor"}},
		"as another":        {alice, []string{"list", "--as", "bob"}, []string{"cannot impersonate", "leave --as and --as-group out"}},
		"no such context":   {alice, []string{"list", "--context", "nosuch"}, []string{`"nosuch"`}},
		"run, server away":  {alice, []string{"run", "edit", "--reason", "r", "--kubeconfig", "/nonexistent", "--", "true"}, []string{"/nonexistent"}},
		"server away":       {alice, []string{"list", "--server", "https://127.0.0.1:1"}, []string{"cannot reach the API server", "connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tc.who.run(t, append(tc.args, "-n", ns)...).ends(t, 1, tc.says...)
			if r.out != "" || !strings.Contains("\n"+r.err, "\nerror: ") {
				t.Errorf("out %q, err %q", r.out, r.err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"request", "run", "for", "wait-for", "list", "show", "approve", "deny", "release", "revoke", "policies", "audit", "usage"} {
		alice.run(t, command, "--help").ok(t, "Usage:\n  kubectl access "+command, "Examples:", "--namespace")
	}
	alice.run(t, "request", "--help").ok(t, "Exit status with --wait", "lapsed")
	alice.run(t, "--version").ok(t, "kubectl access version ")
	alice.run(t, "completion", "bash").ok(t, "kubectl-access")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	ask(t, ns, "fix")
	ask(t, ns, "held")
	bob.run(t, "approve", "held", "-n", ns).ok(t)
	e.WaitFor(t, request(ns, "held"), v1alpha1.RequestActive)
	for name, tc := range map[string]struct {
		who  person
		args []string
		want string
		not  string
	}{
		"what waits for bob":      {bob, []string{"approve", "-n", ns, ""}, "fix\talice, ClusterRole/edit in " + ns + ", Pending\n", "held"},
		"what bob may revoke":     {bob, []string{"revoke", "-n", ns, ""}, "held\t", "fix"},
		"nothing waits for alice": {alice, []string{"approve", "-n", ns, ""}, ":4", "fix"},
		"what alice may release":  {alice, []string{"release", "-n", ns, ""}, "fix\t", ""},
		"all to show":             {alice, []string{"show", "-n", ns, ""}, "held\t", ""},
		"one name only":           {alice, []string{"show", "-n", ns, "fix", ""}, ":4", "held"},
		"roles":                   {alice, []string{"request", ""}, "edit\nview\n", ""},
		"roles to run with":       {alice, []string{"run", ""}, "edit\nview\n", ""},
		"the command to run":      {alice, []string{"run", "edit", "--", ""}, ":0", "view"},
		"the command, for":        {alice, []string{"for", "--", ""}, ":0", "view"},
		"a policy, for":           {alice, []string{"for", "--policy", ""}, p.Name + "\t", ""},
		"how long, run":           {alice, []string{"run", "--for", ""}, "30m\n", ""},
		"a task to wait for":      {alice, []string{"wait-for", "--task", ""}, "job/\n", ""},
		"a request to wait for":   {alice, []string{"wait-for", "-n", ns, "--request", ""}, "held\t", ""},
		"a UID is not guessed":    {alice, []string{"wait-for", "--task-uid", ""}, ":4", ""},
		"roles of bob":            {bob, []string{"request", ""}, ":4", "edit"},
		"policies":                {alice, []string{"request", "--policy", ""}, p.Name + "\tview,edit in " + ns + ", at most 1h\n", ""},
		"namespaces":              {alice, []string{"list", "-n", ""}, ns + "\n", "kube-system"},
		"namespaces of admin":     {admin, []string{"list", "-n", ""}, "kube-system\n", ""},
		"the second of a list":    {alice, []string{"request", "--namespaces", "a,"}, "a," + ns + "\n", ""},
		"formats":                 {vera, []string{"audit", "-o", ""}, "csv\njsonl\n", ""},
		"contexts":                {alice, []string{"list", "--context", ""}, "alice\n", ""},
		"no right, no guess":      {eve, []string{"approve", "-n", ns, ""}, ":4", "fix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tc.who.run(t, append([]string{"__complete"}, tc.args...)...).ok(t)
			if !strings.Contains(r.out, tc.want) || tc.not != "" && strings.Contains(r.out, tc.not) {
				t.Errorf("%q, want %q and not %q\n%s", r.out, tc.want, tc.not, r.err)
			}
		})
	}

	// kubectl itself asks kubectl_complete-access.
	bin := t.TempDir()
	if err := os.Symlink(filepath.Join(e.Root, "bin", "kubectl-access"), filepath.Join(bin, "kubectl_complete-access")); err != nil {
		t.Fatal(err)
	}
	cmd := bob.access()
	cmd.Args = append(cmd.Args[:1], "__complete", "access", "approve", "-n", ns, "")
	for i, v := range cmd.Env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			cmd.Env[i] = "PATH=" + bin + ":" + path
		}
	}
	if r := startCmd(t, cmd)().ok(t); !strings.Contains(r.out, "fix") {
		t.Errorf("kubectl completes %q\n%s", r.out, r.err)
	}
}
