// Package task tells from a task's object whether the task is over. It is
// pure: the caller reads the object, and it is the caller who sees that the
// object is gone or was replaced by another of the same name.
package task

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/accessbroker/accessbroker/internal/expression"
)

// Variable is the name under which a completeWhen expression sees the object.
const Variable = "object"

// State is how far a task has come.
type State string

const (
	// Running is a task that is not over: not started yet, at work, or on its
	// way out but still there.
	Running State = "Running"
	// Completed is a task that did what it was for.
	Completed State = "Completed"
	// Failed is a task that will not.
	Failed State = "Failed"
)

// outcomes are the conditions that say a task is over. Job has the first two,
// and SuccessCriteriaMet and FailureTarget, which come while its pods still
// run and so end nothing (KEP-3998); Tekton has the last two, with the status
// Unknown while it runs.
var outcomes = map[condition]State{
	{"Complete", metav1.ConditionTrue}:   Completed,
	{"Failed", metav1.ConditionTrue}:     Failed,
	{"Succeeded", metav1.ConditionTrue}:  Completed,
	{"Succeeded", metav1.ConditionFalse}: Failed,
}

type condition struct {
	kind   string
	status metav1.ConditionStatus
}

// phases are those in which a Pod is over; it has no conditions for it.
var phases = map[corev1.PodPhase]State{
	corev1.PodSucceeded: Completed,
	corev1.PodFailed:    Failed,
}

// Evaluate says how far the task has come, and the same in words for people. A
// Pod goes by its phase and everything else by its conditions, a failure
// before a success. With completeWhen, compiled over Variable, that expression
// alone says what is complete; failed is still what the object says. A status
// that is missing or malformed is that of a running task, and so is a
// deletionTimestamp. The error is completeWhen's, and then there is no state.
func Evaluate(obj *unstructured.Unstructured, completeWhen *expression.Program) (State, string, error) {
	if obj == nil {
		return "", "", errors.New("there is no task")
	}
	name := describe(obj)
	state, reason := outcome(obj)
	if completeWhen != nil && state != Failed {
		// The expression is bounded by its own limits; nothing here waits.
		complete, err := completeWhen.Eval(context.Background(), map[string]any{Variable: obj.Object})
		if err != nil {
			return "", "", fmt.Errorf("completeWhen of %s: %w", name, err)
		}
		state = Running
		if complete {
			state = Completed
		}
	}
	switch {
	case state == Completed:
		return state, name + " is complete", nil
	case state == Failed:
		return state, name + " failed" + reason, nil
	case obj.GetDeletionTimestamp() != nil:
		return state, name + " is being deleted", nil
	default:
		return state, name + " is running", nil
	}
}

// outcome is what the object itself says, and the reason it gives, in
// parentheses.
func outcome(obj *unstructured.Unstructured) (State, string) {
	if obj.GroupVersionKind().GroupKind() == (schema.GroupKind{Kind: "Pod"}) {
		if state, over := phases[corev1.PodPhase(text(obj.Object, "status", "phase"))]; over {
			return state, parenthesised(text(obj.Object, "status", "reason"))
		}
		return Running, ""
	}
	state, reason := Running, ""
	// The typed accessors of unstructured copy, and panic on what is not JSON.
	list, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "conditions")
	items, _ := list.([]any)
	for _, item := range items {
		fields, _ := item.(map[string]any)
		is, over := outcomes[condition{text(fields, "type"), metav1.ConditionStatus(text(fields, "status"))}]
		if over && state != Failed {
			state, reason = is, parenthesised(text(fields, "reason"))
		}
	}
	return state, reason
}

// text is the string at a path, or empty when there is none.
func text(object map[string]any, path ...string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	s, _ := value.(string)
	return s
}

// camelCase is what a reason is by the conventions of the API; anything else
// is free text, which does not belong into a message.
var camelCase = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)

func parenthesised(reason string) string {
	if !camelCase.MatchString(reason) {
		return ""
	}
	return " (" + reason + ")"
}

// describe names an object as people do: "Job payments/migrate".
func describe(obj *unstructured.Unstructured) string {
	if namespace := obj.GetNamespace(); namespace != "" {
		return obj.GetKind() + " " + namespace + "/" + obj.GetName()
	}
	return obj.GetKind() + " " + obj.GetName()
}
