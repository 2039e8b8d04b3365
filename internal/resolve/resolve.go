// Package resolve looks up what a request names: the UID behind every name, what the
// roles allow, compiled policies, the task and whether its kind may be one. From all
// of it, it makes the grant of the request.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/task"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxNamespaces bounds how many namespaces a selector may select.
const maxNamespaces = 1024

// maxStartAhead bounds how long a request may wait for its startTime.
const maxStartAhead = 30 * 24 * time.Hour

// Resolved is what a request stands for on this cluster at this moment, every name
// pinned by its UID.
type Resolved struct {
	Ask        policy.Request
	Subjects   []v1alpha1.GrantSubject
	Namespaces []v1alpha1.GrantNamespace
	RoleUID    types.UID
	// Roles that are asked for, as they are now; for a Role, one in each namespace.
	Roles []Role
	// Rules of the request; none when it names a role.
	Rules []v1alpha1.PolicyRule
	// Pins are the UIDs behind all names. RulesHash is the fingerprint of them and of
	// what the roles allow.
	Pins      *v1alpha1.Pins
	RulesHash string
	// Shown is the role, or the rules, as people read them.
	Shown
	// Task is nil while it does not exist. CompleteWhen is nil when its kind says when
	// it is over.
	Task         *unstructured.Unstructured
	CompleteWhen *task.CompleteWhen
	// Before is the grant of which more time is asked, whether or not it has ended; nil
	// when none is.
	Before *v1alpha1.AccessGrant
}

// Names looks names up in the cache, and what the cache does not have on the API
// server: a cold cache does not prove that an object does not exist.
type Names struct {
	Cache client.Reader
	Live  client.Reader
	Tasks *Tasks
	// Roles remembers the hashes of roles and how they are shown.
	Roles *Roles
	// Version of the cluster, for the policies that read it.
	Version *Version
}

// FromLive returns Names that read only from the API server.
func (n Names) FromLive() Names {
	n.Cache = n.Live
	return n
}

// Get reads an object that the caller must not change: it belongs to the cache.
func (n Names) Get(ctx context.Context, key client.ObjectKey, object client.Object) error {
	err := n.Cache.Get(ctx, key, object, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if apierrors.IsNotFound(err) {
		return n.Live.Get(ctx, key, object)
	}
	return err
}

// Resolve looks up what a request names. Its error is *Impossible when the request
// can never be granted; any other error means that this is not known now.
func (n Names) Resolve(ctx context.Context, request *v1alpha1.AccessRequest) (*Resolved, error) {
	spec := request.Asked()
	if spec.StartTime != nil && spec.StartTime.Sub(request.CreationTimestamp.Time) > maxStartAhead {
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "startTime is more than %s after the request: ask again nearer to it", text.Duration(maxStartAhead))
	}
	object, err := RequestAsMap(request)
	if err != nil {
		return nil, err
	}
	before, err := n.extended(ctx, request)
	if err != nil {
		return nil, err
	}
	out := &Resolved{Before: before, Ask: policy.Request{
		Object:     object,
		Namespace:  request.Namespace,
		Requester:  spec.Requester,
		Subjects:   identity.Subjects(spec),
		RoleRef:    spec.RoleRef,
		Rules:      spec.Rules,
		PolicyName: spec.PolicyName,
		HasTask:    spec.Task != nil,
		Issued:     spec.CredentialKey != "",
	}}
	if before != nil {
		out.Ask.Extends = grant.ExtensionOf(grant.Extends(before), before)
	}
	if spec.Duration != nil {
		out.Ask.Duration = &spec.Duration.Duration
	}
	err = errors.Join(
		n.resolveScope(ctx, request, out),
		n.resolveSubjects(ctx, out),
		n.resolveRole(ctx, out),
		n.resolveTask(ctx, request, out),
	)
	out.Pins = &v1alpha1.Pins{RoleUID: out.RoleUID, Namespaces: out.Namespaces, Subjects: withUID(out.Subjects)}
	if out.Ask.HasTask {
		out.Pins.Task = &v1alpha1.TaskPin{}
	}
	if out.Task != nil {
		out.Pins.Task.HashBefore = n.Roles.Fingerprint(out.Pins, out.Roles)
		out.Pins.Task.UID = out.Task.GetUID()
	}
	out.RulesHash = n.Roles.Fingerprint(out.Pins, out.Roles)
	return out, err
}

// PinsOf are the objects that a grant was approved for.
func PinsOf(g *v1alpha1.AccessGrant) *v1alpha1.Pins {
	p := &v1alpha1.Pins{RoleUID: g.Spec.RoleUID, Namespaces: g.Spec.Namespaces, Subjects: withUID(g.Spec.Subjects)}
	if g.Spec.Task != nil {
		p.Task = &v1alpha1.TaskPin{UID: g.Spec.Task.UID}
	}
	return p
}

func withUID(subjects []v1alpha1.GrantSubject) []v1alpha1.GrantSubject {
	return slices.DeleteFunc(slices.Clone(subjects), func(s v1alpha1.GrantSubject) bool { return s.UID == "" })
}

func (n Names) resolveScope(ctx context.Context, request *v1alpha1.AccessRequest, out *Resolved) error {
	scope := request.Asked().Scope
	names := []string{request.Namespace}
	switch {
	case scope == nil:
	case scope.Cluster != nil:
		out.Ask.Cluster = true
		return nil
	case scope.NamespaceSelector != nil:
		selected, err := n.selectNamespaces(ctx, scope.NamespaceSelector)
		if err != nil {
			return err
		}
		names = selected
	default:
		names = slices.Sorted(slices.Values(scope.Namespaces))
	}
	for _, name := range names {
		if name == v1alpha1.GrantsNamespace {
			return Impossiblef(v1alpha1.ReasonInvalid, "namespace %s holds the ServiceAccounts of issued credentials and nothing else: nobody is given access to it", name)
		}
		namespace := NamespaceMetadata()
		err := n.Get(ctx, client.ObjectKey{Name: name}, namespace)
		if apierrors.IsNotFound(err) || (err == nil && namespace.DeletionTimestamp != nil) {
			return Missingf(v1alpha1.ReasonWaitingForNamespace, v1alpha1.ReasonNamespaceNotFound, "namespace %s does not exist", name)
		}
		if err != nil {
			return fmt.Errorf("read namespace %s: %w", name, err)
		}
		object, err := AsMap(namespace)
		if err != nil {
			return err
		}
		out.Ask.Namespaces = append(out.Ask.Namespaces, policy.Namespace{Name: name, Labels: namespace.Labels, Object: object})
		out.Namespaces = append(out.Namespaces, v1alpha1.GrantNamespace{ObjectRef: v1alpha1.ObjectRef{Name: name, UID: namespace.UID}})
	}
	return nil
}

func (n Names) selectNamespaces(ctx context.Context, s *v1alpha1.NamespaceSelector) ([]string, error) {
	selector, err := policy.Selector(s)
	if err != nil {
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "scope.namespaceSelector: %v", err)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := n.Cache.List(ctx, list, client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var names []string
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil && list.Items[i].Name != v1alpha1.GrantsNamespace {
			names = append(names, list.Items[i].Name)
		}
	}
	switch {
	case len(names) == 0:
		return nil, Missingf(v1alpha1.ReasonWaitingForNamespace, v1alpha1.ReasonNamespaceNotFound, "scope.namespaceSelector selects no namespace")
	case len(names) > maxNamespaces:
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "scope.namespaceSelector selects %d namespaces, at most %d can be granted at once", len(names), maxNamespaces)
	}
	slices.Sort(names)
	return names, nil
}

func (n Names) resolveSubjects(ctx context.Context, out *Resolved) error {
	for _, s := range out.Ask.Subjects {
		subject := v1alpha1.GrantSubject{Subject: s}
		if identity.Reserved(s) {
			return Impossiblef(v1alpha1.ReasonInvalid, "%s belongs to Kubernetes itself and cannot be given access", text.Subject(s))
		}
		if s.Kind == v1alpha1.ServiceAccountKind && s.Namespace == v1alpha1.GrantsNamespace {
			return Impossiblef(v1alpha1.ReasonInvalid, "%s is the identity of an issued credential, which gets no other access: ask as yourself", text.Subject(s))
		}
		if s.Kind == v1alpha1.ServiceAccountKind {
			account := ServiceAccountMetadata()
			err := n.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, account)
			if apierrors.IsNotFound(err) {
				return Missingf(v1alpha1.ReasonWaitingForServiceAccount, v1alpha1.ReasonSubjectNotFound, "ServiceAccount %s/%s does not exist", s.Namespace, s.Name)
			}
			if err != nil {
				return fmt.Errorf("read ServiceAccount %s/%s: %w", s.Namespace, s.Name, err)
			}
			subject.UID = account.UID
		}
		out.Subjects = append(out.Subjects, subject)
	}
	return nil
}

// resolveTask checks whether the object may be a task, and reads it.
func (n Names) resolveTask(ctx context.Context, request *v1alpha1.AccessRequest, out *Resolved) error {
	ref := request.Asked().Task
	if ref == nil {
		return nil
	}
	completeWhen, err := n.admitTask(ctx, *ref)
	if err != nil {
		return err
	}
	n.Tasks.Watch(ctx, n, request.Namespace, *ref)
	object, err := n.Task(ctx, request.Namespace, *ref)
	if err != nil || object == nil {
		return err
	}
	out.Task, out.Ask.Task, out.CompleteWhen = object, object.Object, completeWhen
	return nil
}

// extended reads the grant of which a request asks more time, nil when it asks for none.
func (n Names) extended(ctx context.Context, request *v1alpha1.AccessRequest) (*v1alpha1.AccessGrant, error) {
	if request.Spec.Extends == "" {
		return nil, nil
	}
	gone := Impossiblef(v1alpha1.ReasonNotExtendable, "the access of AccessRequest %s, which it extends, is not there", request.Spec.Extends)
	from := request.Status.Extended
	if from == nil {
		return nil, gone
	}
	before := &v1alpha1.AccessGrant{}
	err := n.Get(ctx, client.ObjectKey{Name: from.Grant.Name}, before)
	if apierrors.IsNotFound(err) || (err == nil && before.UID != from.Grant.UID) {
		return nil, gone
	}
	if err != nil {
		return nil, fmt.Errorf("read the grant that is to be extended: %w", err)
	}
	return before, nil
}

// RequestAsMap is a request as CEL expressions see it: one for more time has the role,
// scope and all else of the access that it extends in its spec.
func RequestAsMap(request *v1alpha1.AccessRequest) (map[string]any, error) {
	seen := *request
	seen.Spec = *request.Asked()
	return AsMap(&seen)
}

// AsMap is an object as CEL expressions see it.
func AsMap(object runtime.Object) (map[string]any, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("convert %T: %w", object, err)
	}
	return m, nil
}

// NamespaceMetadata is what a Namespace is read into.
func NamespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

// ServiceAccountMetadata is what a ServiceAccount is read into.
func ServiceAccountMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return object
}
