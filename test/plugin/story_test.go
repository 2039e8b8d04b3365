package plugin

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// story: alice asks and waits, bob looks and approves, alice has the access and
// gives it back.
func story(t *testing.T, ns string) {
	t.Helper()
	answer := alice.start(t, "request", "edit", "-n", ns, "--name", "fix", "--for", "1h", "--reason", "INC-42: stuck consumers", "--wait")
	appears(t, ns, "fix")
	e.WaitMatched(t, request(ns, "fix"))

	bob.run(t, "list", "--to-approve", "-n", ns).ok(t, "fix\talice\tClusterRole/edit\t"+ns+"\t1h\tPending", "INC-42")
	carol.run(t, "list", "--to-approve", "-A", "-o", "name").ok(t, "accessrequest.jit.accessbroker.dev/fix")
	alice.run(t, "list", "--to-approve", "-n", ns).ok(t, "Nothing waits for your decision")
	bob.run(t, "show", "fix", "-n", ns).ok(t, "alice (group dev)", "ClusterRole/edit", "1h from the grant on", "group:sre", "What it allows", "deployments.apps", "Risks: the holder could",
		"run pods as any ServiceAccount", "kubectl access approve fix -n "+ns)
	if kit.Can(t, alice, ns) {
		t.Error("alice has access before anybody approved")
	}
	bob.run(t, "approve", "fix", "-n", ns, "-m", "go ahead").ok(t, "Risks", "accessrequest.jit.accessbroker.dev/fix approved")
	answer().ok(t, "created", "waiting for approval, 0 of 1 approvals; 1 more of group:sre", "Active: ClusterRole/edit in "+ns+" for alice until", "left)")
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access")
	}
	decision := decisions(t, ns, "fix")[0]
	if decision.Username != "bob" || decision.Comment != "go ahead" || decision.RequestUID == "" || decision.RulesHash == "" {
		t.Errorf("not what bob saw and said: %+v", decision)
	}
	alice.run(t, "list", "-n", ns).ok(t, "Active", "left")
	alice.run(t, "show", "fix", "-n", ns).ok(t, "Approve by bob (group sre): go ahead", "left", "kubectl access release fix")
	alice.run(t, "release", "fix", "-n", ns).ok(t, "fix released")
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestCompleted)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	alice.run(t, "list", "-n", ns).ok(t, "You have no requests").not(t, "fix")
	alice.run(t, "list", "-n", ns, "--all", "-o", "wide").ok(t, "Completed", "released by alice")
	bob.run(t, "approve", "fix", "-n", ns).ends(t, 1, "fix is over: Completed: released by alice")
}

// appears waits until a request is there.
func appears(t *testing.T, ns, name string) {
	t.Helper()
	kit.Eventually(t, "request "+name, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, &v1alpha1.AccessRequest{})
		return err == nil, err
	})
}

func decisions(t *testing.T, ns, name string) []v1alpha1.Decision {
	t.Helper()
	r := request(ns, name)
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		t.Fatal(err)
	}
	if len(r.Status.Decisions) == 0 {
		t.Fatal("there is no decision")
	}
	return r.Status.Decisions
}

func TestStory(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	story(t, ns)
}

func TestDenyAndRevoke(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	answer := alice.start(t, "request", "edit", "-n", ns, "--name", "no", "--reason", "r", "--wait")
	appears(t, ns, "no")
	e.WaitMatched(t, request(ns, "no"))
	bob.run(t, "deny", "no", "-n", ns, "-m", "use view instead").ok(t, "no denied")
	answer().ends(t, 3, "error: Denied: denied by bob: use view instead")

	ask(t, ns, "yes")
	bob.run(t, "revoke", "yes", "-n", ns).ends(t, 1, "error: there is nothing to revoke yet; an approver ends a pending request with the verdict Deny").not(t, "ValidatingAdmissionPolicy")
	alice.run(t, "approve", "yes", "-n", ns).ends(t, 1, "nobody decides on their own request").not(t, "ValidatingAdmissionPolicy")
	bob.run(t, "approve", "yes", "-n", ns, "-o", "name").ok(t, "accessrequest.jit.accessbroker.dev/yes\n")
	e.WaitFor(t, request(ns, "yes"), v1alpha1.RequestActive)
	bob.run(t, "release", "yes", "-n", ns).ends(t, 1, "an approver uses Revoke")
	carol.run(t, "revoke", "yes", "-n", ns, "-m", "it is over").ok(t, "yes revoked")
	e.WaitFor(t, request(ns, "yes"), v1alpha1.RequestRevoked)
	if kit.Can(t, alice, ns) {
		t.Error("alice still has access")
	}
	alice.run(t, "show", "yes", "-n", ns).ok(t, "Revoked: revoked by carol: it is over")
}

// Several people decide at the same moment; nobody's decision is lost, and what
// another way of deciding left there stays as it is.
func TestManyApprovers(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { three := int32(3); s.Approvals[0].Count = &three })
	r := ask(t, ns, "fix")
	erin := e.Person(t, "erin", "sre")
	if err := kit.PatchDecisions(t, erin, r, map[string]any{"verdict": "Approve", "comment": ""}); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for _, p := range []person{bob, carol} {
		done := p.start(t, "approve", "fix", "-n", ns, "--yes")
		both.Go(func() {
			if r := done(); r.status != 0 {
				t.Errorf("%s%s", r.out, r.err)
			}
		})
	}
	both.Wait()
	e.WaitFor(t, r, v1alpha1.RequestActive)
	var who []string
	for _, d := range decisions(t, ns, "fix") {
		who = append(who, d.Username)
	}
	if slices.Sort(who); !slices.Equal(who, []string{"bob", "carol", "erin"}) {
		t.Errorf("decided by %v", who)
	}
}

// An approver gives less than was asked for, and everybody sees whose word it was.
func TestApproveLess(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals = append(s.Approvals, v1alpha1.ApprovalStage{Name: "carol", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "carol"}}})
	})
	alice.run(t, "request", "edit", "-n", ns, "--name", "fix", "--for", "1h", "--reason", "r").ok(t)
	e.WaitMatched(t, request(ns, "fix"))
	bob.run(t, "approve", "fix", "-n", ns, "--at-most", "1d1").ends(t, 1, "--at-most: ")
	bob.run(t, "approve", "fix", "-n", ns, "--until", "six").ends(t, 1, "--until: ")
	bob.run(t, "approve", "fix", "-n", ns, "--until", "2026-01-01T00:00:00Z").ends(t, 1, "--until: 2026-01-01T00:00:00Z is over")
	bob.run(t, "approve", "fix", "-n", ns, "--at-most", "20m").ok(t, "fix approved")
	bob.run(t, "approve", "fix", "-n", ns, "--at-most", "40m").ends(t, 1, "you approved fix before, and a decision is never changed: to end it, deny or revoke it")
	bob.run(t, "list", "--to-approve", "-n", ns).ok(t, "Nothing waits")
	carol.run(t, "list", "--to-approve", "-n", ns).ok(t, "fix")
	alice.run(t, "show", "fix", "-n", ns).ok(t, "sre: 1 of group:sre; bob approved", "carol: 1 of carol", "Approve (at most 20m) by bob", "1 of 2 approvals; 1 more of carol for carol")
	carol.run(t, "approve", "fix", "-n", ns, "--until", "+30m").ok(t, "fix approved")
	g := e.GrantOf(t, e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive))
	if lasts := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); lasts > 20*time.Minute+time.Second || g.Spec.ShortenedBy != "bob" {
		t.Errorf("it lasts %s, by %q", lasts, g.Spec.ShortenedBy)
	}
	alice.run(t, "show", "fix", "-n", ns).ok(t, "less than was asked for, by bob")
}

// To approve twice is said, not done; when the role changes, it is asked for
// again and the approval renewed.
func TestApproveAgain(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "deployer"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}},
	}
	kit.Create(t, e.Admin, role)
	grantable(t, ns, "deployer")
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		two := int32(2)
		s.Approvals[0].Count = &two
		s.Roles = []v1alpha1.RoleRef{{Kind: "Role", Name: "deployer"}}
	})
	alice.run(t, "request", "Role/deployer", "-n", ns, "--name", "fix", "--reason", "r").ok(t)
	e.WaitMatched(t, request(ns, "fix"))
	bob.run(t, "approve", "fix", "-n", ns).ok(t, "fix approved")
	bob.run(t, "approve", "fix", "-n", ns).ok(t, "fix already approved by you")
	bob.run(t, "list", "--to-approve", "-n", ns).ok(t, "Nothing waits")

	before := decisions(t, ns, "fix")[0].RulesHash
	e.Patch(t, role, `{"rules":[{"verbs":["delete"],"apiGroups":[""],"resources":["pods"]}]}`)
	e.WaitUntil(t, request(ns, "fix"), "the new rules", func(r *v1alpha1.AccessRequest) bool { return r.Status.RulesHash != before })
	bob.run(t, "list", "--to-approve", "-n", ns).ok(t, "fix")
	bob.run(t, "show", "fix", "-n", ns).ok(t, "does not count: the role has changed since")
	bob.run(t, "approve", "fix", "-n", ns).ok(t, "fix approved").not(t, "already")
	carol.run(t, "approve", "fix", "-n", ns).ok(t)
	e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive)
}

// grantable lets the broker bind Roles.
func grantable(t *testing.T, ns string, names ...string) {
	t.Helper()
	kit.Create(t, e.Admin, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "grantable"},
		Rules:      []rbacv1.PolicyRule{{Verbs: []string{"bind"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: names}},
	})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "grantable"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "grantable"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: lab.BrokerNamespace, Name: lab.BrokerServiceAccount}},
	})
}

// The exit status tells how waiting ended.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Rules = []v1alpha1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{""}, Resources: []string{"*"}}}
	})
	hasty := e.NewNamespace(t, nil)
	e.NewPolicy(t, hasty, func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: time.Second} })
	for _, tc := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"no policy", []string{"request", "edit", "-n", ns, "--for", "2h"}, 3, "allows at most 1h"},
		{"lapsed", []string{"request", "edit", "-n", hasty}, 4, "not decided within 1s"},
		{"failed", []string{"request", "nosuch", "-n", ns}, 5, "ClusterRole nosuch does not exist"},
		{"rules are off", []string{"request", "-n", ns, "--rules", "get,list pods/log"}, 5, "config/components/adhoc-rules"},
		{"timeout", []string{"request", "edit", "-n", ns, "--timeout", "1s"}, 6, "no decision within 1s; the request still waits: Pending"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			alice.run(t, append(tc.args, "--reason", "r", "--wait")...).ends(t, tc.status, "created", "error: ", tc.says)
		})
	}
	t.Run("withdrawn", func(t *testing.T) {
		t.Parallel()
		answer := dave.start(t, "request", "view", "-n", ns, "--name", "withdrawn", "--reason", "r", "--wait")
		appears(t, ns, "withdrawn")
		dave.run(t, "release", "withdrawn", "-n", ns).ok(t)
		answer().ends(t, 7, "Completed: released by dave")
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		answer := dave.start(t, "request", "view", "-n", ns, "--name", "deleted", "--reason", "r", "--wait", "-o", "json")
		appears(t, ns, "deleted")
		kit.Delete(t, dave, request(ns, "deleted"))
		answer().ends(t, 7, "the request was deleted")
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		cmd := dave.access("request", "view", "-n", ns, "--name", "interrupted", "--reason", "r", "--wait")
		answer := startCmd(t, cmd)
		e.WaitMatched(t, appeared(t, ns, "interrupted"))
		if err := cmd.Process.Signal(interrupt); err != nil {
			t.Fatal(err)
		}
		answer().ends(t, 130, "the request still waits", "kubectl access release interrupted -n "+ns)
	})
}

func appeared(t *testing.T, ns, name string) *v1alpha1.AccessRequest {
	t.Helper()
	appears(t, ns, name)
	return request(ns, name)
}

// Access for a workload while its Job runs, asked for by a ServiceAccount with
// a token: its extra is part of who it is.
func TestTaskOfAServiceAccount(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "ServiceAccount", Namespace: ns, Name: "migrator"})
		s.Approvals = []v1alpha1.ApprovalStage{}
	})
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrator"}})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "migrator"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "access-requester"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "migrator"}},
	})
	kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
	config, err := e.ServiceAccount(t.Context(), ns, "migrator")
	if err != nil {
		t.Fatal(err)
	}
	migrator, err := login("migrator-"+ns, config)
	if err != nil {
		t.Fatal(err)
	}
	migrator.run(t, "request", "edit", "-n", ns, "--name", "migrate", "--task", "job/migrate", "--reason", "schema 42", "--wait").ok(t, "Active")
	if !kit.Can(t, migrator, ns) {
		t.Error("the migrator has no access")
	}
	migrator.run(t, "list", "-n", ns).ok(t, "migrate\tsystem:serviceaccount:"+ns+":migrator\tClusterRole/edit\t"+ns+"\tjob/migrate\tActive")
	migrator.run(t, "show", "migrate", "-n", ns).ok(t, "no longer than Job migrate runs")
	e.FinishJob(t, ns, "migrate", corev1.PodSucceeded)
	e.WaitFor(t, request(ns, "migrate"), v1alpha1.RequestCompleted)
}

// With --as, the request is that of whom one acts as.
func TestImpersonation(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	as := []string{"--as", "frank", "--as-group", "dev", "--as-group", "system:authenticated", "-n", ns}
	admin.run(t, append([]string{"request", "view", "--name", "fix", "--reason", "r", "-o", "jsonpath={.spec.requester.username}"}, as...)...).ok(t, "frank")
	e.WaitMatched(t, request(ns, "fix"))
	admin.run(t, append([]string{"release", "fix"}, as...)...).ok(t, "fix released")
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	other := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "ops"})
	})
	line := p.Name + "\tview,edit\t" + ns + "\t1h\t1\tgroup:sre\t"
	alice.run(t, "policies").ok(t, "POLICY\tROLES", line).not(t, other.Name)
	alice.run(t, "policies", "--all", "--no-headers").ok(t, line, other.Name).not(t, "POLICY\t")
	alice.run(t, "policies", "-o", "yaml").ok(t, "kind: AccessPolicy", "maxDuration: 1h")
	bob.run(t, "policies").ok(t, "No policy lets you ask")
}

func TestAudit(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
	alice.run(t, "request", "view", "-n", ns, "--name", "one", "--reason", `=HYPERLINK("http://x"), "so"`, "--wait").ok(t)
	alice.run(t, "request", "edit", "-n", ns, "--name", "two", "--reason", "two", "--ticket", "INC-2", "--wait").ok(t)
	alice.run(t, "release", "one", "-n", ns).ok(t)
	e.WaitFor(t, request(ns, "one"), v1alpha1.RequestCompleted)
	two := e.GrantOf(t, request(ns, "two")).Name

	vera.run(t, "audit", "-n", ns).ok(t, "REQUESTER", "ClusterRole/view", "Released", "ClusterRole/edit", "left")
	vera.run(t, "audit", "-n", ns, "--active", "-o", "wide").ok(t, two, "INC-2").not(t, "Released")
	vera.run(t, "audit", "-n", ns, "--active", "-o", "name").ok(t, "accessgrant.jit.accessbroker.dev/"+two+"\n")
	vera.run(t, "audit", "-n", ns, "--user", "dave").ok(t, "No such access")
	vera.run(t, "audit", "-n", ns, "--user", "alice", "--since", "1h", "--role", "edit").ok(t, "ClusterRole/edit").not(t, "view")

	rows, err := csv.NewReader(strings.NewReader(vera.run(t, "audit", "-n", ns, "-o", "csv").ok(t).out)).ReadAll()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	reason := slices.Index(rows[0], "reason")
	var reasons []string
	for _, row := range rows[1:] {
		reasons = append(reasons, row[reason])
	}
	slices.Sort(reasons)
	if !slices.Equal(reasons, []string{`'=HYPERLINK("http://x"), "so"`, "two"}) {
		t.Errorf("%q", reasons)
	}
	for line := range strings.Lines(vera.run(t, "audit", "-n", ns, "-o", "jsonl").ok(t).out) {
		var record struct {
			Requester, Grant, Phase string
			Namespaces              []string
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || record.Requester != "alice" || !slices.Equal(record.Namespaces, []string{ns}) || record.Grant == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Text that a terminal would obey is shown escaped. The schema refuses most of
// it; a label selector of a CEL expression is free text.
func TestHostileText(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	alice.run(t, "request", "edit", "-n", ns, "--name", "fix", "--reason", "r", "--task", "job/x", "--complete-when", "true // \x1b[2J\u202e").ok(t)
	bob.run(t, "show", "fix", "-n", ns).ok(t, `true // \x1b[2J\u202e`).not(t, "\x1b").not(t, "\u202e")
}

// On a cluster without MutatingAdmissionPolicy the plugin says itself who asks
// and who decides. Not parallel: the cluster is everybody's.
func TestWithoutMutatingPolicies(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	for _, kind := range []string{"mutatingadmissionpolicybindings", "mutatingadmissionpolicies"} {
		kubectl(t, "delete", kind, "access-broker-stamp-requester", "access-broker-stamp-decisions")
	}
	t.Cleanup(func() {
		kubectl(t, "apply", "-k", e.Root+"/config/admission")
		stamps(t, ns, true)
	})
	stamps(t, ns, false)
	story(t, ns)

	r := ask(t, ns, "two")
	if err := kit.Decide(t, bob, r, v1alpha1.VerdictApprove); err == nil {
		t.Error("an unsigned decision is accepted, so this test shows nothing")
	}
	bob.run(t, "deny", "two", "-n", ns, "-m", "no").ok(t)
	e.WaitFor(t, r, v1alpha1.RequestDenied)

	// And by hand, as docs/install.md has it.
	both := e.NewNamespace(t, nil)
	e.NewPolicy(t, both, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
	var requester v1alpha1.UserInfo
	whoami(t, alice, &requester)
	for key := range requester.Extra { // none of what a certificate's user has is kept
		requester.OmittedExtra = append(requester.OmittedExtra, key)
	}
	requester.Extra = nil
	r = e.WaitMatched(t, e.Ask(t, alice, both, func(s *v1alpha1.AccessRequestSpec) { s.Requester = requester }))
	var written []map[string]any
	for _, p := range []person{bob, carol} {
		var me v1alpha1.UserInfo
		whoami(t, p, &me)
		written = append(written, map[string]any{"verdict": "Approve", "username": me.Username, "groups": me.Groups, "rulesHash": r.Status.RulesHash})
		if err := kit.PatchDecisions(t, p, r, written...); err != nil {
			t.Fatalf("%s approves by hand: %v", me.Username, err)
		}
	}
	e.WaitFor(t, r, v1alpha1.RequestActive)
}

func whoami(t *testing.T, p person, into *v1alpha1.UserInfo) {
	t.Helper()
	out, err := e.Kubectl(p.kubeconfig, "auth", "whoami", "-o", "jsonpath={.status.userInfo}").Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// With config/components/adhoc-rules, exactly the permissions that were asked
// for are held, from the approval until they are given back, and no others. Not
// parallel: elsewhere rules are off.
func TestRules(t *testing.T) {
	adhoc := filepath.Join(e.Root, "config", "components", "adhoc-rules")
	files := []string{"-f", filepath.Join(adhoc, "ceiling.yaml"), "-f", filepath.Join(adhoc, "role.yaml")}
	kubectl(t, append([]string{"apply"}, files...)...)
	t.Cleanup(func() { kubectl(t, append([]string{"delete"}, files...)...) })
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Roles, s.Rules = nil, []v1alpha1.PolicyRule{
			{Verbs: []string{"get", "list", "watch", "delete"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}},
			{Verbs: []string{"get", "patch"}, APIGroups: []string{"apps"}, Resources: []string{"deployments", "deployments/scale"}},
		}
	})
	holds := func(name string, want bool) {
		t.Helper()
		for what, attributes := range map[string]authorizationv1.ResourceAttributes{
			"get pods/log":                      {Verb: "get", Resource: "pods", Subresource: "log"},
			"delete the pod api":                {Verb: "delete", Resource: "pods", Name: "api"},
			"patch the scale of Deployment api": {Verb: "patch", Group: "apps", Resource: "deployments", Subresource: "scale", Name: "api"},
		} {
			attributes.Namespace = ns
			if got := kit.CanDo(t, alice, attributes); got != want {
				t.Errorf("%s: alice may %s: %v, want %v", name, what, got, want)
			}
		}
		for what, attributes := range map[string]authorizationv1.ResourceAttributes{
			"delete another pod": {Namespace: ns, Verb: "delete", Resource: "pods", Name: "db"},
			"list pods":          {Namespace: ns, Verb: "list", Resource: "pods"},
			"get secrets":        {Namespace: ns, Verb: "get", Resource: "secrets"},
			"do so elsewhere":    {Namespace: "default", Verb: "get", Resource: "pods", Subresource: "log"},
		} {
			if kit.CanDo(t, alice, attributes) {
				t.Errorf("%s: alice may %s", name, what)
			}
		}
	}

	holds("before", false)
	answer := alice.start(t, "request", "-n", ns, "--name", "look", "--rules", "get pods/log", "--rules", "delete pods api", "--rules", "get,patch deployments.apps/scale api",
		"--reason", "checkout restarts", "--wait")
	e.WaitMatched(t, appeared(t, ns, "look"))
	bob.run(t, "list", "--to-approve", "-n", ns).ok(t, "look\talice\trules\t"+ns)
	bob.run(t, "show", "look", "-n", ns).ok(t, "pods/log", "deployments.apps/scale", "delete, only for the names api")
	if out, err := e.Kubectl(admin.kubeconfig, "get", "areq", "look", "-n", ns, "-o", "wide").CombinedOutput(); err != nil || !strings.Contains(string(out), `"resources":["deployments/scale"]`) {
		t.Errorf("kubectl get does not show the rules: %v\n%s", err, out)
	}
	holds("waiting", false)
	bob.run(t, "approve", "look", "-n", ns).ok(t, "look approved")
	answer().ok(t, "Active: rules in "+ns+" for alice until")
	holds("active", true)
	vera.run(t, "audit", "-n", ns).ok(t, "alice\talice\trules\t"+ns+"\tActive")
	alice.run(t, "release", "look", "-n", ns).ok(t, "look released")
	e.WaitEnded(t, e.GrantOf(t, request(ns, "look")).Name, v1alpha1.EndReleased)
	holds("after", false)
	if out, err := e.Kubectl(admin.kubeconfig, "get", "roles,rolebindings", "-n", ns, "-o", "name", "-l", v1alpha1.LabelGrant).CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("left behind: %s, %v", out, err)
	}

	// More than the policy has, and more than the broker has.
	alice.run(t, "request", "-n", ns, "--rules", "get secrets", "--reason", "r", "--wait").ends(t, 3, "does not cover all of the rules")
	alice.run(t, "request", "-n", ns, "--rules", "patch deployments", "--reason", "r", "--wait").ends(t, 5, "access-broker-adhoc-ceiling")
}

func kubectl(t *testing.T, args ...string) {
	t.Helper()
	if out, err := e.Kubectl(admin.kubeconfig, args...).CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// stamps waits until the API server fills in who asks and who decides, or no
// longer does.
func stamps(t *testing.T, ns string, want bool) {
	t.Helper()
	probe := lab.NewRequest(ns, nil)
	probe.GenerateName, probe.Name = "", "probe"
	kit.Eventually(t, fmt.Sprintf("stamping to be %t", want), func(ctx context.Context) (bool, error) {
		stamped := e.Admin.Create(ctx, probe.DeepCopy(), client.DryRunAll) == nil
		return stamped == want && (!want || stampsDecisions(ctx)), nil
	})
}

// stampsDecisions asks with a decision that is refused in the name of whom it was stamped with.
func stampsDecisions(ctx context.Context) bool {
	list := &v1alpha1.AccessRequestList{}
	if e.Admin.List(ctx, list) != nil || len(list.Items) == 0 {
		return false
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"decisions":[{"verdict":"Release"}]}}`))
	err := e.Admin.Status().Patch(ctx, list.Items[0].DeepCopy(), patch, client.DryRunAll)
	return err != nil && !strings.Contains(err.Error(), "username")
}
