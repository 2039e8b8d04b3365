package controllers

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// What is over goes after its time, never before, never while it lives, and
// not before it stands in the audit log.
func TestRetention(t *testing.T) {
	w := newWorld(t, nil)
	var audit bytes.Buffer
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&audit), zapcore.InfoLevel))
	w.requests.Journal.Audit, w.grants.Journal.Audit = logger, logger
	w.requests.Retention, w.grants.Retention = time.Hour, 24*time.Hour

	request, g := w.active()
	w.clock.SetTime(g.Spec.ExpirationTime.Add(-time.Second))
	w.reconcileGrant(g)
	w.reconcileRequest(request)
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
	w.clock.SetTime(ended.Status.EndedTime.Add(time.Hour - time.Second))
	w.reconcileRequest(request)
	if gone(request.DeepCopy()) {
		t.Error("the request went before its time")
	}
	w.clock.SetTime(ended.Status.EndedTime.Add(time.Hour))
	w.reconcileRequest(request) // has the grant remember it
	w.reconcileRequest(request)
	if !gone(request.DeepCopy()) {
		t.Error("the request is kept for longer than its time")
	}
	w.reconcileGrant(g)
	if gone(g.DeepCopy()) {
		t.Fatal("the grant went with its request")
	}
	w.clock.SetTime(ended.Status.EndedTime.Add(24 * time.Hour))
	w.reconcileGrant(g) // deletes it
	if !gone(g.DeepCopy()) {
		w.reconcileGrant(g) // takes the finalizer off
	}
	if !gone(g.DeepCopy()) {
		t.Error("the grant is kept for longer than its time")
	}

	var told []string
	for line := range strings.Lines(audit.String()) {
		var entry struct{ Msg, Kind, Name, Requester, EndReason string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("not a JSON line: %q: %v", line, err)
		}
		if entry.Requester != "alice" {
			t.Errorf("an entry does not say who asked: %s", line)
		}
		told = append(told, entry.Kind+" "+entry.Msg)
	}
	want := "AccessRequest Pending, AccessGrant Active, AccessRequest Active, AccessGrant Ended, AccessRequest Expired, AccessRequest Deleted, AccessGrant Deleted"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("the audit log tells\n%s, want\n%s", got, want)
	}
}
