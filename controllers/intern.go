package controllers

import (
	"reflect"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// maxInterned bounds how many different roles are shared at a time.
const maxInterned = 1024

// interner lets the objects in the cache share what they have in common. Ten
// thousand grants of the role edit carry the same rules, which are the most of
// each of them; the cache hands out copies, so nobody writes to what is shared.
type interner struct {
	mu    sync.Mutex
	lines map[string][]string
	rules map[string][]v1alpha1.PolicyRule
	risks map[string][]v1alpha1.Risk
}

// transform is what the cache stores instead of what it was sent.
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
			object.Status.Rules = share(&in.lines, object.Status.RulesHash, object.Status.Rules)
			object.Status.Risks = share(&in.risks, object.Status.RulesHash, object.Status.Risks)
		case *v1alpha1.AccessGrant:
			object.Spec.Rules = share(&in.rules, object.Spec.RulesHash, object.Spec.Rules)
		}
		return o, nil
	}
}

// share returns the one value that is kept for a hash, if it is the same.
func share[T any](pool *map[string][]T, hash string, value []T) []T {
	if len(value) == 0 {
		return value
	}
	if known, ok := (*pool)[hash]; ok && reflect.DeepEqual(known, value) {
		return known
	}
	if *pool == nil || len(*pool) >= maxInterned {
		*pool = map[string][]T{}
	}
	(*pool)[hash] = value
	return value
}
