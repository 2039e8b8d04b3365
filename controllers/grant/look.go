package grant

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/access"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lock"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/task"
)

// facts returns the facts about a grant. Each is read when grant.Over asks for it.
func (r *Reconciler) facts(ctx context.Context, g *v1alpha1.AccessGrant) *grant.Facts {
	l := &look{Reconciler: r, ctx: ctx, g: g}
	l.request = sync.OnceValues(l.readRequest)
	l.policy = sync.OnceValues(l.readPolicy)
	return &grant.Facts{
		Request: l.request, Policy: l.policy, Refusal: l.refusal, Usage: sync.OnceValues(l.usage), Lock: l.lock, Before: l.before, Successor: l.successor, Task: l.task, Roles: l.roles,
		ServiceAccount: func(namespace, name string) (types.UID, error) {
			return l.uid(client.ObjectKey{Namespace: namespace, Name: name}, resolve.ServiceAccountMetadata())
		},
		Namespace: func(name string) (types.UID, error) {
			return l.uid(client.ObjectKey{Name: name}, resolve.NamespaceMetadata())
		},
		Intact: l.intact,
	}
}

// look is one look at the cluster for one grant.
type look struct {
	*Reconciler
	ctx context.Context
	g   *v1alpha1.AccessGrant
	// request and policy return nil when no object has the name.
	request func() (*v1alpha1.AccessRequest, error)
	policy  func() (*v1alpha1.AccessPolicy, error)
}

func (l *look) readRequest() (*v1alpha1.AccessRequest, error) {
	ref, request := l.g.Spec.RequestRef, &v1alpha1.AccessRequest{}
	err := l.Names.Get(l.ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, request)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return request, nil
}

func (l *look) readPolicy() (*v1alpha1.AccessPolicy, error) {
	object := &v1alpha1.AccessPolicy{}
	err := l.Names.Get(l.ctx, client.ObjectKey{Name: l.g.Spec.PolicyRef.Name}, object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return object, nil
}

// lock looks for a lock that is in force for one of those who hold the access.
func (l *look) lock(live bool) (*v1alpha1.AccessLock, error) {
	from := client.Reader(l.Client)
	if live {
		from = l.Live
	}
	locks, err := resolve.Locks(l.ctx, from)
	if err != nil {
		return nil, err
	}
	return lock.On(lock.OfGrant(l.g), locks, l.Clock.Now()), nil
}

// usage reads what was observed of the grant from the cache alone: where nobody
// observes, that costs nothing.
func (l *look) usage() (*v1alpha1.AccessUsage, error) {
	u := &v1alpha1.AccessUsage{}
	err := l.Client.Get(l.ctx, client.ObjectKey{Name: l.g.Name}, u, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if apierrors.IsNotFound(err) || (err == nil && !grant.HasUsage(l.g, u)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return u, nil
}

// refusal tells why the policy no longer allows what was given, with the policy and
// the namespaces as they are now; empty when it does. It checks each version of them
// once. Conditions are evaluated for the moment of the grant: access that began
// within working hours does not end with them.
func (l *look) refusal() (string, error) {
	object, err := l.policy()
	if err != nil || object == nil {
		return "", err
	}
	g, p := l.g, l.Policies.Compile(object)
	unchanged := object.Generation == g.Spec.PolicyRef.Generation
	if unchanged && !p.Depends() {
		return "", nil
	}
	whole := !unchanged || p.ConditionsRead("namespaceObject")
	namespaces, versions, err := l.namespaces(whole)
	if err != nil {
		return "", err
	}
	versions = strconv.FormatInt(object.Generation, 10) + versions
	before := l.memory.look(g.Name, g.UID).weighed
	if before == versions {
		return "", nil
	}
	ask := &policy.Request{Cluster: g.Spec.Cluster}
	if whole {
		if ask, err = l.ask(); err != nil {
			return "", err
		}
	}
	ask.Namespaces = namespaces
	l.Names.Version.Tell(l.ctx, ask, p)
	var allows bool
	var why string
	if unchanged {
		allows, why, err = p.StillAllows(l.ctx, *ask, g.Spec.NotBefore.Time, before != "")
	} else {
		allows, why, err = p.Allows(l.ctx, *ask, g.Spec.NotBefore.Time)
	}
	if err != nil {
		return "", fmt.Errorf("policy %s: %w", object.Name, err)
	}
	if !allows {
		return why, nil
	}
	l.memory.note(g.Name, g.UID, func(m *remembered) { m.weighed = versions })
	return "", nil
}

// namespaces reads the namespaces of the grant as they are now, whole or only their
// labels, and returns their versions too.
func (l *look) namespaces(whole bool) (namespaces []policy.Namespace, versions string, err error) {
	for _, ns := range l.g.Spec.Namespaces {
		namespace := resolve.NamespaceMetadata()
		if err := l.Names.Get(l.ctx, client.ObjectKey{Name: ns.Name}, namespace); err != nil {
			return nil, "", fmt.Errorf("read namespace: %w", err)
		}
		seen := policy.Namespace{Name: ns.Name, Labels: namespace.Labels}
		if whole {
			if seen.Object, err = resolve.AsMap(namespace); err != nil {
				return nil, "", err
			}
		}
		namespaces = append(namespaces, seen)
		versions += " " + namespace.ResourceVersion
	}
	return namespaces, versions, nil
}

// requestAsMap is the request as expressions see it.
func (l *look) requestAsMap() (map[string]any, error) {
	request, err := l.request()
	if err != nil {
		return nil, err
	}
	if request == nil {
		return nil, errors.New("read request: there is none")
	}
	return resolve.RequestAsMap(request)
}

// ask returns what was asked for, as the grant records it, without the namespaces.
func (l *look) ask() (*policy.Request, error) {
	object, err := l.requestAsMap()
	if err != nil {
		return nil, err
	}
	g := l.g
	duration := g.Spec.ExpirationTime.Sub(grant.Begin(g))
	ask := &policy.Request{
		Object: object, Namespace: g.Spec.RequestRef.Namespace, Requester: g.Spec.Requester,
		RoleRef: g.Spec.RoleRef, Rules: g.Spec.Rules, Cluster: g.Spec.Cluster, Duration: &duration, HasTask: g.Spec.Task != nil,
		Issued: grant.Issued(g),
	}
	if g.Spec.Extends != nil {
		ask.Extends = grant.ExtensionOf(g.Spec.Extends, g)
	}
	for _, s := range g.Spec.Subjects {
		ask.Subjects = append(ask.Subjects, s.Subject)
	}
	if g.Spec.Task != nil {
		object, err := l.Names.Task(l.ctx, g.Spec.RequestRef.Namespace, g.Spec.Task.TaskRef)
		if err != nil {
			return nil, err
		}
		if object != nil {
			ask.Task = object.Object
		}
	}
	return ask, nil
}

// task reads the task and tells how far it has come. A *task.Untold says why the
// broker cannot tell.
func (l *look) task() (grant.TaskNow, error) {
	ref, namespace := l.g.Spec.Task, l.g.Spec.RequestRef.Namespace
	l.Names.Tasks.Watch(l.ctx, l.Names, namespace, ref.TaskRef)
	object, err := l.Names.Task(l.ctx, namespace, ref.TaskRef)
	if no := (*resolve.Impossible)(nil); errors.As(err, &no) {
		reason := v1alpha1.ReasonTaskUnreadable
		if no.Reason == v1alpha1.ReasonTaskNotServed {
			reason = no.Reason
		}
		return grant.TaskNow{}, &task.Untold{Reason: reason, Message: no.Message}
	}
	if err != nil {
		return grant.TaskNow{}, err
	}
	completeWhen, err := resolve.CompileTask(ref.TaskRef)
	if err != nil {
		return grant.TaskNow{}, &task.Untold{Reason: v1alpha1.ReasonCompleteWhenErrs, Message: err.Error()}
	}
	access := task.Access{Granted: l.g.Spec.NotBefore.Time}
	if access.Request, err = l.requestAsMap(); err != nil {
		return grant.TaskNow{}, err
	}
	if object == nil || object.GetUID() != ref.UID {
		// The watch may have seen how the task ended.
		state, why := l.Names.Tasks.Last(namespace, ref.TaskRef, ref.UID, completeWhen, access)
		return grant.TaskNow{Gone: true, State: state, Why: why}, nil
	}
	state, why, err := task.Evaluate(object, completeWhen, access)
	if err != nil {
		return grant.TaskNow{}, task.CompleteWhenErrs(err)
	}
	return grant.TaskNow{State: state, Why: why}, nil
}

// roles reads the roles that the grant binds: one ClusterRole, or a Role in each
// namespace.
func (l *look) roles() (out grant.RolesNow) {
	g := l.g
	var now []resolve.Role
	read := func(namespace string, approved types.UID) {
		role, err := l.Names.Role(l.ctx, namespace, *g.Spec.RoleRef)
		seen := grant.RoleNow{UID: role.UID, Approved: approved, Rules: role.Rules}
		if no := (*resolve.Impossible)(nil); errors.As(err, &no) {
			seen.Missing = no.Message
		} else {
			seen.Err = err
		}
		now, out.Each = append(now, role), append(out.Each, seen)
	}
	if g.Spec.RoleRef.Kind == v1alpha1.ClusterRoleKind {
		read("", g.Spec.RoleUID)
	} else {
		for _, ns := range g.Spec.Namespaces {
			read(ns.Name, ns.RoleUID)
		}
	}
	out.Fingerprint = l.Names.Roles.Fingerprint(resolve.PinsOf(g), now)
	return out
}

// uid returns the UID of an object, empty when it does not exist or is being
// deleted.
func (l *look) uid(key client.ObjectKey, object *metav1.PartialObjectMetadata) (types.UID, error) {
	err := l.Names.Get(l.ctx, key, object)
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read %s %s: %w", object.Kind, key, err)
	case object.DeletionTimestamp != nil:
		return "", nil
	}
	return object.UID, nil
}

// intact tells whether an object is as it was given. When the cache says no, a live
// read decides: the cache may be older than the object.
func (l *look) intact(want grant.Object) (bool, error) {
	uid := grant.RecordedUID(l.g, want)
	for _, from := range []client.Reader{l.Client, l.Live} {
		seen, err := access.Get(l.ctx, from, want)
		if err != nil {
			return false, err
		}
		if seen != nil && seen.Meta.UID == uid && want.Intact(*seen) {
			return true, nil
		}
	}
	return false, nil
}
