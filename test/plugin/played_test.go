package plugin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/test/kit"
)

func metaOf(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

// played: no broker issues credentials here.
const played = true

// issued has bob approve a request, and plays the broker's half: a ServiceAccount of the
// grant, bound, and its token sealed into the status.
func issued(t *testing.T, r *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	t.Helper()
	bob.run(t, "approve", r.Name, "-n", r.Namespace).ok(t)
	r = e.WaitFor(t, r, v1alpha1.RequestActive)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.GrantsNamespace}}
	if err := e.Admin.Create(t.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: r.Status.GrantName}}
	kit.Create(t, e.Admin, account)
	kit.Create(t, e.Admin, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, GenerateName: "played-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}},
	})
	// The broker of this branch gives the access to alice herself.
	kit.Eventually(t, "the binding of alice", func(ctx context.Context) (bool, error) {
		list := &rbacv1.RoleBindingList{}
		err := e.Admin.List(ctx, list, client.InNamespace(r.Namespace), client.HasLabels{v1alpha1.LabelGrant})
		return len(list.Items) > 0, err
	})
	return renew(t, r, time.Hour)
}

// renew has the broker issue another token, which the status says is good for this long.
func renew(t *testing.T, r *v1alpha1.AccessRequest, valid time.Duration) *v1alpha1.AccessRequest {
	t.Helper()
	broker, err := e.AsBroker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := e.GrantOf(t, r)
	token, err := e.Clientset.CoreV1().ServiceAccounts(v1alpha1.GrantsNamespace).CreateToken(t.Context(), g.Name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](3600)},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := credential.Seal(r.Spec.CredentialKey, credential.Grant{Name: g.Name, UID: g.UID}, token.Status.Token)
	if err != nil {
		t.Fatal(err)
	}
	patch := fmt.Sprintf(`{"status":{"credential":{"grantUID":%q,"sealed":%q,"issuedTime":%q,"expirationTime":%q}}}`,
		g.UID, sealed, time.Now().UTC().Format(time.RFC3339), time.Now().Add(valid).UTC().Format(time.RFC3339))
	if err := broker.Status().Patch(t.Context(), r, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
	if r.Status.Credential == nil || strings.Contains(r.Status.Credential.Sealed, token.Status.Token[:10]) {
		t.Fatal("nothing was issued, or in clear")
	}
	return r
}
