package cached

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"unique"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// maxInterned bounds how many different values of a kind are shared at a time.
const maxInterned = 1024

// interner lets the objects in the cache share what they have in common. Ten
// thousand grants of the role edit carry the same rules, which are most of each
// grant, and name the same people, namespaces and policies. Sharing is safe: whoever
// reads from the cache gets a copy, or does not write to it.
type interner struct {
	mu         sync.Mutex
	lines      map[string][]string
	rules      map[string][]v1alpha1.PolicyRule
	risks      map[string][]v1alpha1.Risk
	stages     map[string][]v1alpha1.StageApproval
	policies   map[string]*v1alpha1.PolicyRef
	roles      map[string]*v1alpha1.RoleRef
	requesters map[string]v1alpha1.UserInfo
}

// transform prepares what the cache receives before it stores it.
func (in *interner) transform() toolscache.TransformFunc {
	strip := cache.TransformStripManagedFields()
	return func(o any) (any, error) {
		o, err := strip(o)
		if err != nil {
			return nil, err
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		switch object := o.(type) {
		case *v1alpha1.AccessRequest:
			in.request(object)
		case *v1alpha1.AccessGrant:
			in.grant(object)
		case *v1alpha1.AccessUsage:
			skim(object)
		case *metav1.PartialObjectMetadata:
			ofGrant(object)
		case *rbacv1.RoleBinding:
			sharedBinding(object, &object.TypeMeta, &object.RoleRef, &object.Subjects)
		case *rbacv1.ClusterRoleBinding:
			sharedBinding(object, &object.TypeMeta, &object.RoleRef, &object.Subjects)
		}
		return o, nil
	}
}

func (in *interner) request(r *v1alpha1.AccessRequest) {
	intern(&r.Kind, &r.APIVersion, &r.Namespace, &r.GenerateName, &r.Spec.Reason, &r.Spec.Ticket, &r.Status.RulesHash)
	r.Spec.Requester = share(&in.requesters, r.Spec.Requester.Username, r.Spec.Requester)
	in.role(&r.Spec.RoleRef)
	if of := r.Status.Extended; of != nil {
		in.role(&of.RoleRef)
		of.Rules = share(&in.rules, r.Status.RulesHash, of.Rules)
	}
	status := &r.Status
	if status.Policy != nil {
		status.Approvals = share(&in.stages, string(status.Policy.UID)+approved(status.Approvals), status.Approvals)
		status.Policy = share(&in.policies, string(status.Policy.UID), status.Policy)
	}
	markSealed(status.Credential)
	status.Rules = share(&in.lines, status.RulesHash, status.Rules)
	status.Risks = share(&in.risks, status.RulesHash, status.Risks)
	status.Decisions = sharedDecisions(status.Decisions)
	status.Conditions = sharedConditions(status.Conditions)
}

func (in *interner) grant(g *v1alpha1.AccessGrant) {
	spec, status := &g.Spec, &g.Status
	intern(&g.Kind, &g.APIVersion, &spec.RequestRef.Namespace, &spec.Reason, &spec.Ticket, &spec.RulesHash, &spec.PolicyRef.Name,
		&spec.Summary.Subjects, &spec.Summary.Role, &spec.Summary.Scope, &spec.Summary.Approvers)
	intern(&spec.RoleUID, &spec.PolicyRef.UID)
	spec.Requester = share(&in.requesters, spec.Requester.Username, spec.Requester)
	in.role(&spec.RoleRef)
	spec.Rules = share(&in.rules, spec.RulesHash, spec.Rules)
	spec.RoleRules = share(&in.lines, spec.RulesHash, spec.RoleRules)
	spec.Decisions = sharedDecisions(spec.Decisions)
	spec.Subjects, spec.Namespaces, status.Bindings = exact(spec.Subjects), exact(spec.Namespaces), exact(status.Bindings)
	for i := range spec.Subjects {
		intern(&spec.Subjects[i].Kind, &spec.Subjects[i].Name, &spec.Subjects[i].Namespace)
	}
	for i := range spec.Namespaces {
		intern(&spec.Namespaces[i].Name)
		intern(&spec.Namespaces[i].UID, &spec.Namespaces[i].RoleUID)
	}
	for i := range status.Bindings {
		intern(&status.Bindings[i].Kind, &status.Bindings[i].Namespace)
		if status.Bindings[i].Name == g.Name {
			status.Bindings[i].Name = g.Name // the same memory
		}
	}
	markSealed(status.Credential)
	g.Finalizers = exact(g.Finalizers)
	intern(each(g.Finalizers)...)
	status.Conditions = sharedConditions(status.Conditions)
}

// ofGrant leaves of the metadata of a grant's ServiceAccount what tells whose it is.
// The metadata of others, which conditions may read, stays whole.
func ofGrant(o *metav1.PartialObjectMetadata) {
	name, ok := o.Labels[v1alpha1.LabelGrant]
	if !ok || o.Namespace != v1alpha1.GrantsNamespace {
		return
	}
	intern(&o.Kind, &o.APIVersion, &o.Namespace)
	if name == o.Name {
		name = o.Name // the same memory
	}
	o.Annotations, o.Labels = nil, map[string]string{v1alpha1.LabelGrant: name}
	o.OwnerReferences = exact(o.OwnerReferences)
	for i := range o.OwnerReferences {
		owner := &o.OwnerReferences[i]
		intern(&owner.APIVersion, &owner.Kind)
		if owner.Name == o.Name {
			owner.Name = o.Name
		}
	}
}

// skim leaves of a usage what tells whether its grant must end, and what is open. The
// rest is most of it, and is read once, when the grant has ended.
func skim(u *v1alpha1.AccessUsage) {
	intern(&u.Kind, &u.APIVersion)
	u.Annotations = nil
	status := &u.Status
	status.Streams, status.Callers, status.Used, status.Refused, status.Created = nil, nil, nil, nil, nil
	status.Risks, status.ClosedSessions, status.EndedSessions = nil, nil, nil
	status.More = v1alpha1.UsageMore{Sessions: status.More.Sessions}
	u.OwnerReferences, status.Sessions, status.Suspicious = exact(u.OwnerReferences), exact(status.Sessions), exact(status.Suspicious)
	for i := range u.OwnerReferences {
		intern(&u.OwnerReferences[i].APIVersion, &u.OwnerReferences[i].Kind)
	}
	for i := range status.Sessions {
		s := &status.Sessions[i]
		intern(&s.Kind, &s.Group, &s.Resource, &s.Namespace, &s.User, &s.Address)
	}
}

func (in *interner) role(ref **v1alpha1.RoleRef) {
	if *ref != nil {
		*ref = share(&in.roles, (*ref).Kind+"/"+(*ref).Name, *ref)
	}
}

func sharedBinding(o client.Object, t *metav1.TypeMeta, role *rbacv1.RoleRef, subjects *[]rbacv1.Subject) {
	intern(&t.Kind, &t.APIVersion, &role.APIGroup, &role.Kind, &role.Name)
	*subjects = exact(*subjects)
	for i := range *subjects {
		s := &(*subjects)[i]
		intern(&s.APIGroup, &s.Kind, &s.Name, &s.Namespace)
	}
	owners := exact(o.GetOwnerReferences())
	for i := range owners {
		intern(&owners[i].APIVersion, &owners[i].Kind)
	}
	o.SetOwnerReferences(owners)
	o.SetAnnotations(nil) // they are for other tools
	namespace := o.GetNamespace()
	intern(&namespace)
	o.SetNamespace(namespace)
}

// approved tells the stages of two requests under one policy apart: who approved, and
// whom they ask, where that follows from a label.
func approved(stages []v1alpha1.StageApproval) string {
	var key strings.Builder
	for _, stage := range stages {
		if len(stage.From) > 0 {
			key.WriteString("/" + stage.From[0].Name)
		}
		fmt.Fprintf(&key, "/%q", stage.Approved)
	}
	return key.String()
}

func sharedDecisions(list []v1alpha1.Decision) []v1alpha1.Decision {
	list = exact(list)
	for i := range list {
		d := &list[i]
		intern(&d.Username, &d.Comment, &d.RulesHash)
		intern(&d.Verdict)
		d.Groups = exact(d.Groups)
		intern(each(d.Groups)...)
	}
	return list
}

func sharedConditions(list []metav1.Condition) []metav1.Condition {
	list = exact(list)
	for i := range list {
		c := &list[i]
		intern(&c.Type, &c.Reason, &c.Message)
		intern(&c.Status)
	}
	return list
}

// intern makes equal strings one.
func intern[S ~string](strings ...*S) {
	for _, s := range strings {
		if *s != "" {
			*s = S(unique.Make(string(*s)).Value())
		}
	}
}

func each[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// exact returns a slice without the spare capacity that a decoder leaves.
func exact[T any](items []T) []T {
	if cap(items) == len(items) {
		return items
	}
	return slices.Clone(items)
}

// share returns the value that is kept for a key if it equals this one, and
// otherwise keeps this one.
func share[T any](pool *map[string]T, key string, value T) T {
	if known, ok := (*pool)[key]; ok && reflect.DeepEqual(known, value) {
		return known
	}
	if *pool == nil || len(*pool) >= maxInterned {
		*pool = map[string]T{}
	}
	(*pool)[key] = value
	return value
}
