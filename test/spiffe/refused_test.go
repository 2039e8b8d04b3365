package spiffe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// must is the result of something that must not fail.
func must(t *testing.T) func(string, error) string {
	t.Helper()
	return func(result string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
}

// parts are the header and the claims of a token.
func parts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	for i, part := range strings.Split(token, ".")[:2] {
		body, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, []*map[string]any{&header, &claims}[i]); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// signed is a token with a signature of ES256, or with none.
func signed(t *testing.T, header, claims map[string]any, key *ecdsa.PrivateKey) string {
	t.Helper()
	encode := func(value any) string {
		body, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(body)
	}
	content := encode(header) + "." + encode(claims)
	if key == nil {
		return content + "."
	}
	sum := sha256.Sum256([]byte(content))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// stolenKey is the key that the issuer signed a token with.
func (i *issuer) stolenKey(t *testing.T, token string) *ecdsa.PrivateKey {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(i.dir, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Keys map[string][]byte `json:"keys"`
	}
	if err := json.Unmarshal(file, &stored); err != nil {
		t.Fatal(err)
	}
	content, signature := token[:strings.LastIndex(token, ".")], token[strings.LastIndex(token, ".")+1:]
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || len(raw) != 64 {
		t.Fatalf("a signature of %d bytes: %v", len(raw), err)
	}
	sum := sha256.Sum256([]byte(content))
	for _, der := range stored.Keys {
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			t.Fatal(err)
		}
		if ec, ok := key.(*ecdsa.PrivateKey); ok && ecdsa.Verify(&ec.PublicKey, sum[:], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])) {
			return ec
		}
	}
	t.Fatalf("%s has no key that signed this token", i.domain)
	return nil
}

// TestForged: a token that SPIRE did not sign, or did not sign for this, is nobody's.
func TestForged(t *testing.T) {
	t.Parallel()
	id := spire.id("/ns/a/sa/deployer")
	genuine := must(t)(spire.mint(t.Context(), id, audience, time.Hour))
	if user, err := whoami(t, genuine); err != nil || user.Username != id {
		t.Fatalf("the token that is forged is not accepted itself: %v, %v", user, err)
	}
	header, claims := parts(t, genuine)
	thief, stranger := spire.stolenKey(t, genuine), newKey(t)
	with := func(part map[string]any, changes ...any) map[string]any {
		out := map[string]any{}
		for k, v := range part {
			out[k] = v
		}
		for i := 0; i < len(changes); i += 2 {
			if out[changes[i].(string)] = changes[i+1]; changes[i+1] == nil {
				delete(out, changes[i].(string))
			}
		}
		return out
	}
	// The thief's signature is as good as SPIRE's: that is what makes the others tell.
	if user, err := whoami(t, signed(t, header, claims, thief)); err != nil || user.Username != id {
		t.Fatalf("signed with the key of the issuer: %v, %v", user, err)
	}
	past := time.Now().Add(-time.Minute).Unix()
	for name, token := range map[string]string{
		"another key under the same kid":          signed(t, header, claims, stranger),
		"another key under a kid of its own":      signed(t, with(header, "kid", "mine"), claims, stranger),
		"another key without a kid":               signed(t, with(header, "kid", nil), claims, stranger),
		"no signature":                            signed(t, header, claims, nil),
		"algorithm none":                          signed(t, with(header, "alg", "none"), claims, nil),
		"the name changed after the signature":    strings.Split(genuine, ".")[0] + "." + strings.Split(signed(t, header, with(claims, "sub", spire.id("/ns/b/sa/deployer")), nil), ".")[1] + "." + strings.Split(genuine, ".")[2],
		"another issuer":                          signed(t, header, with(claims, "iss", "https://localhost:1"), thief),
		"no issuer":                               signed(t, header, with(claims, "iss", nil), thief),
		"another audience":                        signed(t, header, with(claims, "aud", []string{"vault"}), thief),
		"no audience":                             signed(t, header, with(claims, "aud", nil), thief),
		"over":                                    signed(t, header, with(claims, "exp", past), thief),
		"without an end":                          signed(t, header, with(claims, "exp", nil), thief),
		"no name":                                 signed(t, header, with(claims, "sub", nil), thief),
		"the name of a person":                    signed(t, header, with(claims, "sub", "alice"), thief),
		"the name of an administrator":            signed(t, header, with(claims, "sub", "system:admin"), thief),
		"the name of the broker":                  signed(t, header, with(claims, "sub", "system:serviceaccount:access-broker-system:access-broker"), thief),
		"a workload of another trust domain":      signed(t, header, with(claims, "sub", "spiffe://"+foreign+"/ns/a/sa/deployer"), thief),
		"a trust domain that begins as this does": signed(t, header, with(claims, "sub", "spiffe://"+home+".evil.test/ns/a/sa/deployer"), thief),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if user, err := whoami(t, token); !apierrors.IsUnauthorized(err) {
				t.Errorf("the API server takes it for %+v: %v", user, err)
			}
		})
	}
}

// TestNamesThatLookSo: whatever an issuer signs, a name that is no SPIFFE ID is in no
// pattern. The API server lets them in: it knows nothing of SPIFFE.
func TestNamesThatLookSo(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	policy(t, ns, nil)
	deployer := registered(t, "/ns/"+ns+"/sa/deployer")
	request := deployer.ask(t, ns)
	e.WaitMatched(t, request)
	genuine := must(t)(spire.mint(t.Context(), deployer.id, audience, time.Hour))
	header, claims := parts(t, genuine)
	key := spire.stolenKey(t, genuine)
	for _, path := range []string{"/gate/", "/gate//a", "/gate/../gate/a", "/gate/%61", "/gate/a?b", "/gate/ａ", "/gate/a b", "/gate/*", "/Gate/a"} {
		claims["sub"] = spire.id(path)
		token := signed(t, header, claims, key)
		if user, err := whoami(t, token); err != nil || user.Username != spire.id(path) {
			t.Fatalf("%s is not let in: %+v, %v", path, user, err)
		}
		err := kit.Decide(t, bearer(t, token), request, v1alpha1.VerdictApprove)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "is not among the approvers") {
			t.Errorf("%s approves: %v", path, err)
		}
	}
	// So does a workload whose name is one.
	claims["sub"] = spire.id("/gate/a")
	kit.MustDecide(t, bearer(t, signed(t, header, claims, key)), request, v1alpha1.VerdictApprove)
	e.WaitFor(t, request, v1alpha1.RequestActive)
}

// TestWrongAudience: a token for somebody else does not open this API server, and
// whoever runs kubectl access is told so.
func TestWrongAudience(t *testing.T) {
	t.Parallel()
	w := registered(t, "/ns/a/sa/wrong-audience")
	w.configure(t, "--audience=vault")
	w.cannot(t, "the server has asked for the client to provide credentials", "get", "pods")
	w.cannot(t, "--audience, that the API server accepts", "access", "list")
	// One of several is enough, as everywhere: so never ask for several.
	w.configure(t, "--audience="+audience)
	w.must(t, "access", "list")
}

// TestOver: an SVID is refused when its time is up, without a minute more.
func TestOver(t *testing.T) {
	t.Parallel()
	id := spire.id("/ns/a/sa/over")
	token := must(t)(spire.mint(t.Context(), id, audience, 5*time.Second))
	_, claims := parts(t, token)
	if _, err := whoami(t, token); err != nil {
		t.Fatal(err)
	}
	end := time.Unix(int64(claims["exp"].(float64)), 0)
	kit.WaitPast(t, end)
	// It was in use: the API server remembers those whom it knows for ten seconds.
	kit.Eventually(t, "the token to be refused", func(context.Context) (bool, error) {
		_, err := whoami(t, token)
		return apierrors.IsUnauthorized(err), nil
	})
	t.Logf("in use, it was refused %s after its end", time.Since(end).Round(100*time.Millisecond))
	unused := must(t)(spire.mint(t.Context(), id, audience, 2*time.Second))
	_, claims = parts(t, unused)
	kit.WaitPast(t, time.Unix(int64(claims["exp"].(float64)), 0).Add(time.Second))
	if _, err := whoami(t, unused); !apierrors.IsUnauthorized(err) {
		t.Errorf("a token that was not in use is accepted after its end: %v", err)
	}
}

// TestForeign: a workload of another trust domain whose issuer the API server knows
// is somebody, and matches no pattern of this one.
func TestForeign(t *testing.T) {
	comesUp(t)
	ns := e.NewNamespace(t, nil)
	policy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Requesters = append(s.Requesters, v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "User", Name: abroad.id("/guest")})...)
	})
	as := func(path string) client.Client {
		return bearer(t, must(t)(abroad.mint(t.Context(), abroad.id(path), audience, time.Hour)))
	}
	denied := e.WaitFor(t, e.Ask(t, as("/ns/"+ns+"/sa/deployer"), ns, nil), v1alpha1.RequestDenied)
	if !kit.HasMessage(denied.Status.Conditions, "is for "+spire.id("/ns/*/sa/deployer")+", "+abroad.id("/guest")) {
		t.Errorf("it says %s", kit.Describe(denied.Status.Conditions))
	}
	// One that is named is let in.
	request := e.WaitMatched(t, e.Ask(t, as("/guest"), ns, nil))
	if err := kit.Decide(t, as("/gate/a"), request, v1alpha1.VerdictApprove); !apierrors.IsForbidden(err) {
		t.Errorf("the gate of another trust domain approves: %v", err)
	}
	registered(t, "/gate/foreign").must(t, "access", "approve", request.Name, "-n", ns, "--yes")
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, as("/guest"), ns) || kit.Can(t, as("/other"), ns) {
		t.Error("the guest alone has the access")
	}
}
