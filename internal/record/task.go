package record

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/task"
)

// SetTaskWatched sets the condition TaskWatched while the broker cannot tell whether
// the task is over, and removes it otherwise.
func SetTaskWatched(conditions *[]metav1.Condition, now time.Time, trouble *task.Untold) {
	before := meta.FindStatusCondition(*conditions, v1alpha1.ConditionTaskWatched)
	if before != nil && (trouble == nil || before.Reason != trouble.Reason) {
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionTaskWatched) // a new trouble begins now
	}
	if trouble != nil {
		SetCondition(conditions, now, v1alpha1.ConditionTaskWatched, metav1.ConditionFalse, trouble.Reason,
			trouble.Message+"; until that is fixed, the access lasts until its deadline")
	}
}

// task reports why the broker cannot tell whether a task is over.
func (j Journal) task(regarding runtime.Object, before, after []metav1.Condition) {
	old, told := meta.FindStatusCondition(before, v1alpha1.ConditionTaskWatched), meta.FindStatusCondition(after, v1alpha1.ConditionTaskWatched)
	if told != nil && (old == nil || old.Message != told.Message) {
		j.event(regarding, corev1.EventTypeWarning, told.Reason, "Watch", told.Message)
	}
}
