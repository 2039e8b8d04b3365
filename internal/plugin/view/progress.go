package view

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Progress says in one line how far a request has come and what it waits for.
func Progress(r *v1alpha1.AccessRequest, now time.Time) string {
	approved := conditionOf(r.Status.Conditions, v1alpha1.ConditionApproved)
	switch {
	case r.Status.Phase.Ended():
		return string(r.Status.Phase) + ": " + cmp.Or(conditionOf(r.Status.Conditions, v1alpha1.ConditionEnded).Message, "nothing more is known")
	case r.Status.Phase == v1alpha1.RequestActive:
		active := "Active"
		if granted := conditionOf(r.Status.Conditions, v1alpha1.ConditionGranted).Message; granted != "" {
			active += ": " + granted
		}
		if until := r.Status.ExpirationTime; until != nil {
			active += " (" + left(until.Time, now) + ")"
		}
		return active
	case r.Status.Phase == "":
		return "Pending: waiting for the broker"
	case approved.Status == "":
		return string(r.Status.Phase) + ": " + cmp.Or(conditionOf(r.Status.Conditions, v1alpha1.ConditionPolicyMatched).Message, "waiting for the broker")
	case approved.Status == metav1.ConditionFalse:
		return string(r.Status.Phase) + ": waiting for approval, " + approved.Message
	}
	return string(r.Status.Phase) + ": " + approved.Message
}

// conditionOf is the condition of a type, empty where there is none.
func conditionOf(all []metav1.Condition, of string) metav1.Condition {
	return ptr.Deref(meta.FindStatusCondition(all, of), metav1.Condition{})
}

// ago and left are spans of time, as kubectl writes them.
func ago(t, now time.Time) string { return duration.HumanDuration(max(0, now.Sub(t))) }

func left(until, now time.Time) string {
	if !now.Before(until) {
		return "time is up"
	}
	return duration.HumanDuration(until.Sub(now)) + " left"
}
