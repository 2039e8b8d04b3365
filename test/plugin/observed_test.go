package plugin

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// observe stores what an observer saw of the use of a grant, as the observer.
func observe(t *testing.T, g *v1alpha1.AccessGrant, status v1alpha1.AccessUsageStatus) {
	t.Helper()
	kit.Create(t, observer(t), &v1alpha1.AccessUsage{
		ObjectMeta: metav1.ObjectMeta{Name: g.Name, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID},
		}},
		Spec: v1alpha1.AccessUsageSpec{GrantRef: v1alpha1.ObjectRef{Name: g.Name, UID: g.UID}}, Status: status,
	})
}

// observer is who may write AccessUsages.
func observer(t *testing.T) client.Client {
	return e.Somebody(t, rest.ImpersonationConfig{
		UserName: "system:serviceaccount:access-broker-system:access-observer", Groups: []string{"system:masters"},
	})
}

// granted is a grant of edit to alice, by the policy.
func granted(t *testing.T, ns, name string) *v1alpha1.AccessGrant {
	t.Helper()
	ask(t, ns, name)
	bob.run(t, "approve", name, "-n", ns).ok(t)
	e.WaitFor(t, request(ns, name), v1alpha1.RequestActive)
	return e.GrantOf(t, request(ns, name))
}

// usedBy is what alice did, as it is stored.
func usedBy(ns string, more ...v1alpha1.UsageRight) v1alpha1.AccessUsageStatus {
	ago := func(d time.Duration) *v1alpha1.Moment {
		m := metav1.NewTime(time.Now().Add(-d).Truncate(time.Second))
		return &m
	}
	return v1alpha1.AccessUsageStatus{
		Phase: v1alpha1.UsageObserving, Since: ago(20 * time.Minute), Until: ago(0),
		Streams: []v1alpha1.UsageStream{{Name: "cp", Since: *ago(20 * time.Minute), Until: *ago(0)}},
		Calls:   41, SharedCalls: 12, RefusedCalls: 3, FirstCall: ago(15*time.Minute + 30*time.Second), LastCall: ago(3*time.Minute + 30*time.Second),
		Callers: []v1alpha1.UsageCaller{{UsageClient: v1alpha1.UsageClient{User: "alice", Address: "192.0.2.7", UserAgent: "kubectl/v1.37"}, Calls: 44}},
		Used: append([]v1alpha1.UsageRight{
			{Verb: "list", Resource: "pods", Namespace: ns, Calls: 37, Shared: 12},
			{Verb: "get", Resource: "secrets", Namespace: ns, Calls: 3, Names: []string{"db", "tls"}},
			{Verb: "create", Resource: "pods", Namespace: ns, Calls: 1},
		}, more...),
		Refused: []v1alpha1.UsageRight{{Verb: "delete", Group: "rbac.authorization.k8s.io", Resource: "rolebindings", Namespace: ns, Calls: 3, Names: []string{"x"}}},
		Created: []v1alpha1.UsageObject{{Resource: "pods", Namespace: ns, Name: "debug-x", From: *ago(9 * time.Minute), To: *ago(9 * time.Minute), Times: 1}},
	}
}

// What an observer stored is told to those who may read it, in the words of a person,
// and to nobody else; where nobody observed anything, nothing is claimed.
func TestObservedUsage(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	g := granted(t, ns, "fix")

	vera.run(t, "show", "fix", "-n", ns).ok(t, "Active").not(t, "Observed ")
	vera.run(t, "usage", "fix", "-n", ns).ends(t, 1, "nobody observed the use of grant "+g.Name, "--audit-log")
	vera.run(t, "audit", "-n", ns).ok(t, "WHY\tAPPROVED BY\n").not(t, "CALLS")

	observe(t, g, usedBy(ns))
	page := vera.run(t, "show", "fix", "-n", ns).ok(t, "fix in namespace "+ns+": Active", "Used        41 calls in 12 minutes, the last 3 minutes ago; 12 of them other access covers too; used 3 of ",
		"; read 2 Secrets; created Pod debug-x\n", "Refused     3 calls: delete rolebindings.rbac.authorization.k8s.io in "+ns, "Observed    from ").not(t, "still there").not(t, "silent")
	if !regexp.MustCompile(`used 3 of [0-9]{3} rights`).MatchString(page.out) {
		t.Errorf("how many rights edit has is not told:\n%s", page.out)
	}
	for _, who := range []person{alice, bob} {
		who.run(t, "show", "fix", "-n", ns).ok(t, "Active").not(t, "Observed ").not(t, "forbidden").not(t, "41 calls")
		who.run(t, "usage", g.Name).ends(t, 1, "forbidden", "access-auditor")
		who.run(t, "show", g.Name, "-n", ns).ends(t, 1, "not found")
	}
	vera.run(t, "show", g.Name).ok(t, "Grant "+g.Name+": Active", "Who asked   alice", "Approve by bob", "Used        41 calls", "What it allowed")
	vera.run(t, "show", g.Name, "-o", "name").ok(t, "accessgrant.jit.accessbroker.dev/"+g.Name)

	for _, name := range []string{"fix", g.Name} {
		vera.run(t, "usage", name, "-n", ns).ok(t, "Grant "+g.Name, "In short    41 calls", "Whose       alice, ClusterRole/edit in "+ns, "Who called\n  44 calls: alice, from 192.0.2.7",
			"37 calls: list pods in "+ns+", 12 covered by other access too", "Rights that were refused").not(t, "still there")
	}
	usage := func(args ...string) result { return vera.run(t, append([]string{"usage"}, args...)...) }
	usage("--grant", g.Name, "--user", "alice").ok(t, "In short    41 calls")
	usage(g.Name, "--user", "bob").ends(t, 1, "no call of bob under grant "+g.Name+" was observed")
	usage(g.Name, "--since", "1h").ok(t, "41 calls")
	usage(g.Name, "--since", "10m").ends(t, 1, "the times of single calls are not stored", "--audit-log")
	usage(g.Name, "--since", "1m").ends(t, 1, "was observed since then; the last was at ")
	if line := lineOf(usage().ok(t, "GRANT\tUSERS\tCALLS\tREFUSED\tRIGHTS\tLAST\tRISKS\tSUSPICIOUS\tOBSERVED\n").out, g.Name); !strings.HasPrefix(line, g.Name+"\talice\t41\t3\t3\t3m") {
		t.Errorf("listed as %q", line)
	}
	usage("--user", "alice", "--since", "10m").ok(t, g.Name, "Used before then too: ")
	if out := usage("-n", ns).ok(t).out; strings.Count(out, "\n") != 2 || lineOf(out, g.Name) == "" {
		t.Errorf("in this namespace: %s", out)
	}
	usage("--user", "nobody").ok(t, "None of the grants that were observed")
	var report struct {
		Usage []struct {
			Grant  string
			Calls  int
			Shared int
			Window struct{ Since time.Time }
		}
	}
	if err := json.Unmarshal([]byte(usage(g.Name, "-o", "json").ok(t).out), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Usage) != 1 || report.Usage[0].Grant != g.Name || report.Usage[0].Calls != 44 || report.Usage[0].Shared != 12 || report.Usage[0].Window.Since.IsZero() {
		t.Errorf("%+v", report)
	}
	vera.run(t, "__complete", "usage", "").ok(t, g.Name+"\t")

	audited := vera.run(t, "audit", "-n", ns).ok(t, "APPROVED BY\tCALLS\tSUSPICIOUS\n")
	if !strings.HasSuffix(lineWith(audited.out, "\talice\t"), "\tbob\t41\t") {
		t.Errorf("audited as %q", lineWith(audited.out, "\talice\t"))
	}
	records, err := csv.NewReader(strings.NewReader(vera.run(t, "audit", "-n", ns, "-o", "csv").ok(t).out)).ReadAll()
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	at := slices.Index(records[0], "refusedCalls")
	if at < 0 || records[1][at] != "3" || records[1][at-1] != "41" {
		t.Errorf("%q", records)
	}
	vera.run(t, "audit", "-n", ns, "-o", "jsonl").ok(t, `"calls":41,"refusedCalls":3,"lastCall":"`)
	vera.run(t, "audit", "-n", ns, "-o", "wide").ok(t, "LAST CALL\tREFUSED\tSESSIONS\tLEFT BEHIND\tPOLICY")

	// So it is on the page.
	onPage := func(p person, used bool) {
		t.Helper()
		page := e.Visit(t, p.kubeconfig)
		list, want := page.Answer("record.csv?namespace="+ns), p.run(t, "audit", "-n", ns, "-o", "csv").ok(t).out
		if list.Body != want || list.Status != http.StatusOK {
			t.Errorf("%d: the page has\n%s\nand audit\n%s", list.Status, list.Body, want)
		}
		if status, body := page.Get("grants/" + g.Name); status != http.StatusOK || strings.Contains(kit.Text(body), "Used 41 calls in 12 minutes") != used {
			t.Errorf("%d: %s", status, kit.Text(body))
		}
		if status, body := page.Get("record?namespace=" + ns); status != http.StatusOK || !strings.Contains(kit.Text(body), "1–1 of 1, picked of") {
			t.Errorf("%d: %s", status, kit.Text(body))
		}
	}
	onPage(vera, true)

	// Somebody may read grants, and not their usage; nor may they watch them.
	reader := reads(t, "reader-"+ns, "accessgrants", "accessrequests")
	onPage(reader, false)
	reader.run(t, "audit", "-n", ns).ok(t, "alice", "You may not read AccessUsages").not(t, "CALLS")
	reader.run(t, "show", g.Name).ok(t, "Grant "+g.Name).not(t, "Observed ")
	// Or usage and not grants.
	reader = reads(t, "other-"+ns, "accessusages", "accessrequests")
	reader.run(t, "show", "fix", "-n", ns).ok(t, "Used        41 calls", "Observed ")
	reader.run(t, "usage", "fix", "-n", ns).ok(t, "41 calls").not(t, "Whose")
}

// What the broker finds when the access has ended is told, and nothing of it before.
func TestLeftBehind(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	g := granted(t, ns, "fix")
	began := metav1.NewTime(time.Now().Add(-time.Second))
	pod := kit.NewPod(ns, "debug-x")
	kit.Create(t, alice, pod)
	status := usedBy(ns)
	status.Created[0] = v1alpha1.UsageObject{Resource: "pods", Namespace: ns, Name: pod.Name, UID: string(pod.UID), From: began, To: metav1.Now(), Times: 1}
	status.Created = append(status.Created, v1alpha1.UsageObject{Resource: "configmaps", Namespace: ns, Name: "gone", From: began, To: metav1.Now(), Times: 1})
	observe(t, g, status)
	vera.run(t, "show", "fix", "-n", ns).ok(t, "created Pod debug-x, ConfigMap gone\n").not(t, "still there")
	alice.run(t, "release", "fix", "-n", ns).ok(t)
	ended := e.WaitEnded(t, g.Name, v1alpha1.EndReleased)

	// The stream goes on and says that all until the end is told.
	kit.WaitPast(t, ended.Status.EndedTime.Add(time.Second))
	u := &v1alpha1.AccessUsage{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), u); err != nil {
		t.Fatal(err)
	}
	now := metav1.Now()
	u.Status.Until, u.Status.Streams[0].Until = &now, now
	if err := observer(t).Update(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the look back", func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(g), ended)
		return meta.FindStatusCondition(ended.Status.Conditions, v1alpha1.ConditionLeftBehind) != nil, err
	})
	for _, name := range []string{"fix", g.Name} {
		vera.run(t, "show", name, "-n", ns).ok(t, "created Pod debug-x (still there), ConfigMap gone\n", "Left behind of 2 objects")
	}
	vera.run(t, "audit", "-n", ns, "-o", "jsonl").ok(t, `"leftBehind":"of 2 objects that were created with the access, 1 still exist: Pod `+ns+`/debug-x (created `)
}

// lineWith is the line that has a text in it.
func lineWith(out, text string) string {
	for line := range strings.Lines(out) {
		if strings.Contains(line, text) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}

// reads is somebody who may read these kinds and nothing else.
func reads(t *testing.T, name string, resources ...string) person {
	t.Helper()
	kit.Create(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get", "list"}, APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: resources},
	}})
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	})
	config, err := e.User(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := login(name, config)
	if err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the rights of "+name, func(context.Context) (bool, error) {
		return kit.CanDo(t, p, authorizationv1.ResourceAttributes{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: resources[0]}), nil
	})
	return p
}

// What is suspicious comes first; what a gap, a lost event or silence hides is said; and
// nothing in it can deceive who looks.
func TestSuspiciousUsage(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	g := granted(t, ns, "fix")
	const evil = "x\x1b[2J\u202e\nUsed        no calls\u200b"
	const cut = "yyyyyyyy..."
	long := strings.Repeat("ß", 256)
	status := usedBy(ns, v1alpha1.UsageRight{Verb: "get", Resource: "configmaps" + evil, Namespace: ns, Calls: 2, Names: []string{evil, long, strings.Repeat("y", 256-len(cut)) + cut}})
	status.Callers = append(status.Callers, v1alpha1.UsageCaller{UsageClient: v1alpha1.UsageClient{User: evil, Address: evil, UserAgent: long}, Calls: 1})
	status.Created[0].Name = evil
	status.Sessions = []v1alpha1.UsageSession{{ID: "1", Kind: "exec", Resource: "pods", Namespace: ns, Name: evil, UsageClient: v1alpha1.UsageClient{User: evil}, Since: *status.Since}}
	status.Suspicious = []v1alpha1.UsageFinding{{Name: "burst", Action: v1alpha1.SuspiciousRevoke, Message: "refusals: " + evil, Times: 4, First: *status.FirstCall, Last: *status.LastCall}}
	status.Gaps, status.LastGap, status.Until, status.Streams[0].Lost = 2, status.FirstCall, status.LastCall, 7
	observe(t, g, status)
	for _, args := range [][]string{{"show", "fix", "-n", ns}, {"show", g.Name}, {"usage", g.Name}} {
		r := vera.run(t, args...).ok(t, "Suspicious  ! burst: refusals: x", "(4 times, from ", "it ends the access", "with 2 gaps, the last until ", "7 events could not be read", "silent since ")
		for _, bad := range []string{"\x1b", "\u202e", "\u200b", "\nUsed        no calls"} {
			r.not(t, bad)
		}
		if before, _, _ := strings.Cut(r.out, "Suspicious"); strings.Count(before, "\n") > 3 {
			t.Errorf("what is suspicious is not first:\n%s", r.out)
		}
	}
	if line := lineWith(vera.run(t, "audit", "-n", ns).ok(t).out, "\talice\t"); !strings.HasSuffix(line, "\t41\tburst") {
		t.Errorf("audited as %q", line)
	}
	r := vera.run(t, "advise", "-n", ns, "--role", "edit").ok(t, "for other names, which are not stored, 1 call", "Of 1 grants not all was observed (gaps: 2, events that could not be read: 7)")
	for _, bad := range []string{"\x1b", "\u202e", "\u200b"} {
		r.not(t, bad)
	}
}

// What is proposed from AccessUsages, applied to a real cluster, allows every stored
// right and name by the word of the API server, and no other; where names are not
// stored, it says so, and nothing is written that would deny their calls.
func TestAdviseFromUsages(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	one, two := granted(t, ns, "one"), granted(t, ns, "two")
	granted(t, ns, "unobserved")
	observe(t, one, usedBy(ns, v1alpha1.UsageRight{Verb: "get", Resource: "configmaps", Namespace: ns, Calls: 30, Names: []string{"a", "b"}, MoreNames: 20}))
	applied := usedBy(ns, v1alpha1.UsageRight{Verb: "patch", Group: "apps", Resource: "deployments", Namespace: ns, Calls: 2, Names: []string{"web"}})
	applied.Created = []v1alpha1.UsageObject{{Group: "apps", Resource: "deployments", Namespace: ns, Name: "web", From: *applied.FirstCall, To: *applied.FirstCall, Times: 1}}
	observe(t, two, applied)

	advise := func(args ...string) result {
		return vera.run(t, append([]string{"advise", "--policy", p.Name}, args...)...)
	}
	advise("--since", "90d").ok(t, "What was used by the policy "+p.Name, "by people: 1, in grants: 2", "Of 20 calls that went well it is not stored what they were for, and they may be denied.",
		"get configmaps in namespace "+ns+": for other names, which are not stored, 20 calls", "create deployments.apps in namespace "+ns+", on web: an update, patch or apply",
		"Of the policy "+p.Name, "ClusterRole/view: nobody got it.", "Nobody observed the use of 1 of the 3 grants: unobserved-", "Still held, so that more may come: 3 of the 3 grants.").
		not(t, "ClusterRole/edit: ")
	for _, format := range [][]string{{"-o", "yaml"}, {"--policy-rules"}} {
		r := advise(format...).ends(t, 1, "of 20 calls that went well it is not stored what they were for", "--widen unknown-names", "--incomplete")
		if r.out != "" {
			t.Errorf("it writes all the same: %s", r.out)
		}
	}
	advise("--incomplete", "--policy-rules").ok(t, "Part of the spec of an AccessPolicy", "# Not known, and not proposed:")
	advise("--role", "view").ends(t, 1, "no access was given by the role view and by the policy "+p.Name)
	vera.run(t, "advise", "--role", "edit", "-n", ns).ok(t, "in grants: 2", "the cluster does not tell the rules of ClusterRole/edit")
	admin.run(t, "advise", "--role", "edit", "-n", ns).ok(t, "Not seen used of ClusterRole/edit as the cluster has it now: ")

	user := "advised-" + ns
	proposal := advise("--widen", "unknown-names", "-o", "yaml", "--bind", "user:"+user, "--name", user).ok(t, "# Widened, as you asked:", "all names; for which others it was used").out
	apply := e.Kubectl(admin.kubeconfig, "apply", "-f", "-")
	apply.Stdin = strings.NewReader(proposal)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, proposal)
	}
	may := func(verb, group, resource, namespace, name string) bool {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name,
		}}}
		kit.Create(t, e.Admin, review)
		return review.Status.Allowed
	}
	kit.Eventually(t, "the binding", func(context.Context) (bool, error) { return may("list", "", "pods", ns, ""), nil })
	for _, right := range [][5]string{
		{"list", "", "pods", ns, ""},
		{"create", "", "pods", ns, ""},
		{"get", "", "secrets", ns, "db"},
		{"get", "", "secrets", ns, "tls"},
		{"get", "", "configmaps", ns, "a"},
		{"get", "", "configmaps", ns, "any"},
		{"patch", "apps", "deployments", ns, "web"},
		{"create", "apps", "deployments", ns, "web"},
	} {
		if !may(right[0], right[1], right[2], right[3], right[4]) {
			t.Errorf("denied: %q\n%s", right, proposal)
		}
	}
	for _, right := range [][5]string{
		{"get", "", "secrets", ns, "other"},
		{"list", "", "secrets", ns, ""},
		{"delete", "rbac.authorization.k8s.io", "rolebindings", ns, "x"},
		{"list", "", "pods", "", ""},
		{"watch", "", "configmaps", ns, ""},
		{"patch", "apps", "deployments", ns, "api"},
		{"create", "apps", "deployments", ns, ""},
		{"get", "", "configmaps", "default", "a"},
	} {
		if may(right[0], right[1], right[2], right[3], right[4]) {
			t.Errorf("nobody used it, and it is allowed: %q\n%s", right, proposal)
		}
	}
}
