package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Swept is what a sweep found, in words.
type Swept struct {
	// Overdue is what outlived its grant, removed or not.
	Overdue []string
	// Left is what allows nothing any more but could not be deleted.
	Left []string
	// Copies are bindings that look like copies of a grant's. They are reported, not
	// removed: somebody may have made them on purpose.
	Copies []string
}

// Sweep removes once every binding whose grant is past its deadline, has ended or
// does not exist, and every role that was written for such a grant. It needs no
// leader and no cache: it is the last net under the replicas. It also reports what
// looks like a copy of a binding, because a copy outlives the grant.
func Sweep(ctx context.Context, c client.Client, now time.Time) (Swept, error) {
	// Grants are listed last, so that the list has a grant that is made in between.
	objects, err := Labelled(ctx, c, client.HasLabels{v1alpha1.LabelGrant})
	if err != nil {
		return Swept{}, err
	}
	var list v1alpha1.AccessGrantList
	if err := cached.Grants(ctx, c, &list); err != nil {
		return Swept{}, err
	}
	var out Swept
	taken := &remover{client: c, live: c}
	taken.removeOverdue(ctx, objects, list.Items, now, &out)
	left, err := taken.done()
	out.Left = left
	copies, copyErr := findCopies(ctx, c, list.Items, now)
	out.Copies = copies
	return out, errors.Join(err, copyErr)
}

func (r *remover) removeOverdue(ctx context.Context, objects []grant.Seen, list []v1alpha1.AccessGrant, now time.Time, out *Swept) {
	grants := make(map[string]*v1alpha1.AccessGrant, len(list))
	for i := range list {
		grants[list[i].Name] = &list[i]
	}
	for _, seen := range objects {
		object := seen.Object("")
		if g := grants[object.Grant]; g != nil {
			if g.Status.Phase != v1alpha1.GrantEnded && grant.Expired(g, now) == nil {
				continue
			}
			object.GrantUID = g.UID
		}
		if !object.Ours(seen) { // a label alone does not make it ours
			continue
		}
		if !seen.AllowsNothing() {
			out.Overdue = append(out.Overdue, object.String())
		}
		r.remove(ctx, object, "")
	}
}

// sweepPage is how many bindings are listed at a time.
const sweepPage = 500

// findCopies finds bindings with the role and subjects of a grant that somebody else
// made while the grant was active, and says so in an Event of the grant. Of several
// such grants it takes the one that began last.
func findCopies(ctx context.Context, c client.Client, grants []v1alpha1.AccessGrant, now time.Time) (copies []string, err error) {
	byName := map[string]*v1alpha1.AccessGrant{}
	byUID := map[types.UID]*v1alpha1.AccessGrant{}
	byRole := map[rbacv1.RoleRef][]*v1alpha1.AccessGrant{}
	for i := range grants {
		g := &grants[i]
		byName[g.Name], byUID[g.UID] = g, g
		if bindings := grant.Bindings(g); len(bindings) > 0 { // they differ only in their namespace
			byRole[bindings[0].RoleRef] = append(byRole[bindings[0].RoleRef], g)
		}
	}
	for _, same := range byRole {
		slices.SortStableFunc(same, func(a, b *v1alpha1.AccessGrant) int { return b.Spec.NotBefore.Compare(a.Spec.NotBefore.Time) })
	}
	// A binding of one grant is no copy of the same binding of another grant.
	ofAGrant := func(seen grant.Seen) bool {
		candidates := []*v1alpha1.AccessGrant{byName[seen.Meta.Labels[v1alpha1.LabelGrant]]}
		for _, owner := range seen.Meta.OwnerReferences {
			candidates = append(candidates, byUID[owner.UID])
		}
		return slices.ContainsFunc(candidates, func(g *v1alpha1.AccessGrant) bool {
			return g != nil && slices.ContainsFunc(grant.Bindings(g), func(b grant.Object) bool { return b.Ours(seen) })
		})
	}
	var errs []error
	err = everyBinding(ctx, c, func(seen grant.Seen) {
		i := slices.IndexFunc(byRole[seen.RoleRef], func(g *v1alpha1.AccessGrant) bool {
			return grant.Bindings(g)[0].CopiedBy(seen) && madeDuring(g, seen.Meta.CreationTimestamp.Time, now)
		})
		if i < 0 || ofAGrant(seen) {
			return
		}
		g := byRole[seen.RoleRef][i]
		what := fmt.Sprintf("%s looks like a copy of grant %s: the same role and subjects, made while the grant was active; it does not end with the grant",
			seen.Object(""), g.Name)
		copies = append(copies, what)
		errs = append(errs, tellCopy(ctx, c, g, seen, what, now))
	})
	return copies, errors.Join(append(errs, err)...)
}

func madeDuring(g *v1alpha1.AccessGrant, made, now time.Time) bool {
	until := now
	if g.Status.EndedTime != nil {
		until = g.Status.EndedTime.Time
	}
	return !made.Before(g.Spec.NotBefore.Time) && !made.After(until)
}

func everyBinding(ctx context.Context, c client.Reader, visit func(grant.Seen)) error {
	for _, kind := range Kinds {
		if !kind.Binds {
			continue
		}
		for list := kind.list(); ; {
			if err := c.List(ctx, list, client.Limit(sweepPage), client.Continue(list.GetContinue())); err != nil {
				return fmt.Errorf("list every binding: %w", err)
			}
			_ = meta.EachListItem(list, func(o runtime.Object) error {
				visit(kind.read(o.(client.Object)))
				return nil
			})
			if list.GetContinue() == "" {
				break
			}
		}
	}
	return nil
}

// tellCopy writes an Event, once for each copy.
func tellCopy(ctx context.Context, c client.Client, g *v1alpha1.AccessGrant, seen grant.Seen, what string, now time.Time) error {
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: grant.Name(g.Name, seen.Meta.UID)},
		EventTime:  metav1.NewMicroTime(now), Type: corev1.EventTypeWarning, Reason: "CopyFound", Action: "Sweep", Note: text.Note(what),
		ReportingController: "access-broker", ReportingInstance: "sweep",
		Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID},
	}
	if err := c.Create(ctx, event); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("report a copy: %w", err)
	}
	return nil
}
