package request

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/task"
)

// taskNotOver fails a request whose task is over already, before anyone is asked and
// again at the grant, and reports a completeWhen that errs.
func taskNotOver(s *step, want *resolve.Resolved) bool {
	if s.Asked().Task == nil {
		return true
	}
	s.until(s.now.Add(resolve.LookAgain))
	if want.Task == nil {
		record.SetTaskWatched(&s.Status.Conditions, s.now, nil)
		return true
	}
	state, why, err := task.Evaluate(want.Task, want.CompleteWhen, task.Access{Request: want.Ask.Object, Granted: s.now})
	if state.Over() {
		s.end(v1alpha1.RequestFailed, v1alpha1.ReasonTaskOver, fmt.Sprintf("the task is over already: %s; %s", why, task.Another(resolve.KindOf(*s.Asked().Task).GroupKind())))
		return false
	}
	var untold *task.Untold
	if err != nil {
		untold = task.CompleteWhenErrs(err)
	}
	record.SetTaskWatched(&s.Status.Conditions, s.now, untold)
	if state == task.Waiting {
		s.taskWaits = why
	}
	return true
}

// taskIsThere holds an approved request back until its task exists and runs.
func taskIsThere(s *step, want *resolve.Resolved) bool {
	ref := s.Asked().Task
	switch {
	case ref == nil:
		return true
	case want.Task == nil:
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForTask, fmt.Sprintf("approved; waits for %s %s to exist", ref.Kind, ref.Name))
	case s.taskWaits != "":
		s.set(v1alpha1.ConditionApproved, metav1.ConditionTrue, v1alpha1.ReasonWaitingForTask, fmt.Sprintf("approved; %s: the access begins when it runs", s.taskWaits))
	default:
		return true
	}
	return false
}

// lostItsTask ends a request whose task existed and is gone: an object with its name
// is another task now, for which nobody asked.
func (s *step) lostItsTask(want *resolve.Resolved) bool {
	pins := s.Status.Pins
	if pins == nil || pins.Task == nil || pins.Task.UID == "" || (want.Task != nil && want.Task.GetUID() == pins.Task.UID) {
		return false
	}
	s.end(v1alpha1.RequestFailed, string(v1alpha1.EndTaskGone),
		fmt.Sprintf("%s %s was deleted or replaced before the access was given: ask again", s.Asked().Task.Kind, s.Asked().Task.Name))
	return true
}
