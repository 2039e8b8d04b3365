package view

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func issuedRequest(edit func(*v1alpha1.AccessRequest)) *v1alpha1.AccessRequest {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	until := metav1.NewTime(now.Add(time.Hour))
	r := &v1alpha1.AccessRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "fix"},
		Spec:       v1alpha1.AccessRequestSpec{Requester: v1alpha1.UserInfo{Username: "alice"}, CredentialKey: "key"},
		Status: v1alpha1.AccessRequestStatus{
			Phase: v1alpha1.RequestActive, GrantName: "fix-1", ExpirationTime: &until,
			Credential: &v1alpha1.SealedCredential{GrantUID: "g1", Sealed: "x", IssuedTime: metav1.NewTime(now), ExpirationTime: until},
		},
	}
	if edit != nil {
		edit(r)
	}
	return r
}

// In each state, what can be done with a credential is said, and no more.
func TestUsable(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	at := func(m time.Duration) metav1.Time { return metav1.NewTime(now.Add(m * time.Minute)) }
	for name, tc := range map[string]struct {
		edit       func(*v1alpha1.AccessRequest)
		why, shown string
		expiry     time.Duration
	}{
		"good": {nil, "", "valid until 2026-05-04T11:00:00Z (60m left)", 60},
		"renewed": {
			func(r *v1alpha1.AccessRequest) { r.Status.Credential.ExpirationTime = at(10) }, "",
			"valid until 2026-05-04T10:10:00Z (10m left), renewed before that", 10,
		},
		"longer than the access": {func(r *v1alpha1.AccessRequest) { r.Status.Credential.ExpirationTime = at(600) }, "", "valid until", 60},
		"of no key":              {func(r *v1alpha1.AccessRequest) { r.Spec.CredentialKey = "" }, "gives the access to the requester's own identity", "", 60},
		"pending": {
			func(r *v1alpha1.AccessRequest) { r.Status.Phase, r.Status.Credential = v1alpha1.RequestPending, nil },
			"fix has no credential yet: Pending", "it is issued when the access begins", 0,
		},
		"taken out":     {func(r *v1alpha1.AccessRequest) { r.Status.Credential.Sealed = "" }, "has no credential yet", "it is issued", 60},
		"revoked":       {func(r *v1alpha1.AccessRequest) { r.Status.Phase = v1alpha1.RequestRevoked }, "fix is over: Revoked", "ended with it", 60},
		"past its time": {func(r *v1alpha1.AccessRequest) { u := at(0); r.Status.ExpirationTime = &u }, "its time was up at 2026-05-04T10:00:00Z", "valid until", 0},
		"not renewed": {
			func(r *v1alpha1.AccessRequest) { r.Status.Credential.ExpirationTime = at(0) },
			"expired at 2026-05-04T10:00:00Z, and the broker has issued no other", "time is up", 0,
		},
	} {
		r := issuedRequest(tc.edit)
		why, usable := Usable(r, now)
		if usable != (tc.why == "") || !strings.Contains(why, tc.why) {
			t.Errorf("%s: %v, %q", name, usable, why)
		}
		if got := credentialOf(r, now); !strings.Contains(got, tc.shown) || (got == "") != (tc.shown == "") {
			t.Errorf("%s: shown as %q", name, got)
		}
		if r.Status.Credential != nil {
			if got := CredentialExpiry(r); !got.Equal(now.Add(tc.expiry * time.Minute)) {
				t.Errorf("%s: over at %v", name, got)
			}
		}
	}
}

func TestCredentialIsMine(t *testing.T) {
	alice, bob := v1alpha1.UserInfo{Username: "alice"}, v1alpha1.UserInfo{Username: "bob"}
	own := issuedRequest(func(r *v1alpha1.AccessRequest) { r.Spec.CredentialKey = "" })
	if r := issuedRequest(nil); !MyCredential(r, alice) || MyCredential(r, bob) || MyCredential(own, alice) {
		t.Error("whose it is")
	}
	if got := LoginNamespace(issuedRequest(nil)); got != "payments" {
		t.Error(got)
	}
	one := issuedRequest(func(r *v1alpha1.AccessRequest) { r.Spec.Scope = &v1alpha1.Scope{Namespaces: []string{"billing"}} })
	two := issuedRequest(func(r *v1alpha1.AccessRequest) { r.Spec.Scope = &v1alpha1.Scope{Namespaces: []string{"a", "b"}} })
	if LoginNamespace(one) != "billing" || LoginNamespace(two) != "payments" {
		t.Error(LoginNamespace(one), LoginNamespace(two))
	}
	g := &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: "fix-1"}}
	if got := issuedTo(g); got != "" {
		t.Error(got)
	}
	g.Spec.CredentialKey = "key"
	if got := issuedTo(g); !strings.Contains(got, "ServiceAccount access-broker-grants/fix-1") {
		t.Error(got)
	}
}

func TestTyped(t *testing.T) {
	for word, want := range map[string]string{
		"payments/fix@arn:aws:eks:eu-west-1:1:cluster/prod": "payments/fix@arn:aws:eks:eu-west-1:1:cluster/prod",
		"my cluster": "'my cluster'", "": "''", "it's": `'it'\''s'`, "$(id)": "'$(id)'",
	} {
		if got := Typed(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}
