package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/rbac"
	"github.com/accessbroker/accessbroker/internal/task"
	"github.com/accessbroker/accessbroker/internal/text"
)

// maxNamespaces bounds how many namespaces a selector may select.
const maxNamespaces = 1024

// maxStartAhead bounds how long a request may wait for its startTime.
const maxStartAhead = 30 * 24 * time.Hour

// resolved is what a request comes to on this cluster at this moment, every
// name pinned by its UID.
type resolved struct {
	ask        policy.Request
	subjects   []v1alpha1.GrantSubject
	namespaces []v1alpha1.GrantNamespace
	roleUID    types.UID
	// roles that are asked for, as they are now: one of each namespace for a Role.
	roles []heldRole
	// rules of one's own; none when a role is named.
	rules     []v1alpha1.PolicyRule
	rulesHash string
	// shown is the role, or the rules, as people read them.
	shown
	// task, nil while it does not exist, and when it is complete; taskHeld is what
	// holds it back.
	task         *unstructured.Unstructured
	completeWhen *task.CompleteWhen
	taskHeld     string
}

// reader reads from the cache, and from the API server what the cache does not
// have: a cold cache is no proof that a thing does not exist.
type reader struct {
	cache client.Reader
	live  client.Reader
	// tasks are nil in tests without one.
	tasks *Tasks
}

// Get is for objects that are not written to: what it reads belongs to the cache.
func (r reader) Get(ctx context.Context, key client.ObjectKey, object client.Object) error {
	err := r.cache.Get(ctx, key, object, &client.GetOptions{UnsafeDisableDeepCopy: ptr.To(true)})
	if apierrors.IsNotFound(err) {
		return r.live.Get(ctx, key, object)
	}
	return err
}

// resolve looks up what a request names. Its error is *impossible when the
// request can never be granted; any other means that it cannot be told now.
func (r reader) resolve(ctx context.Context, request *v1alpha1.AccessRequest) (*resolved, error) {
	spec := &request.Spec
	if spec.StartTime != nil && spec.StartTime.Sub(request.CreationTimestamp.Time) > maxStartAhead {
		return nil, impossiblef(v1alpha1.ReasonInvalid, "startTime is more than %s after the request: ask again nearer to it", text.Duration(maxStartAhead))
	}
	object, err := asMap(request)
	if err != nil {
		return nil, err
	}
	out := &resolved{ask: policy.Request{
		Object:     object,
		Namespace:  request.Namespace,
		Requester:  spec.Requester,
		Subjects:   identity.Subjects(spec),
		RoleRef:    spec.RoleRef,
		Rules:      spec.Rules,
		PolicyName: spec.PolicyName,
		HasTask:    spec.Task != nil,
	}}
	if spec.Duration != nil {
		out.ask.Duration = &spec.Duration.Duration
	}
	err = errors.Join(
		r.resolveScope(ctx, request, out),
		r.resolveSubjects(ctx, out),
		r.resolveRole(ctx, out),
		r.resolveTask(ctx, request, out),
	)
	out.rulesHash = fingerprint(out.pins(), out.roles)
	return out, err
}

// pins are the objects that a request was resolved to.
func (out *resolved) pins() *v1alpha1.Pins {
	p := &v1alpha1.Pins{RoleUID: out.roleUID, Namespaces: out.namespaces, Subjects: withUID(out.subjects)}
	if out.ask.HasTask {
		p.Task = &v1alpha1.TaskPin{}
	}
	if out.task != nil {
		p.Task.HashBefore = fingerprint(p, out.roles)
		p.Task.UID = out.task.GetUID()
	}
	return p
}

// pinsOf are the objects that a grant was approved for.
func pinsOf(g *v1alpha1.AccessGrant) *v1alpha1.Pins {
	p := &v1alpha1.Pins{RoleUID: g.Spec.RoleUID, Namespaces: g.Spec.Namespaces, Subjects: withUID(g.Spec.Subjects)}
	if g.Spec.Task != nil {
		p.Task = &v1alpha1.TaskPin{UID: g.Spec.Task.UID}
	}
	return p
}

func withUID(subjects []v1alpha1.GrantSubject) []v1alpha1.GrantSubject {
	return slices.DeleteFunc(slices.Clone(subjects), func(s v1alpha1.GrantSubject) bool { return s.UID == "" })
}

func (r reader) resolveScope(ctx context.Context, request *v1alpha1.AccessRequest, out *resolved) error {
	scope := request.Spec.Scope
	names := []string{request.Namespace}
	switch {
	case scope == nil:
	case scope.Cluster != nil:
		out.ask.Cluster = true
		return nil
	case scope.NamespaceSelector != nil:
		selected, err := r.selectNamespaces(ctx, scope.NamespaceSelector)
		if err != nil {
			return err
		}
		names = selected
	default:
		names = slices.Sorted(slices.Values(scope.Namespaces))
	}
	for _, name := range names {
		namespace := namespaceMetadata()
		err := r.Get(ctx, client.ObjectKey{Name: name}, namespace)
		if apierrors.IsNotFound(err) || (err == nil && namespace.DeletionTimestamp != nil) {
			return missingf(v1alpha1.ReasonWaitingForNamespace, v1alpha1.ReasonNamespaceNotFound, "namespace %s does not exist", name)
		}
		if err != nil {
			return fmt.Errorf("read namespace %s: %w", name, err)
		}
		object, err := asMap(namespace)
		if err != nil {
			return err
		}
		out.ask.Namespaces = append(out.ask.Namespaces, policy.Namespace{Name: name, Labels: namespace.Labels, Object: object})
		out.namespaces = append(out.namespaces, v1alpha1.GrantNamespace{ObjectRef: v1alpha1.ObjectRef{Name: name, UID: namespace.UID}})
	}
	return nil
}

func (r reader) selectNamespaces(ctx context.Context, s *v1alpha1.NamespaceSelector) ([]string, error) {
	selector, err := policy.Selector(s)
	if err != nil {
		return nil, impossiblef(v1alpha1.ReasonInvalid, "scope.namespaceSelector: %v", err)
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.cache.List(ctx, list, client.MatchingLabelsSelector{Selector: selector}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var names []string
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp == nil {
			names = append(names, list.Items[i].Name)
		}
	}
	switch {
	case len(names) == 0:
		return nil, missingf(v1alpha1.ReasonWaitingForNamespace, v1alpha1.ReasonNamespaceNotFound, "scope.namespaceSelector selects no namespace")
	case len(names) > maxNamespaces:
		return nil, impossiblef(v1alpha1.ReasonInvalid, "scope.namespaceSelector selects %d namespaces, at most %d can be granted at once", len(names), maxNamespaces)
	}
	slices.Sort(names)
	return names, nil
}

func (r reader) resolveSubjects(ctx context.Context, out *resolved) error {
	for _, s := range out.ask.Subjects {
		subject := v1alpha1.GrantSubject{Subject: s}
		if identity.Reserved(s) {
			return impossiblef(v1alpha1.ReasonInvalid, "%s belongs to Kubernetes itself and cannot be given access", identity.String(s))
		}
		if s.Kind == v1alpha1.ServiceAccountKind {
			account := serviceAccountMetadata()
			err := r.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Name}, account)
			if apierrors.IsNotFound(err) {
				return missingf(v1alpha1.ReasonWaitingForServiceAccount, v1alpha1.ReasonSubjectNotFound, "ServiceAccount %s/%s does not exist", s.Namespace, s.Name)
			}
			if err != nil {
				return fmt.Errorf("read ServiceAccount %s/%s: %w", s.Namespace, s.Name, err)
			}
			subject.UID = account.UID
		}
		out.subjects = append(out.subjects, subject)
	}
	return nil
}

func (r reader) resolveRole(ctx context.Context, out *resolved) error {
	ref := out.ask.RoleRef
	if ref == nil {
		return resolveRules(out)
	}
	if ref.Kind == v1alpha1.RoleKind && out.ask.Cluster {
		return impossiblef(v1alpha1.ReasonInvalid, "a Role cannot be granted in the whole cluster: name a ClusterRole")
	}
	if ref.Kind == v1alpha1.ClusterRoleKind {
		role, err := r.role(ctx, "", *ref)
		if err != nil {
			return err
		}
		out.roleUID, out.roles = role.uid, []heldRole{role}
		out.show(out.roles...)
		return nil
	}
	for i, ns := range out.namespaces {
		role, err := r.role(ctx, ns.Name, *ref)
		if err != nil {
			return err
		}
		out.namespaces[i].RoleUID = role.uid
		out.roles = append(out.roles, role)
	}
	out.show(out.roles...)
	return nil
}

// resolveRules holds rules of one's own to what may never be granted that way,
// whatever a policy says.
func resolveRules(out *resolved) error {
	rules := rbac.Normalize(v1alpha1.RBACRules(out.ask.Rules))
	if findings := rbac.Forbidden(rules); len(findings) > 0 {
		reasons := make([]string, 0, len(findings))
		for _, f := range findings {
			if !slices.Contains(reasons, f.Reason) {
				reasons = append(reasons, f.Reason)
			}
		}
		return impossiblef(v1alpha1.ReasonNeverGrantable, "rules: %s", strings.Join(reasons, "; "))
	}
	for _, rule := range rules {
		switch {
		case len(rule.NonResourceURLs) > 0 && !out.ask.Cluster:
			return impossiblef(v1alpha1.ReasonInvalid, "rules: nonResourceURLs belong to no namespace: ask for scope cluster")
		case len(rule.NonResourceURLs) == 0 && (len(rule.APIGroups) == 0 || len(rule.Resources) == 0):
			return impossiblef(v1alpha1.ReasonInvalid, "rules: a rule needs apiGroups (\"\" for the core group) and resources, or nonResourceURLs")
		case len(rule.NonResourceURLs) > 0 && len(rule.Resources) > 0:
			return impossiblef(v1alpha1.ReasonInvalid, "rules: a rule has either resources or nonResourceURLs")
		}
	}
	out.roles = []heldRole{{rules: rules}}
	out.show(out.roles...)
	return nil
}

// role reads a role; namespace is that of a Role.
func (r reader) role(ctx context.Context, namespace string, ref v1alpha1.RoleRef) (heldRole, error) {
	if ref.Kind == v1alpha1.ClusterRoleKind {
		role := &rbacv1.ClusterRole{}
		if err := r.Get(ctx, client.ObjectKey{Name: ref.Name}, role); err != nil {
			return heldRole{}, roleError(err, "ClusterRole "+ref.Name)
		}
		return heldRole{role.UID, role.ResourceVersion, role.Rules}, nil
	}
	role := &rbacv1.Role{}
	if err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: ref.Name}, role); err != nil {
		return heldRole{}, roleError(err, "Role "+namespace+"/"+ref.Name)
	}
	return heldRole{role.UID, role.ResourceVersion, role.Rules}, nil
}

func roleError(err error, what string) error {
	if apierrors.IsNotFound(err) {
		return missingf(v1alpha1.ReasonWaitingForRole, v1alpha1.ReasonRoleNotFound, "%s does not exist", what)
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// heldRole is a role as it is now.
type heldRole struct {
	uid     types.UID
	version string // resourceVersion; empty for rules of one's own
	rules   []rbacv1.PolicyRule
}

// fingerprint is the rulesHash: what the roles allow, and which objects all the
// names stand for, so that neither a changed role nor anything else of the same
// name passes for what somebody approved. A Role has one entry for each
// namespace, in their order. A task that is not there yet is a value too.
func fingerprint(pins *v1alpha1.Pins, roles []heldRole) string {
	hash := sha256.New()
	for _, role := range roles {
		fmt.Fprintf(hash, "role %s %s\n", role.uid, hashes.of(role))
	}
	for _, ns := range pins.Namespaces {
		fmt.Fprintf(hash, "namespace %s %s\n", ns.Name, ns.UID)
	}
	for _, s := range pins.Subjects {
		fmt.Fprintf(hash, "subject %s %s %s %s\n", s.Kind, s.Namespace, s.Name, s.UID)
	}
	if pins.Task != nil {
		fmt.Fprintf(hash, "task %s\n", pins.Task.UID)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// hashes remembers the hash of each role in its present version: every look at
// a grant needs it.
var hashes roleHashes

// maxHashes bounds how many roles are remembered at a time.
const maxHashes = 4096

type roleHashes struct {
	mu    sync.Mutex
	known map[types.UID]roleHash
}

type roleHash struct{ version, hash string }

func (h *roleHashes) of(role heldRole) string {
	h.mu.Lock()
	known := h.known[role.uid]
	h.mu.Unlock()
	if role.version != "" && known.version == role.version {
		return known.hash
	}
	hash := rbac.Hash(role.rules)
	if role.version != "" {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.known == nil || len(h.known) >= maxHashes {
			h.known = map[types.UID]roleHash{}
		}
		h.known[role.uid] = roleHash{role.version, hash}
	}
	return hash
}

// resolveTask looks whether the task may be one, and reads it.
func (r reader) resolveTask(ctx context.Context, request *v1alpha1.AccessRequest, out *resolved) error {
	ref := request.Spec.Task
	if ref == nil {
		return nil
	}
	completeWhen, err := r.admitTask(ctx, *ref)
	if err != nil {
		return err
	}
	r.tasks.Watch(ctx, r, request.Namespace, *ref)
	object, err := r.task(ctx, request.Namespace, *ref)
	if err != nil || object == nil {
		return err
	}
	out.task, out.ask.Task, out.completeWhen = object, object.Object, completeWhen
	return nil
}

// asMap is an object as CEL expressions see it.
func asMap(object runtime.Object) (map[string]any, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("convert %T: %w", object, err)
	}
	return m, nil
}

func namespaceMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	return object
}

func serviceAccountMetadata() *metav1.PartialObjectMetadata {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ServiceAccount"))
	return object
}
