package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The broker is killed after each single write of a life, before it hears that
// the write was made, and started again. The life goes on where it was.
func TestKilledAfterEachWrite(t *testing.T) {
	for name, kind := range map[string]lifeKind{
		// Request matched, grant, two bindings, grant Active, request Active; two
		// removals, grant Ended, request Completed.
		"a role": {writes: 10},
		// And two Roles, made and removed.
		"rules": {
			writes: 14,
			policy: func(s *v1alpha1.AccessPolicySpec) { s.Roles, s.Rules = nil, deletePods },
			asks:   func(s *v1alpha1.AccessRequestSpec) { s.RoleRef, s.Rules = nil, deletePods },
		},
		// A ClusterRole and its binding.
		"rules in the whole cluster": {
			writes: 10,
			policy: func(s *v1alpha1.AccessPolicySpec) {
				s.Roles, s.Rules, s.Namespaces, s.ClusterScope = nil, deletePods, nil, v1alpha1.ClusterScopeAllowed
			},
			asks: func(s *v1alpha1.AccessRequestSpec) {
				s.RoleRef, s.Rules, s.Scope = nil, deletePods, &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
			},
		},
		// And a ServiceAccount, made and removed, and its token.
		"a role, with a credential": {writes: 13, policy: kit.Issues, issued: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := take(t)
			c.allowRules(t)
			p := c.newProxy(t)
			broker := c.startBehind(t, p)
			writes := 0
			for done := false; !done; {
				ok := t.Run(fmt.Sprintf("write %d", writes+1), func(t *testing.T) {
					life := &life{cluster: c, kind: kind, broker: broker, killAt: int64(writes + 1), killed: make(chan struct{})}
					p.set(life.fault)
					life.play(t)
					done = life.seen.Load() < life.killAt
				})
				if !ok {
					return
				}
				if !done {
					writes++
				}
			}
			t.Logf("a life has %d writes", writes)
			if writes < kind.writes {
				t.Errorf("a life has %d writes: some were not counted", writes)
			}
		})
	}
}

// lifeKind is what a grant is of: each kind has other objects.
type lifeKind struct {
	// writes that a life has at the least.
	writes int
	policy func(*v1alpha1.AccessPolicySpec)
	asks   func(*v1alpha1.AccessRequestSpec)
	issued bool
}

var deletePods = []v1alpha1.PolicyRule{{Verbs: []string{"delete"}, APIGroups: []string{""}, Resources: []string{"pods"}}}

// life is one life of a request, in the course of which the broker is killed.
type life struct {
	*cluster
	kind   lifeKind
	broker *lab.Process
	killAt int64
	seen   atomic.Int64
	killed chan struct{}
}

// fault passes everything on, but not the answer to the write at which the
// broker is killed.
func (l *life) fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !changes(r) {
		next.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, r)
	if answer.Code < 300 && l.seen.Add(1) == l.killAt {
		l.broker.Kill()
		close(l.killed)
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = answer.Body.WriteTo(w)
}

func (l *life) play(t *testing.T) {
	one, two := l.NewNamespace(t, nil), l.NewNamespace(t, nil)
	l.NewPolicy(t, one, func(s *v1alpha1.AccessPolicySpec) {
		s.Namespaces.Names = []string{one, two}
		if l.kind.policy != nil {
			l.kind.policy(s)
		}
	})
	key := kit.NewKey(t)
	request := l.Ask(t, l.alice, one, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{Namespaces: []string{one, two}}
		if l.kind.asks != nil {
			l.kind.asks(s)
		}
		if l.kind.issued {
			s.CredentialKey = key.Public()
		}
	})
	restarted := make(chan *v1alpha1.AccessGrant, 1)
	go func() {
		select {
		case <-l.killed:
		case <-t.Context().Done():
			return
		}
		found, err := l.inventory(t.Context(), request, one, two)
		if err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), kit.Patience)
		defer cancel()
		if err := l.broker.Start(ctx); err != nil {
			t.Error(err)
		}
		restarted <- found
	}()

	holders := l.holders(t, l.Approved(t, l.bob, request), key)
	g := l.GrantOf(t, request)
	for _, holder := range holders {
		if !l.can(t, holder, one) || !l.can(t, holder, two) {
			t.Error("Active, but there is no access")
		}
	}
	if l.kind.issued && (l.can(t, l.alice, one) || l.can(t, l.alice, two)) {
		t.Error("alice has the access of the credential herself")
	}
	bindings := 0
	for _, of := range grant.Bindings(g) {
		if of.Kind == grant.RoleBindingKind {
			bindings++
		}
	}
	if held := l.bindings(t, g.Name); len(held) != bindings {
		t.Errorf("Active, but the bindings are %v", held)
	}
	if err := l.recorded(t.Context(), g); err != nil {
		t.Error(err)
	}
	kit.MustDecide(t, l.alice, request, v1alpha1.VerdictRelease)
	l.WaitFor(t, request, v1alpha1.RequestCompleted)
	ended := l.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	for _, holder := range append(holders, l.alice) {
		if l.can(t, holder, one) || l.can(t, holder, two) {
			t.Error("there is still access")
		}
	}
	if left := l.bindings(t, g.Name); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	for _, of := range grant.Objects(g) {
		if there, err := l.object(t.Context(), of); !apierrors.IsNotFound(err) {
			t.Errorf("left is %s %s/%s: %v", of.Kind, there.Namespace, there.Name, err)
		}
	}
	if l.seen.Load() < l.killAt {
		return
	}
	before := <-restarted
	if before != nil && (before.UID != ended.UID || !before.Spec.ExpirationTime.Equal(&ended.Spec.ExpirationTime)) {
		t.Errorf("the grant was recreated: %s until %s, before %s until %s", ended.UID, ended.Spec.ExpirationTime, before.UID, before.Spec.ExpirationTime)
	}
	if _, err := l.inventory(t.Context(), request, one, two); err != nil {
		t.Error(err)
	}
}

// holders have the access of a request: alice, or who has opened its credential. When
// the broker was killed it may issue another one, and in the end grant and request have
// the same; the first is good as well.
func (l *life) holders(t *testing.T, active *v1alpha1.AccessRequest, key *credential.Key) []client.Client {
	t.Helper()
	if !l.kind.issued {
		return []client.Client{l.alice}
	}
	first := kit.Open(t, key, active)
	last := l.WaitUntil(t, active, "the credential of the grant", func(r *v1alpha1.AccessRequest) bool {
		return equality.Semantic.DeepEqual(r.Status.Credential, l.GrantOf(t, active).Status.Credential)
	})
	return []client.Client{l.WithToken(t, first), l.WithToken(t, kit.Open(t, key, last))}
}

// can tells whether somebody may delete Pods; who is not known any more may not.
func (l *life) can(t *testing.T, who client.Client, ns string) bool {
	t.Helper()
	can, err := lab.Can(t.Context(), who, authorizationv1.ResourceAttributes{Namespace: ns, Verb: "delete", Resource: "pods"})
	if err != nil && !apierrors.IsUnauthorized(err) {
		t.Fatal(err)
	}
	return can
}

// inventory looks at what a dead broker left: one grant at most, whose
// deadline is the asked-for time after its beginning, and no object that it
// does not own. It returns the grant.
func (l *life) inventory(ctx context.Context, request *v1alpha1.AccessRequest, namespaces ...string) (found *v1alpha1.AccessGrant, err error) {
	list := &v1alpha1.AccessGrantList{}
	if err := l.Admin.List(ctx, list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		g := &list.Items[i]
		if g.Spec.RequestRef.UID != request.UID {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("two grants for one request: %s and %s", found.Name, g.Name)
		}
		found = g
		if lasts := g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time); lasts != time.Hour {
			return nil, fmt.Errorf("the grant lasts %s", lasts)
		}
	}
	look := func(kind, namespace string) error {
		of := &metav1.PartialObjectMetadataList{}
		of.SetGroupVersionKind(groupVersion(kind).WithKind(kind + "List"))
		if err := l.Admin.List(ctx, of, client.InNamespace(namespace)); err != nil {
			return err
		}
		for _, o := range of.Items {
			if kind == grant.ServiceAccountKind && o.Name == "default" { // every namespace has one
				continue
			}
			if found == nil || len(o.OwnerReferences) != 1 || o.OwnerReferences[0].UID != found.UID {
				return fmt.Errorf("a %s that no grant accounts for: %+v", kind, o.ObjectMeta)
			}
		}
		return nil
	}
	err = look(grant.ServiceAccountKind, v1alpha1.GrantsNamespace)
	for _, ns := range namespaces {
		err = errors.Join(err, look(grant.RoleBindingKind, ns), look(grant.RoleKind, ns))
	}
	return found, err
}

// recorded errs unless the status of a grant pins exactly the objects that there are.
func (l *life) recorded(ctx context.Context, g *v1alpha1.AccessGrant) error {
	wanted := grant.Objects(g)
	for _, of := range wanted {
		there, err := l.object(ctx, of)
		if err != nil {
			return err
		}
		if !slices.Contains(g.Status.Bindings, of.Ref(there.UID)) {
			return fmt.Errorf("%s %s is not on record as it is: %+v", of.Kind, there.UID, g.Status.Bindings)
		}
	}
	if len(g.Status.Bindings) != len(wanted) {
		return fmt.Errorf("%d objects are on record: %+v", len(g.Status.Bindings), g.Status.Bindings)
	}
	return nil
}

// object is what there is of one that a grant wants.
func (l *life) object(ctx context.Context, of grant.Object) (*metav1.PartialObjectMetadata, error) {
	there := &metav1.PartialObjectMetadata{}
	there.SetGroupVersionKind(groupVersion(of.Kind).WithKind(of.Kind))
	err := l.Admin.Get(ctx, client.ObjectKey{Namespace: of.Namespace, Name: of.Name}, there)
	return there, err
}

func groupVersion(kind string) schema.GroupVersion {
	if kind == grant.ServiceAccountKind {
		return corev1.SchemeGroupVersion
	}
	return rbacv1.SchemeGroupVersion
}
