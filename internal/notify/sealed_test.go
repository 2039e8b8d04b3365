package notify

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// What is sealed is told to nobody, in no phase: a sink keeps what it gets, and a key
// that leaks later would open it.
func TestNothingSealedIsTold(t *testing.T) {
	t.Parallel()
	const sealed, key = "c2VhbGVk", "cHVibGljIGtleQ=="
	issued := &v1alpha1.SealedCredential{GrantUID: "g1", Sealed: sealed, IssuedTime: at(1), ExpirationTime: at(60)}
	told := 0
	check := func(o client.Object, transitions []transition) {
		t.Helper()
		for _, tr := range transitions {
			told++
			body, err := cloudEvent("x", o, tr)
			if err != nil {
				t.Fatal(err)
			}
			message, err := slackMessage(o, tr)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{sealed, key} {
				if strings.Contains(string(body)+string(message), secret) {
					t.Errorf("%s tells %s:\n%s\n%s", tr.phase, secret, body, message)
				}
			}
		}
	}
	for _, phase := range []v1alpha1.RequestPhase{"Pending", "Approved", "Active", "Completed", "Expired", "Revoked", "Denied", "Lapsed", "Failed"} {
		r := pending()
		r.Spec.CredentialKey, r.Status.Phase, r.Status.Credential, r.Status.GrantName = key, phase, issued, "fix-1"
		for _, kind := range []string{v1alpha1.ConditionApproved, v1alpha1.ConditionGranted, v1alpha1.ConditionEnded} {
			r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, LastTransitionTime: at(2)})
		}
		check(r, ofRequest(r, &v1alpha1.AccessGrant{}))
	}
	granted, ended := at(1), at(2)
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "fix-1", UID: "g1"}, Spec: v1alpha1.AccessGrantSpec{CredentialKey: key}}
	g.Status = v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantEnded, GrantedTime: &granted, EndedTime: &ended, Credential: issued}
	check(g, ofGrant(g))
	if told < 6 {
		t.Errorf("only %d transitions were told", told)
	}
}
