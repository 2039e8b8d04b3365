package usage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/queue"
	"github.com/accessbroker/accessbroker/internal/record"
	"github.com/accessbroker/accessbroker/internal/text"
)

// How many objects are read for one grant, how many at a time, and for how long.
const (
	maxReads    = 128
	atATime     = 8
	readTimeout = 30 * time.Second
	// maxLine bounds the line about an object, in bytes.
	maxLine = 200
)

// lookBack records, once, what a grant that has ended was used for, what was created
// with it and still exists, and which sessions outlive it; and the last again until
// they are over.
func (r *Reconciler) lookBack(ctx context.Context, g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage, now time.Time) (reconcile.Result, error) {
	toTheEnd := u.Status.Until != nil && u.Status.Until.After(g.Status.EndedTime.Time)
	next, found := g.DeepCopy(), record.Found{}
	conditions := &next.Status.Conditions
	if meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionUsed) == nil {
		if wait := g.Status.EndedTime.Add(Patience).Sub(now); !toTheEnd && wait > 0 {
			return queue.Later(min(wait, Patience)), nil
		}
		if r.Backlog.Waits(g.Status.EndedTime.Time, now) {
			return queue.Later(queue.RecordAgain), nil
		}
		whole := &v1alpha1.AccessUsage{}
		if err := r.Live.Get(ctx, client.ObjectKeyFromObject(u), whole); err != nil || whole.UID != u.UID {
			return reconcile.Result{}, client.IgnoreNotFound(err)
		}
		u, toTheEnd = whole, whole.Status.Until != nil && whole.Status.Until.After(g.Status.EndedTime.Time)
		window := grant.WindowOf(g, u)
		var left record.Left
		created, seen, err := r.usedBefore(ctx, g, u)
		if err == nil {
			left, err = r.leftOf(ctx, g, created)
		}
		if err != nil && now.Before(g.Status.EndedTime.Add(readPatience)) {
			return reconcile.Result{}, fmt.Errorf("look for what was created: %w", err)
		}
		next.Status.Usage = record.Summary(u)
		found = record.Found{Findings: record.NewFindings(g, u), LeftBehind: len(left.Exist)}
		record.SetSuspicious(conditions, now, u, found)
		record.SetUsed(conditions, now, u, window, toTheEnd)
		record.SetLeftBehind(conditions, now, left, window, toTheEnd && seen)
		if g.Status.EndReason == v1alpha1.EndExtended {
			found.LeftBehind = 0
			record.SetLeftToExtension(conditions, now, len(left.Exist))
		}
	}
	if held, err := r.heldOn(ctx, g); err != nil {
		return reconcile.Result{}, err
	} else if held {
		// Its sessions are within the access of its extension: none is reported or ended.
		if err := r.Status.Usage(ctx, g, next, found); err != nil {
			return record.Again(err)
		}
		r.memory.note(u, func(m *remembered) {
			m.lookedBack, m.sessions, m.again = true, sessionsOf(u), time.Time{}
			if len(u.Status.Sessions) > 0 {
				m.again = now.Add(chainAgain)
			}
		})
		return later(cmp.Or(r.memory.settled(u, now), never)), nil
	}
	evictions, tried := r.evict(ctx, g, u)
	open := record.SetSessionsOpen(conditions, now, u, evictions, grant.WindowOf(g, u), toTheEnd)
	if !meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionSessionsOpen) {
		found.SessionsOpen = open
	}
	if err := r.Status.Usage(ctx, g, next, found); err != nil {
		return record.Again(err)
	}
	r.memory.note(u, func(m *remembered) {
		m.lookedBack, m.sessions, m.again = true, sessionsOf(u), time.Time{}
		if !tried {
			m.tries = 0
			return
		}
		m.again = now.Add(backoff(m.tries))
		m.tries++
	})
	return later(cmp.Or(r.memory.settled(u, now), never)), nil
}

// chainAgain is how often to look whether an extension still holds the access of a
// grant that has ended with sessions open.
const chainAgain = 5 * time.Second

// heldOn tells whether the access of a grant that was extended is held on, by its
// extension or by one of that.
func (r *Reconciler) heldOn(ctx context.Context, g *v1alpha1.AccessGrant) (bool, error) {
	if g.Status.EndReason != v1alpha1.EndExtended {
		return false, nil
	}
	chain := &v1alpha1.AccessGrantList{}
	if err := r.Client.List(ctx, chain, client.MatchingFields{cached.ByFirst: grant.FirstOf(g)}, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("list extensions: %w", err)
	}
	for i := range chain.Items {
		if chain.Items[i].UID != g.UID {
			return true, nil
		}
	}
	return false, nil
}

// usedBefore adds what was created with the grants that a grant extends: what is left
// behind is told at the end of the last of them. seen is false when one of them was not
// observed, or its record is gone.
func (r *Reconciler) usedBefore(ctx context.Context, g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage) (all *v1alpha1.AccessUsage, seen bool, err error) {
	if g.Spec.Extends == nil || g.Status.EndReason == v1alpha1.EndExtended {
		return u, true, nil
	}
	all = u.DeepCopy()
	for e := g.Spec.Extends; e != nil; {
		was, used := &v1alpha1.AccessGrant{}, &v1alpha1.AccessUsage{}
		err := errors.Join(r.Live.Get(ctx, client.ObjectKey{Name: e.Name}, was), r.Live.Get(ctx, client.ObjectKey{Name: e.Name}, used))
		if apierrors.IsNotFound(err) || err == nil && (was.UID != e.UID || !grant.HasUsage(was, used)) {
			return all, false, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("read the use of the grant that it extends: %w", err)
		}
		all.Status.Created = append(all.Status.Created, used.Status.Created...)
		all.Status.More.Created += used.Status.More.Created
		e = was.Spec.Extends
	}
	return all, true, nil
}

// comesAndGoes tells what is created all the time and is nothing to leave behind:
// events, leases, tokens, reviews and the subresources of others.
func comesAndGoes(o v1alpha1.UsageObject) bool {
	if strings.Contains(o.Resource, "/") {
		return true
	}
	switch o.Group {
	case "authentication.k8s.io", "authorization.k8s.io", "events.k8s.io":
		return true
	case "coordination.k8s.io":
		return o.Resource == "leases"
	case "":
		return o.Resource == "events" || o.Resource == "bindings"
	}
	return false
}

// fate of an object that was created.
type fate struct {
	exists bool
	line   string
	// unknown says why nobody can tell; err is why a later try may.
	unknown string
	err     error
}

// leftOf looks for what was created with a grant. The error is that of the first read
// that may do better later; the objects then count as unknown.
func (r *Reconciler) leftOf(ctx context.Context, g *v1alpha1.AccessGrant, u *v1alpha1.AccessUsage) (record.Left, error) {
	var created []v1alpha1.UsageObject
	for _, o := range u.Status.Created {
		if !comesAndGoes(o) {
			created = append(created, o)
		}
	}
	left := record.Left{More: u.Status.More.Created}
	if more := len(created) - maxReads; more > 0 {
		created, left.More = created[:maxReads], left.More+int64(more)
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	fates := make([]fate, len(created))
	var group errgroup.Group
	group.SetLimit(atATime)
	for i, o := range created {
		group.Go(func() error {
			fates[i] = r.find(ctx, o)
			return nil
		})
	}
	_ = group.Wait()
	var errs []error
	by := text.Cut(g.Spec.Summary.Subjects, 64)
	for i, f := range fates {
		when := fmt.Sprintf(" (created %s by %s)", text.Moment(created[i].From.Time), by)
		switch {
		case f.unknown != "":
			left.Unknown = append(left.Unknown, text.Cut(text.OneLine(f.line+when+", "+f.unknown), maxLine))
		case f.exists:
			left.Exist = append(left.Exist, text.Cut(text.OneLine(f.line+when), maxLine))
		default:
			left.Gone++
		}
		errs = append(errs, f.err)
	}
	return left, errors.Join(errs...)
}

// find reads one object and compares it with the one that was created: by its UID, or
// where that is not known by the time.
func (r *Reconciler) find(ctx context.Context, o v1alpha1.UsageObject) fate {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + o.Name
	}
	out := fate{line: o.Resource + " " + name}
	if o.Name == "" {
		out.line, out.unknown = o.Resource+" in "+cmp.Or(o.Namespace, "the cluster"), "the audit log does not tell its name"
		return out
	}
	if len(content.IsPathSegmentName(o.Name))+len(content.IsPathSegmentName(o.Namespace)) > 0 {
		out.unknown = "no object can have this name" // it would be a path to another
		return out
	}
	if len(validation.IsDNS1123Label(o.Resource)) > 0 || (o.Group != "" && len(validation.IsDNS1123Subdomain(o.Group)) > 0) {
		out.unknown = "no kind can have this name" // the same
		return out
	}
	kind, err := r.Mapper.KindFor(schema.GroupVersionResource{Group: o.Group, Resource: o.Resource})
	if meta.IsNoMatchError(err) {
		out.unknown = "the API server serves no such kind now"
		return out
	}
	if err != nil {
		out.unknown, out.err = "its kind is not known now", err
		return out
	}
	out.line = kind.Kind + " " + name
	seen := &metav1.PartialObjectMetadata{}
	seen.SetGroupVersionKind(kind)
	err = r.Live.Get(ctx, client.ObjectKey{Namespace: o.Namespace, Name: o.Name}, seen)
	switch {
	case apierrors.IsNotFound(err):
		return out
	case apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
		out.unknown = "the broker may not read it"
		return out
	case mayDoBetter(err):
		out.unknown, out.err = "the API server did not answer", err
		return out
	case err != nil:
		out.unknown = "it cannot be read: " + err.Error()
		return out
	}
	made := seen.CreationTimestamp.Time
	same := !made.Before(o.From.Add(-time.Second)) && !made.After(o.To.Add(time.Second))
	if o.UID != "" {
		same = string(seen.UID) == o.UID
	}
	out.exists = same
	if seen.DeletionTimestamp != nil {
		out.line += ", being deleted"
	}
	return out
}

// mayDoBetter tells an error of the API server or of the way to it from an answer.
func mayDoBetter(err error) bool {
	var answer apierrors.APIStatus
	if err == nil {
		return false
	}
	if errors.As(err, &answer) {
		code := answer.Status().Code
		return code >= 500 || code == 429
	}
	return errors.Is(err, context.DeadlineExceeded)
}
