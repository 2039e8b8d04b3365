package controllers

import (
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/env"
)

// again makes a request of that name and content, as a tool does that applies a
// repository.
func (w *world) again(request *v1alpha1.AccessRequest) *v1alpha1.AccessRequest {
	w.t.Helper()
	anew := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: request.Namespace, Name: request.Name}, Spec: *request.Spec.DeepCopy()}
	anew.Spec.Requester = v1alpha1.UserInfo{}
	if err := alice.Create(w.t.Context(), anew); err != nil {
		w.t.Fatal(err)
	}
	w.reconcileRequest(anew)
	return w.request(anew)
}

// wantNotGrantedAgain makes a request anew that was deleted by its retention:
// nobody is asked, nothing is granted, and it stays and says why.
func (w *world) wantNotGrantedAgain(request *v1alpha1.AccessRequest) {
	w.t.Helper()
	anew := w.again(request)
	ended := meta.FindStatusCondition(anew.Status.Conditions, v1alpha1.ConditionEnded)
	if anew.Status.Phase != v1alpha1.RequestFailed || ended == nil || ended.Reason != v1alpha1.ReasonGrantedBefore ||
		!strings.Contains(ended.Message, "was granted on ") || !strings.Contains(ended.Message, "use another name") {
		w.t.Errorf("made anew it is %s: %s", anew.Status.Phase, env.Describe(anew.Status.Conditions))
	}
	if w.can() {
		w.t.Error("alice has the access again, and nobody asked")
	}
	now := w.clock.Now()
	w.clock.SetTime(now.Add(1000 * 24 * time.Hour))
	w.reconcileRequest(anew)
	w.clock.SetTime(now)
	w.request(anew) // fails when it is gone: it would be made anew for ever
}

// over is a request whose access has expired.
func (w *world) over(edit ...func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	w.t.Helper()
	request := w.ask(edit...)
	w.reconcileRequest(request)
	g := w.grantOf(request)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.wantEnded(g, v1alpha1.EndExpired)
	w.reconcileRequest(request)
	return w.request(request)
}

// forget lets the retention of a request pass.
func (w *world) forget(request *v1alpha1.AccessRequest) {
	w.t.Helper()
	w.requests.Retention = time.Hour
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	for range 2 { // it is remembered, then deleted
		w.reconcileRequest(request)
	}
	if err := e.Admin.Get(w.t.Context(), client.ObjectKeyFromObject(request), &v1alpha1.AccessRequest{}); !apierrors.IsNotFound(err) {
		w.t.Fatalf("the request is still there: %v", err)
	}
}

func automatic(s *v1alpha1.AccessPolicySpec) { s.RequiredApprovals = new(int32) }

// A request that its retention deleted and a tool made anew is not granted
// again, by nobody and at nobody's wish; a broker that starts meanwhile knows.
func TestGrantedBefore(t *testing.T) {
