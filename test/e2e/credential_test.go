package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/test/kit"
)

// An issued credential has the access, its requester has not; at the end it is
// refused at once, and nothing that could be opened is left.
func TestIssuedCredential(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, kit.Issues)
	key := kit.NewKey(t)
	request := e.AskIssued(t, alice, ns, key, nil)
	active := e.Approved(t, bob, request)
	token := kit.Open(t, key, active)
	issued := e.WithToken(t, token)
	if !kit.Can(t, issued, ns) {
		t.Error("the credential has no access")
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice has the access herself")
	}
	g := e.GrantOf(t, active)
	me := &authenticationv1.SelfSubjectReview{}
	if err := issued.Create(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	if want := "system:serviceaccount:access-broker-grants:" + g.Name; me.Status.UserInfo.Username != want {
		t.Errorf("the credential is of %s, want %s", me.Status.UserInfo.Username, want)
	}
	c := g.Status.Credential
	if c == nil || c.GrantUID != g.UID || *c != *active.Status.Credential || c.ExpirationTime.Sub(g.Spec.ExpirationTime.Time).Abs() > 3*time.Second {
		t.Errorf("the grant until %s records %+v", g.Spec.ExpirationTime, c)
	}
	account := &corev1.ServiceAccount{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}, account); err != nil {
		t.Fatal(err)
	}
	if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Error("its token would be mounted")
	}
	if n := len(g.Status.Bindings); n != 2 || g.Status.Bindings[0].Kind != "ServiceAccount" || g.Status.Bindings[0].UID != account.UID {
		t.Errorf("the grant records %+v", g.Status.Bindings)
	}
	if err := kit.Decide(t, alice, request, v1alpha1.VerdictRelease); err != nil {
		t.Fatal(err)
	}
	ended := e.WaitFor(t, request, v1alpha1.RequestCompleted)
	if can(t, issued, ns) {
		t.Error("the credential still has the access")
	}
	g = e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	e.WaitGone(t, account)
	for _, c := range []*v1alpha1.SealedCredential{ended.Status.Credential, g.Status.Credential} {
		if c == nil || c.Sealed != "" || c.ExpirationTime.IsZero() {
			t.Errorf("after the end the record is %+v", c)
		}
	}
	nowhere(t, token)
}

// can asks as somebody whose token may be refused by now.
func can(t *testing.T, c client.Client, ns string) bool {
	t.Helper()
	err := c.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns))
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		t.Fatal(err)
	}
	return err == nil
}

// nowhere: a token is in no object, event, log or audit record.
func nowhere(t *testing.T, token string) {
	t.Helper()
	signature := token[strings.LastIndex(token, ".")+1:]
	for _, list := range []client.ObjectList{
		&v1alpha1.AccessRequestList{}, &v1alpha1.AccessGrantList{}, &corev1.EventList{}, &corev1.SecretList{}, &corev1.ServiceAccountList{}, &corev1.ConfigMapList{},
	} {
		if err := e.Admin.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), signature) {
			t.Errorf("the token is in %T", list)
		}
	}
	for _, name := range []string{"broker", "kube-apiserver", "etcd", "kube-controller-manager"} {
		content, err := os.ReadFile(e.Log(name))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) == 0 {
			t.Errorf("the log of %s is empty", name)
		}
		if strings.Contains(string(content), signature) {
			t.Errorf("the token is in the log of %s", name)
		}
	}
}

// A request and a policy that differ in whose identity has the access do not match,
// in words that say what to do.
func TestCredentialAndPolicyMustAgree(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := e.NewPolicy(t, ns, kit.Issues)
	denied := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "issues a credential: ask with --credential") {
		t.Error(kit.Describe(denied.Status.Conditions))
	}
	key := kit.NewKey(t)
	request := e.AskIssued(t, alice, ns, key, nil)
	active := e.Approved(t, bob, request)
	e.Patch(t, p, `{"spec":{"credential":"Own"}}`)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndPolicyChanged)
	denied = e.WaitFor(t, e.AskIssued(t, alice, ns, key, nil), v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "gives the access to the requester's own identity: ask without --credential") {
		t.Error(kit.Describe(denied.Status.Conditions))
	}
}

// A key to which nothing can be sealed, and access to or for the namespace of issued
// credentials, are refused before anybody is asked.
func TestCredentialsThatCannotBe(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, kit.Issues)
	e.NewPolicy(t, v1alpha1.GrantsNamespace, func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny })
	for name, tc := range map[string]struct {
		edit func(*v1alpha1.AccessRequestSpec)
		says string
	}{
		"a point of small order": {func(s *v1alpha1.AccessRequestSpec) { s.CredentialKey = strings.Repeat("A", 43) + "=" }, "kubectl access request --credential makes a key"},
		"the namespace": {func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{Namespaces: []string{ns, v1alpha1.GrantsNamespace}}
		}, "nobody is given access to it"},
		"an account of it": {func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: v1alpha1.GrantsNamespace, Name: "default"}}
		}, "is the identity of an issued credential"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := e.WaitFor(t, e.Ask(t, alice, ns, tc.edit), v1alpha1.RequestFailed)
			if !kit.HasMessage(failed.Status.Conditions, tc.says) || failed.Status.Policy != nil {
				t.Error(kit.Describe(failed.Status.Conditions))
			}
		})
	}
}

// A selector that selects every namespace leaves that of issued credentials out, and
// a grant of rules or for the whole cluster has its ServiceAccount as any other has.
func TestIssuedInEveryScope(t *testing.T) {
	t.Parallel()
	label := map[string]string{"issued": "here"}
	one, other := e.NewNamespace(t, label), e.NewNamespace(t, label)
	e.NewPolicy(t, one, func(s *v1alpha1.AccessPolicySpec) {
		kit.Issues(s)
		s.Namespaces = &v1alpha1.PolicyNamespaces{Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"issued": "here"}}}
	})
	key := kit.NewKey(t)
	active := e.Approved(t, bob, e.AskIssued(t, alice, one, key, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"issued": "here"}}}
	}))
	issued := e.WithToken(t, kit.Open(t, key, active))
	for _, ns := range []string{one, other} {
		if !kit.Can(t, issued, ns) {
			t.Errorf("no access in %s", ns)
		}
	}
	if kit.Can(t, issued, v1alpha1.GrantsNamespace) {
		t.Error("access to the namespace of issued credentials")
	}
}

// A grant shorter than the shortest token ends at its deadline: the binding goes.
func TestShortIssuedAccessEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, kit.Issues)
	key := kit.NewKey(t)
	active := e.Approved(t, bob, e.AskIssued(t, alice, ns, key, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3 * time.Second} }))
	issued := e.WithToken(t, kit.Open(t, key, active))
	if life := active.Status.Credential.ExpirationTime.Sub(active.Status.ExpirationTime.Time); life < 9*time.Minute {
		t.Errorf("the token outlives the grant by %s: the API server gives ten minutes at least", life)
	}
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndExpired)
	if can(t, issued, ns) {
		t.Error("the token outlives the access")
	}
	if _, err := credential.Open(key, credential.Grant{}, active.Status.Credential.Sealed); err == nil {
		t.Error("the credential opens for no grant")
	}
}

// API servers give Pods that ask for 3607 seconds a token of a year. An issued
// credential of that time is none of a Pod.
func TestIssuedForTheTimeThatIsExtended(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		kit.Issues(s)
		s.Approvals[0].Count, s.MaxDuration = ptr.To[int32](0), metav1.Duration{Duration: 2 * time.Hour}
	})
	request := e.AskIssued(t, alice, ns, kit.NewKey(t), func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 3607 * time.Second} })
	active := e.WaitFor(t, request, v1alpha1.RequestActive)
	if late := active.Status.Credential.ExpirationTime.Sub(active.Status.ExpirationTime.Time); late.Abs() > 5*time.Second {
		t.Errorf("the credential ends %s after the grant", late)
	}
}
