package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/task"
)

// TaskKindsRole is the ClusterRole in which an administrator lists the kinds of
// tasks.
const TaskKindsRole = "access-broker-task-kinds"

// taskVerbs are what the list must allow for a kind: without list and watch, the
// broker would miss the end of a task.
var taskVerbs = []string{"get", "list", "watch"}

// kindMapper maps kinds to resources. It believes what it has discovered until
// rediscover, so only reading an object shows that a version is no longer served.
type kindMapper struct {
	fresh func() (meta.RESTMapper, error)

	mu      sync.Mutex
	current meta.RESTMapper
}

// mapping of a kind in its own version or, if that is not served, in the version
// that the API server prefers.
func (m *kindMapper) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	mapper, err := m.mapper()
	if err != nil {
		return nil, err
	}
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return mapper.RESTMapping(kind.GroupKind())
	}
	return mapping, err
}

func (m *kindMapper) mapper() (_ meta.RESTMapper, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil {
		m.current, err = m.fresh()
	}
	return m.current, err
}

// rediscover forgets what was discovered.
func (m *kindMapper) rediscover() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.current = nil
}

// KindOf is the kind of a task.
func KindOf(ref v1alpha1.TaskRef) schema.GroupVersionKind {
	return schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
}

// admitTask is the one test of what may be a task, before anyone is asked and at the
// grant: an administrator lists its kind, objects of the kind are namespaced and can
// be watched, and the kind or completeWhen says when they are over.
func (n Names) admitTask(ctx context.Context, ref v1alpha1.TaskRef) (*task.CompleteWhen, error) {
	kind := KindOf(ref)
	mapping, err := n.admitKind(ctx, kind)
	if err != nil {
		return nil, err
	}
	if mapping.GroupVersionKind.Version != kind.Version {
		served := mapping.GroupVersionKind
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "task: the API server does not serve %s as %s: ask again with apiVersion %s", kind.Kind, ref.APIVersion, served.GroupVersion())
	}
	return CompileTask(ref)
}

// admitKind tells whether objects of a kind may be tasks, and where they are.
func (n Names) admitKind(ctx context.Context, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	if why := neverTask(kind.GroupKind()); why != "" {
		return nil, Impossiblef(v1alpha1.ReasonNotSupported, "task: %s cannot be a task, whatever %s lists: %s", kind.Kind, TaskKindsRole, why)
	}
	mapping, err := n.listedKind(ctx, kind)
	if no := (*Impossible)(nil); errors.As(err, &no) {
		// The cache may not show the last change of the list yet.
		return n.FromLive().listedKind(ctx, kind)
	}
	return mapping, err
}

func (n Names) listedKind(ctx context.Context, kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	role := &rbacv1.ClusterRole{}
	err := n.Get(ctx, client.ObjectKey{Name: TaskKindsRole}, role)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read ClusterRole %s: %w", TaskKindsRole, err)
	}
	list := kindList(role.Rules)
	if !list.names(kind.Group) { // discover nothing for kinds that nobody lists
		return nil, notListed(kind.GroupKind(), strings.ToLower(kind.Kind)+"s", nil)
	}
	mapping, err := n.Tasks.kinds.mapping(kind)
	if meta.IsNoMatchError(err) {
		return nil, Missingf(v1alpha1.ReasonWaitingForKind, v1alpha1.ReasonInvalid, "task: the API server knows no kind %s of %s", kind.Kind, kind.GroupVersion())
	}
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s: %w", kind, err)
	}
	resource := mapping.Resource.Resource
	if missing := list.missing(kind.GroupKind(), resource); len(missing) > 0 {
		return nil, notListed(kind.GroupKind(), resource, missing)
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "task: a task lies in the namespace of its request, and a %s lies in none", kind.Kind)
	}
	return mapping, nil
}

// neverTask says why objects of a kind are never tasks. The author of a completeWhen
// can learn about an object that they may not read, so nothing confidential may be a
// task.
func neverTask(kind schema.GroupKind) string {
	switch {
	case kind.Group == v1alpha1.GroupVersion.Group:
		return "it is one of the broker's own kinds"
	case kind == schema.GroupKind{Kind: "Secret"}:
		return "completeWhen would reveal what it holds"
	}
	return ""
}

func notListed(kind schema.GroupKind, resource string, missing []string) error {
	how := fmt.Sprintf("an administrator adds apiGroups [%q], resources [%s], verbs [%s] to the ClusterRole %s", kind.Group, resource, strings.Join(taskVerbs, ", "), TaskKindsRole)
	if len(missing) > 0 && len(missing) < len(taskVerbs) {
		return Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "task: the broker may not %s objects of kind %s, so it would miss their end: %s", strings.Join(missing, " and "), kind.Kind, how)
	}
	return Missingf(v1alpha1.ReasonWaitingForPermission, v1alpha1.ReasonNotSupported, "task: %s is not listed as a kind of task: %s", kind.Kind, how)
}

// kindList is the list of kinds that an administrator wrote.
type kindList []rbacv1.PolicyRule

// names tells whether the list names anything of a group.
func (l kindList) names(group string) bool {
	return slices.ContainsFunc(l, func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.APIGroups, group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)
	})
}

// missing are the verbs that the list does not allow for a kind. A rule with
// resourceNames does not count. A wildcard is meant for tasks: it does not cover the
// built-in kinds that are not made to end.
func (l kindList) missing(kind schema.GroupKind, resource string) []string {
	missing := slices.Clone(taskVerbs)
	wild := task.Known(kind) || !builtIn(kind.Group)
	for _, rule := range l {
		group := slices.Contains(rule.APIGroups, kind.Group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)
		named := slices.Contains(rule.Resources, resource) || wild && slices.Contains(rule.Resources, rbacv1.ResourceAll)
		if !group || !named || len(rule.ResourceNames) > 0 {
			continue
		}
		missing = slices.DeleteFunc(missing, func(verb string) bool {
			return slices.Contains(rule.Verbs, verb) || slices.Contains(rule.Verbs, rbacv1.VerbAll)
		})
	}
	return missing
}

// builtIn tells whether a group is one of Kubernetes' own.
func builtIn(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io")
}

// CompileTask compiles completeWhen, which is required when the kind does not say
// when it is over.
func CompileTask(ref v1alpha1.TaskRef) (*task.CompleteWhen, error) {
	kind := KindOf(ref).GroupKind()
	if ref.CompleteWhen == "" {
		if task.Known(kind) {
			return nil, nil
		}
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "task: the broker does not know when a %s is over: say it in completeWhen, for example: %s", kind.Kind, task.Example(kind))
	}
	completeWhen, err := task.Compile(ref.CompleteWhen)
	if err != nil {
		return nil, Impossiblef(v1alpha1.ReasonInvalid, "task.completeWhen: %v", err)
	}
	return completeWhen, nil
}
