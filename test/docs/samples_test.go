package docs

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const samples = "config/samples"

// TestSamplesAreThePages compares every block of a page that names a file with
// that file, and sees that the cookbook shows every policy there is.
func TestSamplesAreThePages(t *testing.T) {
	shown := map[string]bool{}
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			file := b.value("file")
			if file == "" {
				continue
			}
			shown[file] = true
			if b.text != read(t, file) {
				t.Errorf("%s:%d: this is not what is in %s", page, b.line, file)
			}
		}
	}
	for _, file := range files(t, samples, "*.yaml") {
		base := filepath.Base(file)
		if base != "kustomization.yaml" && base != "request.yaml" && !shown[file] {
			t.Errorf("no page shows %s", file)
		}
		if !strings.HasPrefix(base, "request") && base != "kustomization.yaml" && !strings.Contains(read(t, samples+"/kustomization.yaml"), base) {
			t.Errorf("%s is not in the kustomization", file)
		}
	}
}

// ask is one request, and what must become of it.
type ask struct {
	name    string
	who     string
	groups  []string
	ns      string
	edit    func(*v1alpha1.AccessRequestSpec)
	approve []client.Client
	want    v1alpha1.RequestPhase
	// says is part of a condition's message.
	says string
}

// TestSamples applies every sample, waits until the broker calls the policies
// Ready, and asks for what each recipe promises and for what it must refuse.
func TestSamples(t *testing.T) {
	e := running(t)
	for name, labels := range map[string]map[string]string{
		"payments": {"team": "payments"}, "shop": {"stage": "production"}, "shop-staging": {"stage": "staging"}, "ci": nil,
	} {
		kit.Create(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	for _, name := range []string{"deployer", "migrator"} {
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: name}})
	}

	for _, file := range files(t, samples, "*.yaml") {
		if filepath.Base(file) != "kustomization.yaml" {
			e.kubectl(t, "create", "--dry-run=server", "-f", file)
		}
	}
	e.kubectl(t, "apply", "-k", samples)
	for _, file := range files(t, samples, "*.yaml") {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		switch {
		case name == "kustomization" || strings.HasPrefix(name, "request"):
		case name == "cluster-admin": // not until an administrator lists it
			e.kubectl(t, "wait", "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=RoleNotGrantable", "--timeout=30s", "accesspolicy/cluster-admin")
		default:
			e.kubectl(t, "wait", "--for=condition=Ready", "--timeout=30s", "accesspolicy/"+name)
		}
	}

	sre1, sre2, colleague := e.Person(t, "bob", "sre"), e.Person(t, "carol", "sre"), e.Person(t, "dave", "payments")
	if err := e.InstallChecker(t.Context()); err != nil {
		t.Fatal(err)
	}
	machine, err := e.AsServiceAccount(t.Context(), lab.BrokerNamespace, lab.CheckerServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	change := func(s *v1alpha1.AccessRequestSpec) { s.Ticket = "CHG0030001" }
	trusted := []string{"workloads:example.org"}
	const deployer = "spiffe://example.org/ns/payments/sa/deployer"
	gate := e.Person(t, "spiffe://example.org/gate/tests", trusted...)
	role := func(name string, more func(*v1alpha1.AccessRequestSpec)) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef.Name = name
			if more != nil {
				more(s)
			}
		}
	}
	ticket := func(s *v1alpha1.AccessRequestSpec) { s.Ticket = "INC-42" }
	breakGlass := func(s *v1alpha1.AccessRequestSpec) { s.Ticket, s.PolicyName = "INC-42", "break-glass" }
	whole := func(s *v1alpha1.AccessRequestSpec) {
		s.Ticket, s.Scope = "CHG-7", &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
	}
	from := func(moment time.Time) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) { s.StartTime = &metav1.Time{Time: moment} }
	}
	logs := func(verbs ...string) func(*v1alpha1.AccessRequestSpec) {
		return func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef, s.Rules = nil, []v1alpha1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}, Verbs: verbs}}
		}
	}
	asks := []ask{
		{name: "on call", who: "alice", groups: []string{"payments-on-call", "payments"}, ns: "payments", edit: ticket, approve: []client.Client{colleague}, want: v1alpha1.RequestActive},
		{name: "on call, no ticket", who: "alice", groups: []string{"payments-on-call"}, ns: "payments", want: v1alpha1.RequestDenied, says: "name the incident"},
		{name: "on call, elsewhere", who: "alice", groups: []string{"payments-on-call"}, ns: "shop", edit: ticket, want: v1alpha1.RequestDenied},

		{name: "break-glass", who: "erin", groups: []string{"sre"}, ns: "shop", edit: role("admin", breakGlass), want: v1alpha1.RequestActive},
		{name: "break-glass, not named", who: "erin", groups: []string{"sre"}, ns: "shop", edit: role("admin", ticket), want: v1alpha1.RequestDenied, says: "policyName break-glass"},
		{name: "break-glass, a developer", who: "alice", groups: []string{"developers"}, ns: "shop", edit: role("admin", breakGlass), want: v1alpha1.RequestDenied},

		{name: "production", who: "alice", groups: []string{"developers"}, ns: "shop", approve: []client.Client{sre1}, want: v1alpha1.RequestActive},
		{name: "production, nobody approves", who: "alice", groups: []string{"developers"}, ns: "shop", want: v1alpha1.RequestPending},

		{name: "change ticket", who: "alice", groups: []string{"release-engineers"}, ns: "shop", edit: change, approve: []client.Client{machine, sre1}, want: v1alpha1.RequestActive},
		{name: "change ticket, no machine", who: "alice", groups: []string{"release-engineers"}, ns: "shop", edit: change, approve: []client.Client{sre1}, want: v1alpha1.RequestPending, says: "1 more of sa:access-broker-system/access-checker"},
		{name: "change ticket, none", who: "alice", groups: []string{"release-engineers"}, ns: "shop", edit: ticket, want: v1alpha1.RequestDenied, says: "name the change"},
		{name: "contractor", who: "chris@contractor.example", groups: []string{"outside"}, ns: "payments", edit: role("view", nil), approve: []client.Client{colleague}, want: v1alpha1.RequestActive},
		{name: "contractor, somebody else", who: "alice", groups: []string{"outside"}, ns: "payments", edit: role("view", func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = "contractor" }), want: v1alpha1.RequestDenied, says: "is for chris@contractor.example"},

		{name: "issued", who: "alice", groups: []string{"developers"}, ns: "shop", edit: func(s *v1alpha1.AccessRequestSpec) { s.CredentialKey = kit.NewKey(t).Public() }, approve: []client.Client{sre1}, want: v1alpha1.RequestActive},
		{name: "workloads", who: deployer, groups: trusted, ns: "payments", approve: []client.Client{gate}, want: v1alpha1.RequestActive},
		{name: "workloads, nobody approves", who: deployer, groups: trusted, ns: "payments", want: v1alpha1.RequestPending, says: "1 more of spiffe://example.org/gate/**, group:sre"},
		{name: "workloads, another one", who: "spiffe://example.org/ns/payments/sa/reader", groups: trusted, ns: "payments", want: v1alpha1.RequestDenied, says: "is for"},
		{name: "workloads, elsewhere", who: deployer, groups: trusted, ns: "shop", want: v1alpha1.RequestDenied, says: "does not cover namespace shop"},

		{name: "read-only", who: "alice", groups: []string{"developers"}, ns: "default", edit: role("view", nil), want: v1alpha1.RequestActive},
		{name: "read-only, the system", who: "alice", groups: []string{"developers"}, ns: "kube-system", edit: role("view", nil), want: v1alpha1.RequestDenied},

		{name: "working hours", who: "alice", groups: []string{"developers"}, ns: "shop-staging", edit: from(berlin(t, time.Tuesday, 10)), want: v1alpha1.RequestApproved},
		{name: "working hours, in the evening", who: "alice", groups: []string{"developers"}, ns: "shop-staging", edit: from(berlin(t, time.Tuesday, 17)), want: v1alpha1.RequestDenied, says: "9 to 17 in Berlin"},
		{name: "working hours, on Sunday", who: "alice", groups: []string{"developers"}, ns: "shop-staging", edit: from(berlin(t, time.Sunday, 10)), want: v1alpha1.RequestDenied, says: "9 to 17 in Berlin"},

		{name: "cluster-admin, before it is listed", who: "erin", groups: []string{"sre"}, ns: "default", edit: role("cluster-admin", whole), want: v1alpha1.RequestFailed, says: "access-broker-grantable-roles"},
		{name: "rules, before they are enabled", who: "alice", groups: []string{"developers"}, ns: "payments", edit: logs("get"), want: v1alpha1.RequestFailed, says: "config/components/adhoc-rules"},
	}
	for _, a := range asks {
		t.Run(a.name, func(t *testing.T) { a.run(t, e) })
	}
	t.Run("ci job", func(t *testing.T) { ciJob(t, e) })
	t.Run("verified task", func(t *testing.T) { verifiedTask(t, e) })
	t.Run("one person", func(t *testing.T) { onePerson(t, e) })

	commandsOf(t, e, "docs/policies.md")
	e.kubectl(t, "wait", "--for=condition=Ready", "--timeout=30s", "accesspolicy/cluster-admin")
	e.kubectl(t, "apply", "-f", "config/components/adhoc-rules/ceiling.yaml", "-f", "config/components/adhoc-rules/role.yaml")
	for _, a := range []ask{
		{name: "cluster-admin", who: "erin", groups: []string{"sre"}, ns: "default", edit: role("cluster-admin", whole), approve: []client.Client{sre1, sre2}, want: v1alpha1.RequestActive},
		{name: "cluster-admin by one", who: "erin", groups: []string{"sre"}, ns: "default", edit: role("cluster-admin", whole), approve: []client.Client{sre1}, want: v1alpha1.RequestPending, says: "1 of 2 approvals"},
		{name: "rules", who: "alice", groups: []string{"developers"}, ns: "payments", edit: logs("get"), approve: []client.Client{sre1}, want: v1alpha1.RequestActive},
		{name: "rules, too many", who: "alice", groups: []string{"developers"}, ns: "payments", edit: logs("update"), want: v1alpha1.RequestDenied, says: "does not cover all of the rules"},
	} {
		t.Run(a.name, func(t *testing.T) { a.run(t, e) })
	}
}

func (a ask) run(t *testing.T, e *installed) {
	request := e.Ask(t, e.Person(t, a.who, a.groups...), a.ns, a.edit)
	if a.want == v1alpha1.RequestPending || a.approve != nil {
		e.WaitMatched(t, request)
	}
	for _, approver := range a.approve {
		kit.MustDecide(t, approver, request, v1alpha1.VerdictApprove)
	}
	got := e.WaitUntil(t, request, string(a.want)+" "+a.says, func(r *v1alpha1.AccessRequest) bool {
		return r.Status.Phase == a.want && kit.HasMessage(r.Status.Conditions, a.says)
	})
	if a.want == v1alpha1.RequestActive && len(got.Status.Decisions) != len(a.approve) {
		t.Errorf("it took %d decisions, want %d", len(got.Status.Decisions), len(a.approve))
	}
}

// ciJob plays the Jobs of the recipe, which the samples name: each twice, since
// what works once is no recipe.
func ciJob(t *testing.T, e *installed) {
	config, err := e.ServiceAccount(t.Context(), "ci", "deployer")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig("deployer", config)
	if err != nil {
		t.Fatal(err)
	}
	deployer, err := lab.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	alias := "kubectl() { " + e.Binary("kubectl") + " --kubeconfig=" + kubeconfig + ` "$@"; }` + "\n"
	asks := func(t *testing.T, script string) {
		t.Helper()
		if out, err := typeIn(t, alias, script); err != nil {
			t.Fatalf("the Job cannot ask: %v\n%s", err, out)
		}
	}
	run := func(t *testing.T, job, script string) {
		t.Helper()
		before := requestsOf(t, e, job)
		asks(t, script)
		made := slices.DeleteFunc(requestsOf(t, e, job), func(r *v1alpha1.AccessRequest) bool {
			return slices.ContainsFunc(before, func(b *v1alpha1.AccessRequest) bool { return b.UID == r.UID })
		})
		if len(made) != 1 {
			t.Fatalf("%d requests were made", len(made))
		}
		request := made[0]
		e.WaitFor(t, request, v1alpha1.RequestActive)
		g := e.GrantOf(t, request)
		if !kit.Can(t, deployer, "shop") || kit.Can(t, deployer, "ci") {
			t.Error("the Job does not hold edit in shop, or holds it in ci too")
		}
		e.FinishJob(t, "ci", job, corev1.PodSucceeded)
		e.WaitEnded(t, g.Name, v1alpha1.EndTaskCompleted)
		if kit.Can(t, deployer, "shop") {
			t.Error("the Job is over and its ServiceAccount still has access")
		}
	}
	for range 2 {
		job := kit.NewJob("ci", "deploy")
		job.Spec.Template.Spec.ServiceAccountName = "deployer"
		kit.Create(t, e.Admin, job)
		run(t, "deploy", "kubectl create -f "+filepath.Join(root, samples, "request-job.yaml"))
		e.kubectl(t, "delete", "job", "deploy", "-n", "ci")
	}
	e.kubectl(t, "create", "-f", samples+"/request-cronjob.yaml")
	for _, name := range []string{"monday", "tuesday"} {
		e.kubectl(t, "create", "job", name, "-n", "ci", "--from=cronjob/deploy")
		run(t, name, firstStep(t, e, name))
	}

	stranger := kit.NewJob("ci", "stranger")
	kit.Create(t, e.Admin, stranger)
	scope := &v1alpha1.Scope{Namespaces: []string{"shop"}}
	other := e.Ask(t, deployer, "ci", func(s *v1alpha1.AccessRequestSpec) {
		s.Scope, s.Task = scope, &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "stranger"}
	})
	e.WaitFor(t, other, v1alpha1.RequestDenied)
	alone := e.Ask(t, deployer, "ci", func(s *v1alpha1.AccessRequestSpec) { s.Scope = scope })
	e.WaitFor(t, alone, v1alpha1.RequestDenied)
}

// verifiedTask asks for the Job that the recipe wants, and for one with a tag.
func verifiedTask(t *testing.T, e *installed) {
	config, err := e.ServiceAccount(t.Context(), "ci", "migrator")
	if err != nil {
		t.Fatal(err)
	}
	migrator, err := lab.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]v1alpha1.RequestPhase{
		"registry.example.com/migrate@sha256:" + strings.Repeat("0123456789abcdef", 4): v1alpha1.RequestActive,
		"registry.example.com/migrate:v42":                                             v1alpha1.RequestDenied,
	} {
		job := kit.NewJob("ci", strings.ToLower("migrate-"+string(want)))
		job.Spec.Template.Labels = map[string]string{"app.kubernetes.io/version": "v42"}
		job.Spec.Template.Spec.ServiceAccountName = "migrator"
		job.Spec.Template.Spec.Containers[0].Image = image
		kit.Create(t, e.Admin, job)
		request := e.Ask(t, migrator, "ci", func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{Namespaces: []string{"shop"}}
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: job.Name}
		})
		ended := e.WaitFor(t, request, want)
		if want == v1alpha1.RequestDenied && !kit.HasMessage(ended.Status.Conditions, "named by its digest") {
			t.Errorf("nobody can tell why: %s", kit.Describe(ended.Status.Conditions))
		}
	}
}

// requestsOf are the requests that name a Job of ci.
func requestsOf(t *testing.T, e *installed, job string) (out []*v1alpha1.AccessRequest) {
	t.Helper()
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace("ci")); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		if task := list.Items[i].Spec.Task; task != nil && task.Name == job {
			out = append(out, &list.Items[i])
		}
	}
	return out
}

// firstStep is what the init container of a Job's Pod runs, in the environment
// that Kubernetes would give it.
func firstStep(t *testing.T, e *installed, job string) string {
	t.Helper()
	var pod corev1.Pod
	kit.Eventually(t, "a Pod of Job "+job, func(ctx context.Context) (bool, error) {
		list := &corev1.PodList{}
		if err := e.Admin.List(ctx, list, client.InNamespace("ci"), client.MatchingLabels{"batch.kubernetes.io/job-name": job}); err != nil || len(list.Items) == 0 {
			return false, err
		}
		pod = list.Items[0]
		return true, nil
	})
	step := pod.Spec.InitContainers[0]
	script := ""
	for _, v := range step.Env {
		key, ok := strings.CutPrefix(v.ValueFrom.FieldRef.FieldPath, "metadata.labels['")
		if !ok {
			t.Fatalf("%s is not from a label: %s", v.Name, v.ValueFrom.FieldRef.FieldPath)
		}
		script += v.Name + "=" + pod.Labels[strings.TrimSuffix(key, "']")] + "\n"
	}
	return script + "set -u\n" + step.Args[0]
}

// TestConditions lets the broker compile the expressions of the cookbook's
// table.
func TestConditions(t *testing.T) {
	e := running(t)
	var expressions []string
	_, conditions, _ := strings.Cut(read(t, "docs/policies.md"), "\n## Conditions\n")
	for _, line := range strings.Split(conditions, "\n") {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) == 4 && strings.HasPrefix(strings.TrimSpace(cells[2]), "`") && !strings.Contains(cells[2], "subjects:") {
			expressions = append(expressions, strings.Trim(strings.ReplaceAll(cells[2], "\x00", "|"), " `"))
		}
	}
	if len(expressions) < 3 {
		t.Fatalf("the page has only these expressions: %q", expressions)
	}
	ns := e.NewNamespace(t, map[string]string{"stage": "production"})
	policy := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].Count = ptr.To[int32](0)
		for i, expression := range expressions {
			s.Conditions = append(s.Conditions, v1alpha1.PolicyCondition{Name: "c" + string(rune('0'+i)), Expression: expression})
		}
	})
	e.kubectl(t, "wait", "--for=condition=Ready", "--timeout=30s", "accesspolicy/"+policy.Name)
	for _, a := range []ask{
		{name: "all hold", want: v1alpha1.RequestActive, edit: func(s *v1alpha1.AccessRequestSpec) {
			s.Ticket, s.Duration = "INC-42", &metav1.Duration{Duration: time.Hour}
		}},
		{name: "too long", want: v1alpha1.RequestDenied, says: "duration", edit: func(s *v1alpha1.AccessRequestSpec) { s.Ticket = "INC-42" }},
	} {
		a.who, a.groups, a.ns = "alice", []string{"dev"}, ns
		t.Run(a.name, func(t *testing.T) { a.run(t, e) })
	}
}

// commandsOf runs the commands of a page as the administrator.
func commandsOf(t *testing.T, e *installed, page string) {
	t.Helper()
	ran := 0
	for _, b := range blocksOf(t, page) {
		if !b.is("sh") {
			continue
		}
		ran++
		out, err := typeIn(t, e.adminAlias(), b.text)
		if err != nil {
			t.Errorf("%s:%d: %v\n%s", page, b.line, err, out)
		}
	}
	if ran == 0 {
		t.Errorf("%s has no commands", page)
	}
}

// berlin is the next such day and hour there, a day away at least.
func berlin(t *testing.T, day time.Weekday, hour int) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().In(zone)
	days := 1 + (int(day)-int(now.Weekday())-1+7)%7
	return time.Date(now.Year(), now.Month(), now.Day()+days, hour, 0, 0, 0, zone)
}

// pages are all documents, the README first.
func pages(t *testing.T) []string {
	t.Helper()
	return slices.Concat([]string{"README.md", "CONTRIBUTING.md"}, files(t, "docs", "*.md"), files(t, "docs/adr", "*.md"))
}

// files of a folder, relative to the root.
func files(t *testing.T, folder, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, folder, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s in %s: %v", pattern, folder, err)
	}
	for i := range found {
		if found[i], err = filepath.Rel(root, found[i]); err != nil {
			t.Fatal(err)
		}
		found[i] = filepath.ToSlash(found[i])
	}
	return found
}
