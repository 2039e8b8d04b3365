package notify

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/notify"
	"github.com/accessbroker/accessbroker/test/kit"
)

func automatic(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](0) }

func because(reason string) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) { s.Reason = reason }
}

// A sink is down, the broker dies, and comes back: the sink hears of all that
// happened, from what is stored. A broker that stops in order says nothing twice.
func TestNothingIsLostOverRestarts(t *testing.T) {
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)

	outage.down.Store(true)
	request := e.Ask(t, alice, ns, nil)
	e.Approved(t, bob, request)
	g := e.GrantOf(t, request)
	broker.Kill()
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	kit.WaitPast(t, g.Status.GrantedTime.Add(2*time.Second)) // so that it is before the next start, in whole seconds
	kit.Restart(t, broker)
	e.WaitEnded(t, g.Name, v1alpha1.EndReleased)
	outage.down.Store(false)
	life := []string{"request.pending", "request.approved", "request.active", "request.completed"}
	outage.wait(t, request.UID, life...)
	outage.wait(t, g.UID, "grant.active", "grant.ended")
	// The others may have heard twice of what came just before the death.
	all.waitFor(t, g.UID, "grant.ended")
	all.waitFor(t, request.UID, "request.completed")

	broker.Stop()
	before := all.ids()
	kit.Restart(t, broker)
	// What is stored is looked at before what is new.
	next := e.Ask(t, alice, ns, nil)
	all.wait(t, next.UID, "request.pending")
	for id, times := range all.ids() {
		if before[id] != 0 && times > before[id] {
			t.Errorf("%s was told again after a restart in order", id)
		}
	}

	cursor := &corev1.ConfigMap{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: lab.BrokerNamespace, Name: notify.CursorName}, cursor); err != nil {
		t.Fatal(err)
	}
	if len(cursor.Data) != 6 {
		t.Errorf("cursors of %d sinks, want 6: %v", len(cursor.Data), cursor.Data)
	}
	log, err := os.ReadFile(e.Log("broker"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), password) || strings.Contains(string(log), key) {
		t.Error("the log shows a secret")
	}
	if !strings.Contains(string(log), "not delivered, will be tried again") {
		t.Error("the log does not tell that a sink is down")
	}
}

// One life, told whole and in order, each transition once, signed.
func TestEachTransitionOnce(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	active := e.Approved(t, bob, request)
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndReleased)
	g := e.GrantOf(t, request)

	events := all.wait(t, request.UID, "request.pending", "request.approved", "request.active", "request.completed")
	ofGrant := all.wait(t, g.UID, "grant.active", "grant.ended")
	for _, r := range slices.Concat(events, ofGrant) {
		if err := verify(r, key, time.Now()); err != nil {
			t.Errorf("%s: %v", r.event.ID(), err)
		}
		if verify(r, "another key", time.Now()) == nil {
			t.Error("any key verifies")
		}
		if r.event.Source() != source {
			t.Errorf("source %q", r.event.Source())
		}
		d := r.data
		if d.Requester != "alice" || d.Subjects != "alice" || d.Role != "ClusterRole/edit" || d.Scope != ns || d.Reason != request.Spec.Reason || d.Request.UID != string(request.UID) {
			t.Errorf("%s: %+v", r.event.ID(), d)
		}
	}
	if d := events[0].data; !slices.Equal(d.Approvers, []string{"group:sre"}) || *d.RequiredApprovals != 1 || len(d.Risks) == 0 || d.Grant != "" {
		t.Errorf("whoever is told of this cannot decide: %+v", d)
	}
	ended := ofGrant[1]
	if d := ended.data; d.EndReason != "Released" || d.EndedBy != "alice" || d.Grant != g.Name || !d.ExpirationTime.Equal(&g.Spec.ExpirationTime) || d.Decisions[0].Username != "bob" {
		t.Errorf("%+v", d)
	}
	if !ended.event.Time().Equal(g.Status.EndedTime.Time) || ended.event.Subject() != "accessgrants/"+g.Name {
		t.Errorf("%v", ended.event)
	}
	// A sink with a filter gets what it asked for.
	ends.wait(t, g.UID, "grant.ended")
	if got := ends.of(request.UID); len(got) != 0 {
		t.Errorf("a sink that asked for grants got %v", got)
	}
}

// A sink that fails gets the same event again, under the same id.
func TestFailuresAreTriedAgain(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, because("flaky"))
	e.WaitMatched(t, request)
	kit.MustDecide(t, bob, request, v1alpha1.VerdictDeny)
	for _, r := range flaky.wait(t, request.UID, "request.pending", "request.denied") {
		flaky.mu.Lock()
		if tries := flaky.tries[r.event.ID()]; tries != 3 {
			t.Errorf("%s: %d tries, want 3", r.event.ID(), tries)
		}
		flaky.mu.Unlock()
	}
}

// The message in the chat says all that an approver needs, and what it tells
// them to type works as it stands.
func TestChat(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, because("a & b <!channel>"))
	text := chat.waitText(t, "*alice* asks for *ClusterRole/edit* in *"+ns+"*", "> a &amp; b &lt;!channel&gt;\n", "risk: ", "needs 1 of group:sre (sre)")

	_, command, _ := strings.Cut(text, "```")
	command, _, _ = strings.Cut(command, "```")
	config, err := e.User("bob", "sre")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig("bob", config)
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", command)
	shell.Env = e.Kubectl(kubeconfig).Env
	if out, err := shell.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	e.WaitFor(t, request, v1alpha1.RequestActive)
	chat.waitText(t, "*Access given*: alice has ClusterRole/edit in "+ns+" until ")
}

// A sink that never answers delays neither the end of an access nor what the
// other sinks are told.
func TestHangingSinkDelaysNothing(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 10 * time.Second} })
	e.WaitFor(t, request, v1alpha1.RequestActive)
	g := e.GrantOf(t, request)
	kit.Eventually(t, "a sink to hang", func(context.Context) (bool, error) { return hangs.hung.Load() > 0, nil })
	kit.WaitPast(t, g.Spec.ExpirationTime.Add(time.Second))
	if kit.Can(t, alice, ns) {
		t.Error("alice has access a second after its deadline")
	}
	e.WaitEnded(t, g.Name, v1alpha1.EndExpired)
	all.wait(t, g.UID, "grant.active", "grant.expiring", "grant.ended")
}

// Who may read Events reads each transition, on the request and on the grant.
func TestEvents(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	request := e.Ask(t, alice, ns, nil)
	e.Approved(t, bob, request)
	kit.MustDecide(t, alice, request, v1alpha1.VerdictRelease)
	e.WaitFor(t, request, v1alpha1.RequestCompleted)
	g := e.GrantOf(t, request)

	// Somebody should look into these.
	refused := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "nosuch" })
	e.WaitFor(t, refused, v1alpha1.RequestFailed)
	touched := e.Ask(t, alice, ns, nil)
	e.Approved(t, bob, touched)
	taken := e.GrantOf(t, touched)
	kit.Delete(t, e.Admin, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: taken.Name}})
	e.WaitFor(t, touched, v1alpha1.RequestRevoked)

	for _, regarding := range []struct {
		kind   string
		object client.Object
		in     string // cluster-wide objects have theirs in default
		want   []string
	}{
		{"AccessRequest", request, ns, []string{"Normal Active", "Normal Completed", "Normal Pending"}},
		{"AccessGrant", g, metav1.NamespaceDefault, []string{"Normal Active", "Normal Ended"}},
		{"AccessRequest", refused, ns, []string{"Warning Failed"}},
		{"AccessRequest", touched, ns, []string{"Normal Active", "Normal Pending", "Warning Revoked"}},
		{"AccessGrant", taken, metav1.NamespaceDefault, []string{"Normal Active", "Warning Ended"}},
	} {
		var got []string
		err := lab.Until(t.Context(), kit.Patience, func(ctx context.Context) (bool, error) {
			list := &eventsv1.EventList{}
			if err := audrey.List(ctx, list, client.InNamespace(regarding.in)); err != nil {
				return false, err
			}
			got = nil
			for _, event := range list.Items {
				if event.Regarding.UID == regarding.object.GetUID() && event.Regarding.Kind == regarding.kind && event.Note != "" {
					got = append(got, event.Type+" "+event.Reason)
				}
			}
			slices.Sort(got)
			return slices.Equal(got, regarding.want), nil
		})
		if err != nil {
			t.Errorf("%s: got %v, want %v: %v", regarding.kind, got, regarding.want, err)
		}
	}
}

// A configuration that is wrong is refused at the start, with what is wrong.
func TestWrongConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(`sinks: [{name: a, url: "ftp://user:`+password+`@host"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	refused, err := e.Broker(t.Context(), "refused", "--notification-config="+path)
	if err != nil {
		t.Fatal(err)
	}
	if err := refused.Start(t.Context()); err == nil {
		refused.Stop()
		t.Fatal("it started")
	}
	if log := refused.LogTail(); !strings.Contains(log, `sink "a": url must be an http or https URL with a host`) || strings.Contains(log, password) {
		t.Error(log)
	}
}
