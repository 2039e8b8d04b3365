package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What has ended is deleted after its retention, never before, never while it is
// active, and not before it is in the audit log.
func TestRetention(t *testing.T) {
	w := newWorld(t, nil)
	var audit bytes.Buffer
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&audit), zapcore.InfoLevel))
	w.requests.Status.Journal.Audit = logger
	logged := w.requests.Status.Journal
	look := func(at time.Time) {
		t.Helper()
		w.clock.SetTime(at)
		r := &record.Archive{
			Client: broker.GetClient(), Live: broker.GetAPIReader(), Clock: clocktesting.NewFakeClock(at),
			Journal: logged, Backlog: &queue.Backlog{}, Metrics: w.requests.Metrics, Retention: record.Retention{Requests: time.Hour, Grants: 24 * time.Hour},
		}
		if err := r.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	request, g := w.active()
	w.clock.SetTime(g.Spec.ExpirationTime.Add(-time.Second))
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	look(g.Spec.ExpirationTime.Add(-time.Second))
	w.request(request) // fails when it is gone

	w.clock.SetTime(g.Spec.ExpirationTime.Time)
	w.reconcileGrant(g)
	w.reconcileRequest(request)
	ended := w.wantEnded(g, v1alpha1.EndExpired)

	gone := func(o client.Object) bool {
		err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(o), o)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		return err != nil
	}
	look(ended.Status.EndedTime.Add(time.Hour - time.Second))
	w.reconcileRequest(request)
	if gone(request.DeepCopy()) {
		t.Error("the request went before its time")
	}
	err := lab.Until(t.Context(), kit.Patience, func(context.Context) (bool, error) {
		look(ended.Status.EndedTime.Add(time.Hour)) // the first look marks the grant
		return gone(request.DeepCopy()), nil
	})
	if err != nil {
		t.Error("the request is kept for longer than its time")
	}
	w.reconcileGrant(g)
	if gone(g.DeepCopy()) {
		t.Fatal("the grant went with its request")
	}
	look(ended.Status.EndedTime.Add(24*time.Hour - time.Second))
	if gone(g.DeepCopy()) {
		t.Error("the grant went before its time")
	}
	look(ended.Status.EndedTime.Add(24 * time.Hour))
	if !gone(g.DeepCopy()) {
		t.Error("the grant is kept for longer than its time")
	}

	var told []string
	for line := range strings.Lines(audit.String()) {
		var entry struct{ Msg, Kind, UID, Requester, EndReason string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("not a JSON line: %q: %v", line, err)
		}
		if entry.UID != string(request.UID) && entry.UID != string(g.UID) {
			continue // another test's
		}
		if entry.Requester != "alice" {
			t.Errorf("an entry does not say who asked: %s", line)
		}
		told = append(told, entry.Kind+" "+entry.Msg)
	}
	want := "AccessRequest Pending, AccessGrant Active, AccessRequest Active, AccessGrant ExpiresSoon, AccessRequest ExpiresSoon, AccessGrant Ended, AccessRequest Expired, AccessRequest Deleted, AccessGrant Deleted"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("the audit log tells\n%s, want\n%s", got, want)
	}
}
