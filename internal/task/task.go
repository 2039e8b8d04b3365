// Package task tells from a task's object whether the task has begun and whether it
// is over. It is pure: the caller reads the object, and the caller notices when it
// is gone or was replaced by another of the same name.
package task

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/accessbroker/accessbroker/internal/expression"
)

// State is how far a task has come.
type State string

const (
	// Waiting is a task that somebody holds back: suspended, queued, gated.
	Waiting State = "Waiting"
	// Running is a task that is not over: at work, about to be, or on its way out
	// but still there.
	Running State = "Running"
	// Completed is a task that did what it was for.
	Completed State = "Completed"
	// Failed is a task that will not do that any more.
	Failed State = "Failed"
)

// Over tells whether a task has come to its end.
func (s State) Over() bool { return s == Completed || s == Failed }

// CompleteWhen is a compiled completeWhen expression.
type CompleteWhen struct{ program *expression.Program }

// Compile compiles a completeWhen expression.
func Compile(expr string) (*CompleteWhen, error) {
	program, err := expression.Compile(expr, "object", "request", "granted")
	if err != nil {
		return nil, err
	}
	return &CompleteWhen{program}, nil
}

// Access is what a completeWhen sees beside the object.
type Access struct {
	// Request as expressions see it.
	Request map[string]any
	// Granted is the moment of the grant; before it, that at which the access
	// would begin.
	Granted time.Time
}

// Evaluate says how far the task has come, and the same in words for people. With
// completeWhen, only that expression says when it is over, and then it is complete;
// otherwise the kind decides, if it is Known. A task whose status is missing or
// malformed counts as running, and so does one with a deletionTimestamp.
//
// An error means that completeWhen cannot be evaluated; the state is then that of a
// task that is not over.
func Evaluate(obj *unstructured.Unstructured, completeWhen *CompleteWhen, access Access) (State, string, error) {
	if obj == nil {
		return "", "", errors.New("there is no task")
	}
	name, kind := describe(obj), kinds[obj.GroupVersionKind().GroupKind()]
	var (
		state  = Running
		reason string
		failed error
	)
	switch {
	case completeWhen != nil:
		complete, err := completeWhen.eval(obj, access)
		if complete {
			state = Completed
		}
		if err != nil {
			// The author of the expression may not be allowed to read the task.
			failed = fmt.Errorf("completeWhen of %s: %s", name, expression.WithoutValues(err))
		}
	case kind.outcome != nil:
		state, reason = kind.outcome(obj.Object)
	}
	if state == Completed {
		return state, name + " is complete", nil
	}
	if state == Failed {
		return state, name + " failed" + parenthesised(reason), nil
	}
	if kind.held != nil {
		if why := kind.held(obj.Object); why != "" {
			return Waiting, name + " " + why, failed
		}
	}
	if obj.GetDeletionTimestamp() != nil {
		return state, name + " is being deleted", failed
	}
	return state, name + " is running", failed
}

// eval evaluates the expression. It is no error when a task that has just begun has
// no status yet; a status without a field that the expression reads is one.
func (c *CompleteWhen) eval(obj *unstructured.Unstructured, access Access) (bool, error) {
	// The expression is bounded by its own limits; nothing here waits.
	complete, err := c.program.Eval(context.Background(), map[string]any{
		"object": obj.Object, "request": access.Request, "granted": access.Granted,
	})
	if err == nil {
		return complete, nil
	}
	status, has := obj.Object["status"]
	fields, isMap := status.(map[string]any)
	begun := has && status != nil && (!isMap || len(fields) > 0)
	if !begun && (has || strings.HasSuffix(err.Error(), "no such key: status")) {
		return false, nil
	}
	return false, err
}

// camelCase is the form of a reason by the API conventions; anything else is free
// text, which does not belong in a message.
var camelCase = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)

// qualifiedName is a name as labels have it.
var qualifiedName = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_./]{0,316}$`)

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
