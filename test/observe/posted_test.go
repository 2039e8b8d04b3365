package observe

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// poster is somebody who may post events to an observer that takes them, and makes
// them up.
type poster struct {
	url, token string
	http       *http.Client
}

func newPoster(t *testing.T) *poster {
	t.Helper()
	cert, key, err := e.ServerCertificate("observer")
	must(t, err)
	address, err := lab.FreeAddress()
	must(t, err)
	taker, err := e.NewObserver(t.Context(), "taker", "--audit-bind-address="+address, "--tls-cert-file="+cert, "--tls-private-key-file="+key)
	must(t, err)
	must(t, taker.Start(t.Context()))
	t.Cleanup(taker.Stop)
	ns := e.NewNamespace(t, nil)
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "audit-sender"}})
	must(t, e.MustRun(t.Context(), "kubectl create clusterrolebinding "+ns+" --clusterrole=access-audit-sender --serviceaccount="+ns+":audit-sender"))
	config, err := e.ServiceAccount(t.Context(), ns, "audit-sender")
	must(t, err)
	ca, err := os.ReadFile(e.CA())
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &poster{
		url: "https://" + address + "/audit/made-up", token: config.BearerToken,
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	}
}

func (p *poster) post(t *testing.T, events ...auditv1.Event) {
	t.Helper()
	body, err := json.Marshal(auditv1.EventList{TypeMeta: metav1.TypeMeta{APIVersion: "audit.k8s.io/v1", Kind: "EventList"}, Items: events})
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url, bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+p.token)
	response, err := p.http.Do(request)
	must(t, err)
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the observer answers %s", response.Status)
	}
}

// madeUp is a call that nobody made.
func madeUp(user, verb, ns, binding string, at time.Time) auditv1.Event {
	event := auditv1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "audit.k8s.io/v1", Kind: "Event"},
		Level:    auditv1.LevelMetadata, AuditID: uuid.NewUUID(), Stage: auditv1.StageResponseComplete,
		RequestURI: "/api/v1/namespaces/" + ns + "/pods", Verb: verb, SourceIPs: []string{"192.0.2.1"}, UserAgent: "made-up",
		ObjectRef:                &auditv1.ObjectReference{Resource: "pods", Namespace: ns, APIVersion: "v1"},
		ResponseStatus:           &metav1.Status{Code: http.StatusOK},
		RequestReceivedTimestamp: metav1.NewMicroTime(at), StageTimestamp: metav1.NewMicroTime(at),
		Annotations: map[string]string{"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
	}
	event.User.Username = user
	if binding != "" {
		event.Annotations["authorization.k8s.io/reason"] = fmt.Sprintf(`RBAC: allowed by RoleBinding %q of ClusterRole "edit" to User %q`, binding+"/"+ns, user)
	}
	return event
}

// Whoever may post can say that access was used. They give nobody any, and end it
// where the policy says so.
func TestPostedEvents(t *testing.T) {
	t.Parallel()
	p := newPoster(t)
	alice := held(t, func(s *v1alpha1.AccessPolicySpec) {
		s.Suspicious = []v1alpha1.SuspiciousUse{{Name: "all-deleted", Expression: `event.verb == "deletecollection"`, Message: "everything is deleted", Action: v1alpha1.SuspiciousRevoke}}
	})
	elsewhere := e.NewNamespace(t, nil)
	// Before everything else that is of the grant, so that it would be counted by now.
	p.post(t,
		madeUp("mallory", "list", alice.ns, "", time.Now()),
		madeUp(alice.user, "list", elsewhere, "", time.Now()),
		madeUp(alice.user, "impersonate", alice.ns, "", time.Now()),
		madeUp("mallory", "list", elsewhere, alice.grant, time.Now()),
	)
	call := madeUp(alice.user, "list", alice.ns, alice.grant, time.Now())
	p.post(t, call)
	p.post(t, call)
	// The observer decodes one of them, and passes the other over.
	p.post(t, madeUp(alice.user, "list", elsewhere, "", time.Now().Add(time.Hour)))
	p.post(t, madeUp("mallory", "list", elsewhere, "", time.Now().Add(time.Hour)))
	p.post(t, madeUp(alice.user, "watch", alice.ns, alice.grant, time.Now()))
	u := usageWhen(t, alice.grant, "both calls that count", calls(2))
	if s := u.Status; s.Calls != 2 || len(s.Callers) != 1 || s.Callers[0].User != alice.user {
		t.Errorf("%d calls by %+v", s.Calls, s.Callers)
	}
	// Of the log's stream as well: it is the window of both.
	u = usageWhen(t, alice.grant, "both streams", func(s *v1alpha1.AccessUsageStatus) bool { return len(s.Streams) == 2 && s.Until != nil })
	for _, stream := range u.Status.Streams {
		if now := time.Now(); stream.Until.After(now) || u.Status.Until.After(now) {
			t.Errorf("%s was observed until %s, the window is until %s", stream.Name, stream.Until, u.Status.Until)
		}
	}
	if mallory := e.Person(t, "mallory"); kit.Can(t, mallory, alice.ns) {
		t.Error("mallory has access")
	}
	if !kit.Can(t, alice, alice.ns) {
		t.Error("alice has none any more")
	}

	p.post(t, madeUp(alice.user, "deletecollection", alice.ns, alice.grant, time.Now()))
	e.WaitEnded(t, alice.grant, v1alpha1.EndSuspicious)
	if kit.Can(t, alice, alice.ns) {
		t.Error("alice has access")
	}
}
