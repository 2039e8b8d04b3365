package faults

import (
	"net/http"
	"path"
	"sync"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// The first list of grants and the first of requests are never answered. The
// broker, which is blind without them, gives them up and asks again.
func TestListThatIsNeverAnswered(t *testing.T) {
	c := take(t)
	p := c.newProxy(t)
	var mu sync.Mutex
	hung := map[string]bool{"accessrequests": false, "accessgrants": false}
	p.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		resource := path.Base(r.URL.Path)
		before, known := hung[resource]
		hangs := known && !before && r.Method == http.MethodGet && r.URL.Query().Get("watch") != "true"
		if hangs {
			hung[resource] = true
		}
		mu.Unlock()
		if hangs {
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
	c.startBehind(t, p)
	p.set(nil)
	mu.Lock()
	defer mu.Unlock()
	for resource, was := range hung {
		if !was {
			t.Errorf("no list of %s hung: nothing was tried", resource)
		}
	}
	ns := c.NewNamespace(t, nil)
	c.NewPolicy(t, ns, automatic)
	c.WaitFor(t, c.Ask(t, c.alice, ns, nil), v1alpha1.RequestActive)
}
