package grant

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func list[T any](items ...T) []T { return items }

func user(name string) v1alpha1.GrantSubject {
	return v1alpha1.GrantSubject{Subject: v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: name}}
}

func group(name string) v1alpha1.GrantSubject {
	return v1alpha1.GrantSubject{Subject: v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: name}}
}

func account(namespace, name string) v1alpha1.GrantSubject {
	return v1alpha1.GrantSubject{
		Subject: v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: namespace, Name: name},
		UID:     "uid-of-" + types.UID(name),
	}
}

func namespace(name string) v1alpha1.GrantNamespace {
	return v1alpha1.GrantNamespace{ObjectRef: v1alpha1.ObjectRef{Name: name, UID: "uid-of-" + types.UID(name)}}
}

type ofGrant func(*v1alpha1.AccessGrantSpec)

// newGrant gives alice the ClusterRole edit in payments.
func newGrant(changes ...ofGrant) *v1alpha1.AccessGrant {
	g := &v1alpha1.AccessGrant{Spec: v1alpha1.AccessGrantSpec{
		Subjects:   list(user("alice")),
		RoleRef:    &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"},
		Namespaces: list(namespace("payments")),
	}}
	g.Name, g.UID = "fix-1", "grant-uid"
	for _, change := range changes {
		change(&g.Spec)
	}
	return g
}

func to(subjects ...v1alpha1.GrantSubject) ofGrant {
	return func(s *v1alpha1.AccessGrantSpec) { s.Subjects = subjects }
}

func in(names ...string) ofGrant {
	return func(s *v1alpha1.AccessGrantSpec) {
		s.Namespaces = nil
		for _, name := range names {
			s.Namespaces = append(s.Namespaces, namespace(name))
		}
	}
}

func role(kind, name string) ofGrant {
	return func(s *v1alpha1.AccessGrantSpec) { s.RoleRef = &v1alpha1.RoleRef{Kind: kind, Name: name} }
}

func everywhere(s *v1alpha1.AccessGrantSpec) { s.Namespaces, s.Cluster = nil, true }

func adhoc(rules ...v1alpha1.PolicyRule) ofGrant {
	return func(s *v1alpha1.AccessGrantSpec) { s.RoleRef, s.Rules = nil, rules }
}

func decided(decisions ...v1alpha1.Decision) ofGrant {
	return func(s *v1alpha1.AccessGrantSpec) { s.Decisions = decisions }
}

func TestName(t *testing.T) {
	const uid = "0b9b2f4e-6c1e-4b8a-9d3c-5f1f6f3a2b10"
	for name, test := range map[string]struct {
		request string
		uid     types.UID
		want    string
	}{
		"short":             {"fix", uid, "fix-93a9a96315c30a04"},
		"another UID":       {"fix", "another", "fix-ae448ac86c4e8e4d"},
		"dots and dashes":   {"fix-1.of.2", uid, "fix-1.of.2-93a9a96315c30a04"},
		"as long as it can": {strings.Repeat("a", 46), uid, strings.Repeat("a", 46) + "-93a9a96315c30a04"},
		"cut":               {strings.Repeat("a", 46) + "b", uid, strings.Repeat("a", 46) + "-93a9a96315c30a04"},
		"of 253":            {strings.Repeat("a", 253), uid, strings.Repeat("a", 46) + "-93a9a96315c30a04"},
		"cut after a dash":  {strings.Repeat("a", 45) + "-b", uid, strings.Repeat("a", 45) + "-93a9a96315c30a04"},
		"cut after a dot":   {strings.Repeat("a", 45) + ".b", uid, strings.Repeat("a", 45) + "-93a9a96315c30a04"},
		"cut after dashes":  {"a" + strings.Repeat("-", 60) + "b", uid, "a-93a9a96315c30a04"},
		"cut before a dot":  {strings.Repeat("a", 46) + ".b", uid, strings.Repeat("a", 46) + "-93a9a96315c30a04"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Name(test.request, test.uid); got != test.want || !IsName(got) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	for _, other := range []string{"", "fix", "93a9a96315c30a04", "-93a9a96315c30a04", "system:node-93a9a96315c30a04", "fix-93a9a96315c30a0", "fix-93a9a96315c30a0g", strings.Repeat("a", 50) + "-93a9a96315c30a04"} {
		if IsName(other) {
			t.Errorf("%q passes for a grant's name", other)
		}
	}
}

// FuzzName: whatever a request is called, an object and a label of its bindings may
// have the name of its grant, and the request's UID alone tells two such names
// apart.
func FuzzName(f *testing.F) {
	f.Add("fix", "0b9b2f4e-6c1e-4b8a-9d3c-5f1f6f3a2b10", "another")
	f.Add("a", "", "b")
	f.Add(strings.Repeat("a-", 126)+"a", "1", "2")
	f.Add(strings.Repeat("a.", 126)+"a", "1", "2")
	for _, cut := range list("-b", "--b", ".b", "-b.c", "b-", "0.0") {
		for n := range 4 {
			f.Add(strings.Repeat("a", 43+n)+cut, "1", "2")
			f.Add(strings.Repeat("a", 43+n)+cut+strings.Repeat("z", 60), "1", "2")
		}
	}
	f.Fuzz(func(t *testing.T, request, uid, other string) {
		request = requestName(request)
		got := Name(request, types.UID(uid))
		if errs := validation.IsDNS1123Subdomain(got); len(errs) > 0 {
			t.Errorf("%q: %q", got, errs)
		}
		if errs := validation.IsValidLabelValue(got); len(errs) > 0 {
			t.Errorf("%q: %q", got, errs)
		}
		if got != Name(request, types.UID(uid)) {
			t.Errorf("%q is not the name every time", got)
		}
		if uid != other && (got == Name(request, types.UID(other)) || got == Name("x"+request, types.UID(other))) {
			t.Errorf("requests %q and %q share %q", uid, other, got)
		}
		if cut := got[:strings.LastIndex(got, "-")]; !strings.HasPrefix(request, cut) {
			t.Errorf("%q does not begin as %q does", got, request)
		}
	})
}

// requestName turns any text into a name that a request may have, as close to it as
// possible.
func requestName(text string) string {
	text = strings.Map(func(r rune) rune {
		if r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return 'a' + r%26
		}
		return r
	}, text[:min(len(text), 253)])
	var labels []string
	for label := range strings.SplitSeq(text[:min(len(text), 253)], ".") {
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label[:min(len(label), 63)])
		}
	}
	name := strings.Join(labels, ".")
	if len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "a"
	}
	return name
}

func TestBindings(t *testing.T) {
	clusterRole := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: name}
	}
	alice := rbacv1.Subject{Kind: "User", APIGroup: "rbac.authorization.k8s.io", Name: "alice"}
	for name, test := range map[string]struct {
		grant *v1alpha1.AccessGrant
		want  []Object
	}{
		"one namespace": {newGrant(), list(
			Object{Kind: "RoleBinding", Namespace: "payments", RoleRef: clusterRole("edit"), Subjects: list(alice)})},
		"each namespace": {newGrant(in("a", "b")), list(
			Object{Kind: "RoleBinding", Namespace: "a", RoleRef: clusterRole("edit"), Subjects: list(alice)},
			Object{Kind: "RoleBinding", Namespace: "b", RoleRef: clusterRole("edit"), Subjects: list(alice)})},
		"a Role": {newGrant(role("Role", "deployer")), list(
			Object{Kind: "RoleBinding", Namespace: "payments", RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "deployer"}, Subjects: list(alice)})},
		"the cluster": {newGrant(everywhere, role("ClusterRole", "view")), list(
			Object{Kind: "ClusterRoleBinding", RoleRef: clusterRole("view"), Subjects: list(alice)})},
		"the cluster, whatever else": {newGrant(func(s *v1alpha1.AccessGrantSpec) { s.Cluster = true }), list(
			Object{Kind: "ClusterRoleBinding", RoleRef: clusterRole("edit"), Subjects: list(alice)})},
		"no namespace": {newGrant(in()), nil},
		"subjects of each kind": {newGrant(to(group("dev"), user("alice"), account("ci", "bot"))), list(
			Object{Kind: "RoleBinding", Namespace: "payments", RoleRef: clusterRole("edit"), Subjects: list(
				rbacv1.Subject{Kind: "Group", APIGroup: "rbac.authorization.k8s.io", Name: "dev"},
				alice,
				rbacv1.Subject{Kind: "ServiceAccount", Namespace: "ci", Name: "bot"})})},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.want {
				test.want[i].Name, test.want[i].Grant, test.want[i].GrantUID = "fix-1", "fix-1", "grant-uid"
			}
			if diff := cmp.Diff(test.want, Bindings(test.grant), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestRoles: a grant of rules has a role of its own wherever it has a binding, and
// the binding binds that role.
func TestRoles(t *testing.T) {
	getPods := v1alpha1.PolicyRule{Verbs: list("get"), APIGroups: list(""), Resources: list("pods"), ResourceNames: list("web-0")}
	metrics := v1alpha1.PolicyRule{Verbs: list("get"), NonResourceURLs: list("/metrics")}
	held := list(
		rbacv1.PolicyRule{Verbs: list("get"), APIGroups: list(""), Resources: list("pods"), ResourceNames: list("web-0")},
		rbacv1.PolicyRule{Verbs: list("get"), NonResourceURLs: list("/metrics")})
	for name, test := range map[string]struct {
		grant *v1alpha1.AccessGrant
		want  []Object
	}{
		"an existing role": {newGrant(adhoc(getPods), role("ClusterRole", "edit")), nil},
		"each namespace": {newGrant(adhoc(getPods, metrics), in("a", "b")), list(
			Object{Kind: "Role", Namespace: "a", Rules: held},
			Object{Kind: "Role", Namespace: "b", Rules: held})},
		"the cluster": {newGrant(adhoc(getPods, metrics), everywhere), list(Object{Kind: "ClusterRole", Rules: held})},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range test.want {
				test.want[i].Name, test.want[i].Grant, test.want[i].GrantUID = "fix-1", "fix-1", "grant-uid"
			}
			got := Roles(test.grant)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for i, b := range Bindings(test.grant)[:len(got)] {
				if b.Namespace != got[i].Namespace || b.RoleRef != (rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: got[i].Kind, Name: got[i].Name}) || len(b.Rules) > 0 {
					t.Errorf("%+v does not bind %+v", b, got[i])
				}
			}
		})
	}
}

func TestMeta(t *testing.T) {
	yes := true
	want := metav1.ObjectMeta{
		Namespace:   "payments",
		Name:        "fix-1",
		Labels:      map[string]string{"jit.accessbroker.dev/grant": "fix-1", "velero.io/exclude-from-backup": "true"},
		Annotations: map[string]string{"propagate.hnc.x-k8s.io/none": "true"},
		OwnerReferences: list(metav1.OwnerReference{
			APIVersion: "jit.accessbroker.dev/v1alpha1", Kind: "AccessGrant", Name: "fix-1", UID: "grant-uid", Controller: &yes,
		}),
	}
	if diff := cmp.Diff(want, Bindings(newGrant())[0].Meta()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRef(t *testing.T) {
	for name, test := range map[string]struct {
		grant *v1alpha1.AccessGrant
		want  v1alpha1.BindingRef
	}{
		"namespace": {newGrant(), v1alpha1.BindingRef{Kind: "RoleBinding", Namespace: "payments", ObjectRef: v1alpha1.ObjectRef{Name: "fix-1", UID: "made"}}},
		"cluster":   {newGrant(everywhere), v1alpha1.BindingRef{Kind: "ClusterRoleBinding", ObjectRef: v1alpha1.ObjectRef{Name: "fix-1", UID: "made"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Bindings(test.grant)[0].Ref("made")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestTouched compares a binding that somebody touched with the one that the grant
// wants.
func TestTouched(t *testing.T) {
	noOwner := func(s *Seen) { s.Meta.OwnerReferences = nil }
	for name, test := range map[string]struct {
		touch        func(*Seen)
		ours, intact bool
	}{
		"as it was made":            {func(*Seen) {}, true, true},
		"stamped by the API server": {func(s *Seen) { s.Meta.UID, s.Meta.ResourceVersion, s.Meta.Generation = "made", "7", 1 }, true, true},
		"labelled further":          {func(s *Seen) { s.Meta.Labels["team"] = "pay" }, true, true},
		"with a finalizer":          {func(s *Seen) { s.Meta.Finalizers = list("example.com/keep") }, true, true},
		"with another owner": {func(s *Seen) {
			s.Meta.OwnerReferences = append(s.Meta.OwnerReferences, metav1.OwnerReference{UID: "other"})
		}, true, true},
		"behind another owner": {func(s *Seen) {
			s.Meta.OwnerReferences = append(list(metav1.OwnerReference{UID: "other"}), s.Meta.OwnerReferences...)
		}, true, true},

		"without an owner":                 {noOwner, true, false},
		"with the owner of another grant":  {func(s *Seen) { s.Meta.OwnerReferences[0].UID = "other" }, true, false},
		"with an owner without a UID":      {func(s *Seen) { s.Meta.OwnerReferences[0].UID = "" }, true, false},
		"without owner and label":          {func(s *Seen) { noOwner(s); s.Meta.Labels = nil }, false, false},
		"without owner, another's label":   {func(s *Seen) { noOwner(s); s.Meta.Labels[v1alpha1.LabelGrant] = "fix-2" }, false, false},
		"a stranger's with the label only": {func(s *Seen) { noOwner(s); s.Meta.Name = "admins" }, false, false},
		"without labels":                   {func(s *Seen) { s.Meta.Labels = nil }, true, false},
		"without the label":                {func(s *Seen) { delete(s.Meta.Labels, v1alpha1.LabelGrant) }, true, false},
		"labelled with another grant":      {func(s *Seen) { s.Meta.Labels[v1alpha1.LabelGrant] = "fix-2" }, true, false},
		"being deleted":                    {func(s *Seen) { s.Meta.DeletionTimestamp = &metav1.Time{Time: deadline} }, true, false},
		"another role":                     {func(s *Seen) { s.RoleRef.Name = "admin" }, true, false},
		"another kind of role":             {func(s *Seen) { s.RoleRef.Kind = "Role" }, true, false},
		"a role of another group":          {func(s *Seen) { s.RoleRef.APIGroup = "" }, true, false},
		"no subjects":                      {func(s *Seen) { s.Subjects = nil }, true, false},
		"a subject less":                   {func(s *Seen) { s.Subjects = s.Subjects[:1] }, true, false},
		"a subject more":                   {func(s *Seen) { s.Subjects = append(s.Subjects, rbacv1.Subject{Kind: "User", Name: "mallory"}) }, true, false},
		"another subject":                  {func(s *Seen) { s.Subjects[0].Name = "mallory" }, true, false},
		"a group in place of a user":       {func(s *Seen) { s.Subjects[0].Kind = "Group" }, true, false},
		"an account from elsewhere":        {func(s *Seen) { s.Subjects[1].Namespace = "default" }, true, false},
		"subjects in another order":        {func(s *Seen) { slices.Reverse(s.Subjects) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := Bindings(newGrant(to(user("alice"), account("ci", "bot"))))[0]
			seen := Seen{Kind: want.Kind, Meta: want.Meta(), RoleRef: want.RoleRef, Subjects: slices.Clone(want.Subjects)}
			test.touch(&seen)
			if got := want.Ours(seen); got != test.ours {
				t.Errorf("ours: %v, want %v", got, test.ours)
			}
			if got := want.Intact(seen); got != test.intact {
				t.Errorf("intact: %v, want %v", got, test.intact)
			}
		})
	}
}

// TestTouchedRole does the same to the role of a grant of rules.
func TestTouchedRole(t *testing.T) {
	for name, test := range map[string]struct {
		touch  func(*Seen)
		intact bool
	}{
		"as it was made":        {func(*Seen) {}, true},
		"as it is stored":       {func(s *Seen) { s.Rules[0].NonResourceURLs = []string{} }, true},
		"a verb more":           {func(s *Seen) { s.Rules[0].Verbs = append(s.Rules[0].Verbs, "delete") }, false},
		"for all names":         {func(s *Seen) { s.Rules[0].ResourceNames = nil }, false},
		"a rule more":           {func(s *Seen) { s.Rules = append(s.Rules, s.Rules[0]) }, false},
		"no rules":              {func(s *Seen) { s.Rules = nil }, false},
		"of another grant":      {func(s *Seen) { s.Meta.OwnerReferences[0].UID = "other" }, false},
		"without the label":     {func(s *Seen) { s.Meta.Labels = nil }, false},
		"while it goes":         {func(s *Seen) { s.Meta.DeletionTimestamp = &metav1.Time{Time: deadline} }, false},
		"a binding in its name": {func(s *Seen) { s.RoleRef.Name = "admin" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			role := func() Object {
				return Roles(newGrant(adhoc(v1alpha1.PolicyRule{Verbs: list("get"), Resources: list("pods"), ResourceNames: list("web-0")})))[0]
			}
			seen := Seen{Kind: role().Kind, Meta: role().Meta(), Rules: role().Rules}
			test.touch(&seen)
			if got := role().Intact(seen); got != test.intact {
				t.Errorf("intact: %v, want %v", got, test.intact)
			}
		})
	}
}

func TestSummarize(t *testing.T) {
	decision := func(username string, verdict v1alpha1.Verdict) v1alpha1.Decision {
		return v1alpha1.Decision{Username: username, Verdict: verdict}
	}
	for name, test := range map[string]struct {
		grant *v1alpha1.AccessGrant
		want  v1alpha1.GrantSummary
	}{
		"the usual":       {newGrant(), v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments"}},
		"each kind":       {newGrant(to(user("alice"), group("dev"), account("ci", "bot"))), v1alpha1.GrantSummary{Subjects: "alice,group:dev,sa:ci/bot", Role: "ClusterRole/edit", Scope: "payments"}},
		"several places":  {newGrant(in("a", "b")), v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "a,b"}},
		"the cluster":     {newGrant(everywhere), v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "*"}},
		"a Role":          {newGrant(role("Role", "deployer")), v1alpha1.GrantSummary{Subjects: "alice", Role: "Role/deployer", Scope: "payments"}},
		"rules":           {newGrant(adhoc()), v1alpha1.GrantSummary{Subjects: "alice", Role: "rules", Scope: "payments"}},
		"those who agree": {newGrant(decided(decision("bob", v1alpha1.VerdictApprove), decision("alice", v1alpha1.VerdictRelease), decision("carol", v1alpha1.VerdictApprove), decision("dave", v1alpha1.VerdictRevoke))), v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments", Approvers: "bob,carol"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Summarize(&test.grant.Spec)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestSummarizeBounds: the schema, which counts characters, admits the summary of
// the largest grant that it admits.
func TestSummarizeBounds(t *testing.T) {
	for name, letter := range map[string]string{"ASCII": "x", "four bytes a character": "𝔵"} {
		t.Run(name, func(t *testing.T) {
			long := strings.Repeat(letter, 256)
			spec := &newGrant(role("ClusterRole", long[:len(letter)*253])).Spec
			spec.Subjects, spec.Namespaces = nil, nil
			for i := range 16 {
				spec.Subjects = append(spec.Subjects, group(long))
				spec.Decisions = append(spec.Decisions, v1alpha1.Decision{Username: long, Verdict: v1alpha1.VerdictApprove})
				for j := range 64 {
					spec.Namespaces = append(spec.Namespaces, namespace(fmt.Sprintf("%063d", 64*i+j)))
				}
			}
			got := Summarize(spec)
			want := v1alpha1.GrantSummary{
				Subjects:  strings.Repeat("group:"+long+",", 3) + "...",
				Role:      "ClusterRole/" + long[:len(letter)*253],
				Approvers: strings.Repeat(long+",", 3) + "...",
			}
			for i := range 15 {
				want.Scope += fmt.Sprintf("%063d,", i)
			}
			want.Scope += "..."
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, column := range list(got.Subjects, got.Role, got.Scope, got.Approvers) {
				if n := utf8.RuneCountInString(column); n > 1024 {
					t.Errorf("%d characters", n)
				}
			}
		})
	}
}

func TestJoin(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct {
		items []string
		want  string
	}{
		"none":              {nil, ""},
		"one":               {list("a"), "a"},
		"several":           {list("a", "b", "c"), "a,b,c"},
		"just short enough": {list(x(1022), "a"), x(1022) + ",a"},
		"just too long":     {list(x(1020), "abc", "d"), x(1020) + ",..."},
		"no room for dots":  {list("a", x(1020), "bc"), "a,..."},
		"in characters":     {list(strings.Repeat("ä", 1024)), strings.Repeat("ä", 1024)},
		"one too long":      {list(x(1025)), x(1021) + "..."},
		"the first is":      {list(strings.Repeat("ä", 2048), "a"), strings.Repeat("ä", 1021) + "..."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := join(test.items); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzJoin: the line is never too long, and it says when it leaves something out.
func FuzzJoin(f *testing.F) {
	f.Add("alice", uint16(3))
	f.Add("", uint16(2000))
	f.Add(strings.Repeat("x", 1019), uint16(2))
	f.Add(strings.Repeat("𝔵", 256), uint16(16))
	f.Fuzz(func(t *testing.T, item string, n uint16) {
		items := slices.Repeat(list(item[:min(len(item), 1100)]), int(n%1100))
		got := join(items)
		if utf8.RuneCountInString(got) > 1024 {
			t.Errorf("%d characters", utf8.RuneCountInString(got))
		}
		whole := strings.Join(items, ",")
		if fits := utf8.RuneCountInString(whole) <= 1024; fits != (got == whole) {
			t.Errorf("got %q of %q", got, whole)
		}
		if got != whole && (!strings.HasSuffix(got, "...") || !strings.HasPrefix(whole, strings.TrimSuffix(got, "..."))) {
			t.Errorf("got %q of %q", got, whole)
		}
	})
}

// deadline of the grants in these tests.
var deadline = time.Date(2026, time.July, 15, 14, 0, 0, 0, time.FixedZone("Berlin", 2*60*60))
