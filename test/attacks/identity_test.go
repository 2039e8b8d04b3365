package attacks

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/test/kit"
)

const ownName = "must be the authenticated user, mallory"

func TestRequester(t *testing.T) {
	t.Parallel()
	ask := func(c client.Client, edit func(*v1alpha1.AccessRequestSpec)) func(*testing.T) error {
		return func(t *testing.T) error { return c.Create(t.Context(), lab.NewRequest("default", edit)) }
	}
	// Everything but one thing is as the API server itself would stamp it.
	forge := func(lie func(*v1alpha1.UserInfo)) func(*testing.T) error {
		return func(t *testing.T) error {
			stamped := lab.NewRequest("default", nil)
			if err := mallory.Create(t.Context(), stamped, client.DryRunAll); err != nil {
				t.Fatal(err)
			}
			lie(&stamped.Spec.Requester)
			return ask(mallory, func(s *v1alpha1.AccessRequestSpec) { s.Requester = stamped.Spec.Requester })(t)
		}
	}
	refused(t, "asks in another's name", ownName, forge(func(u *v1alpha1.UserInfo) { u.Username = "alice" }))
	refused(t, "asks with forged groups", ownName, forge(func(u *v1alpha1.UserInfo) { u.Groups = append(u.Groups, "dev") }))
	refused(t, "asks with groups left out", ownName, forge(func(u *v1alpha1.UserInfo) { u.Groups = nil }))
	refused(t, "asks with a forged uid", ownName, forge(func(u *v1alpha1.UserInfo) { u.UID = "0" }))
	refused(t, "asks with forged extra", ownName, forge(func(u *v1alpha1.UserInfo) { u.Extra = map[string]v1alpha1.ExtraValue{"clearance": {"top"}} }))
	refused(t, "asks under a name with a zero-width space", "spec.requester.username", func(t *testing.T) error {
		return ask(e.Person(t, "al\u200bice", "dev"), nil)(t)
	})
	refused(t, "administrator asks in another's name", "must be the authenticated user", ask(e.Admin, func(s *v1alpha1.AccessRequestSpec) {
		s.Requester = v1alpha1.UserInfo{Username: "alice", Groups: []string{"dev", "system:authenticated"}}
	}))
	attack(t, "forged status at creation", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, nil)
		request := lab.NewRequest(ns, nil)
		request.Status = v1alpha1.AccessRequestStatus{
			Phase: v1alpha1.RequestApproved, Approvals: []v1alpha1.StageApproval{{Name: "sre", From: []v1alpha1.PolicySubject{{Kind: "User", Name: "alice"}}, Count: new(int32)}},
			Policy:    &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: p.Name, UID: p.UID}, Generation: 1},
			Decisions: []v1alpha1.Decision{{Username: "bob", Groups: []string{"sre"}, Verdict: v1alpha1.VerdictApprove}},
		}
		kit.Create(t, alice, request)
		got := says(t, request, "0 of 1 approvals")
		if len(got.Status.Decisions) != 0 || got.Status.Phase != v1alpha1.RequestPending {
			t.Errorf("the forged status stands: %+v", got.Status)
		}
		mustNot(t, alice, ns)
	})
}

// double approves under a name that looks like bob's after bob has: bob has
// approved once.
func double(t *testing.T, name, username string) {
	t.Helper()
	attack(t, name, func(t *testing.T) {
		ns, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		kit.MustDecide(t, e.Person(t, username, "sre"), request, v1alpha1.VerdictApprove)
		says(t, request, "1 of 2 approvals")
		says(t, request, text.Visible(username)+" has approved already")
		mustNot(t, alice, ns)
		// Nothing is lost: a second person makes two.
		kit.MustDecide(t, carol, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
	})
}

// invisible decides under a name with a character that is not seen, and cannot.
func invisible(t *testing.T, name, username string) {
	t.Helper()
	refused(t, name, "status.decisions[0].username", func(t *testing.T) error {
		_, request := matched(t, nil)
		return kit.Decide(t, e.Person(t, username, "sre"), request, v1alpha1.VerdictApprove)
	})
}

func TestLookAlikes(t *testing.T) {
	t.Parallel()
	double(t, "Bob after bob", "Bob")
	double(t, "bob with a space behind", "bob ")
	double(t, "bob in full-width letters", "ｂｏｂ")
	double(t, "bob with a grapheme joiner inside", "b\u034fob")
	double(t, "bob with a Hangul filler inside", "bo\u3164b")
	double(t, "bob with a Braille blank behind", "bob\u2800")
	invisible(t, "bob with a zero-width space inside", "b\u200bob")
	invisible(t, "bob with a zero-width joiner behind", "bob\u200d")
	invisible(t, "bob with a bidi override", "\u202ebob")
	invisible(t, "bob with a byte order mark", "\ufeffbob")
	refused(t, "requester's look-alike in capitals approves", "would benefit", func(t *testing.T) error {
		_, request := matched(t, nil)
		return kit.Decide(t, e.Person(t, "Alice", "sre"), request, v1alpha1.VerdictApprove)
	})
	attack(t, "requester's look-alike with a space approves", func(t *testing.T) {
		ns, request := matched(t, nil)
		kit.MustDecide(t, e.Person(t, "alice ", "sre"), request, v1alpha1.VerdictApprove)
		says(t, request, "alice  would benefit")
		mustNot(t, alice, ns)
	})
}

func TestDecisions(t *testing.T) {
	e.NeedsStamps(t) // TestUnstamped has those of clusters without
	t.Parallel()
	ns, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
	// bob decides by server-side apply, so that there is a field manager to steal.
	const bobs = `{"apiVersion":"jit.accessbroker.dev/v1alpha1","kind":"AccessRequest","status":{"decisions":[{"username":"bob","verdict":"Approve"}]}}`
	apply := func(ctx context.Context, c client.Client, patch string) error {
		return rawStatus(ctx, c, request, types.ApplyPatchType, patch, client.FieldOwner("bobs-shell"), client.ForceOwnership)
	}
	if err := apply(t.Context(), bob, bobs); err != nil {
		t.Fatal(err)
	}
	says(t, request, "1 of 2 approvals")
	t.Cleanup(func() { // when all attacks on it are over
		current := &v1alpha1.AccessRequest{}
		if err := e.Admin.Get(context.WithoutCancel(t.Context()), client.ObjectKeyFromObject(request), current); err != nil {
			t.Error(err)
			return
		}
		if d := current.Status.Decisions; len(d) != 1 || d[0].Username != "bob" || d[0].Verdict != v1alpha1.VerdictApprove || d[0].Comment != "" {
			t.Errorf("the decisions are %+v, want bob's approval alone", d)
		}
		if current.Status.Phase != v1alpha1.RequestPending || len(current.Status.Risks) == 0 {
			t.Errorf("the status is %+v", current.Status)
		}
	})
	merged := func(c client.Client, patch string) func(*testing.T) error {
		return func(t *testing.T) error { return mergeStatus(t.Context(), c, request, patch) }
	}
	jsonPatched := func(c client.Client, patch string) func(*testing.T) error {
		return func(t *testing.T) error { return rawStatus(t.Context(), c, request, types.JSONPatchType, patch) }
	}
	applied := func(c client.Client, status string) func(*testing.T) error {
		return func(t *testing.T) error {
			return apply(t.Context(), c, `{"apiVersion":"jit.accessbroker.dev/v1alpha1","kind":"AccessRequest","status":`+status+`}`)
		}
	}
	put := func(c client.Client, edit func(*v1alpha1.AccessRequestStatus)) func(*testing.T) error {
		return func(t *testing.T) error {
			return retry.RetryOnConflict(retry.DefaultRetry, func() error {
				current := &v1alpha1.AccessRequest{}
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(request), current); err != nil {
					return err
				}
				edit(&current.Status)
				return c.Status().Update(t.Context(), current)
			})
		}
	}
	const (
		appendOnly = "append-only"
		ownName    = "decisions are made in one's own name"
		noApprover = "mallory is not among the approvers"
		brokerOnly = "the status is written by the broker alone"
		benefits   = "alice would benefit"
	)
	// Who decides.
	refused(t, "approver names another in place of what is there", appendOnly, merged(erin, `{"status":{"decisions":[{"username":"carol","groups":["sre","system:authenticated"],"verdict":"Approve"}]}}`))
	refused(t, "approver names another beside themselves", ownName, merged(erin, `{"status":{"decisions":[{"verdict":"Approve"},{"username":"carol","groups":["sre","system:authenticated"],"verdict":"Approve"}]}}`))
	refused(t, "approver names another by JSON patch", ownName, jsonPatched(erin, `[{"op":"add","path":"/status/decisions/-","value":{"username":"carol","verdict":"Approve"}}]`))
	refused(t, "approver names another by server-side apply", ownName, func(t *testing.T) error {
		return rawStatus(t.Context(), erin, request, types.ApplyPatchType, strings.ReplaceAll(bobs, "bob", "carol"), client.FieldOwner("erins-shell"))
	})
	refused(t, "decision with forged groups", noApprover, merged(mallory, `{"status":{"decisions":[{"username":"mallory","groups":["sre"],"verdict":"Approve"}]}}`))
	refused(t, "approval by somebody whom no policy names", noApprover, merged(mallory, `{"status":{"decisions":[{"verdict":"Approve"}]}}`))
	refused(t, "denial by somebody whom no policy names", noApprover, merged(mallory, `{"status":{"decisions":[{"verdict":"Deny"}]}}`))
	refused(t, "approval by a cluster administrator", "is not among the approvers", merged(e.Admin, `{"status":{"decisions":[{"verdict":"Approve"}]}}`))
	refused(t, "requester approves", benefits, merged(alice, `{"status":{"decisions":[{"verdict":"Approve"}]}}`))
	refused(t, "requester approves by a second decision", benefits, merged(alice, `{"status":{"decisions":[{"verdict":"Release"},{"verdict":"Approve"}]}}`))
	refused(t, "stranger releases", "for the requester and the subjects", merged(mallory, `{"status":{"decisions":[{"verdict":"Release"}]}}`))
	refused(t, "revocation of what nobody has given", "there is nothing to revoke yet", merged(carol, `{"status":{"decisions":[{"verdict":"Revoke"}]}}`))
	refused(t, "status patch that RBAC does not allow", "cannot patch resource", merged(nora, `{"status":{"decisions":[{"verdict":"Approve"}]}}`))

	// Decisions that are there.
	refused(t, "merge patch edits another's decision", appendOnly, merged(mallory, `{"status":{"decisions":[{"username":"bob","groups":["sre","system:authenticated"],"verdict":"Approve","comment":"never said"}]}}`))
	refused(t, "merge patch empties the decisions", appendOnly, merged(carol, `{"status":{"decisions":[]}}`))
	refused(t, "merge patch nulls the decisions", appendOnly, merged(mallory, `{"status":{"decisions":null}}`))
	refused(t, "merge patch nulls the status", brokerOnly, merged(mallory, `{"status":null}`))
	refused(t, "JSON patch removes a decision", appendOnly, jsonPatched(mallory, `[{"op":"remove","path":"/status/decisions/0"}]`))
	refused(t, "JSON patch edits a verdict", appendOnly, jsonPatched(mallory, `[{"op":"replace","path":"/status/decisions/0/verdict","value":"Deny"}]`))
	refused(t, "JSON patch edits a name", noApprover, jsonPatched(mallory, `[{"op":"replace","path":"/status/decisions/0/username","value":"mallory"}]`))
	refused(t, "JSON patch puts another's decision in place of what is there", appendOnly, jsonPatched(mallory, `[{"op":"replace","path":"/status/decisions","value":[{"username":"carol","groups":["sre","system:authenticated"],"verdict":"Approve"}]}]`))
	refused(t, "server-side apply takes a decision over", appendOnly, applied(mallory, `{"decisions":[{"username":"bob","verdict":"Approve","comment":"never said"}]}`))
	refused(t, "server-side apply under another's field manager", appendOnly, applied(mallory, `{"decisions":[]}`))
	refused(t, "PUT without the decisions", appendOnly, put(mallory, func(s *v1alpha1.AccessRequestStatus) { s.Decisions = nil }))
	refused(t, "PUT with an edited decision", appendOnly, put(carol, func(s *v1alpha1.AccessRequestStatus) { s.Decisions[0].Comment = "never said" }))
	attack(t, "PUT with one's own decision in place of another's", func(t *testing.T) {
		ns, request := matched(t, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = ptr.To[int32](2) })
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		current := says(t, request, "1 of 2 approvals")
		current.Status.Decisions[0].Username = "carol"
		if err := carol.Status().Update(t.Context(), current); err != nil {
			t.Fatal(err)
		}
		active := e.WaitFor(t, request, v1alpha1.RequestActive) // both count
		if d := active.Status.Decisions; len(d) != 2 || d[0].Username != "bob" || d[1].Username != "carol" {
			t.Errorf("the decisions are %+v, want bob's and carol's", d)
		}
		must(t, alice, ns)
	})
	refused(t, "author edits their decision", appendOnly, merged(bob, `{"status":{"decisions":[{"verdict":"Approve","comment":"on second thoughts"}]}}`))
	refused(t, "author takes their decision back", appendOnly, put(bob, func(s *v1alpha1.AccessRequestStatus) { s.Decisions = nil }))
	refused(t, "author takes their decision back by server-side apply", appendOnly, applied(bob, `{"decisions":[]}`))

	// What else stands in the status.
	refused(t, "forged phase", brokerOnly, merged(mallory, `{"status":{"phase":"Active"}}`))
	refused(t, "phase forged by an administrator", brokerOnly, merged(e.Admin, `{"status":{"phase":"Approved"}}`))
	refused(t, "forged approvers", brokerOnly, merged(mallory, `{"status":{"approvals":[{"name":"sre","from":[{"kind":"User","name":"mallory"}],"count":1}],"decisions":[{"verdict":"Approve"}]}}`))
	refused(t, "fewer approvals", brokerOnly, merged(bob, `{"status":{"approvals":[{"name":"sre","from":[{"kind":"Group","name":"sre"}],"count":0}]}}`))
	refused(t, "risks hidden", brokerOnly, merged(alice, `{"status":{"risks":null}}`))
	refused(t, "rules belittled", brokerOnly, merged(alice, `{"status":{"rules":[]}}`))
	refused(t, "forged rulesHash", brokerOnly, merged(mallory, `{"status":{"rulesHash":"0000"}}`))
	refused(t, "another grant written into the status", brokerOnly, merged(mallory, `{"status":{"grantName":"another"}}`))
	refused(t, "later end written into the status", brokerOnly, merged(alice, `{"status":{"expirationTime":"2999-01-01T00:00:00Z"}}`))
	refused(t, "conditions wiped", brokerOnly, put(mallory, func(s *v1alpha1.AccessRequestStatus) { s.Conditions = nil }))
	refused(t, "another policy written into the status", brokerOnly, merged(mallory, `{"status":{"policy":{"name":"break-glass"}}}`))
	attack(t, "status through the main resource", func(t *testing.T) {
		if err := merge(t, e.Admin, request.DeepCopy(), `{"status":{"phase":"Active","decisions":[{"username":"carol","verdict":"Approve"}]}}`); err != nil {
			t.Fatal(err)
		}
		mustNot(t, alice, ns) // and the cleanup above looks at the status
	})
	refused(t, "spec changed after the approval", "spec is immutable", func(t *testing.T) error {
		return merge(t, e.Admin, request.DeepCopy(), `{"spec":{"roleRef":{"name":"admin"}}}`)
	})
	refused(t, "request deleted by a stranger", "only its requester, one of its approvers or the broker deletes a request", func(t *testing.T) error { return mallory.Delete(t.Context(), request.DeepCopy()) })

	refused(t, "requests of a namespace deleted by an administrator", "only its requester, one of its approvers or the broker deletes a request", func(t *testing.T) error {
		ns, _ := matched(t, nil)
		return e.Admin.DeleteAllOf(t.Context(), &v1alpha1.AccessRequest{}, client.InNamespace(ns))
	})

	// What was seen.
	refused(t, "decision with a wrong requestUID", "requestUID belongs to another request", merged(carol, `{"status":{"decisions":[{"verdict":"Approve","requestUID":"11111111-2222-3333-4444-555555555555"}]}}`))
	refused(t, "decision about other rules", "rulesHash is not the request's status.rulesHash", merged(carol, `{"status":{"decisions":[{"verdict":"Approve","rulesHash":"0000"}]}}`))
	refused(t, "request recreated under its name between reading and approving", "requestUID belongs to another request", func(t *testing.T) error {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		first := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "view" })
		first.Name, first.GenerateName = "harmless", ""
		kit.Create(t, alice, first)
		read := e.WaitMatched(t, first)
		kit.Delete(t, alice, first)
		second := lab.NewRequest(ns, nil)
		second.Name, second.GenerateName = "harmless", ""
		kit.Create(t, alice, second)
		e.WaitMatched(t, second)
		return kit.PatchDecisions(t, bob, second, map[string]any{"verdict": "Approve", "requestUID": read.UID})
	})

	// Who benefits.
	forOthers := func(t *testing.T, subjects ...v1alpha1.Subject) *v1alpha1.AccessRequest {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Subjects, s.Approvals[0].From = v1alpha1.SubjectsAny, append(s.Approvals[0].From, zoe) // or nobody could approve
		})
		return e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = subjects }))
	}
	refused(t, "subject approves", "bob would benefit", func(t *testing.T) error {
		return kit.Decide(t, bob, forOthers(t, v1alpha1.Subject{Kind: "User", Name: "bob"}), v1alpha1.VerdictApprove)
	})
	refused(t, "member of a subject group approves", "bob would benefit", func(t *testing.T) error {
		return kit.Decide(t, bob, forOthers(t, v1alpha1.Subject{Kind: "Group", Name: "sre"}), v1alpha1.VerdictApprove)
	})
	refused(t, "subject in capitals approves", "bob would benefit", func(t *testing.T) error {
		return kit.Decide(t, bob, forOthers(t, v1alpha1.Subject{Kind: "User", Name: "BOB"}), v1alpha1.VerdictApprove)
	})
	refused(t, "ServiceAccount that is a subject approves", "would benefit", func(t *testing.T) error {
		ns := e.NewNamespace(t, nil)
		kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "robot"}})
		robot := v1alpha1.Subject{Kind: "ServiceAccount", Namespace: ns, Name: "robot"}
		kit.Create(t, e.Admin, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "robot"}, RoleRef: clusterRole("access-approver"),
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "robot"}},
		})
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Subjects, s.Approvals[0].From = v1alpha1.SubjectsServiceAccounts, []v1alpha1.PolicySubject{v1alpha1.PolicySubject(robot), zoe}
		})
		client, err := e.AsServiceAccount(t.Context(), ns, "robot")
		if err != nil {
			t.Fatal(err)
		}
		mine := e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Subjects = []v1alpha1.Subject{robot} }))
		kit.Eventually(t, "RBAC to learn of the binding", func(context.Context) (bool, error) {
			return kit.CanDo(t, client, authorizationv1.ResourceAttributes{Namespace: ns, Group: v1alpha1.GroupVersion.Group, Resource: "accessrequests", Subresource: "status", Verb: "patch"}), nil
		})
		return kit.Decide(t, client, mine, v1alpha1.VerdictApprove)
	})
	refused(t, "requester who is no subject approves", "would benefit", func(t *testing.T) error {
		return kit.Decide(t, alice, forOthers(t, v1alpha1.Subject{Kind: "User", Name: "dave"}), v1alpha1.VerdictApprove)
	})
}

func TestTiming(t *testing.T) {
	t.Parallel()
	attack(t, "Deny racing the last Approve", func(t *testing.T) {
		e.NeedsStamps(t) // elsewhere whoever comes second sends the list once more
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		denied := 0
		for range 24 {
			request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
			errs := map[v1alpha1.Verdict]error{}
			var mu sync.Mutex
			var racers sync.WaitGroup
			for verdict, who := range map[v1alpha1.Verdict]client.Client{v1alpha1.VerdictApprove: bob, v1alpha1.VerdictDeny: carol} {
				racers.Go(func() {
					err := kit.Decide(t, who, request, verdict)
					mu.Lock()
					defer mu.Unlock()
					errs[verdict] = err
				})
			}
			racers.Wait()
			if err := errs[v1alpha1.VerdictDeny]; err != nil {
				// It came too late, and was told so: Revoke is the word then.
				mustRefuse(t, "the access is given already", err)
				kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
				e.WaitFor(t, request, v1alpha1.RequestRevoked)
				continue
			}
			denied++
			e.WaitFor(t, request, v1alpha1.RequestDenied)
			// The grant, if it came to one, ends too.
			settled(t, grant.Name(request.Name, request.UID))
			mustNot(t, alice, ns)
		}
		if denied == 0 {
			t.Error("Deny never came in time: this was no race")
		}
	})
	attack(t, "Approve after the end", func(t *testing.T) {
		ns, request := matched(t, nil)
		kit.MustDecide(t, carol, request, v1alpha1.VerdictDeny)
		e.WaitFor(t, request, v1alpha1.RequestDenied)
		mustRefuse(t, "nothing can be decided after the end", kit.Decide(t, bob, request, v1alpha1.VerdictApprove))
		mustNot(t, alice, ns)
	})
	attack(t, "decision after the access was given", func(t *testing.T) {
		ns, request, _ := held(t)
		for _, verdict := range []v1alpha1.Verdict{v1alpha1.VerdictApprove, v1alpha1.VerdictDeny} {
			mustRefuse(t, "the access is given already", kit.Decide(t, erin, request, verdict))
		}
		must(t, alice, ns)
		kit.MustDecide(t, erin, request, v1alpha1.VerdictRevoke)
		e.WaitFor(t, request, v1alpha1.RequestRevoked)
		mustNot(t, alice, ns)
	})
	attack(t, "Deny outvoted by later approvals", func(t *testing.T) {
		ns, request := matched(t, nil)
		kit.MustDecide(t, carol, request, v1alpha1.VerdictDeny)
		_ = kit.Decide(t, bob, request, v1alpha1.VerdictApprove) // refused or too late
		_ = kit.Decide(t, erin, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestDenied)
		mustNot(t, alice, ns)
	})
	// The approval is there, the grant waits for its startTime: the policy of
	// that moment counts.
	waiting := func(t *testing.T) (p *v1alpha1.AccessPolicy, request *v1alpha1.AccessRequest) {
		ns := e.NewNamespace(t, nil)
		p = newPolicy(t, ns, nil)
		request = e.WaitMatched(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.StartTime, s.PolicyName = &metav1.Time{Time: time.Now().Add(time.Hour)}, p.Name
		}))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		return p, e.WaitFor(t, request, v1alpha1.RequestApproved)
	}
	attack(t, "approver removed between approval and grant", func(t *testing.T) {
		p, request := waiting(t)
		e.Patch(t, p, `{"spec":{"approvals":[{"name":"sre","from":[{"kind":"User","name":"carol"}]}]}}`)
		says(t, request, "bob is not an approver")
		kit.MustDecide(t, carol, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestApproved)
	})
	attack(t, "policy narrowed between approval and grant", func(t *testing.T) {
		p, request := waiting(t)
		e.Patch(t, p, `{"spec":{"roles":[{"kind":"ClusterRole","name":"view"}]}}`)
		mustEnd(t, request, v1alpha1.RequestDenied, "allows view")
	})
	attack(t, "policy asks for more approvals between approval and grant", func(t *testing.T) {
		p, request := waiting(t)
		e.Patch(t, p, `{"spec":{"approvals":[{"name":"sre","from":[{"kind":"Group","name":"sre"}],"count":2}]}}`)
		says(t, request, "1 of 2 approvals")
	})
}

func TestWithTheBrokerDown(t *testing.T) {
	alone(t, "approval after the pendingTimeout", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, nil)
		request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
		brokerDown(t)
		// Not before, or a slow machine would see it lapse too soon.
		e.Patch(t, p, `{"spec":{"pendingTimeout":"1s"}}`)
		kit.WaitPast(t, request.CreationTimestamp.Add(2*time.Second))
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		kit.Restart(t, broker)
		e.WaitFor(t, request, v1alpha1.RequestLapsed)
		mustNot(t, alice, ns)
	})
	alone(t, "policy changed between approval and grant", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, nil)
		request := e.WaitMatched(t, e.Ask(t, alice, ns, nil))
		brokerDown(t)
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.Patch(t, p, `{"spec":{"approvals":[{"name":"sre","from":[{"kind":"User","name":"carol"}]}]}}`)
		kit.Restart(t, broker)
		says(t, request, "bob is not an approver")
		mustNot(t, alice, ns)
	})
	alone(t, "role recreated between approval and grant", func(t *testing.T) {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "recreated"}, Rules: may("delete")}
		kit.Create(t, e.Admin, role.DeepCopy())
		ns, request := halfApproved(t, "recreated")
		brokerDown(t) // or it would see that there is no role
		kit.Delete(t, e.Admin, role.DeepCopy())
		kit.Create(t, e.Admin, role.DeepCopy())
		kit.Restart(t, broker)
		approveAnew(t, ns, request)
	})
	alone(t, "request recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, nil)
		first := lab.NewRequest(ns, nil)
		first.Name, first.GenerateName = "again", ""
		kit.Create(t, alice, first)
		e.Approved(t, bob, first)
		g := e.GrantOf(t, first)
		brokerDown(t)
		kit.Delete(t, alice, first)
		second := lab.NewRequest(ns, nil)
		second.Name, second.GenerateName = "again", ""
		kit.Create(t, alice, second)
		must(t, alice, ns)
		kit.Restart(t, broker)
		e.WaitEnded(t, g.Name, v1alpha1.EndRequestDeleted)
		says(t, second, "0 of 1 approvals")
		mustNot(t, alice, ns)
	})
	alone(t, "policy recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		request := e.Ask(t, alice, ns, nil)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		brokerDown(t)
		kit.Delete(t, e.Admin, p.DeepCopy())
		kit.Create(t, e.Admin, &v1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Spec: p.Spec})
		kit.Restart(t, broker)
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndPolicyGone)
		mustNot(t, alice, ns)
	})
	alone(t, "namespace recreated", func(t *testing.T) {
		ns, g := heldElsewhere(t)
		brokerDown(t)
		recreateNamespace(t, ns)
		kit.Restart(t, broker)
		e.WaitEnded(t, g.Name, v1alpha1.EndNamespaceGone)
		mustNot(t, alice, ns)
	})
	alone(t, "binding deleted and another put in its place", func(t *testing.T) {
		ns, _, g := held(t)
		administers(t, ns)
		brokerDown(t)
		kit.Delete(t, nora, bindingOf(g, ns))
		mine := bindingOf(g, ns) // for the broker to delete, or to take for its own
		mine.RoleRef, mine.Subjects = clusterRole("view"), []rbacv1.Subject{user("dave")}
		kit.Create(t, nora, mine)
		kit.Restart(t, broker)
		e.WaitEnded(t, g.Name, v1alpha1.EndBindingTouched)
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(mine), mine); err != nil {
			t.Errorf("nora's own binding was touched: %v", err)
		}
	})
	recreatedMeanwhile := func(t *testing.T, kind string) {
		ns, g, recreate := heldRole(t, kind, "recreated-meanwhile")
		brokerDown(t)
		recreate()
		// A binding goes by the name.
		kit.Eventually(t, "RBAC to know the new role", func(context.Context) (bool, error) { return kit.Can(t, alice, ns), nil })
		kit.Restart(t, broker)
		e.WaitEnded(t, g.Name, v1alpha1.EndRoleGone)
		mustNot(t, alice, ns)
	}
	alone(t, "ClusterRole recreated", func(t *testing.T) { recreatedMeanwhile(t, "ClusterRole") })
	alone(t, "Role recreated", func(t *testing.T) { recreatedMeanwhile(t, "Role") })
	alone(t, "ServiceAccount recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
		kit.Create(t, e.Admin, account.DeepCopy())
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Approvals[0].Count, s.Subjects = new(int32), v1alpha1.SubjectsServiceAccounts
		})
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "worker"}}
		})
		e.WaitFor(t, request, v1alpha1.RequestActive)
		brokerDown(t)
		kit.Delete(t, e.Admin, account.DeepCopy())
		kit.Create(t, e.Admin, account.DeepCopy())
		heir, err := e.AsServiceAccount(t.Context(), ns, "worker")
		if err != nil {
			t.Fatal(err)
		}
		must(t, heir, ns) // it has inherited the binding
		kit.Restart(t, broker)
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndSubjectGone)
		mustNot(t, heir, ns)
	})
	alone(t, "Job recreated", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].Count = new(int32) })
		kit.Create(t, e.Admin, kit.NewJob(ns, "migrate"))
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "migrate"}
		})
		e.WaitFor(t, request, v1alpha1.RequestActive)
		brokerDown(t)
		kit.Delete(t, e.Admin, kit.NewJob(ns, "migrate"))
		kit.CreateSoon(t, e.Admin, kit.NewJob(ns, "migrate"))
		kit.Restart(t, broker)
		e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndTaskGone)
		mustNot(t, alice, ns)
	})
	alone(t, "revocation while no broker runs", func(t *testing.T) {
		ns, request, g := held(t)
		brokerDown(t)
		kit.MustDecide(t, carol, request, v1alpha1.VerdictRevoke)
		must(t, alice, ns) // nothing revokes; the page says so
		kit.Restart(t, broker)
		e.WaitEnded(t, g.Name, v1alpha1.EndRevoked)
		mustNot(t, alice, ns)
	})
}
