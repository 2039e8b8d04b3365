package plugin

import (
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// browsing is somebody at the page, with a browser that has no script.
type browsing struct{ *kit.Visitor }

// browse opens the page of `kubectl access ui`.
func browse(t *testing.T, ui *exec.Cmd) browsing {
	t.Helper()
	page, err := lab.StartPage(ui)
	if err != nil {
		t.Fatal(err)
	}
	return browsing{kit.ComeIn(t, page)}
}

// shown is a page.
type shown struct {
	status int
	// path below the root, of the last of its redirects.
	path string
	html string
	text string
	tree *html.Node
}

func (b browsing) page(t *testing.T, path string) shown {
	t.Helper()
	return read(t, b.Answer(path))
}

func read(t *testing.T, a lab.Answer) shown {
	t.Helper()
	tree, err := html.Parse(strings.NewReader(a.Body))
	if err != nil {
		t.Fatal(err)
	}
	return shown{status: a.Status, html: a.Body, tree: tree, path: a.Path, text: spaces.ReplaceAllString(textOf(tree), " ")}
}

var spaces = regexp.MustCompile(`\s+`)

// each visits the elements of a name.
func each(n *html.Node, name string, visit func(*html.Node)) {
	for of := range n.Descendants() {
		if of.Type == html.ElementNode && of.Data == name {
			visit(of)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func textOf(n *html.Node) string {
	var out strings.Builder
	for of := range n.Descendants() {
		if of.Type == html.TextNode {
			out.WriteString(of.Data)
		}
	}
	return out.String()
}

// byID is the element with an id.
func (s shown) byID(t *testing.T, id string) *html.Node {
	t.Helper()
	for of := range s.tree.Descendants() {
		if of.Type == html.ElementNode && attr(of, "id") == id {
			return of
		}
	}
	t.Fatalf("there is no %s in\n%s", id, s.text)
	return nil
}

// says checks that a page says all of this.
func (s shown) says(t *testing.T, status int, texts ...string) shown {
	t.Helper()
	if s.status != status {
		t.Errorf("status %d, want %d", s.status, status)
	}
	for _, text := range texts {
		if !strings.Contains(s.text, text) {
			t.Errorf("%q is missing in\n%s", text, s.text)
		}
	}
	return s
}

// press sends the form that has a button of this name, with what is written into its
// fields besides what is in them.
func (b browsing) press(t *testing.T, s shown, button string, write map[string]string) shown {
	t.Helper()
	var sent *lab.Answer
	each(s.tree, "form", func(form *html.Node) {
		values := url.Values{}
		found := false
		each(form, "button", func(n *html.Node) {
			if strings.TrimSpace(textOf(n)) == button {
				found = true
				if has(n, "name") {
					values.Set(attr(n, "name"), attr(n, "value"))
				}
			}
		})
		if !found {
			return
		}
		each(form, "input", func(n *html.Node) { values.Set(attr(n, "name"), attr(n, "value")) })
		each(form, "textarea", func(n *html.Node) { values.Set(attr(n, "name"), textOf(n)) })
		each(form, "select", func(n *html.Node) {
			first := true
			each(n, "option", func(o *html.Node) {
				if first || has(o, "selected") {
					values.Set(attr(n, "name"), attr(o, "value"))
				}
				first = false
			})
		})
		for name, value := range write {
			if !values.Has(name) {
				t.Errorf("there is no field %s", name)
			}
			values.Set(name, value)
		}
		for name := range values {
			// As browsers do.
			values.Set(name, strings.ReplaceAll(strings.ReplaceAll(values.Get(name), "\r\n", "\n"), "\n", "\r\n"))
		}
		answer := b.Sent(strings.TrimPrefix(attr(form, "action"), b.Root), values)
		sent = &answer
	})
	if sent == nil {
		t.Fatalf("there is no button %q in\n%s", button, s.text)
	}
	return read(t, *sent)
}

// Alice looks at what she may ask for, sees what would come of it, and sends it. Nothing
// is made before.
func TestUIAsk(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	b := browse(t, alice.access("ui", "--no-browser", "-n", ns))
	b.page(t, "ask").says(t, http.StatusOK, "What you may ask for", p.Name, "namespace "+ns, "at most 1h", "1 approval", "from group:sre")

	form := b.page(t, "ask?policy="+p.Name).says(t, http.StatusOK, "Ask by policy "+p.Name, "By default 1h, at most 1h.", "Choose one")
	if reason := form.byID(t, "reason"); attr(reason, "maxlength") != "1024" || !has(reason, "required") {
		t.Errorf("%v", reason.Attr)
	}
	looked := b.press(t, form, "See what it would give", map[string]string{"role": "edit", "for": "30m", "reason": "INC-42: it's stuck", "ticket": "INC-42"})
	looked.says(t, http.StatusOK, "What it would give", "Policy "+p.Name+" decides, with 1 approval.", "How long30m from the grant on",
		"Who decidesgroup:sre", "Its holder could", "What it allows", "namespace "+ns)
	if n := len(requests(t, ns)); n != 0 {
		t.Fatalf("%d requests are there already", n)
	}
	if got, want := textOf(looked.byID(t, "command")), "kubectl access request edit -n "+ns+" --for '30m' --ticket 'INC-42' --policy '"+p.Name+"' --reason 'INC-42: it'\\''s stuck'"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	var copied v1alpha1.AccessRequest
	if err := yaml.UnmarshalStrict([]byte(textOf(looked.byID(t, "yaml"))), &copied); err != nil {
		t.Fatal(err)
	}
	if copied.GenerateName != "edit-" || copied.Namespace != ns || copied.Spec.Reason != "INC-42: it's stuck" || copied.Spec.Requester.Username != "alice" {
		t.Errorf("%+v", copied)
	}

	sent := b.press(t, looked, "Send the request", nil).says(t, http.StatusOK, "The request was sent.")
	made := requests(t, ns)
	if len(made) != 1 || made[0].Spec.RoleRef.Name != "edit" || made[0].Spec.Duration.Duration != 30*time.Minute || made[0].Spec.PolicyName != p.Name {
		t.Fatalf("%+v", made)
	}
	if !strings.HasPrefix(sent.path, "requests/"+ns+"/"+made[0].Name) || !strings.HasPrefix(made[0].Name, "edit-") {
		t.Errorf("%s is shown, %s was made", sent.path, made[0].Name)
	}
	// Somebody is impatient, or goes back.
	b.press(t, looked, "Send the request", nil).says(t, http.StatusOK, "The request was sent.")
	if n := len(requests(t, ns)); n != 1 {
		t.Errorf("sent twice, there are %d", n)
	}
	// What was copied can be used: the YAML is accepted as it is.
	kit.Create(t, alice, &copied)
}

// Whatever can be filled in: what is sent is what was looked at.
func TestUIAskAll(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	cluster := func(s *v1alpha1.AccessPolicySpec) { s.ClusterScope = v1alpha1.ClusterScopeAllowed }
	for name, tc := range map[string]struct {
		policy func(*v1alpha1.AccessPolicySpec)
		write  map[string]string
		form   []string
		says   []string
		check  func(*v1alpha1.AccessRequestSpec) bool
	}{
		"all of it": {
			func(s *v1alpha1.AccessPolicySpec) {
				s.Namespaces.Names, s.Subjects, s.MaxDuration.Duration = append(s.Namespaces.Names, "shop"), v1alpha1.SubjectsAny, 96*time.Hour
			},
			map[string]string{
				"role": "edit", "for": "1h30m", "subject": "user:dave\nsa:" + ns + "/default", "task": "deployment/api", "complete-when": "object.status.replicas == 0",
				"start": "+10m", "namespaces": ns, "ticket": "INC-42", "name": "fix",
			},
			[]string{"at most 96h"},
			[]string{"For whomdave, ", "How long1h30m from the grant on; not before ", "no longer than Deployment api runs (complete when object.status.replicas == 0)"},
			func(s *v1alpha1.AccessRequestSpec) bool {
				return len(s.Subjects) == 2 && s.Task.Kind == "Deployment" && s.Duration.Duration == 90*time.Minute && s.StartTime != nil && len(s.Scope.Namespaces) == 1 && s.Ticket == "INC-42"
			},
		},
		"less than any suggestion": {
			func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration = 5 * time.Minute },
			map[string]string{"role": "view"},
			[]string{"By default 5m, at most 5m."},
			[]string{"How long5m from the grant on"},
			func(s *v1alpha1.AccessRequestSpec) bool { return s.Duration == nil },
		},
		"exactly some permissions": {
			func(s *v1alpha1.AccessPolicySpec) {
				s.Roles, s.Rules = nil, []v1alpha1.PolicyRule{{Verbs: []string{"get", "list", "delete"}, APIGroups: []string{""}, Resources: []string{"pods", "pods/log"}}}
			},
			map[string]string{"rules": "get,list pods/log\ndelete pods x"},
			[]string{"Permissions (required)"},
			[]string{"What it allows", "delete, only for the names x"},
			func(s *v1alpha1.AccessRequestSpec) bool { return s.RoleRef == nil && len(s.Rules) == 2 },
		},
		"the whole cluster": {
			cluster,
			map[string]string{"role": "view", "where": "cluster"},
			[]string{"In the whole cluster"},
			[]string{"Wherethe whole cluster"},
			func(s *v1alpha1.AccessRequestSpec) bool { return s.Scope.Cluster != nil },
		},
		"a task that is wanted": {
			func(s *v1alpha1.AccessPolicySpec) { s.Task = v1alpha1.TaskRequired },
			map[string]string{"role": "view", "task": "job/migrate"},
			[]string{"Task (required)", "It wants a task"},
			[]string{"no longer than Job migrate runs"},
			func(s *v1alpha1.AccessRequestSpec) bool { return s.Task.Name == "migrate" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := e.NewPolicy(t, ns, tc.policy)
			b := browse(t, alice.access("ui", "--no-browser", "-n", ns))
			tc.write["reason"] = "INC-42: <i>it's</i> & \"more\""
			form := b.page(t, "ask?policy="+p.Name).says(t, http.StatusOK, tc.form...)
			if n := strings.Count(form.html, "<option"); n > 20 {
				t.Errorf("%d things to choose from", n)
			}
			looked := b.press(t, form, "See what it would give", tc.write)
			looked.says(t, http.StatusOK, tc.says...)
			var copied v1alpha1.AccessRequest
			if err := yaml.UnmarshalStrict([]byte(textOf(looked.byID(t, "yaml"))), &copied); err != nil {
				t.Fatal(err)
			}
			b.press(t, looked, "Send the request", nil).says(t, http.StatusOK, "The request was sent.")
			var made *v1alpha1.AccessRequest
			for _, r := range requests(t, ns) {
				if r.Spec.PolicyName == p.Name {
					made = &r
				}
			}
			if made == nil {
				t.Fatal("nothing was made")
			}
			if diff := cmp.Diff(copied.Spec, made.Spec); diff != "" || !tc.check(&made.Spec) {
				t.Errorf("-looked at +made\n%s\n%+v", diff, made.Spec)
			}
			// The same, typed: nothing of the form is missing in the command.
			line := textOf(looked.byID(t, "command"))
			cmd := alice.access()
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", strings.Replace(line, "--name 'fix'", "--name 'fix-typed'", 1) + " -o yaml"}
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			var byCommand v1alpha1.AccessRequest
			if err := yaml.Unmarshal(out, &byCommand); err != nil {
				t.Fatal(err)
			}
			byCommand.Spec.StartTime, made.Spec.StartTime = nil, nil // from now on
			if diff := cmp.Diff(made.Spec, byCommand.Spec); diff != "" {
				t.Errorf("%s\n-page +command\n%s", line, diff)
			}
		})
	}
}

// requests of a namespace.
func requests(t *testing.T, ns string) []v1alpha1.AccessRequest {
	t.Helper()
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// What is wrong is told at its field and before the form, and nothing that was written is
// lost.
func TestUIAskAgain(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Namespaces.Names = append(s.Namespaces.Names, "elsewhere-"+ns)
		s.Subjects = v1alpha1.SubjectsAny
	})
	b := browse(t, alice.access("ui", "--no-browser", "-n", ns))
	form := b.page(t, "ask?policy="+p.Name)
	typed := map[string]string{
		"role": "view", "for": "soon", "ticket": `<b>"INC"</b>`, "subject": "user:dave\nsomebody", "start": "+10m", "selector": "a=b", "namespaces": ns, "task": "job/x",
	}
	again := b.press(t, form, "See what it would give", typed)
	again.says(t, http.StatusUnprocessableEntity, "Something is missing or wrong", `How long: "soon" is not a duration`, "Reason: say why you need it",
		`For whom: "somebody" is not a subject`, "Other namespaces: choose namespaces by name, by labels, or the whole cluster")
	for _, id := range []string{"for", "reason", "subject", "namespaces"} {
		n := again.byID(t, id)
		described := attr(n, "aria-describedby")
		if attr(n, "aria-invalid") != "true" || !strings.Contains(described, id+"-fault") {
			t.Errorf("%s: %v", id, n.Attr)
		}
		for of := range strings.FieldsSeq(described) {
			again.byID(t, of)
		}
		if !strings.Contains(again.html, `<a href="#`+id+`">`) {
			t.Errorf("no link to %s", id)
		}
	}
	if attr(again.byID(t, "role"), "aria-invalid") != "" {
		t.Error("the role is well")
	}
	var summary []string
	for n := range again.tree.Descendants() {
		if n.Type == html.ElementNode && strings.HasPrefix(attr(n, "class"), "faults") {
			each(n, "a", func(a *html.Node) { summary = append(summary, attr(a, "href")) })
		}
	}
	if got := strings.Join(summary, " "); got != "#for #reason #subject #namespaces" {
		t.Errorf("the summary is not in the order of the form: %s", got)
	}
	// The same once more: all that was written is in the form.
	once := b.press(t, again, "See what it would give", nil).says(t, http.StatusUnprocessableEntity)
	for id, want := range typed {
		n := once.byID(t, id)
		is := attr(n, "value")
		switch n.Data {
		case "textarea":
			is = textOf(n)
		case "select":
			each(n, "option", func(o *html.Node) {
				if has(o, "selected") {
					is = attr(o, "value")
				}
			})
		}
		if is != want {
			t.Errorf("%s is %q, want %q", id, is, want)
		}
	}
	for name, tc := range map[string]struct {
		write map[string]string
		want  []string
	}{
		"no role":           {map[string]string{"role": ""}, []string{"Role: say which role"}},
		"too long a reason": {map[string]string{"reason": strings.Repeat("ä", 1025)}, []string{"Reason: it is 1025 characters long, at most 1024 are allowed"}},
		"a line break":      {map[string]string{"reason": "a\nb"}, []string{"Reason: it contains a line break"}},
		"what is not seen":  {map[string]string{"subject": "user:da\u200bve"}, []string{"For whom: it contains U+200B ZERO WIDTH SPACE"}},
		"a name for nobody": {map[string]string{"name": "X Y"}, []string{"Name of the request: "}},
		"a group of Kubernetes": {map[string]string{"subject": "group:system:masters"}, []string{
			"For whom: ", "system:",
		}},
		"no such namespace": {map[string]string{"namespace": "elsewhere-" + ns}, []string{"elsewhere-" + ns}},
	} {
		t.Run(name, func(t *testing.T) {
			write := map[string]string{"role": "view", "reason": "INC-42", "namespace": ns}
			for id, value := range tc.write {
				write[id] = value
			}
			b.press(t, form, "See what it would give", write).says(t, http.StatusUnprocessableEntity, tc.want...)
		})
	}
	if n := len(requests(t, ns)); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// What no policy allows is not sent: the closest is named in its own words.
func TestUIAskInVain(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	b := browse(t, alice.access("ui", "--no-browser", "-n", ns))
	looked := b.press(t, b.page(t, "ask?policy="+p.Name), "See what it would give", map[string]string{"role": "edit", "for": "3h", "reason": "INC-42"})
	looked.says(t, http.StatusOK, "it allows at most 1h", "Nothing can be sent like this")
	if strings.Contains(looked.html, "Send the request") {
		t.Error("it can be sent")
	}
	b.page(t, "ask?policy=nobodys").says(t, http.StatusBadRequest, "There is no policy nobodys, or it does not let you ask.")
	eve := browse(t, eve.access("ui", "--no-browser", "-n", ns))
	eve.page(t, "ask").says(t, http.StatusForbidden, "accesspolicies")
}

// From what was refused, the form is filled in; and only from what was refused to her.
func TestUIPropose(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	other := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	b := browse(t, alice.access("ui", "--no-browser", "-n", other))
	refused := alice.kubectl("delete", "pod", "x", "-n", ns)
	list := b.page(t, "ask")
	form := b.press(t, list, "Propose", map[string]string{"refused": refused})
	form.says(t, http.StatusOK, "You may not delete pods x in namespace "+ns+".", "Policy "+p.Name+" offers ClusterRole/edit")
	looked := b.press(t, form, "See what it would give", map[string]string{"reason": "INC-42"})
	if got, want := textOf(looked.byID(t, "command")), "kubectl access request edit -n "+ns+" --policy '"+p.Name+"' --reason 'INC-42'"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	both := refused + "\n" + alice.kubectl("delete", "pod", "y", "-n", other)
	b.press(t, list, "Propose", map[string]string{"refused": both}).says(t, http.StatusOK,
		"You may not delete pods x in namespace "+ns+".", "Fill in the form", "You may not delete pods y in namespace "+other+".", "No policy offers it to you.")
	b.press(t, list, "Propose", map[string]string{"refused": strings.ReplaceAll(refused, `"alice"`, `"dave"`)}).says(t, http.StatusOK,
		"delete pods x in namespace "+ns+" was refused to dave, and you are alice: nothing is proposed.")
	b.press(t, list, "Propose", map[string]string{"refused": `selfsubjectreviews.authentication.k8s.io is forbidden: User "alice" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`}).says(t, http.StatusOK,
		"it was something else that refused it")
	lost := b.press(t, list, "Propose", map[string]string{"refused": "command not found <x>"}).says(t, http.StatusUnprocessableEntity, "In this text the API server refuses nothing.")
	if got := textOf(lost.byID(t, "refused")); got != "command not found <x>" {
		t.Errorf("%q is left of what was pasted", got)
	}
}

// kubectl is what a command prints that is refused.
func (p person) kubectl(args ...string) string {
	out, _ := e.Kubectl(p.kubeconfig, args...).CombinedOutput() // its status is that it was refused
	return string(out)
}

// What the requester may read is told, as whoever decides sees it.
func TestUIAskSeen(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, map[string]string{"team": "payments-ops"})
	kit.Create(t, e.Admin, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "debugger"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}},
		{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}, ResourceNames: []string{"debugger"}, Verbs: []string{"get"}},
	}})
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "reads"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "alice"}},
	})
	kit.Create(t, e.Admin, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get"}},
	}})
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = append(s.Requesters, v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "narrow"})...)
		s.Roles = []v1alpha1.RoleRef{{Kind: v1alpha1.RoleKind, Name: "debugger"}}
		s.Approvals = []v1alpha1.ApprovalStage{{Name: "owners", FromNamespaceLabel: &v1alpha1.NamespaceLabel{Key: "team"}}}
	})
	for name, tc := range map[string]struct {
		who  person
		want []string
	}{
		"alice, who may read": {alice, []string{"Who decidesgroup:payments-ops", "Its holder could", "What it allows create pods/exec", "Nothing comes of policy"}},
		"nora, who may not": {nora, []string{
			"Who decidesgroup:<label team>", "This cannot be told", "the label team of namespace " + ns + ", whose labels you may not read", "you may not read Role/debugger",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := browse(t, tc.who.access("ui", "--no-browser", "-n", ns))
			looked := b.press(t, b.page(t, "ask?policy="+p.Name), "See what it would give", map[string]string{"reason": "INC-42"})
			looked.says(t, http.StatusOK, append(tc.want, "decides, with 1 approval")...)
		})
	}
}

// A credential of its own: the key is on this machine, and sent twice it is one request.
func TestUIAskCredential(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		automatic(s)
		s.Credential = v1alpha1.CredentialIssued
	})
	m := alice.machine(t)
	b := browse(t, m.kubectl("access", "ui", "--no-browser", "-n", ns))
	looked := b.press(t, b.page(t, "ask?policy="+p.Name), "See what it would give", map[string]string{"role": "view", "reason": "INC-42"})
	looked.says(t, http.StatusOK, "gives it at once: no approval is needed", "--credential")
	if yaml := textOf(looked.byID(t, "yaml")); strings.Contains(yaml, "credentialKey:") {
		t.Errorf("a key that nobody has: %s", yaml)
	}
	b.press(t, looked, "Send the request", nil).says(t, http.StatusOK, "The request was sent.")
	b.press(t, looked, "Send the request", nil).says(t, http.StatusOK, "The request was sent.")
	made := requests(t, ns)
	if len(made) != 1 || made[0].Spec.CredentialKey == "" {
		t.Fatalf("%+v", made)
	}
	e.WaitFor(t, &made[0], v1alpha1.RequestActive)
	m.run(t, "access", "login", made[0].Name, "-n", ns).ok(t)
}

// Read-only there is nothing of it.
func TestUIAskReadOnly(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	b := browse(t, alice.access("ui", "--no-browser", "--read-only", "-n", ns))
	b.page(t, "ask").says(t, http.StatusNotFound, "There is no such page.")
}

// A form that is sent many times at once is one request.
func TestUIAskImpatient(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, nil)
	b := browse(t, alice.access("ui", "--no-browser", "-n", ns))
	looked := b.press(t, b.page(t, "ask?policy="+p.Name), "See what it would give", map[string]string{"role": "view", "reason": "INC-42", "start": "+10m"})
	each(looked.tree, "input", func(n *html.Node) {
		if attr(n, "type") != "hidden" || attr(n, "name") != "start" {
			return
		}
		if _, err := time.Parse(time.RFC3339, attr(n, "value")); err != nil {
			t.Errorf("what was looked at moves on: %v", err)
		}
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { b.press(t, looked, "Send the request", nil).says(t, http.StatusOK, "The request was sent.") })
	}
	all.Wait()
	if n := len(requests(t, ns)); n != 1 {
		t.Errorf("there are %d", n)
	}
}
