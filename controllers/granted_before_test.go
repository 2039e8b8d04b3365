package controllers

import (
	"context"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/test/kit"
)

// again makes a request of the same name and content, as a tool that applies a
// repository does.
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

// wantNotGrantedAgain makes a request again after its retention deleted it: nobody
// is asked, nothing is granted, and the request stays and says why.
func (w *world) wantNotGrantedAgain(request *v1alpha1.AccessRequest) {
	w.t.Helper()
	anew := w.again(request)
	ended := meta.FindStatusCondition(anew.Status.Conditions, v1alpha1.ConditionEnded)
	if anew.Status.Phase != v1alpha1.RequestFailed || ended == nil || ended.Reason != v1alpha1.ReasonGrantedBefore ||
		!strings.Contains(ended.Message, "was granted on ") || !strings.Contains(ended.Message, "use another name") {
		w.t.Errorf("recreated it is %s: %s", anew.Status.Phase, kit.Describe(anew.Status.Conditions))
	}
	if w.can() {
		w.t.Error("alice has the access again, and nobody asked")
	}
	for range 2 {
		w.lookAtEnded(w.clock.Now().Add(1000 * 24 * time.Hour))
	}
	w.request(anew) // fails when it is gone: the tool would make it again for ever
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
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	// One look remembers it, another deletes it.
	err := lab.Until(w.t.Context(), kit.Patience, func(ctx context.Context) (bool, error) {
		w.lookAtEnded(w.clock.Now())
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(request), &v1alpha1.AccessRequest{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		w.t.Fatalf("the request is still there: %v", err)
	}
}

// lookAtEnded goes through what has ended, at a given time, with a retention of an
// hour for requests.
func (w *world) lookAtEnded(at time.Time) {
	w.t.Helper()
	r := &record.Archive{
		Client: broker.GetClient(), Live: broker.GetAPIReader(), Clock: clocktesting.NewFakeClock(at),
		Journal: w.requests.Status.Journal, Backlog: &queue.Backlog{}, Metrics: w.requests.Metrics, Retention: record.Retention{Requests: time.Hour},
	}
	if err := r.Look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func automatic(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) }

// A request that its retention deleted and that a tool made again is not granted
// again, when nobody asked for it. A broker that restarts meanwhile knows that too.
func TestGrantedBefore(t *testing.T) {
	w := newWorld(t, automatic)
	request := w.over()
	w.forget(request)
	w.use(broker.GetClient(), broker.GetAPIReader())
	w.wantNotGrantedAgain(request)

	// A request with another name or content is another request.
	for name, change := range map[string]func(*v1alpha1.AccessRequest){
		"name":   func(r *v1alpha1.AccessRequest) { r.Name += "-2" },
		"ticket": func(r *v1alpha1.AccessRequest) { r.Name, r.Spec.Ticket = r.Name+"-3", "INC-43" },
	} {
		other := request.DeepCopy()
		change(other)
		if got := w.again(other); got.Status.Phase.Ended() {
			t.Errorf("another %s is not another request: %s", name, kit.Describe(got.Status.Conditions))
		}
	}
}

// People who delete a request and make it again ask again.
func TestDeletedByPeople(t *testing.T) {
	w := newWorld(t, automatic)
	request := w.over()
	kit.Delete(t, alice, request)
	anew := w.again(request)
	w.reconcileGrant(w.grantOf(anew))
	if !w.can() {
		t.Errorf("alice asked anew and has no access: %s", kit.Describe(w.request(anew).Status.Conditions))
	}
}

// Each run of a task asks for itself, under the same name or another.
func TestTaskMadeAnew(t *testing.T) {
	w := newWorld(t, automatic)
	pod := kit.NewPod(w.namespace, "run")
	w.create(pod)
	task := func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "run"}
	}
	request := w.over(task)
	w.forget(request)
	w.reconcileGrant(w.grantOf(w.again(request)))
	if !w.can() {
		t.Error("the run has no access")
	}
}

// A request that was refused may be granted when it is made again.
func TestForgottenWithoutAGrant(t *testing.T) {
	w := newWorld(t, automatic)
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 2 * time.Hour} })
	w.reconcileRequest(request)
	if got := w.request(request).Status.Phase; got != v1alpha1.RequestDenied {
		t.Fatalf("the request is %s", got)
	}
	w.forget(request)
	w.policy.Spec.MaxDuration.Duration = 3 * time.Hour
	if err := e.Admin.Update(t.Context(), w.policy); err != nil {
		t.Fatal(err)
	}
	w.fresh(w.policy)
	w.grantOf(w.again(request))
}
