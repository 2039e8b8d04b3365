package foureyes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// A policy gives nothing until somebody else has confirmed it, what it gave goes on
// when it is changed, and a change waits again.
func TestSecondPerson(t *testing.T) {
	t.Parallel()
	p, ns := written(t, anna, "anna")
	ready(t, p, v1alpha1.ReasonNotConfirmed, "it was changed by anna and gives nothing until a second person confirms it: kubectl access confirm-policy "+p.Name)
	request := e.Ask(t, alice, ns, short)
	waits(t, request, "changed by anna")
	if kit.Can(t, alice, ns) {
		t.Fatal("alice has access by a policy that nobody has confirmed")
	}

	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
	e.WaitFor(t, request, v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Error("alice has no access by a policy that boris has confirmed")
	}

	changed(t, boris, p, 120, "boris")
	ready(t, p, v1alpha1.ReasonNotConfirmed, "changed by boris")
	another := e.Ask(t, alice, ns, short)
	waits(t, another, "changed by boris")
	if g := e.GrantOf(t, request); g.Status.Phase != v1alpha1.GrantActive || !kit.Can(t, alice, ns) {
		t.Errorf("what the policy gave has ended with its change: %s", kit.Describe(g.Status.Conditions))
	}
	if err := confirm(t.Context(), anna, p, "anna"); err != nil {
		t.Fatal(err)
	}
	e.WaitFor(t, another, v1alpha1.RequestActive)
}

// One person alone can take, also without being confirmed.
func TestOnePersonTakes(t *testing.T) {
	t.Parallel()
	p, ns := written(t, anna, "anna")
	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	request := e.WaitFor(t, e.Ask(t, alice, ns, nil), v1alpha1.RequestActive)
	changed(t, anna, p, 1, "anna")
	e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndPolicyChanged)
	if kit.Can(t, alice, ns) {
		t.Error("alice has kept the access")
	}
}

// Who changed a policy cannot be written otherwise than it is.
func TestAuthors(t *testing.T) {
	t.Parallel()
	annotate := func(c client.Client, p *v1alpha1.AccessPolicy, value string) error {
		return c.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationChangedBy+`":`+value+`}}}`)))
	}
	changedBy := func(p *v1alpha1.AccessPolicy) string {
		t.Helper()
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
			t.Fatal(err)
		}
		return p.Annotations[v1alpha1.AnnotationChangedBy]
	}
	p, ns := written(t, anna, "anna")
	mustRefuse(t, "another author is written", "it names who changed the policy", annotate(anna, p, `"boris"`))
	mustRefuse(t, "an administrator writes another author", "it names who changed the policy", annotate(e.Admin, p, `"boris"`))
	err := annotate(anna, p, `null`)
	if e.Stamps && err != nil || !e.Stamps && err == nil {
		t.Errorf("the author is taken away: %v", err)
	}
	if got := changedBy(p); got != "anna" {
		t.Errorf("after that the author is %q", got)
	}

	kept := p.DeepCopy()
	kept.Spec.MaxDuration.Duration *= 2
	err = boris.Update(t.Context(), kept)
	if got := changedBy(p); e.Stamps && (err != nil || got != "anna\nboris") || !e.Stamps && err == nil {
		t.Errorf("boris changes the spec and keeps the author: %v, changed by %q", err, got)
	}

	forged := policyOf("alice", ns, "boris")
	forged.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: "boris"}
	err = anna.Create(t.Context(), forged)
	if e.Stamps && (err != nil || forged.Annotations[v1alpha1.AnnotationChangedBy] != "anna") || !e.Stamps && err == nil {
		t.Errorf("anna makes a policy in the name of boris: %v, changed by %q", err, forged.Annotations)
	}

	breaks := e.Person(t, "bo\nris", "policy-admins")
	mustRefuse(t, "an author whose name has a line break", "a user whose name has a line break", breaks.Create(t.Context(), policyOf("alice", ns, "bo\nris")))
}

// Nobody confirms what they wrote, what is not there, in another's name, or as a
// program.
func TestConfirmations(t *testing.T) {
	t.Parallel()
	p, ns := written(t, anna, "anna")
	mustRefuse(t, "the author", "somebody else must confirm it", confirm(t.Context(), anna, p, "anna"))
	mustRefuse(t, "the author by another spelling", "somebody else must confirm it", confirm(t.Context(), e.Person(t, "ANNA", "policy-admins"), p, "ANNA"))
	mustRefuse(t, "the author in another's name", "confirm in your own name", confirm(t.Context(), anna, p, "boris"))
	mustRefuse(t, "a second person in the name of a third", "confirm in your own name", confirm(t.Context(), boris, p, "clara"))
	mustRefuse(t, "somebody without the role", `cannot patch resource "accesspolicies/status"`, confirm(t.Context(), mallory, p, "mallory"))
	mustRefuse(t, "a generation that is not there yet", "the policy is not the one that you saw", confirmAs(t.Context(), boris, p, v1alpha1.PolicyConfirmation{Username: "boris", UID: p.UID, Generation: p.Generation + 1}))
	mustRefuse(t, "another policy", "the policy is not the one that you saw", confirmAs(t.Context(), boris, p, v1alpha1.PolicyConfirmation{Username: "boris", UID: "another", Generation: p.Generation}))

	// Whatever the way in which it is written.
	whole := p.DeepCopy()
	whole.Status.Confirmed = &v1alpha1.PolicyConfirmation{Username: "anna", UID: p.UID, Generation: p.Generation}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	whole.ResourceVersion, whole.Status.Conditions, whole.Status.Approvals = p.ResourceVersion, p.Status.Conditions, p.Status.Approvals
	mustRefuse(t, "the author with a PUT", "somebody else must confirm it", anna.Status().Update(t.Context(), whole))
	mustRefuse(t, "the author with a JSON patch", "somebody else must confirm it", anna.Status().Patch(t.Context(), p.DeepCopy(), client.RawPatch(types.JSONPatchType,
		fmt.Appendf(nil, `[{"op":"add","path":"/status/confirmed","value":{"username":"anna","uid":%q,"generation":%d}}]`, p.UID, p.Generation))))
	mustRefuse(t, "the author with an apply", "somebody else must confirm it", anna.Status().Patch(t.Context(), p.DeepCopy(), client.RawPatch(types.ApplyPatchType,
		fmt.Appendf(nil, `{"apiVersion":"jit.accessbroker.dev/v1alpha1","kind":"AccessPolicy","metadata":{"name":%q},"status":{"confirmed":{"username":"anna","uid":%q,"generation":%d}}}`, p.Name, p.UID, p.Generation)),
		client.FieldOwner("anna"), client.ForceOwnership))
	own, _ := written(t, e.Admin, lab.AdminName)
	mustRefuse(t, "an administrator of the cluster their own", "somebody else must confirm it", confirm(t.Context(), e.Admin, own, lab.AdminName))

	stolen, err := e.AsBroker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const brokerName = "system:serviceaccount:access-broker-system:access-broker"
	mustRefuse(t, "the broker", "a person confirms a policy", confirm(t.Context(), stolen, p, brokerName))
	mustRefuse(t, "a policy that says it is Ready", "the rest is the broker's", boris.Status().Patch(t.Context(), p.DeepCopy(), client.RawPatch(types.MergePatchType,
		[]byte(`{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Compiles","message":"trust me","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`))))
	waits(t, e.Ask(t, alice, ns, nil), "changed by anna")
	if kit.Can(t, alice, ns) {
		t.Error("alice has access")
	}
}

// The second person looks at one thing and confirms another.
func TestChangedBehindTheirBack(t *testing.T) {
	t.Parallel()
	p, _ := written(t, anna, "anna")
	seen := p.DeepCopy()
	changed(t, anna, p, 120, "anna")
	mustRefuse(t, "changed since", "the policy is not the one that you saw: it is generation 2", confirm(t.Context(), boris, seen, "boris"))

	named := policyOf("alice", "default", "anna")
	named.GenerateName, named.Name = "", "again-"+p.Name
	kit.Create(t, anna, named)
	seen = named.DeepCopy()
	if err := anna.Delete(t.Context(), named); err != nil {
		t.Fatal(err)
	}
	named = policyOf("mallory", "default", "anna")
	named.GenerateName, named.Name = "", seen.Name
	kit.Create(t, anna, named)
	remove(t, named)
	if named.Generation != seen.Generation {
		t.Fatal("the generations differ: this shows nothing")
	}
	mustRefuse(t, "deleted and made again", "the policy is not the one that you saw", confirm(t.Context(), boris, seen, "boris"))
}

// A confirmation counts for one generation of one policy.
func TestOldConfirmation(t *testing.T) {
	t.Parallel()
	p, ns := written(t, anna, "anna")
	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
	changed(t, anna, p, 120, "anna")
	ready(t, p, v1alpha1.ReasonNotConfirmed, "changed by anna")
	if p.Status.Confirmed == nil || p.Status.Confirmed.Username != "boris" {
		t.Errorf("the record of the confirmation is gone: %+v", p.Status.Confirmed)
	}
	waits(t, e.Ask(t, alice, ns, nil), "changed by anna")

	copied := policyOf("alice", ns, "anna")
	copied.Status = *p.Status.DeepCopy()
	copied.Status.Confirmed.Generation = 1
	kit.Create(t, anna, copied)
	remove(t, copied)
	if copied.Status.Confirmed != nil {
		t.Error("a new policy comes confirmed")
	}
}

// Somebody changes another's change that nobody has confirmed: the first author cannot
// confirm their own through the second.
func TestChangeOnTop(t *testing.T) {
	t.Parallel()
	p, ns := written(t, anna, "anna")
	changed(t, boris, p, 120, "anna", "boris")
	mustRefuse(t, "the first author", "somebody else must confirm it", confirm(t.Context(), anna, p, "anna"))
	mustRefuse(t, "the second author", "somebody else must confirm it", confirm(t.Context(), boris, p, "boris"))
	waits(t, e.Ask(t, alice, ns, nil), "changed by anna, boris")
	if err := confirm(t.Context(), clara, p, "clara"); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
	// What was confirmed needs nobody any more: the next change is one person's.
	changed(t, boris, p, 90, "boris")
}

// What the API server lets through because the letters differ, the broker does not.
func TestLookAlikeConfirms(t *testing.T) {
	t.Parallel()
	for name, spelling := range map[string]string{"full width": "ａｎｎａ", "mathematical": "𝐚𝐧𝐧𝐚"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, ns := written(t, anna, "anna")
			if err := confirm(t.Context(), e.Person(t, spelling, "policy-admins"), p, spelling); err != nil {
				t.Fatal(err)
			}
			ready(t, p, v1alpha1.ReasonNotConfirmed, spelling+" confirmed it and counts as anna, who changed it")
			waits(t, e.Ask(t, alice, ns, nil), "counts as anna")
		})
	}
}

// A confirmation can be taken back, by a person.
func TestTakenBack(t *testing.T) {
	t.Parallel()
	p, _ := written(t, anna, "anna")
	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
	if err := clara.Status().Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"status":{"confirmed":null}}`))); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonNotConfirmed, "changed by anna")
}

// A policy from before has no author: somebody vouches for it, another confirms it.
// Without the admission policies nobody stamps, which is how it was then.
func TestPolicyFromBefore(t *testing.T) {
	lines := []string{"kubectl delete validatingadmissionpolicybindings access-broker-policy-authors"}
	if e.Stamps {
		lines = append(lines, "kubectl delete mutatingadmissionpolicybindings access-broker-stamp-policy")
	}
	if err := e.MustRun(t.Context(), lines...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(install(ctx), inForce(ctx)); err != nil {
			t.Error(err)
		}
	})
	ns := e.NewNamespace(t, nil)
	p := policyOf("alice", ns, "")
	p.Annotations = nil
	kit.Eventually(t, "a policy without an author", func(ctx context.Context) (bool, error) {
		p = policyOf("alice", ns, "")
		p.Annotations = nil
		err := anna.Create(ctx, p)
		return err == nil && p.Annotations[v1alpha1.AnnotationChangedBy] == "", err
	})
	if err := errors.Join(install(t.Context()), inForce(t.Context())); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonNotConfirmed, "nobody knows who wrote it")
	mustRefuse(t, "nobody vouched for it", "nobody knows who wrote the policy", confirm(t.Context(), boris, p, "boris"))
	mustRefuse(t, "in another's name", "who then vouches for the policy", merge(t, anna, p, `{"metadata":{"annotations":{"`+v1alpha1.AnnotationChangedBy+`":"boris"}}}`))
	if err := merge(t, anna, p, `{"metadata":{"annotations":{"`+v1alpha1.AnnotationChangedBy+`":"anna"}}}`); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, "who vouched for it", "somebody else must confirm it", confirm(t.Context(), anna, p, "anna"))
	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
}

func merge(t *testing.T, c client.Client, o client.Object, patch string) error {
	t.Helper()
	return c.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// Tools that apply the same again, without what the API server has written, change
// nothing: the policy stays confirmed.
func TestTools(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	p := policyOf("alice", ns, "anna")
	p.GenerateName, p.Name = "", "tools-"+ns
	p.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessPolicy"}
	manifest, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(line string) {
		t.Helper()
		if out, err := e.Run(t.Context(), "anna", line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	run("kubectl create -f " + file)
	remove(t, p)
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"kubectl apply -f ", "kubectl apply -f ", "kubectl replace -f ", "kubectl apply --server-side --force-conflicts -f ", "kubectl label apol/" + p.Name + " team=a #"} {
		run(line + file)
	}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(p), p); err != nil {
		t.Fatal(err)
	}
	if p.Generation != 1 || p.Annotations[v1alpha1.AnnotationChangedBy] != "anna" || p.Labels["team"] != "a" {
		t.Errorf("generation %d, changed by %q, labels %v", p.Generation, p.Annotations[v1alpha1.AnnotationChangedBy], p.Labels)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
}

// People confirm with the plugin, which shows what they confirm.
func TestPlugin(t *testing.T) {
	t.Parallel()
	p, ns := written(t, anna, "anna")
	ready(t, p, v1alpha1.ReasonNotConfirmed, "")
	run := func(who, line string, ends bool) string {
		t.Helper()
		out, err := e.Run(t.Context(), who, "bin/kubectl-access "+line)
		if (err == nil) != ends {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		return out
	}
	for _, want := range []string{"you have changed the policy " + p.Name} {
		if out := run("anna", "confirm-policy "+p.Name, false); !strings.Contains(out, want) {
			t.Errorf("want %q in %s", want, out)
		}
	}
	if out := run("boris", "__complete confirm-policy ''", true); !strings.Contains(out, p.Name+"\t") {
		t.Errorf("it is not offered: %s", out)
	}
	if out := run("anna", "__complete confirm-policy ''", true); strings.Contains(out, p.Name+"\t") {
		t.Errorf("it is offered to its author: %s", out)
	}
	out := run("boris", "confirm-policy "+p.Name, true)
	for _, want := range []string{"policy " + p.Name + ", generation 1, changed by anna", "maxDuration: 1h0m0s", "- " + ns, "name: alice", p.Name + " confirmed"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
	if out := run("clara", "confirm-policy "+p.Name, true); !strings.Contains(out, "already confirmed by boris") {
		t.Error(out)
	}
	if out := run("clara", "policies --all -o wide", true); !strings.Contains(out, "boris") || !strings.Contains(out, "CONFIRMED BY") {
		t.Error(out)
	}
}

// One person with two identities is two people: this is what nobody can tell.
func TestTwoIdentities(t *testing.T) {
	t.Parallel()
	p, _ := written(t, anna, "anna")
	if err := confirm(t.Context(), e.Person(t, "anna-admin", "policy-admins"), p, "anna-admin"); err != nil {
		t.Fatal(err)
	}
	ready(t, p, v1alpha1.ReasonCompiles, "")
}

// The record says who changed what and who confirmed it.
func TestEventsAndMetrics(t *testing.T) {
	t.Parallel()
	p, _ := written(t, anna, "anna")
	ready(t, p, v1alpha1.ReasonNotConfirmed, "")
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "monitoring"}})
	if err := e.MustRun(t.Context(), "kubectl create clusterrolebinding monitoring --clusterrole=access-broker-metrics-reader --serviceaccount=default:monitoring"); err != nil {
		t.Fatal(err)
	}
	config, err := e.ServiceAccount(t.Context(), "default", "monitoring")
	if err != nil {
		t.Fatal(err)
	}
	if status, page := kit.Scrape(t, metrics, config.BearerToken); status != 200 || !regexp.MustCompile(`(?m)^access_broker_policies_not_ready\{reason="NotConfirmed"\} [1-9]`).MatchString(page) {
		t.Errorf("the metrics do not tell: %d\n%s", status, page)
	}
	if err := confirm(t.Context(), boris, p, "boris"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Warning NotConfirmed", "Normal Confirmed"} {
		kit.Eventually(t, want, func(ctx context.Context) (bool, error) {
			list := &eventsv1.EventList{}
			err := e.Admin.List(ctx, list, client.InNamespace("default"))
			return slices.ContainsFunc(list.Items, func(event eventsv1.Event) bool {
				return event.Regarding.UID == p.UID && event.Type+" "+event.Reason == want
			}), err
		})
	}
	out, err := e.Run(t.Context(), "admin", "kubectl get apol "+p.Name+" -o wide")
	if err != nil || !strings.Contains(out, "boris") {
		t.Errorf("%s%v", out, err)
	}
}
