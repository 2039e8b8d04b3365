package attacks

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/test/kit"
)

func admissionBinding(name string) *admissionregistrationv1.ValidatingAdmissionPolicyBinding {
	return &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// putBack puts the admission policies back at the end of the test, after some
// commands.
func putBack(t *testing.T, lines ...string) {
	t.Helper()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(e.MustRun(ctx, lines...), install(ctx), guarded(ctx)); err != nil {
			t.Errorf("put the admission policies back: %v", err)
		}
	})
}

// unguard takes the admission policies out of force, as an administrator may,
// until the test is over.
func unguard(t *testing.T) {
	t.Helper()
	putBack(t)
	kinds := "validatingadmissionpolicybindings"
	if e.Stamps {
		kinds += ",mutatingadmissionpolicybindings"
	}
	if err := e.MustRun(t.Context(), "kubectl delete "+kinds+" -l app.kubernetes.io/name=access-broker"); err != nil {
		t.Fatal(err)
	}
	ns := e.NewNamespace(t, nil)
	kit.CreateSoon(t, e.Admin, lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.Requester.Username = "forged" }))
	probe := e.Ask(t, e.Admin, ns, func(s *v1alpha1.AccessRequestSpec) { s.Requester.Username = "forged" })
	kit.Eventually(t, "the end of the admission policies", func(ctx context.Context) (bool, error) {
		if err := mergeStatus(ctx, mallory, probe, `{"status":{"grantName":"forged"}}`, client.DryRunAll); err != nil {
			return false, err
		}
		g := grantByHand(probe, time.Hour)
		b := bindingOf(g, ns)
		b.Labels, b.RoleRef = map[string]string{v1alpha1.LabelGrant: g.Name}, clusterRole("view")
		err := errors.Join(e.Admin.Create(ctx, g, client.DryRunAll), e.Admin.Create(ctx, b, client.DryRunAll))
		return err == nil, err
	})
}

// by is a decision as its author, or a forger, writes it when nothing is stamped.
func by(request *v1alpha1.AccessRequest, username string, verdict v1alpha1.Verdict) v1alpha1.Decision {
	return v1alpha1.Decision{Username: username, Groups: []string{"sre", "system:authenticated"}, Verdict: verdict, RulesHash: request.Status.RulesHash}
}

// decides writes decisions beside those that are there, whoever's.
func decides(t *testing.T, request *v1alpha1.AccessRequest, decisions ...v1alpha1.Decision) {
	t.Helper()
	writes(t, request, func(s *v1alpha1.AccessRequestStatus) { s.Decisions = append(s.Decisions, decisions...) })
}

// writes lets mallory write any status.
func writes(t *testing.T, request *v1alpha1.AccessRequest, edit func(*v1alpha1.AccessRequestStatus)) {
	t.Helper()
	kit.Eventually(t, "mallory's update", func(ctx context.Context) (bool, error) {
		current := &v1alpha1.AccessRequest{}
		if err := mallory.Get(ctx, client.ObjectKeyFromObject(request), current); err != nil {
			return false, err
		}
		edit(&current.Status)
		err := mallory.Status().Update(ctx, current)
		return err == nil, err
	})
}

// asks is a request of alice, whose client says who asks.
func asks(t *testing.T, ns string, edit func(*v1alpha1.AccessRequestSpec)) *v1alpha1.AccessRequest {
	t.Helper()
	return e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
		s.Requester = v1alpha1.UserInfo{Username: "alice", Groups: []string{"dev", "system:authenticated"}}
		if edit != nil {
			edit(s)
		}
	})
}

// givesNothing: a grant that somebody else wrote ends before it is given.
func givesNothing(t *testing.T, g *v1alpha1.AccessGrant) {
	t.Helper()
	settled(t, g.Name)
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(g), g); err != nil {
		t.Fatal(err)
	}
	if g.Status.GrantedTime != nil || g.Status.EndReason != v1alpha1.EndNotApproved {
		t.Errorf("it was given, or ended with %s: %s", g.Status.EndReason, kit.Describe(g.Status.Conditions))
	}
}

// The admission policies are gone: what the broker can know, it still refuses.
func TestUnguarded(t *testing.T) {
	unguard(t)
	pending := func(t *testing.T, edit func(*v1alpha1.AccessPolicySpec)) (ns string, request *v1alpha1.AccessRequest) {
		ns = e.NewNamespace(t, nil)
		newPolicy(t, ns, edit)
		return ns, e.WaitMatched(t, asks(t, ns, nil))
	}
	active := func(t *testing.T) (ns string, request *v1alpha1.AccessRequest, g *v1alpha1.AccessGrant) {
		ns, request = pending(t, nil)
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		request = e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
		return ns, request, e.GrantOf(t, request)
	}
	// By itself, as it is timed: a Terminating binding authorizes. Once of three
	// times must do, as a busy machine may take its time.
	alone(t, "finalizer put on a binding", func(t *testing.T) {
		var took []time.Duration
		for len(took) < 3 && (len(took) == 0 || took[len(took)-1] > time.Second) {
			ns, request, g := active(t)
			administers(t, ns)
			if err := merge(t, nora, bindingOf(g, ns), `{"metadata":{"finalizers":["example.com/stay"]}}`); err != nil {
				t.Fatal(err)
			}
			must(t, alice, ns)
			decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke))
			took = append(took, gone(t, alice, ns))
			e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
			if err := e.Admin.Get(t.Context(), clientKey(ns, g.Name), &rbacv1.RoleBinding{}); !apierrors.IsNotFound(err) {
				t.Errorf("the binding is left: %v", err)
			}
		}
		if took[len(took)-1] > time.Second {
			t.Errorf("the access was there for another %s", took)
		}
	})
	alone(t, "grant orphaned, without its finalizer", func(t *testing.T) {
		ns, request, g := active(t)
		brokerDown(t)
		if err := errors.Join(
			merge(t, e.Admin, g.DeepCopy(), `{"metadata":{"finalizers":null}}`),
			e.Admin.Delete(t.Context(), g.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationOrphan)),
		); err != nil {
			t.Fatal(err)
		}
		e.WaitGone(t, &v1alpha1.AccessGrant{ObjectMeta: metav1.ObjectMeta{Name: g.Name}})
		must(t, alice, ns)
		kit.Restart(t, broker)
		gone(t, alice, ns)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
	})
	// Approved while no broker runs, so that it does not write the grant itself.
	alone(t, "grant of more than was approved", func(t *testing.T) {
		everything := rules.Show([]rbacv1.PolicyRule{{Verbs: list("*"), APIGroups: list("*"), Resources: list("*")}}, rules.Limit{Lines: 1, Bytes: rules.MaxLine}).Lines
		at := func(d time.Duration) metav1.Time { return metav1.NewTime(time.Now().Add(d)) }
		other := e.NewNamespace(t, nil)
		forgeries := map[string]func(*v1alpha1.AccessGrant){
			"longer": func(g *v1alpha1.AccessGrant) { g.Spec.ExpirationTime = at(48 * time.Hour) },
			"from another moment": func(g *v1alpha1.AccessGrant) {
				g.Spec.NotBefore, g.Spec.ExpirationTime = at(time.Hour), at(4*time.Hour)
			},
			"from before it was asked for": func(g *v1alpha1.AccessGrant) {
				g.Spec.NotBefore, g.Spec.ExpirationTime = at(-2*time.Hour), at(time.Hour)
			},
			"for mallory": func(g *v1alpha1.AccessGrant) { g.Spec.Subjects[0].Name = "mallory" },
			"admin":       func(g *v1alpha1.AccessGrant) { g.Spec.RoleRef = &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "admin"} },
			// So that nobody notices when the role is widened.
			"of more rules": func(g *v1alpha1.AccessGrant) { g.Spec.RoleRules = everything },
			"everywhere":    func(g *v1alpha1.AccessGrant) { g.Spec.Cluster, g.Spec.Namespaces = true, nil },
			"elsewhere": func(g *v1alpha1.AccessGrant) {
				ns := &corev1.Namespace{}
				if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: other}, ns); err != nil {
					t.Fatal(err)
				}
				g.Spec.Namespaces = []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: other, UID: ns.UID}}}
			},
			"another's":       func(g *v1alpha1.AccessGrant) { g.Spec.Requester.Username = "mallory" },
			"another name":    func(g *v1alpha1.AccessGrant) { g.Name = "another-0123456789abcdef" },
			"before its time": func(*v1alpha1.AccessGrant) {},
		}
		requests := map[string]*v1alpha1.AccessRequest{}
		for name := range forgeries {
			ns := e.NewNamespace(t, nil)
			newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxDuration.Duration = 4 * time.Hour })
			requests[name] = e.WaitMatched(t, asks(t, ns, func(s *v1alpha1.AccessRequestSpec) {
				if name == "before its time" {
					s.StartTime = &metav1.Time{Time: time.Now().Add(time.Hour)}
				}
			}))
		}
		brokerDown(t)
		grants := map[string]*v1alpha1.AccessGrant{}
		for name, forge := range forgeries {
			request := requests[name]
			decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
			g := grantByHand(request, 3*time.Hour)
			forge(g) // the role, before its UID is looked up
			pin(t, g, request.Namespace)
			forge(g)
			kit.Create(t, e.Admin, g)
			grants[name] = g
		}
		kit.Restart(t, broker)
		for name, g := range grants {
			t.Log(name)
			givesNothing(t, g)
			if name != "another name" { // whose request gets the grant that it was approved
				mustNot(t, alice, requests[name].Namespace)
			}
			mustNot(t, mallory, requests[name].Namespace)
		}
		mustNot(t, alice, other)
	})
	alone(t, "grant deleted as an orphan", func(t *testing.T) {
		ns, request, g := active(t)
		if err := e.Admin.Delete(t.Context(), g.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationOrphan)); err != nil {
			t.Fatal(err)
		}
		gone(t, alice, ns)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
	})
	uncounted := func(t *testing.T, why string, forge func(request *v1alpha1.AccessRequest) v1alpha1.Decision) {
		t.Helper()
		ns, request := pending(t, nil)
		decides(t, request, forge(request))
		says(t, request, why)
		mustNot(t, alice, ns)
		decides(t, request, by(request, "erin", v1alpha1.VerdictApprove)) // and erin's counts
		e.WaitFor(t, request, v1alpha1.RequestActive)
	}
	attack(t, "requester approves", func(t *testing.T) {
		uncounted(t, "alice would benefit", func(r *v1alpha1.AccessRequest) v1alpha1.Decision { return by(r, "alice", v1alpha1.VerdictApprove) })
	})
	attack(t, "requester's look-alike approves", func(t *testing.T) {
		uncounted(t, "would benefit", func(r *v1alpha1.AccessRequest) v1alpha1.Decision { return by(r, "ＡLICE ", v1alpha1.VerdictApprove) })
	})
	attack(t, "approval by somebody whom no policy names", func(t *testing.T) {
		uncounted(t, "mallory is not an approver", func(r *v1alpha1.AccessRequest) v1alpha1.Decision {
			d := by(r, "mallory", v1alpha1.VerdictApprove)
			d.Groups = []string{"mischief"}
			return d
		})
	})
	attack(t, "approval of another request", func(t *testing.T) {
		uncounted(t, "bob decided on another request", func(r *v1alpha1.AccessRequest) v1alpha1.Decision {
			d := by(r, "bob", v1alpha1.VerdictApprove)
			d.RequestUID = "another"
			return d
		})
	})
	attack(t, "approval of other rules", func(t *testing.T) {
		uncounted(t, "bob approved before the role changed", func(r *v1alpha1.AccessRequest) v1alpha1.Decision {
			d := by(r, "bob", v1alpha1.VerdictApprove)
			d.RulesHash = "another"
			return d
		})
	})
	attack(t, "look-alikes of one approver", func(t *testing.T) {
		ns, request := pending(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](3) })
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove), by(request, "Bob", v1alpha1.VerdictApprove), by(request, "bob ", v1alpha1.VerdictApprove))
		says(t, request, "1 of 3 approvals")
		mustNot(t, alice, ns)
	})
	attack(t, "approval by a member of a subject group", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Subjects, s.Approvals[0].From = v1alpha1.SubjectsAny, append(s.Approvals[0].From, zoe) // or nobody could approve
		})
		request := e.WaitMatched(t, asks(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{{Kind: "Group", Name: "sre"}} }))
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		says(t, request, "bob would benefit")
		mustNot(t, bob, ns)
	})
	attack(t, "approval after the end", func(t *testing.T) {
		ns, request := pending(t, nil)
		decides(t, request, by(request, "carol", v1alpha1.VerdictDeny))
		e.WaitFor(t, request, v1alpha1.RequestDenied)
		writes(t, request, func(s *v1alpha1.AccessRequestStatus) {
			s.Phase = v1alpha1.RequestPending
			s.Decisions = append(s.Decisions, by(request, "bob", v1alpha1.VerdictApprove))
		})
		e.WaitFor(t, request, v1alpha1.RequestDenied)
		mustNot(t, alice, ns)
	})
	attack(t, "revocation by somebody whom no policy names", func(t *testing.T) {
		ns, request, _ := active(t)
		d := by(request, "mallory", v1alpha1.VerdictRevoke)
		d.Groups = []string{"mischief"}
		decides(t, request, d)
		must(t, alice, ns)
		decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke))
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
		mustNot(t, alice, ns)
	})
	attack(t, "forged extension of another role", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 })
		request := e.WaitMatched(t, asks(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "view" }))
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		e.WaitFor(t, request, v1alpha1.RequestActive)
		more := e.WaitMatched(t, asks(t, ns, moreOf(request.Name)))
		writes(t, more, func(s *v1alpha1.AccessRequestStatus) { s.Extended.RoleRef.Name = "edit" })
		mustEnd(t, more, v1alpha1.RequestFailed, "the role would not be the same as in the access that it extends")
		mustNot(t, alice, ns)
	})
	attack(t, "forged extension of somebody else's access", func(t *testing.T) {
		ns, request := pending(t, func(s *v1alpha1.AccessPolicySpec) { s.MaxExtensions = 1 })
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		request = e.WaitFor(t, request, v1alpha1.RequestActive)
		g := e.GrantOf(t, request)
		more := e.Ask(t, dave, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Requester = v1alpha1.UserInfo{Username: "dave", Groups: []string{"dev", "system:authenticated"}}
			moreOf("nothing")(s)
		})
		e.WaitFor(t, more, v1alpha1.RequestFailed)
		writes(t, more, func(s *v1alpha1.AccessRequestStatus) {
			s.Phase, s.Conditions = v1alpha1.RequestPending, nil
			s.Extended = &v1alpha1.Extended{RequestUID: request.UID, Grant: v1alpha1.ObjectRef{Name: g.Name, UID: g.UID}, ExpirationTime: g.Spec.ExpirationTime, PolicyName: g.Spec.PolicyRef.Name, RoleRef: g.Spec.RoleRef}
		})
		mustEnd(t, more, v1alpha1.RequestFailed, "the requester would not be the same")
		mustNot(t, dave, ns)
	})
	attack(t, "forged phase", func(t *testing.T) {
		ns, request := pending(t, nil)
		writes(t, request, func(s *v1alpha1.AccessRequestStatus) { s.Phase = v1alpha1.RequestActive })
		e.WaitFor(t, request, v1alpha1.RequestPending)
		mustNot(t, alice, ns)
	})
	attack(t, "forged approvers and approvals", func(t *testing.T) {
		ns, request := pending(t, nil)
		writes(t, request, func(s *v1alpha1.AccessRequestStatus) {
			s.Phase, s.Approvals[0].Count = v1alpha1.RequestApproved, ptr.To[int32](0)
			s.Approvals[0].From = []v1alpha1.PolicySubject{{Kind: "User", Name: "mallory"}}
			s.Decisions = []v1alpha1.Decision{by(request, "mallory", v1alpha1.VerdictApprove)}
			s.Decisions[0].Groups = nil
		})
		current := says(t, request, "mallory is not an approver")
		if *current.Status.Approvals[0].Count != 1 || current.Status.Approvals[0].From[0].Name != "sre" {
			t.Errorf("the forged status stands: %+v", current.Status)
		}
		mustNot(t, alice, ns)
	})
	attack(t, "grant written by hand", func(t *testing.T) {
		ns, request := pending(t, nil)
		g := grantByHand(request, time.Hour)
		pin(t, g, ns)
		kit.Create(t, e.Admin, g)
		givesNothing(t, g)
		mustNot(t, alice, ns)
	})
	attack(t, "grant without its task", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Task = v1alpha1.TaskRequired })
		request := e.WaitMatched(t, asks(t, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "later"}
		}))
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		request = says(t, request, "approved; waits for Job later to exist")
		g := grantByHand(request, 55*time.Minute)
		pin(t, g, ns)
		kit.Create(t, e.Admin, g)
		givesNothing(t, g)
		mustNot(t, alice, ns)
	})
	attack(t, "grant after the end of its request", func(t *testing.T) {
		ns, request := pending(t, func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: time.Second} })
		request = e.WaitFor(t, request, v1alpha1.RequestLapsed)
		decides(t, request, by(request, "bob", v1alpha1.VerdictApprove))
		g := grantByHand(request, time.Hour)
		pin(t, g, ns)
		kit.Create(t, e.Admin, g)
		givesNothing(t, g)
		mustNot(t, alice, ns)
	})
	attack(t, "grant's end forged to keep the access", func(t *testing.T) {
		ns, request, g := active(t)
		if err := e.Admin.Status().Patch(t.Context(), g.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Ended","bindings":[]}}`))); err != nil {
			t.Fatal(err)
		}
		gone(t, alice, ns) // and not only at the deadline
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
	})
	touched := func(t *testing.T, patch string) {
		t.Helper()
		ns, _, g := active(t)
		administers(t, ns)
		if err := merge(t, nora, bindingOf(g, ns), patch); err != nil {
			t.Fatal(err)
		}
		gone(t, alice, ns)
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
	}
	attack(t, "owner taken off a binding", func(t *testing.T) { touched(t, `{"metadata":{"ownerReferences":null}}`) })
	attack(t, "label of a binding changed", func(t *testing.T) {
		touched(t, `{"metadata":{"labels":{"jit.accessbroker.dev/grant":"another"}}}`)
	})
	attack(t, "label taken off a binding", func(t *testing.T) { touched(t, `{"metadata":{"labels":null}}`) })
	attack(t, "owner and label taken off a binding", func(t *testing.T) {
		touched(t, `{"metadata":{"labels":null,"ownerReferences":null}}`)
	})
	attack(t, "subject added to a binding", func(t *testing.T) {
		touched(t, `{"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"alice"},{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"nora"}]}`)
	})
	attack(t, "stranger's binding labelled for the broker to delete", func(t *testing.T) {
		ns, request, g := active(t)
		victim := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "victim", Labels: map[string]string{v1alpha1.LabelGrant: g.Name}},
			RoleRef:    clusterRole("edit"), Subjects: []rbacv1.Subject{user("dave")},
		}
		kit.Create(t, e.Admin, victim)
		decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke))
		e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		must(t, dave, ns)
	})
	attack(t, "binding of one's own passed off as a grant's", func(t *testing.T) {
		ns, request, g := active(t)
		mine := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: ns, Name: "mine", Labels: map[string]string{v1alpha1.LabelGrant: g.Name},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID}},
			},
			RoleRef: clusterRole("edit"), Subjects: []rbacv1.Subject{user("dave")},
		}
		kit.Create(t, e.Admin, mine)
		decides(t, request, by(request, "carol", v1alpha1.VerdictRevoke))
		e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		gone(t, dave, ns) // it ends with the grant
	})
	attack(t, "binding deleted and recreated", func(t *testing.T) {
		ns, _, g := active(t)
		again := bindingOf(g, ns)
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(again), again); err != nil {
			t.Fatal(err)
		}
		kit.Delete(t, e.Admin, bindingOf(g, ns))
		again.ResourceVersion, again.UID = "", ""
		// The broker may be faster; either way the access must not come back.
		kit.Eventually(t, "the binding to be there again", func(ctx context.Context) (bool, error) {
			err := client.IgnoreAlreadyExists(e.Admin.Create(ctx, again))
			return err == nil, err
		})
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		gone(t, alice, ns)
	})
	attack(t, "Role of a grant widened", func(t *testing.T) {
		asked := rule("", list("pods"), list("get"))
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Roles, s.Rules, s.Approvals[0].Count = nil, []v1alpha1.PolicyRule{asked}, new(int32)
		})
		request := asks(t, ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef, s.Rules = nil, []v1alpha1.PolicyRule{asked} })
		e.WaitFor(t, request, v1alpha1.RequestActive)
		g := e.GrantOf(t, request)
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: g.Name}}
		if err := merge(t, e.Admin, role, `{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","delete"]}]}`); err != nil {
			t.Fatal(err)
		}
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		gone(t, alice, ns)
	})
	// What the broker cannot know, it says.
	attack(t, "approval forged in another's name", func(t *testing.T) {
		ns, _, g := active(t) // mallory wrote that bob approved
		must(t, alice, ns)
		c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAdmissionEnforced)
		if c == nil || c.Status != metav1.ConditionFalse {
			t.Fatalf("the grant does not say that nobody was verified: %s", kit.Describe(g.Status.Conditions))
		}
		for _, binding := range []string{"access-broker-requests", "access-broker-decisions", "access-broker-grants", "access-broker-usages", "access-broker-bindings", "access-broker-itself"} {
			if want := "ValidatingAdmissionPolicyBinding " + binding + " is missing"; !strings.Contains(c.Message, want) {
				t.Errorf("want %q in %q", want, c.Message)
			}
		}
	})
}

// Nothing is stamped, as before Kubernetes 1.36: people write out who they are,
// and the validating policies alone hold them to it.
func TestUnstamped(t *testing.T) {
	e.NeedsStamps(t) // which are taken away; elsewhere all the tests are so
	putBack(t)
	if err := e.MustRun(t.Context(), "kubectl delete mutatingadmissionpolicybindings -l app.kubernetes.io/name=access-broker"); err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the end of the stamps", func(ctx context.Context) (bool, error) {
		return apierrors.IsInvalid(alice.Create(ctx, lab.NewRequest("default", nil), client.DryRunAll)), nil
	})
	ns := e.NewNamespace(t, nil)
	newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
	me := &authenticationv1.SelfSubjectReview{}
	kit.Create(t, alice, me)
	who := v1alpha1.UserInfo{Username: me.Status.UserInfo.Username, UID: me.Status.UserInfo.UID, Groups: me.Status.UserInfo.Groups, Extra: map[string]v1alpha1.ExtraValue{}}
	for key, value := range me.Status.UserInfo.Extra {
		who.Extra[key] = v1alpha1.ExtraValue(value)
	}
	who = identity.Stored(who, nil)
	request := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Requester = who }))
	approves := func(c client.Client, decisions ...v1alpha1.Decision) func(*testing.T) error {
		return func(t *testing.T) error {
			patch, err := json.Marshal(map[string]any{"status": map[string]any{"decisions": decisions}})
			if err != nil {
				t.Fatal(err)
			}
			return mergeStatus(t.Context(), c, request, string(patch))
		}
	}
	bobs := by(request, "bob", v1alpha1.VerdictApprove)
	if err := approves(bob, bobs)(t); err != nil {
		t.Fatal(err)
	}
	says(t, request, "1 of 2 approvals")
	forged := func(edit func(*v1alpha1.Decision)) []v1alpha1.Decision {
		d := by(request, "carol", v1alpha1.VerdictApprove)
		edit(&d)
		return []v1alpha1.Decision{bobs, d}
	}
	const ownName = "decisions are made in one's own name"
	// One after another: the last one approves.
	alone(t, "asks in another's name", func(t *testing.T) {
		mustRefuse(t, "must be the authenticated user, mallory", mallory.Create(t.Context(), lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Requester = request.Spec.Requester
		})))
	})
	alone(t, "approver names another", func(t *testing.T) { mustRefuse(t, ownName, approves(erin, forged(func(*v1alpha1.Decision) {})...)(t)) })
	alone(t, "approver adds to their groups", func(t *testing.T) {
		mustRefuse(t, ownName, approves(carol, forged(func(d *v1alpha1.Decision) { d.Groups = append(d.Groups, "ops") })...)(t))
	})
	alone(t, "approver leaves their groups out", func(t *testing.T) {
		mustRefuse(t, ownName, approves(carol, forged(func(d *v1alpha1.Decision) { d.Groups = nil })...)(t))
	})
	alone(t, "approver counts groups as left out", func(t *testing.T) {
		mustRefuse(t, "omittedGroups, which must be 0 for an approval", approves(carol, forged(func(d *v1alpha1.Decision) { d.OmittedGroups = 1 })...)(t))
	})
	alone(t, "approver replaces another's decision", func(t *testing.T) {
		mustRefuse(t, "append-only", approves(carol, forged(func(*v1alpha1.Decision) {})[1])(t))
	})
	alone(t, "approver quotes no rulesHash", func(t *testing.T) {
		mustRefuse(t, "rulesHash is not the request's status.rulesHash", approves(carol, forged(func(d *v1alpha1.Decision) { d.RulesHash = "" })...)(t))
		mustNot(t, alice, ns)
		if err := approves(carol, forged(func(*v1alpha1.Decision) {})...)(t); err != nil { // with all as it is
			t.Fatal(err)
		}
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
	})
}

// The admission policies are there, but no longer what they were.
func TestWeakened(t *testing.T) {
	// What was added to them goes only with them.
	putBack(t, "kubectl delete validatingadmissionpolicies,validatingadmissionpolicybindings -l app.kubernetes.io/name=access-broker")
	policy := func(name string) *admissionregistrationv1.ValidatingAdmissionPolicy {
		return &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	// told: the next grant says so, as soon as the broker has seen it.
	told := func(t *testing.T, what string) {
		t.Helper()
		kit.Eventually(t, "a grant that tells of "+what, func(context.Context) (bool, error) {
			_, _, g := held(t)
			c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAdmissionEnforced)
			return c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, what+" was changed"), nil
		})
	}
	alone(t, "binding of an admission policy that only warns", func(t *testing.T) {
		if err := merge(t, e.Admin, admissionBinding("access-broker-requests"), `{"spec":{"validationActions":["Warn"]}}`); err != nil {
			t.Fatal(err)
		}
		told(t, "ValidatingAdmissionPolicyBinding access-broker-requests")
	})
	alone(t, "binding of an admission policy narrowed to some namespaces", func(t *testing.T) {
		if err := merge(t, e.Admin, admissionBinding("access-broker-bindings"), `{"spec":{"matchResources":{"namespaceSelector":{"matchLabels":{"a":"b"}}}}}`); err != nil {
			t.Fatal(err)
		}
		told(t, "ValidatingAdmissionPolicyBinding access-broker-bindings")
	})
	alone(t, "admission policy that lets somebody through", func(t *testing.T) {
		if err := merge(t, e.Admin, policy("access-broker-grants"), `{"spec":{"matchConditions":[{"name":"not-mallory","expression":"request.userInfo.username != 'mallory'"}]}}`); err != nil {
			t.Fatal(err)
		}
		told(t, "ValidatingAdmissionPolicy access-broker-grants")
	})
	alone(t, "list of kept keys of extra that is more than a list", func(t *testing.T) {
		p := policy("access-broker-requests")
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		p.Spec.Variables[0].Expression = `request.userInfo.username == "mallory" ? [""] : ["oid"]`
		if err := e.Admin.Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		told(t, "ValidatingAdmissionPolicy access-broker-requests")
	})
}
