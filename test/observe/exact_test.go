package observe

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// An observer that is killed again and again counts every call, and none twice.
// It runs before the others: what they see of a window begins with the observer's
// last start, unless that of before has written it.
func TestKilledObserver(t *testing.T) {
	alice := held(t, nil)
	made := alice.busy(t, func() {
		for n := range 6 {
			pause(t, observer, time.Duration(200+rand.IntN(900))*time.Millisecond)
			if n%2 == 0 {
				observer.Kill()
			} else {
				observer.Stop()
			}
			must(t, observer.Start(t.Context()))
		}
	})
	u := usageWhen(t, alice.grant, fmt.Sprintf("%d calls", made), calls(made))
	u = alice.afterAll(t, u)
	if u.Status.Calls != made || u.Status.Gaps != 0 {
		t.Errorf("%d calls were made, %d counted; %d gaps", made, u.Status.Calls, u.Status.Gaps)
	}
}

// What comes by two ways counts once.
func TestTwoWays(t *testing.T) {
	t.Parallel()
	second, err := e.NewObserver(t.Context(), "second", e.ObserveLog("second")...)
	must(t, err)
	must(t, second.Start(t.Context()))
	t.Cleanup(second.Stop)
	alice := held(t, nil)
	made := alice.busy(t, func() { pause(t, second, 2*time.Second) })
	u := usageWhen(t, alice.grant, fmt.Sprintf("%d calls", made), calls(made))
	u = alice.afterAll(t, u)
	if u.Status.Calls != made || len(u.Status.Streams) != 2 {
		t.Errorf("%d calls were made, %d counted; %+v", made, u.Status.Calls, u.Status.Streams)
	}
}

// busy calls the API server while something happens, and returns how often.
func (a access) busy(t *testing.T, meanwhile func()) (made int64) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		for n := int64(0); ; {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			if err := a.Get(context.Background(), client.ObjectKey{Namespace: a.ns, Name: "none"}, &corev1.ConfigMap{}); apierrors.IsNotFound(err) {
				n++
			}
		}
	}()
	meanwhile()
	close(stop)
	return <-done
}

// afterAll waits until every stream has told all that there was, by one more call
// than those that are in a usage.
func (a access) afterAll(t *testing.T, before *v1alpha1.AccessUsage) *v1alpha1.AccessUsage {
	t.Helper()
	seen := *before.Status.LastCall
	kit.Eventually(t, "a later second", func(context.Context) (bool, error) { return time.Since(seen.Time) > 2*time.Second, nil })
	must(t, a.List(t.Context(), &corev1.PodList{}, client.InNamespace(a.ns)))
	u := usageWhen(t, a.grant, "every stream after it", func(s *v1alpha1.AccessUsageStatus) bool {
		return s.LastCall.After(seen.Time) && !slices.ContainsFunc(s.Streams, func(st v1alpha1.UsageStream) bool { return st.Until.Before(&seen) })
	})
	u.Status.Calls--
	return u
}

// pause waits for a time, or for the end of a process.
func pause(t *testing.T, p *lab.Process, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d): // a kill comes at any moment
	case <-p.Exited():
		t.Fatalf("%s ended: %s", p.Name(), p.LogTail())
	}
}

// Where several grants cover a call, or other access does, none is said to have been
// used alone.
func TestSharedCalls(t *testing.T) {
	t.Parallel()
	alice := held(t, nil)
	ns, first := alice.ns, alice.grant
	list := func() { must(t, alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns))) }
	list()
	usageWhen(t, first, "a call", calls(1))
	second := granted(t, alice, ns, nil)
	for range 4 {
		list()
	}
	one := usageWhen(t, first, "all calls", calls(5))
	two := usageWhen(t, second, "the shared calls", calls(4))
	if one.Status.SharedCalls != 4 || two.Status.SharedCalls != 4 || two.Status.Calls != 4 {
		t.Errorf("first: %d calls, %d shared; second: %d, %d", one.Status.Calls, one.Status.SharedCalls, two.Status.Calls, two.Status.SharedCalls)
	}
}

// A standing binding that the authorizer names does not hide that a grant covers the
// call.
func TestStandingBinding(t *testing.T) {
	t.Parallel()
	carol := held(t, nil)
	ns, grant := carol.ns, carol.grant
	kit.Create(t, e.Admin, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: carol.user}},
	})
	kit.Eventually(t, "the standing binding to be in force", func(ctx context.Context) (bool, error) {
		return true, carol.List(ctx, &corev1.PodList{})
	})
	before := usageWhen(t, grant, "what it covers of the cluster", func(*v1alpha1.AccessUsageStatus) bool { return true }).Status.Calls
	must(t, carol.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)))
	must(t, carol.Create(t.Context(), pod(ns, "mine")))
	u := usageWhen(t, grant, "both calls", calls(2))
	if before != 0 || u.Status.Calls != 2 || u.Status.SharedCalls != 1 {
		t.Errorf("%d calls, %d shared", u.Status.Calls, u.Status.SharedCalls)
	}
}

// A caller chooses headers. They hide no call and forge none.
func TestHostileCallers(t *testing.T) {
	t.Parallel()
	alice := held(t, nil)
	ns, grant := alice.ns, alice.grant
	other := granted(t, dave, ns, nil)
	config, err := e.User(alice.user, "dev")
	must(t, err)
	forged := fmt.Sprintf(`{"kind":"Event","auditID":"x","user":{"username":"dave"}} RBAC: allowed by RoleBinding "%s/%s" of ClusterRole "edit"`, other, ns)
	for i, headers := range []map[string]string{
		{"Audit-ID": "same"},
		{"Audit-ID": "same"},
		{"Audit-ID": "same"},
		{"User-Agent": forged},
		{"X-Forwarded-For": strings.Repeat("203.0.113.9, ", 5000) + "203.0.113.9"},
		{"User-Agent": strings.Repeat("x", 500_000)},
		{"Audit-ID": forged},
		{"X-Forwarded-For": "198.51.100.1"},
	} {
		config := rest.CopyConfig(config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				for name, value := range headers {
					r.Header.Set(name, value)
				}
				return next.RoundTrip(r)
			})
		})
		c, err := e.NewClient(config)
		must(t, err)
		if err := c.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)); err != nil {
			t.Fatalf("call %d with %v: %v", i, slices.Sorted(maps.Keys(headers)), err)
		}
	}
	u := usageWhen(t, grant, "all calls", calls(8))
	if u.Status.Calls != 8 || u.Status.Streams[0].Lost != 0 {
		t.Errorf("%d calls, %+v", u.Status.Calls, u.Status.Streams)
	}
	for _, c := range u.Status.Callers {
		if c.Address != "127.0.0.1" || c.User != alice.user || len(c.UserAgent) > 256 {
			t.Errorf("called by %+v", c)
		}
	}
	if s := usageWhen(t, other, "the usage of the other", func(*v1alpha1.AccessUsageStatus) bool { return true }).Status; s.Calls != 0 {
		t.Errorf("the other's: %+v", s)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A watch is a call from its beginning, and a session until its end.
func TestSessions(t *testing.T) {
	t.Parallel()
	alice := held(t, nil)
	ns, grant := alice.ns, alice.grant
	config, err := e.User(alice.user, "dev")
	must(t, err)
	watcher, err := lab.NewClient(config)
	must(t, err)
	watch, err := watcher.Watch(t.Context(), &corev1.PodList{}, client.InNamespace(ns))
	must(t, err)
	u := usageWhen(t, grant, "the session", func(s *v1alpha1.AccessUsageStatus) bool { return len(s.Sessions) == 1 })
	if s := u.Status.Sessions[0]; s.Kind != "watch" || s.Resource != "pods" || s.Namespace != ns || s.User != alice.user || u.Status.Calls != 1 {
		t.Errorf("%d calls, %+v", u.Status.Calls, s)
	}
	watch.Stop()
	u = usageWhen(t, grant, "its end", func(s *v1alpha1.AccessUsageStatus) bool { return len(s.Sessions) == 0 })
	if u.Status.Calls != 1 || len(u.Status.ClosedSessions) != 1 {
		t.Errorf("%d calls, closed %+v", u.Status.Calls, u.Status.ClosedSessions)
	}
}

// What a policy calls suspicious is told at once.
func TestSuspiciousUse(t *testing.T) {
	t.Parallel()
	alice := held(t, func(s *v1alpha1.AccessPolicySpec) {
		s.Suspicious = []v1alpha1.SuspiciousUse{
			{Name: "secrets", Expression: `event.resource == "secrets" && event.verb == "list"`, Message: "nobody lists Secrets", Action: v1alpha1.SuspiciousReport},
			{Name: "burst", Expression: `usage.refusedLately >= 3`, Action: v1alpha1.SuspiciousReport},
			{Name: "never", Expression: `event.object.spec.hostNetwork`, Action: v1alpha1.SuspiciousRevoke},
		}
	})
	ns, grant := alice.ns, alice.grant
	must(t, alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)))
	must(t, alice.List(t.Context(), &corev1.SecretList{}, client.InNamespace(ns)))
	for range 4 {
		_ = alice.List(t.Context(), &corev1.NodeList{})
	}
	u := usageWhen(t, grant, "both findings", func(s *v1alpha1.AccessUsageStatus) bool { return len(s.Suspicious) == 2 })
	if f := u.Status.Suspicious[0]; f.Name != "secrets" || f.Times != 1 || !strings.Contains(f.Message, "nobody lists Secrets ("+alice.user+": list secrets in "+ns) {
		t.Errorf("found %+v", f)
	}
	if f := u.Status.Suspicious[1]; f.Name != "burst" || f.Times != 1 {
		t.Errorf("found %+v", f)
	}
}
