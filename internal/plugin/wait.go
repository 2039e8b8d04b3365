package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// retryAfter is how long to wait before an API server that did not answer, or
// ended the watch, is asked again.
const retryAfter = time.Second

var (
	errTimeout = errors.New("timeout")
	errAgain   = errors.New("the watch is over")
)

// follow calls see with every state of a request until see returns true. When the
// API server does not answer, it calls lost and tries again.
func (c *cluster) follow(ctx context.Context, request *v1alpha1.AccessRequest, see func(*v1alpha1.AccessRequest) bool, lost func(error)) error {
	for {
		err := c.followOnce(ctx, request, see)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case permanent(err):
			return err
		case !errors.Is(err, errAgain):
			lost(err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(retryAfter):
		}
	}
}

func permanent(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || errors.As(err, new(*ended))
}

// followOnce reads the request and watches it from there.
func (c *cluster) followOnce(ctx context.Context, request *v1alpha1.AccessRequest, see func(*v1alpha1.AccessRequest) bool) error {
	current := &v1alpha1.AccessRequest{}
	err := c.Get(ctx, client.ObjectKeyFromObject(request), current)
	if apierrors.IsNotFound(err) || err == nil && current.UID != request.UID {
		return &ended{exitOver, "the request was deleted"}
	}
	if err != nil || see(current) {
		return err
	}
	watcher, err := c.Watch(ctx, &v1alpha1.AccessRequestList{}, client.InNamespace(request.Namespace),
		client.MatchingFields{"metadata.name": request.Name},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: current.ResourceVersion}})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		switch next := event.Object.(type) {
		case *v1alpha1.AccessRequest:
			if event.Type == watch.Deleted || next.UID != request.UID {
				return &ended{exitOver, "the request was deleted"}
			}
			if see(next) {
				return nil
			}
		case *metav1.Status:
			if next.Reason == metav1.StatusReasonExpired || next.Reason == metav1.StatusReasonGone {
				return errAgain
			}
			return apierrors.FromObject(next)
		}
	}
	return errAgain
}

// progress says in one line how far a request has come and what it waits for.
func progress(r *v1alpha1.AccessRequest, now time.Time) string {
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

// exitStatuses are those of the ends that a script may want to tell apart.
var exitStatuses = map[v1alpha1.RequestPhase]int{
	v1alpha1.RequestDenied: exitDenied,
	v1alpha1.RequestLapsed: exitLapsed,
	v1alpha1.RequestFailed: exitFailed,
}

// outcome is nil for active access, else the end and its exit status.
func outcome(r *v1alpha1.AccessRequest, now time.Time) error {
	if r.Status.Phase == v1alpha1.RequestActive {
		return nil
	}
	return &ended{cmp.Or(exitStatuses[r.Status.Phase], exitOver), progress(r, now)}
}

// liveLine shows, on a terminal, each line in place of the one before.
type liveLine struct {
	w     io.Writer
	style style
	last  string
}

func (l *liveLine) show(line string) {
	line = clean(line)
	if line == l.last {
		return
	}
	l.last = line
	if !l.style.terminal {
		fmt.Fprintln(l.w, line)
		return
	}
	// A line that wraps could not be replaced.
	fmt.Fprint(l.w, "\r\x1b[K"+text.Fit(line, l.style.width-1))
}

// end leaves the last line whole.
func (l *liveLine) end() {
	if l.style.terminal && l.last != "" {
		fmt.Fprint(l.w, "\r\x1b[K"+l.last+"\n")
	}
}
