package accessclient_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
	"github.com/accessbroker/accessbroker/test/kit"
)

var (
	e *kit.Cluster
	// alice and dave ask, bob decides.
	alice, bob       client.Client
	asAlice, asDave  *accessclient.Client
	errGivenUp       = errors.New("given up")
	errOfTheWork     = errors.New("the work failed")
	defaultNamespace = metav1.NamespaceDefault
)

func TestMain(m *testing.M) {
	kit.Main(func(ctx context.Context, started *kit.Cluster) (int, error) {
		e = started
		var dave client.Client
		if err := errors.Join(
			e.Hire("dev", lab.People{"alice": &alice, "dave": &dave}), e.Hire("sre", lab.People{"bob": &bob}),
			e.Bind(ctx, "access-requester", "dev"), e.Bind(ctx, "access-approver", "sre"),
		); err != nil {
			return 1, err
		}
		for name, c := range map[string]**accessclient.Client{"dave": &asDave, "alice": &asAlice} {
			user, err := e.User(name, "dev")
			if err != nil {
				return 1, err
			}
			if *c, err = accessclient.New(user); err != nil {
				return 1, err
			}
			if name == "alice" {
				config = user
			}
		}
		if err := e.Admin.Create(ctx, policyFor(defaultNamespace)); err != nil {
			return 1, err
		}
		broker, err := e.Broker(ctx, "broker")
		if err != nil {
			return 1, err
		}
		return kit.Run(ctx, m, broker)
	})
}

// policyFor gives dev edit in a namespace, without an approval.
func policyFor(namespace string) *v1alpha1.AccessPolicy {
	return &v1alpha1.AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"},
		Spec: v1alpha1.AccessPolicySpec{
			Requesters:  v1alpha1.RequestersFor(v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}),
			Approvals:   []v1alpha1.ApprovalStage{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "Group", Name: "sre"}}, Count: ptr.To[int32](0)}},
			Roles:       []v1alpha1.RoleRef{{Kind: "ClusterRole", Name: "edit"}},
			Namespaces:  &v1alpha1.PolicyNamespaces{Names: []string{namespace}},
			MaxDuration: metav1.Duration{Duration: time.Hour},
		},
	}
}

func mayDeletePods() bool {
	may, err := lab.Can(context.Background(), alice, authorizationv1.ResourceAttributes{Namespace: defaultNamespace, Verb: "delete", Resource: "pods"})
	return may && err == nil
}

// scene is a namespace where dev gets edit with so many approvals.
func scene(t *testing.T, approvals int32) string {
	t.Helper()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = &approvals })
	return ns
}

// The access is there while the work goes on, and gone after it, whatever came of it.
func TestDo(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{"done": nil, "failed": errOfTheWork} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := scene(t, 0)
			request := lab.NewRequest(ns, nil)
			worked := false
			err := asAlice.Do(t.Context(), request, func(context.Context) error {
				worked = kit.Can(t, alice, ns)
				return want
			})
			if !worked || !errors.Is(err, want) {
				t.Errorf("worked with access: %t, %v", worked, err)
			}
			e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
			if kit.Can(t, alice, ns) {
				t.Error("the work is over and the access is not")
			}
		})
	}
}

// The work hears of the end of its access.
func TestAccessEndsBeforeTheWork(t *testing.T) {
	t.Parallel()
	ns := scene(t, 0)
	request := lab.NewRequest(ns, nil)
	err := asAlice.Do(t.Context(), request, func(ctx context.Context) error {
		kit.MustDecide(t, bob, request, v1alpha1.VerdictRevoke)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(kit.Patience):
			return errors.New("nobody told that the access is over")
		}
	})
	over := (*accessclient.EndedError)(nil)
	if !errors.As(err, &over) || over.Request.Status.Phase != v1alpha1.RequestRevoked || !strings.Contains(err.Error(), "revoked by bob") {
		t.Errorf("%v", err)
	}
}

// A refusal is an EndedError, and who stops waiting leaves no request behind.
func TestNoAccess(t *testing.T) {
	t.Parallel()
	never := func(context.Context) error { t.Error("it worked without access"); return nil }
	ns := scene(t, 1)
	denied := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 2 * time.Hour} })
	over := (*accessclient.EndedError)(nil)
	if err := asAlice.Do(t.Context(), denied, never); !errors.As(err, &over) || over.Request.Status.Phase != v1alpha1.RequestDenied {
		t.Errorf("%v", err)
	}
	ctx, giveUp := context.WithCancelCause(t.Context())
	waiting := lab.NewRequest(ns, nil)
	seen := make(chan error, 1)
	go func() { seen <- asAlice.Do(ctx, waiting, never) }()
	kit.Eventually(t, "a request that waits", func(ctx context.Context) (bool, error) {
		list := &v1alpha1.AccessRequestList{}
		err := e.Admin.List(ctx, list, client.InNamespace(ns))
		for _, r := range list.Items {
			if r.Status.Phase == v1alpha1.RequestPending && r.Status.Policy != nil {
				return true, nil
			}
		}
		return false, err
	})
	giveUp(errGivenUp)
	if err := <-seen; !errors.Is(err, errGivenUp) {
		t.Errorf("%v", err)
	}
	e.WaitFor(t, waiting, v1alpha1.RequestCompleted)
}

// Work that is tried again finds its own request and nobody else's.
func TestAskOnce(t *testing.T) {
	t.Parallel()
	ns := scene(t, 0)
	once := func() *v1alpha1.AccessRequest {
		r := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.Duration = &metav1.Duration{Duration: 90 * time.Second} })
		r.GenerateName, r.Name = "", "once"
		return r
	}
	first, again, more, others := once(), once(), once(), once()
	for _, r := range []*v1alpha1.AccessRequest{first, again} {
		if err := asAlice.AskOnce(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if first.UID != again.UID || first.UID == "" {
		t.Errorf("asked twice: %q, %q", first.UID, again.UID)
	}
	more.Spec.RoleRef.Name = "admin"
	if err := asAlice.AskOnce(t.Context(), more); !errors.Is(err, accessclient.ErrNotOurs) {
		t.Errorf("something else: %v", err)
	}
	if err := asDave.AskOnce(t.Context(), others); !errors.Is(err, accessclient.ErrNotOurs) || !strings.Contains(err.Error(), "alice") {
		t.Errorf("somebody else's: %v", err)
	}
	if _, err := asAlice.Wait(t.Context(), again, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is released already is no error
		if err := asAlice.Release(t.Context(), again, "done"); err != nil {
			t.Fatal(err)
		}
		e.WaitFor(t, first, v1alpha1.RequestCompleted)
	}
	late := once()
	if err := asAlice.AskOnce(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	over := (*accessclient.EndedError)(nil)
	if _, err := asAlice.Wait(t.Context(), late, nil); !errors.As(err, &over) {
		t.Errorf("a request that is over: %v", err)
	}
	kit.Delete(t, alice, first)
	e.WaitGone(t, first)
	if err := asAlice.Release(t.Context(), late, ""); err != nil {
		t.Errorf("a request that is gone: %v", err)
	}
}

// stampsAreBack waits until the API server stamps again who asks and who decides: it
// takes a moment to learn of its policies, and the other tests begin then.
func stampsAreBack(t *testing.T) {
	t.Helper()
	if err := e.AdmissionReady(t.Context()); err != nil {
		t.Error(err)
	}
	request := lab.NewRequest(scene(t, 1), nil)
	kit.Create(t, alice, request)
	kit.Eventually(t, "the stamp on decisions", func(ctx context.Context) (bool, error) {
		bare := client.RawPatch(types.MergePatchType, []byte(`{"status":{"decisions":[{"verdict":"Release"}]}}`))
		err := alice.Status().Patch(ctx, request.DeepCopy(), bare, client.DryRunAll)
		return err == nil, client.IgnoreNotFound(err)
	})
}

// Where nothing fills in who asks, as before Kubernetes 1.36, the client does. Not
// parallel: it takes the stamps away.
func TestUnstamped(t *testing.T) {
	if e.Stamps {
		stamp := func(verb string, more ...string) error {
			return e.MustRun(context.WithoutCancel(t.Context()), strings.Join(append([]string{
				"kubectl", verb,
				"-f", filepath.Join("config", "admission", "stamp_requester.yaml"), "-f", filepath.Join("config", "admission", "stamp_decisions.yaml"),
			}, more...), " "))
		}
		defer func() {
			if err := stamp("apply"); err != nil {
				t.Error(err)
			}
			stampsAreBack(t)
		}()
		if err := stamp("delete"); err != nil {
			t.Fatal(err)
		}
		kit.Eventually(t, "the end of the stamps", func(ctx context.Context) (bool, error) {
			return alice.Create(ctx, lab.NewRequest(defaultNamespace, nil), client.DryRunAll) != nil, nil
		})
	}
	ns := scene(t, 0)
	request := lab.NewRequest(ns, nil)
	if err := asAlice.Do(t.Context(), request, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	current := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(request), current); err != nil {
		t.Fatal(err)
	}
	if current.Spec.Requester.Username != "alice" {
		t.Errorf("asked by %q", current.Spec.Requester.Username)
	}
	e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndReleased)
}
