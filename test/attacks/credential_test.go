package attacks

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// issuedHeld is access of alice to a namespace with a credential of its own.
func issuedHeld(t *testing.T) (ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant, key *credential.Key, issued client.Client) {
	t.Helper()
	ns, key = e.NewNamespace(t, nil), kit.NewKey(t)
	newPolicy(t, ns, kit.Issues)
	request = e.Approved(t, bob, e.AskIssued(t, alice, ns, key, nil))
	issued = e.WithToken(t, kit.Open(t, key, request))
	must(t, issued, ns)
	return ns, request, e.GrantOf(t, request), key, issued
}

// accountOf is the ServiceAccount of a grant's credential.
func accountOf(g *v1alpha1.AccessGrant) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: g.Name}}
}

// tokenOf asks for a token of a ServiceAccount.
func tokenOf(ctx context.Context, c client.Client, account *corev1.ServiceAccount) (string, error) {
	request := &authenticationv1.TokenRequest{}
	err := c.SubResource("token").Create(ctx, account, request)
	return request.Status.Token, err
}

// works tells whether a token is taken and allows something.
func works(t *testing.T, c client.Client, ns string) bool {
	t.Helper()
	err := c.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns))
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		t.Fatal(err)
	}
	return err == nil
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	ns, request, g, key, issued := issuedHeld(t)
	account := accountOf(g)
	const (
		tokens   = "asked for by the broker alone"
		accounts = "made by the broker alone"
		changes  = "changed by the broker alone"
		bindings = "which only the broker binds to a role"
		holds    = "holds no Pods, workloads or Secrets"
		rights   = "nobody but the broker gets rights"
	)
	creates := func(c client.Client, o client.Object) func(*testing.T) error {
		return func(t *testing.T) error { return c.Create(t.Context(), o) }
	}
	binding := func(subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, GenerateName: "x-"}, RoleRef: clusterRole("admin"), Subjects: subjects}
	}
	self := rbacv1.Subject{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}
	inside := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: name}
	}

	refused(t, "token asked for by an administrator", tokens, func(t *testing.T) error {
		_, err := tokenOf(t.Context(), e.Admin, account)
		return err
	})
	refused(t, "token of the default ServiceAccount", tokens, func(t *testing.T) error {
		_, err := tokenOf(t.Context(), e.Admin, &corev1.ServiceAccount{ObjectMeta: inside("default")})
		return err
	})
	refused(t, "another role bound to an issued credential", bindings, creates(e.Admin, binding(self)))
	refused(t, "issued credential bound by its username", bindings, creates(e.Admin, binding(user("system:serviceaccount:access-broker-grants:"+g.Name))))
	refused(t, "all issued credentials bound by their group", bindings, creates(e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "x-"}, RoleRef: clusterRole("view"),
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts:access-broker-grants"}},
	}))
	refused(t, "issued credential slipped into a binding", bindings, func(t *testing.T) error {
		b := binding(user("nora"))
		kit.Create(t, e.Admin, b)
		b.Subjects = append(b.Subjects, self)
		return e.Admin.Update(t.Context(), b)
	})
	refused(t, "Pod with the identity of an issued credential", holds, func(t *testing.T) error {
		pod := kit.NewPod(v1alpha1.GrantsNamespace, "thief")
		pod.Spec.ServiceAccountName = g.Name
		pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ // as restricted Pods must
			AllowPrivilegeEscalation: ptr.To(false), RunAsNonRoot: ptr.To(true),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		return e.Admin.Create(t.Context(), pod)
	})
	refused(t, "workload beside the issued credentials", holds, func(t *testing.T) error {
		labels := map[string]string{"app": "thief"}
		return e.Admin.Create(t.Context(), &appsv1.Deployment{ObjectMeta: inside("thief"), Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: kit.NewPod(ns, "x").Spec},
		}})
	})
	refused(t, "Secret with the token of an issued credential", holds, creates(e.Admin, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.GrantsNamespace, Name: "thief", Annotations: map[string]string{corev1.ServiceAccountNameKey: g.Name}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}))
	refused(t, "ServiceAccount made beside the issued credentials", accounts, creates(e.Admin, &corev1.ServiceAccount{ObjectMeta: inside("thief")}))
	refused(t, "rights given in the namespace of issued credentials", rights, func(t *testing.T) error {
		b := binding(user("nora"))
		b.Namespace = v1alpha1.GrantsNamespace
		return e.Admin.Create(t.Context(), b)
	})
	refused(t, "owner taken off the ServiceAccount", changes, func(t *testing.T) error {
		return merge(t, e.Admin, account.DeepCopy(), `{"metadata":{"ownerReferences":null}}`)
	})
	refused(t, "label taken off the ServiceAccount", changes, func(t *testing.T) error {
		return merge(t, e.Admin, account.DeepCopy(), `{"metadata":{"labels":null}}`)
	})
	refused(t, "finalizer put on the ServiceAccount", changes, func(t *testing.T) error {
		return merge(t, e.Admin, account.DeepCopy(), `{"metadata":{"finalizers":["example.com/stay"]}}`)
	})
	refused(t, "broker makes a ServiceAccount of no grant", accounts, creates(stolen, &corev1.ServiceAccount{ObjectMeta: inside("thief")}))
	refused(t, "broker makes a ServiceAccount elsewhere", "is forbidden", creates(stolen, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "thief"}}))
	refused(t, "broker asks for a token elsewhere", "is forbidden", func(t *testing.T) error {
		_, err := tokenOf(t.Context(), stolen, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "default"}})
		return err
	})
	refused(t, "broker binds another grant's credential", bindings, func(t *testing.T) error {
		b := binding(self)
		b.Name, b.GenerateName, b.RoleRef = "another-0123456789abcdef", "", clusterRole("view")
		b.Labels = map[string]string{v1alpha1.LabelGrant: b.Name}
		b.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: b.Name, UID: g.UID}}
		return stolen.Create(t.Context(), b)
	})
	refused(t, "sealed credential replaced", "the status is written by the broker alone", func(t *testing.T) error {
		forged, err := credential.Seal(key.Public(), credential.Grant{Name: g.Name, UID: g.UID}, "another token")
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(map[string]any{"status": map[string]any{"credential": map[string]any{"sealed": forged}}})
		if err != nil {
			t.Fatal(err)
		}
		return mergeStatus(t.Context(), mallory, request, string(body))
	})
	refused(t, "issued credential approves", "an issued credential approves nothing", func(t *testing.T) error {
		other, _, own, _, holder := issuedHeld(t)
		newPolicy(t, other, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].From = []v1alpha1.PolicySubject{{Kind: "ServiceAccount", Namespace: v1alpha1.GrantsNamespace, Name: own.Name}}
		})
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{ // there alone: the other tests have ServiceAccounts too
			ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "decide"}, RoleRef: clusterRole("access-approver"),
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts"}},
		})
		next := e.WaitMatched(t, e.Ask(t, alice, other, nil))
		var err error
		kit.Eventually(t, "the right to write decisions", func(context.Context) (bool, error) {
			err = kit.Decide(t, holder, next, v1alpha1.VerdictApprove)
			return err == nil || !strings.Contains(err.Error(), "cannot "), nil // RBAC says cannot
		})
		return err
	})

	attack(t, "stolen ciphertext", func(t *testing.T) {
		if _, err := credential.Open(kit.NewKey(t), credential.Grant{Name: g.Name, UID: g.UID}, request.Status.Credential.Sealed); err == nil {
			t.Error("it opens with another key")
		}
	})
	attack(t, "ciphertext of one grant presented for another", func(t *testing.T) {
		other := e.Approved(t, bob, e.AskIssued(t, alice, ns, key, nil))
		if _, err := credential.Open(key, credential.Grant{Name: other.Status.GrantName, UID: other.Status.Credential.GrantUID}, request.Status.Credential.Sealed); err == nil {
			t.Error("it opens for another grant")
		}
	})
	attack(t, "another's key in one's own request", func(t *testing.T) {
		theirs := e.Approved(t, bob, e.Ask(t, dave, ns, func(s *v1alpha1.AccessRequestSpec) { s.CredentialKey = key.Public() }))
		if kit.Can(t, dave, ns) {
			t.Error("dave has access without a credential")
		}
		must(t, e.WithToken(t, kit.Open(t, key, theirs)), ns) // whom the key is of: as if dave had handed it over
	})
	attack(t, "request made again with the same key", func(t *testing.T) {
		again := e.Approved(t, bob, e.AskIssued(t, alice, ns, key, nil))
		if again.Status.GrantName == request.Status.GrantName || kit.Open(t, key, again) == kit.Open(t, key, request) {
			t.Error("two requests share a credential")
		}
	})
	attack(t, "issued credential asks for more", func(t *testing.T) {
		other, _, own, _, holder := issuedHeld(t)
		newPolicy(t, other, func(s *v1alpha1.AccessPolicySpec) {
			s.Requesters = v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "ServiceAccount", Namespace: v1alpha1.GrantsNamespace, Name: own.Name})
		})
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "ask"}, RoleRef: clusterRole("access-requester"),
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:serviceaccounts"}},
		})
		next := lab.NewRequest(other, nil)
		kit.CreateSoon(t, holder, next)
		mustEnd(t, next, v1alpha1.RequestFailed, "ask as yourself")
	})
	attack(t, "token used from elsewhere", func(t *testing.T) {
		place, held, _, theirs, _ := issuedHeld(t)
		thief := e.WithToken(t, kit.Open(t, theirs, held)) // whoever has the token has the access
		must(t, thief, place)
		kit.MustDecide(t, alice, held, v1alpha1.VerdictRelease)
		e.WaitFor(t, held, v1alpha1.RequestCompleted)
		if works(t, thief, place) {
			t.Error("it outlives the grant")
		}
	})
	attack(t, "ServiceAccount of a credential deleted", func(t *testing.T) {
		place, _, own, _, holder := issuedHeld(t)
		kit.Delete(t, e.Admin, accountOf(own))
		e.WaitEnded(t, own.Name, v1alpha1.EndBindingTouched)
		if works(t, holder, place) {
			t.Error("the credential has access")
		}
	})
	attack(t, "pull secrets added to the ServiceAccount", func(t *testing.T) {
		if err := merge(t, e.Admin, account.DeepCopy(), `{"metadata":{"annotations":{"example.com/patched":"yes"}},"imagePullSecrets":[{"name":"registry"}],"secrets":[{"name":"registry"}]}`); err != nil {
			t.Fatal(err)
		}
		must(t, issued, ns) // the grant goes on: these are no rights
	})
}

// The namespace of issued credentials goes: their grants end, and the next request
// says what to do.
func TestCredentialsWithoutTheirNamespace(t *testing.T) {
	alone(t, "namespace of issued credentials deleted", func(t *testing.T) {
		ns, request, g, key, issued := issuedHeld(t)
		putBack(t)
		kit.Delete(t, e.Admin, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.GrantsNamespace}})
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
		if works(t, issued, ns) {
			t.Error("the credential has access")
		}
		e.WaitGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.GrantsNamespace}})
		mustEnd(t, e.AskIssued(t, alice, ns, key, nil), v1alpha1.RequestFailed, "an administrator installs Access Broker again")
	})
}

// Without the admission policies the broker still takes what it gave.
func TestUnguardedCredentials(t *testing.T) {
	unguard(t)
	held := func(t *testing.T) (ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant, issued client.Client) {
		ns = e.NewNamespace(t, nil)
		newPolicy(t, ns, kit.Issues)
		key := kit.NewKey(t)
		request = e.WaitMatched(t, asks(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.CredentialKey = key.Public() }))
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		request = e.WaitFor(t, request, v1alpha1.RequestActive)
		issued = e.WithToken(t, kit.Open(t, key, request))
		must(t, issued, ns)
		return ns, request, e.GrantOf(t, request), issued
	}
	ends := func(t *testing.T, ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant, holders ...client.Client) {
		decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke))
		e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		for _, holder := range holders {
			if works(t, holder, ns) {
				t.Error("a token outlives the grant")
			}
		}
		e.WaitGone(t, accountOf(g))
	}
	alone(t, "ServiceAccount kept by a finalizer", func(t *testing.T) {
		ns, request, g, issued := held(t)
		if err := merge(t, e.Admin, accountOf(g), `{"metadata":{"finalizers":["example.com/stay"]}}`); err != nil {
			t.Fatal(err)
		}
		ends(t, ns, request, g, issued)
	})
	alone(t, "ServiceAccount deleted and made again", func(t *testing.T) {
		ns, _, g, issued := held(t)
		account := accountOf(g)
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
			t.Fatal(err)
		}
		brokerDown(t)
		kit.Delete(t, e.Admin, account)
		account.UID, account.ResourceVersion = "", ""
		kit.CreateSoon(t, e.Admin, account)
		token, err := tokenOf(t.Context(), e.Admin, account)
		if err != nil {
			t.Fatal(err)
		}
		heir := e.WithToken(t, token)
		must(t, heir, ns) // it inherits the binding
		kit.Restart(t, broker)
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		if works(t, issued, ns) || works(t, heir, ns) {
			t.Error("a token has access")
		}
		e.WaitGone(t, accountOf(g))
	})
	alone(t, "token asked for by an administrator, without the policies", func(t *testing.T) {
		ns, request, g, issued := held(t)
		token, err := tokenOf(t.Context(), e.Admin, accountOf(g))
		if err != nil {
			t.Fatal(err)
		}
		second := e.WithToken(t, token)
		must(t, second, ns)
		ends(t, ns, request, g, issued, second)
	})
	alone(t, "grant written for another key", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, kit.Issues)
		request := e.WaitMatched(t, asks(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.CredentialKey = kit.NewKey(t).Public() }))
		brokerDown(t)
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), request); err != nil {
			t.Fatal(err)
		}
		g := grantByHand(request, 30*time.Minute)
		pin(t, g, ns)
		g.Spec.CredentialKey = kit.NewKey(t).Public()
		kit.Create(t, e.Admin, g)
		kit.Restart(t, broker)
		givesNothing(t, g)
		if !kit.HasMessage(g.Status.Conditions, "its credential is for another key") {
			t.Error(kit.Describe(g.Status.Conditions))
		}
	})
}
