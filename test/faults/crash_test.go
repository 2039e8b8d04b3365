package faults

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The broker is killed after each single write of a life, before it hears that
// the write was made, and started again. The life goes on where it was.
func TestKilledAfterEachWrite(t *testing.T) {
	c := take(t)
	p := c.newProxy(t)
	broker := c.startBehind(t, p)
	writes := 0
	for done := false; !done; {
		ok := t.Run(fmt.Sprintf("write %d", writes+1), func(t *testing.T) {
			life := &life{cluster: c, broker: broker, killAt: int64(writes + 1), killed: make(chan struct{})}
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
	// Request matched, grant, two bindings, grant Active, request Active; two
	// removals, grant Ended, request Completed.
	t.Logf("a life in two namespaces has %d writes", writes)
	if writes < 10 {
		t.Errorf("a life has %d writes: some were not counted", writes)
	}
}

// life is one life of a request, in the course of which the broker is killed.
type life struct {
	*cluster
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
	l.NewPolicy(t, one, func(s *v1alpha1.AccessPolicySpec) { s.Namespaces.Names = []string{one, two} })
	request := l.Ask(t, l.alice, one, func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{Namespaces: []string{one, two}}
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

	l.Approved(t, l.bob, request)
	g := l.GrantOf(t, request)
	held := l.bindings(t, g.Name)
	if !kit.Can(t, l.alice, one) || !kit.Can(t, l.alice, two) || len(held) != 2 || !recorded(g, held) {
		t.Errorf("Active, but the bindings are %v, recorded %v", held, g.Status.Bindings)
	}
	kit.MustDecide(t, l.alice, request, v1alpha1.VerdictRelease)
	l.WaitFor(t, request, v1alpha1.RequestCompleted)
	ended := l.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	if kit.Can(t, l.alice, one) || kit.Can(t, l.alice, two) || len(l.bindings(t, g.Name)) != 0 {
		t.Error("alice still has access")
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

// inventory looks at what a dead broker left: one grant at most, whose
// deadline is the asked-for time after its beginning, and no binding that it
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
	for _, ns := range namespaces {
		bindings := &rbacv1.RoleBindingList{}
		if err := l.Admin.List(ctx, bindings, client.InNamespace(ns)); err != nil {
			return nil, err
		}
		for _, b := range bindings.Items {
			if found == nil || len(b.OwnerReferences) != 1 || b.OwnerReferences[0].UID != found.UID {
				return nil, fmt.Errorf("a binding that no grant accounts for: %+v", b.ObjectMeta)
			}
		}
	}
	return found, nil
}

// recorded tells whether the status of a grant pins exactly these bindings.
func recorded(g *v1alpha1.AccessGrant, bindings []rbacv1.RoleBinding) bool {
	uids := map[types.UID]bool{}
	for _, ref := range g.Status.Bindings {
		uids[ref.UID] = true
	}
	for _, b := range bindings {
		if !uids[b.UID] {
			return false
		}
	}
	return len(uids) == len(bindings)
}
