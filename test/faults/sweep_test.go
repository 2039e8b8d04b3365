package faults

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// exitFound is the exit status of a sweep that had something to remove.
const exitFound = 3

// sweep runs `access-broker sweep` as the broker.
func (c *cluster) sweep(t *testing.T) (code int, output string) {
	t.Helper()
	kubeconfig := c.BrokerKubeconfig(t, "sweep")
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.Root, "bin", "access-broker"), "--kubeconfig", kubeconfig, "sweep")
	cmd.Env = append(os.Environ(), "KUBECONFIG=")
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// The last net: while no broker runs, a sweep removes what is overdue and what
// nobody accounts for, and nothing else, and its exit status tells.
func TestSweep(t *testing.T) {
	c := take(t)
	broker := c.StartBroker(t, "broker")
	active := func(lasts time.Duration) (string, *v1alpha1.AccessGrant) {
		ns := c.NewNamespace(t, nil)
		c.NewPolicy(t, ns, automatic)
		request := c.Ask(t, c.alice, ns, lasting(lasts))
		c.WaitFor(t, request, v1alpha1.RequestActive)
		return ns, c.GrantOf(t, request)
	}
	staysNS, stays := active(time.Hour)
	orphanNS, orphan := active(time.Hour)
	forgedNS, forged := active(time.Hour)
	dueNS, due := active(3 * time.Second)
	broker.Kill()

	wantExit := func(want int, found ...*v1alpha1.AccessGrant) {
		t.Helper()
		code, output := c.sweep(t)
		if code != want {
			t.Errorf("the exit status is %d, want %d:\n%s", code, want, output)
		}
		for _, g := range found {
			if !strings.Contains(output, g.Name) {
				t.Errorf("it does not name %s:\n%s", g.Name, output)
			}
		}
		if got := strings.Count(output, "found overdue access"); got != len(found) {
			t.Errorf("it found %d bindings, want %d:\n%s", got, len(found), output)
		}
	}
	stranger := c.stranger(t, staysNS, stays.Name)
	forgotten := c.stranger(t, orphanNS, "nosuch")

	// Nothing is due.
	if !time.Now().Before(due.Spec.ExpirationTime.Time) {
		t.Log("too slow to see a sweep before the deadline")
	} else {
		wantExit(0)
	}
	kit.WaitPast(t, due.Spec.ExpirationTime.Time)
	wantExit(exitFound, due)
	if kit.Can(t, c.alice, dueNS) {
		t.Error("alice still has the access that was overdue")
	}
	wantExit(0)

	// Somebody with the broker's power deletes one grant without its binding
	// and writes that another has ended.
	loose := orphan.DeepCopy()
	controllerutil.RemoveFinalizer(loose, v1alpha1.FinalizerRevoke)
	if err := c.broker.Patch(t.Context(), loose, client.MergeFrom(orphan)); err != nil {
		t.Fatal(err)
	}
	if err := c.broker.Delete(t.Context(), loose, client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
		t.Fatal(err)
	}
	// The garbage collector learns of new kinds every half minute.
	c.WaitGoneWithin(t, 3*kit.Patience, orphan.DeepCopy())
	ended := forged.DeepCopy()
	ended.Status.Phase = v1alpha1.GrantEnded
	if err := c.broker.Status().Patch(t.Context(), ended, client.MergeFrom(forged)); err != nil {
		t.Fatal(err)
	}
	if !kit.Can(t, c.alice, orphanNS) || !kit.Can(t, c.alice, forgedNS) {
		t.Fatal("alice's access is gone already: the test shows nothing")
	}
	wantExit(exitFound, orphan, forged)
	if kit.Can(t, c.alice, orphanNS) || kit.Can(t, c.alice, forgedNS) {
		t.Error("alice still has access")
	}
	wantExit(0)

	if left := c.bindings(t, stays.Name); !kit.Can(t, c.alice, staysNS) || len(left) != 2 {
		t.Errorf("the access that was not due was touched: %v", left)
	}
	for _, b := range []*rbacv1.RoleBinding{stranger, forgotten} {
		if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
			t.Errorf("a stranger's binding was touched: %v", err)
		}
	}
}

// Copies of a grant's binding, as tools that propagate or restore make them, are
// told and left alone. What they can be told from by their marks is marked.
func TestSweepTellsOfCopies(t *testing.T) {
	c := take(t)
	c.StartBroker(t, "broker")
	// Two grants that allow the same are no copies of each other, and a copy is
	// of the later one.
	_, _, other, _ := c.given(t, time.Hour)
	kit.Eventually(t, "a later second", func(context.Context) (bool, error) {
		return time.Since(other.Spec.NotBefore.Time) > time.Second, nil
	})
	ns, _, g, _ := c.given(t, time.Hour)
	ours := c.bindings(t, g.Name)[0]
	if ours.Labels["velero.io/exclude-from-backup"] != "true" || ours.Annotations["propagate.hnc.x-k8s.io/none"] != "true" {
		t.Errorf("the binding is not marked for tools that copy: %v %v", ours.Labels, ours.Annotations)
	}
	before := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "another"},
		RoleRef:    ours.RoleRef, Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "dave"}},
	}
	copied := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: c.NewNamespace(t, nil), Name: g.Name}, RoleRef: ours.RoleRef, Subjects: ours.Subjects}
	renamed := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "restored"}, RoleRef: ours.RoleRef, Subjects: ours.Subjects}
	for _, b := range []*rbacv1.RoleBinding{before, copied, renamed} {
		kit.Create(t, c.Admin, b)
	}
	for range 2 { // and tells of it once
		code, output := c.sweep(t)
		if code != 0 || strings.Count(output, "looks like a copy of grant "+g.Name) != 2 || strings.Contains(output, "RoleBinding "+ns+"/"+g.Name) ||
			!strings.Contains(output, copied.Namespace+"/"+copied.Name) || !strings.Contains(output, ns+"/restored") {
			t.Errorf("the sweep ends with %d:\n%s", code, output)
		}
	}
	events := &eventsv1.EventList{}
	if err := c.Admin.List(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, event := range events.Items {
		if event.Regarding.UID == g.UID && event.Reason == "CopyFound" {
			told++
		}
	}
	if told != 2 {
		t.Errorf("%d Events tell of two copies", told)
	}
	for _, b := range []*rbacv1.RoleBinding{before, copied, renamed} {
		if err := c.Admin.Get(t.Context(), client.ObjectKeyFromObject(b), b); err != nil {
			t.Errorf("it was touched: %v", err)
		}
	}
}

// A role that was written for a grant goes with its binding, and also after it:
// somebody may have deleted the binding alone.
func TestSweepTakesRoles(t *testing.T) {
	c := take(t)
	c.allowRules(t)
	broker := c.StartBroker(t, "broker")
	active := func() (string, *v1alpha1.AccessGrant) {
		ns := c.NewNamespace(t, nil)
		c.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { automatic(s); s.Roles, s.Rules = nil, deletePods })
		request := c.Ask(t, c.alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			lasting(3 * time.Second)(s)
			s.RoleRef, s.Rules = nil, deletePods
		})
		c.WaitFor(t, request, v1alpha1.RequestActive)
		return ns, c.GrantOf(t, request)
	}
	wholeNS, whole := active()
	roleNS, role := active()
	broker.Kill()
	kit.Delete(t, c.Admin, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: roleNS, Name: role.Name}})
	kit.WaitPast(t, role.Spec.ExpirationTime.Time)

	code, output := c.sweep(t)
	if code != exitFound {
		t.Errorf("the exit status is %d, want %d:\n%s", code, exitFound, output)
	}
	for _, want := range []string{"RoleBinding " + wholeNS + "/" + whole.Name, "Role " + wholeNS + "/" + whole.Name, "Role " + roleNS + "/" + role.Name} {
		if !strings.Contains(output, `"`+want+`"`) {
			t.Errorf("it does not tell of %s:\n%s", want, output)
		}
	}
	if kit.Can(t, c.alice, wholeNS) || kit.Can(t, c.alice, roleNS) {
		t.Error("alice still has access")
	}
	left := &rbacv1.RoleList{}
	if err := c.Admin.List(t.Context(), left, client.HasLabels{v1alpha1.LabelGrant}); err != nil || len(left.Items) != 0 {
		t.Errorf("left are %v, %v", left.Items, err)
	}
	if code, output := c.sweep(t); code != 0 {
		t.Errorf("after that it ends with %d:\n%s", code, output)
	}
}

// stranger is a binding that is not the broker's and yet carries the label of a
// grant, as one may that is older than the admission policies.
func (c *cluster) stranger(t *testing.T, ns, grant string) *rbacv1.RoleBinding {
	t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "old-friends", Labels: map[string]string{v1alpha1.LabelGrant: grant}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "carol"}},
	}
	c.CreateAsBefore(t, binding)
	return binding
}
