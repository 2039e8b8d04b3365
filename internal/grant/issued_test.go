package grant

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func keyed(s *v1alpha1.AccessGrantSpec) { s.CredentialKey = "key" }

func TestBound(t *testing.T) {
	alice, bot := user("alice").Subject, account("ci", "bot").Subject
	if diff := cmp.Diff(list(alice, bot), Bound(newGrant(to(user("alice"), account("ci", "bot"))))); diff != "" {
		t.Error(diff)
	}
	want := v1alpha1.Subject{Kind: "ServiceAccount", Namespace: "access-broker-grants", Name: "fix-1"}
	if diff := cmp.Diff(list(want), Bound(newGrant(keyed))); diff != "" {
		t.Error(diff)
	}
}

// The ServiceAccount is made first and taken last; bindings name it alone.
func TestObjectsOfIssued(t *testing.T) {
	rule := v1alpha1.PolicyRule{Verbs: list("get"), APIGroups: list(""), Resources: list("pods")}
	var got []string
	for _, o := range Objects(newGrant(keyed, in("a", "b"), adhoc(rule))) {
		got = append(got, o.String())
		if o.Kind == RoleBindingKind && !cmp.Equal(o.Subjects, list(rbacv1.Subject{Kind: "ServiceAccount", Namespace: "access-broker-grants", Name: "fix-1"})) {
			t.Errorf("%s names %v", o, o.Subjects)
		}
	}
	want := list("ServiceAccount access-broker-grants/fix-1", "Role a/fix-1", "Role b/fix-1", "RoleBinding a/fix-1", "RoleBinding b/fix-1")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if Accounts(newGrant()) != nil || Issued(newGrant()) {
		t.Error("a grant without a key has a ServiceAccount")
	}
}

// Whoever adds what is no right to the ServiceAccount ends nothing.
func TestTouchedAccount(t *testing.T) {
	want := Accounts(newGrant(keyed))[0]
	for name, test := range map[string]struct {
		touch  func(*Seen)
		intact bool
	}{
		"as it was made":  {func(*Seen) {}, true},
		"labelled":        {func(s *Seen) { s.Meta.Labels["team"] = "pay" }, true},
		"annotated":       {func(s *Seen) { s.Meta.Annotations["openshift.io/internal-registry-pull-secret-ref"] = "x" }, true},
		"being deleted":   {func(s *Seen) { s.Meta.DeletionTimestamp = &metav1.Time{Time: deadline} }, false},
		"without owner":   {func(s *Seen) { s.Meta.OwnerReferences = nil }, false},
		"without label":   {func(s *Seen) { delete(s.Meta.Labels, v1alpha1.LabelGrant) }, false},
		"another's label": {func(s *Seen) { s.Meta.Labels[v1alpha1.LabelGrant] = "fix-2" }, false},
	} {
		seen := Seen{Kind: want.Kind, Meta: want.Meta()}
		test.touch(&seen)
		if got := want.Intact(seen); got != test.intact {
			t.Errorf("%s: intact is %v", name, got)
		}
		if !seen.AllowsNothing() {
			t.Errorf("%s: it allows something", name)
		}
	}
}

func TestTokenLife(t *testing.T) {
	g := newGrant(keyed, func(s *v1alpha1.AccessGrantSpec) { s.ExpirationTime = metav1.NewTime(deadline) })
	for left, want := range map[time.Duration]time.Duration{
		time.Hour:                       time.Hour,
		time.Hour - time.Millisecond:    time.Hour,
		10*time.Minute + 1:              10*time.Minute + time.Second,
		10 * time.Minute:                10 * time.Minute,
		3 * time.Second:                 10 * time.Minute,
		-time.Hour:                      10 * time.Minute,
		30*24*time.Hour - time.Second:   30*24*time.Hour - time.Second,
		3607 * time.Second:              3607 * time.Second, // the life that API servers extend for Pods
		time.Hour + 999*time.Nanosecond: time.Hour + time.Second,
	} {
		if got := TokenLife(g, deadline.Add(-left)); got != want {
			t.Errorf("%s before the deadline it is %s, want %s", left, got, want)
		}
	}
}

func TestRenewAt(t *testing.T) {
	for name, test := range map[string]struct {
		issued, expires time.Duration // before the deadline
		want            time.Duration // before the deadline; 0 for never
	}{
		"until the deadline":                    {time.Hour, 0, 0},
		"beyond it":                             {time.Minute, -9 * time.Minute, 0},
		"until just before it":                  {time.Hour, 4 * time.Second, 0},
		"an hour of eight":                      {8 * time.Hour, 7 * time.Hour, 7*time.Hour + 12*time.Minute},
		"an hour, ten seconds short":            {time.Hour, 10 * time.Second, 12*time.Minute + 8*time.Second},
		"ten minutes of twelve, none beyond it": {12 * time.Minute, 2 * time.Minute, 10 * time.Minute},
		"ten of ten and a half":                 {10*time.Minute + 30*time.Second, 30 * time.Second, 10 * time.Minute},
		"a clock that is an hour behind":        {8 * time.Hour, 8*time.Hour + time.Minute, 8*time.Hour - time.Minute},
	} {
		g := newGrant(keyed, func(s *v1alpha1.AccessGrantSpec) { s.ExpirationTime = metav1.NewTime(deadline) })
		g.Status.Credential = &v1alpha1.SealedCredential{IssuedTime: metav1.NewTime(deadline.Add(-test.issued)), ExpirationTime: metav1.NewTime(deadline.Add(-test.expires))}
		at, needed := RenewAt(g)
		if needed != (test.want != 0) || needed && !at.Equal(deadline.Add(-test.want)) {
			t.Errorf("%s: %s before the deadline, %v", name, deadline.Sub(at), needed)
		}
	}
	if _, needed := RenewAt(newGrant(keyed)); needed {
		t.Error("a credential is renewed that was never issued")
	}
	if _, needed := RenewAt(newGrant()); needed {
		t.Error("a grant without a credential renews one")
	}
}
