package record

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// An end is a Warning unless somebody wanted it; so is one with an unknown reason.
func TestSeverityOfEnd(t *testing.T) {
	for reason, want := range map[string]string{
		string(v1alpha1.EndExpired):        corev1.EventTypeNormal,
		string(v1alpha1.EndTaskCompleted):  corev1.EventTypeNormal,
		string(v1alpha1.EndReleased):       corev1.EventTypeNormal,
		string(v1alpha1.EndRevoked):        corev1.EventTypeNormal,
		v1alpha1.ReasonDenied:              corev1.EventTypeNormal,
		v1alpha1.ReasonWithdrawn:           corev1.EventTypeNormal,
		string(v1alpha1.EndBindingTouched): corev1.EventTypeWarning,
		string(v1alpha1.EndRoleWidened):    corev1.EventTypeWarning,
		string(v1alpha1.EndPolicyGone):     corev1.EventTypeWarning,
		string(v1alpha1.EndGrantDeleted):   corev1.EventTypeWarning,
		string(v1alpha1.EndNotApproved):    corev1.EventTypeWarning,
		string(v1alpha1.EndNameTaken):      corev1.EventTypeWarning,
		v1alpha1.ReasonNoPolicy:            corev1.EventTypeWarning,
		v1alpha1.ReasonTooManyPending:      corev1.EventTypeWarning,
		v1alpha1.ReasonLapsed:              corev1.EventTypeWarning,
		v1alpha1.ReasonRoleNotFound:        corev1.EventTypeWarning,
		"":                                 corev1.EventTypeWarning,
	} {
		if got := severityOfEnd(reason); got != want {
			t.Errorf("%q is %s, want %s", reason, got, want)
		}
	}
}

// Access that was given while nobody verified who asked is a Warning, and says so.
func TestEventOfUnverifiedAccess(t *testing.T) {
	recorder := events.NewFakeRecorder(1)
	g := &v1alpha1.AccessGrant{Status: v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantActive, Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionAdmissionEnforced, Status: metav1.ConditionFalse, Message: "a policy is missing",
	}}}}
	Journal{Recorder: recorder, Audit: zap.NewNop()}.grant(string(v1alpha1.GrantActive), "Give", "edit for alice", g)
	if got := <-recorder.Events; !strings.HasPrefix(got, "Warning Active") || !strings.HasSuffix(got, "edit for alice; a policy is missing") {
		t.Error(got)
	}
}
