package cached

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Indexes of the cache, by which an event finds what it concerns without a list.
// Requests and grants that have ended are in none of them.
const (
	ByUndecided = "undecided" // requests that wait for decisions, by username of the requester
	ByOpen      = "open"      // requests that may still be granted, all under Open
	ByRole      = "role"      // requests and grants, by RoleKey
	ByTask      = "task"      // requests and grants, by TaskKey, and under AnyTask
	ByAwaited   = "awaited"   // requests that wait for a namespace or ServiceAccount, or for decisions in a namespace, by ObjectKey
	ByPolicy    = "policy"    // grants, by the name of their policy
	ByObject    = "object"    // grants, by ObjectKey of their namespaces and ServiceAccounts
	ByGrant     = "grant"     // what grants own, by the name of the grant
	ByExtended  = "extended"  // requests and grants, by the name of the grant that they extend
	ByFirst     = "first"     // grants that extend others, by the name of the first grant

	// Open is the one value of ByOpen.
	Open = "true"
	// AnyTask is the value of ByTask of all that name a task.
	AnyTask = "*"
	// AnyNamespace is the value of ByAwaited of those that wait for a namespace by
	// its labels.
	AnyNamespace = "/"
)

// ObjectKey is the key of a namespace (in no namespace) or a ServiceAccount.
func ObjectKey(namespace, name string) string { return namespace + "/" + name }

// RoleKey is the key in ByRole.
func RoleKey(kind, name string) string { return kind + "/" + name }

// TaskKey is the key in ByTask.
func TaskKey(apiVersion, kind, namespace, name string) string {
	return fmt.Sprintf("%s/%s/%s/%s", apiVersion, kind, namespace, name)
}

// Index makes the indexes; owned is an object of each kind that grants own.
func Index(ctx context.Context, indexer client.FieldIndexer, owned ...client.Object) error {
	type index struct {
		object client.Object
		field  string
		keys   func(client.Object) []string
	}
	indexes := []index{
		{&v1alpha1.AccessRequest{}, ByUndecided, ofOpenRequest(func(r *v1alpha1.AccessRequest) []string {
			return only(AsksPeople(r), r.Spec.Requester.Username)
		})},
		{&v1alpha1.AccessRequest{}, ByOpen, ofOpenRequest(func(*v1alpha1.AccessRequest) []string { return []string{Open} })},
		{&v1alpha1.AccessRequest{}, ByRole, ofOpenRequest(func(r *v1alpha1.AccessRequest) []string { return roleKeys(r.Asked().RoleRef) })},
		{&v1alpha1.AccessRequest{}, ByTask, ofOpenRequest(func(r *v1alpha1.AccessRequest) []string { return taskKeys(r.Asked().Task, r.Namespace) })},
		{&v1alpha1.AccessRequest{}, ByAwaited, ofOpenRequest(awaitedObjects)},
		{&v1alpha1.AccessGrant{}, ByRole, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string { return roleKeys(g.Spec.RoleRef) })},
		{&v1alpha1.AccessGrant{}, ByPolicy, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string { return []string{g.Spec.PolicyRef.Name} })},
		{&v1alpha1.AccessGrant{}, ByTask, ofLiveGrant(func(g *v1alpha1.AccessGrant) []string {
			if g.Spec.Task == nil {
				return nil
			}
			return taskKeys(&g.Spec.Task.TaskRef, g.Spec.RequestRef.Namespace)
		})},
		{&v1alpha1.AccessGrant{}, ByObject, ofLiveGrant(pinnedObjects)},
	}
	indexes = append(indexes,
		index{&v1alpha1.AccessRequest{}, ByExtended, ofOpenRequest(func(r *v1alpha1.AccessRequest) []string {
			if r.Status.Extended == nil {
				return nil
			}
			return []string{r.Status.Extended.Grant.Name}
		})},
		index{&v1alpha1.AccessGrant{}, ByExtended, ofExtension(func(e *v1alpha1.GrantExtended) string { return e.Name })},
		index{&v1alpha1.AccessGrant{}, ByFirst, ofExtension(func(e *v1alpha1.GrantExtended) string { return e.First })},
	)
	for _, o := range owned {
		indexes = append(indexes, index{o, ByGrant, func(o client.Object) []string {
			name := o.GetLabels()[v1alpha1.LabelGrant]
			return only(name != "", name)
		}})
	}
	for _, i := range indexes {
		if err := indexer.IndexField(ctx, i.object, i.field, i.keys); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.object, i.field, err)
		}
	}
	return nil
}

func only(ok bool, key string) []string {
	if !ok {
		return nil
	}
	return []string{key}
}

func ofOpenRequest(keys func(*v1alpha1.AccessRequest) []string) func(client.Object) []string {
	return func(o client.Object) []string {
		if Ended(o) {
			return nil
		}
		return keys(o.(*v1alpha1.AccessRequest))
	}
}

func ofLiveGrant(keys func(*v1alpha1.AccessGrant) []string) func(client.Object) []string {
	return func(o client.Object) []string {
		if Ended(o) {
			return nil
		}
		return keys(o.(*v1alpha1.AccessGrant))
	}
}

func ofExtension(key func(*v1alpha1.GrantExtended) string) func(client.Object) []string {
	return ofLiveGrant(func(g *v1alpha1.AccessGrant) []string {
		if g.Spec.Extends == nil {
			return nil
		}
		return []string{key(g.Spec.Extends)}
	})
}

func roleKeys(ref *v1alpha1.RoleRef) []string {
	if ref == nil {
		return nil
	}
	return []string{RoleKey(ref.Kind, ref.Name)}
}

func taskKeys(ref *v1alpha1.TaskRef, namespace string) []string {
	if ref == nil {
		return nil
	}
	return []string{AnyTask, TaskKey(ref.APIVersion, ref.Kind, namespace, ref.Name)}
}

func pinnedObjects(g *v1alpha1.AccessGrant) []string {
	var keys []string
	for _, ns := range g.Spec.Namespaces {
		keys = append(keys, ObjectKey("", ns.Name))
	}
	for _, s := range g.Spec.Subjects {
		if s.Kind == v1alpha1.ServiceAccountKind {
			keys = append(keys, ObjectKey(s.Namespace, s.Name))
		}
	}
	return keys
}

// AsksPeople tells whether a request waits for somebody's decision. One that waits
// for its task or its startTime, or needs no approval, does not.
func AsksPeople(request *v1alpha1.AccessRequest) bool {
	return request.Status.Policy != nil && request.Status.Phase == v1alpha1.RequestPending &&
		request.Status.Required() > 0 && !meta.IsStatusConditionTrue(request.Status.Conditions, v1alpha1.ConditionApproved)
}

// Awaits tells whether a request waits for something that it names and that is
// missing.
func Awaits(request *v1alpha1.AccessRequest) bool {
	c := meta.FindStatusCondition(request.Status.Conditions, v1alpha1.ConditionPolicyMatched)
	return c != nil && c.Status == metav1.ConditionUnknown
}

// awaitedObjects are the keys of the namespaces and ServiceAccounts that a
// waiting request names. A request that waits for decisions hears of its namespaces:
// their labels say whom to ask, and whether the policy allows it.
func awaitedObjects(request *v1alpha1.AccessRequest) []string {
	var keys []string
	if !Awaits(request) {
		if pins := request.Status.Pins; pins != nil && request.Status.Phase != v1alpha1.RequestActive {
			for _, ns := range pins.Namespaces {
				keys = append(keys, ObjectKey("", ns.Name))
			}
		}
		return keys
	}
	if scope := request.Asked().Scope; scope != nil {
		for _, name := range scope.Namespaces {
			keys = append(keys, ObjectKey("", name))
		}
		if scope.NamespaceSelector != nil {
			keys = append(keys, AnyNamespace)
		}
	}
	for _, s := range request.Asked().Subjects {
		if s.Kind == v1alpha1.ServiceAccountKind {
			keys = append(keys, ObjectKey(s.Namespace, s.Name))
		}
	}
	return keys
}
