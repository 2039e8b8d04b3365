package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

func newTask(apiVersion, kind, ns, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": ns, "name": name},
	}}
}

func withTask(apiVersion, kind, name, completeWhen string) func(*v1alpha1.AccessRequestSpec) {
	return func(s *v1alpha1.AccessRequestSpec) {
		s.Task = &v1alpha1.TaskRef{APIVersion: apiVersion, Kind: kind, Name: name, CompleteWhen: completeWhen}
	}
}

// lookout lets somebody else's access end when the task is in a state, and returns
// what waits for that: by then the broker has looked at the task in this state.
func lookout(t *testing.T, ns string, task v1alpha1.TaskRef, is string) (looked func()) {
	t.Helper()
	request := e.WaitFor(t, e.Ask(t, dave, ns, withTask(task.APIVersion, task.Kind, task.Name, is)), v1alpha1.RequestActive)
	return func() {
		t.Helper()
		e.WaitEnded(t, request.Status.GrantName, v1alpha1.EndTaskCompleted)
	}
}

// What may not be a task is refused before anybody is asked, in words that say
// what to do.
func TestWhatMayNotBeATask(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	newKind(t, "tasks.example.com", "Drain", "Cluster", "v1")
	newKind(t, "tasks.example.com", "Peek", "Namespaced", "v1")
	newKind(t, "tasks.example.com", "Report", "Namespaced", "v1")
	newKind(t, "tasks.example.com", "Secretive", "Namespaced", "v1")
	listKind(t, "tasks.example.com", "drains", "get", "list", "watch")
	listKind(t, "tasks.example.com", "peeks", "get")
	listKind(t, "tasks.example.com", "reports", "get", "list", "watch")
	kit.Create(t, e.Admin, kit.NewJob(ns, "over"))
	e.FinishJob(t, ns, "over", corev1.PodSucceeded)
	for _, tc := range []struct {
		name    string
		task    func(*v1alpha1.AccessRequestSpec)
		message string
	}{
		{"kind that nobody listed", withTask("tasks.example.com/v1", "Secretive", "x", ""), `an administrator adds apiGroups ["tasks.example.com"], resources [secretives], verbs [get, list, watch] to the ClusterRole access-broker-task-kinds`},
		{"kind that the broker reads for itself", withTask("rbac.authorization.k8s.io/v1", "RoleBinding", "x", "object.kind == 'x'"), `apiGroups ["rbac.authorization.k8s.io"], resources [rolebindings]`},
		{"kind that may be read but not watched", withTask("tasks.example.com/v1", "Peek", "x", "object.status.done"), "may not list and watch objects of kind Peek, so it would miss their end"},
		{"kind that lies in no namespace", withTask("tasks.example.com/v1", "Drain", "x", "object.status.done"), "a Drain lies in none"},
		{"kind whose end is not known", withTask("tasks.example.com/v1", "Report", "x", ""), "the broker does not know when a Report is over: say it in completeWhen, for example: object.status.phase == 'Done'"},
		{"completeWhen that does not compile, task not there", withTask("batch/v1", "Job", "later", "object.status ="), "task.completeWhen: 1:15: Syntax error"},
		{"version that is not served", withTask("tasks.example.com/v9", "Report", "x", "object.status.done"), "does not serve Report as tasks.example.com/v9: ask again with apiVersion tasks.example.com/v1"},
		{"secret", withTask("v1", "Secret", "x", "object.data.password.startsWith('a')"), "Secret cannot be a task, whatever access-broker-task-kinds lists"},
		{"task that is over", withTask("batch/v1", "Job", "over", ""), "the task is over already: Job " + ns + "/over is complete; name a Job that is not over"},
		{"result of the last run", withTask("batch/v1", "Job", "over", "object.status.succeeded == 1"), "the task is over already"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.name == "result of the last run" || tc.name == "task that is over" {
				kit.Eventually(t, "the end of the Job", func(ctx context.Context) (bool, error) {
					job := newTask("batch/v1", "Job", ns, "over")
					_ = e.Admin.Get(ctx, client.ObjectKeyFromObject(job), job)
					completed, _, _ := unstructured.NestedString(job.Object, "status", "completionTime")
					return completed != "", nil
				})
			}
			request := e.Ask(t, alice, ns, tc.task)
			ended := e.WaitFor(t, request, v1alpha1.RequestFailed)
			if !kit.HasMessage(ended.Status.Conditions, tc.message) {
				t.Errorf("want %q in: %s", tc.message, kit.Describe(ended.Status.Conditions))
			}
			if ended.Status.Policy != nil {
				t.Error("somebody was asked to approve it")
			}
			if err := broker.Ready(t.Context()); err != nil {
				t.Errorf("the broker is not ready any more: %v", err)
			}
		})
	}
}

// A wildcard lists what is made to end, and not what Kubernetes itself lives by.
func TestWildcardOfKinds(t *testing.T) {
	t.Parallel()
	newKind(t, "wild.example.com", "Build", "Namespaced", "v1")
	listKind(t, "wild.example.com", "*", "get", "list", "watch")
	listKind(t, "coordination.k8s.io", "*", "*")
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	kit.Create(t, e.Admin, newTask("wild.example.com/v1", "Build", ns, "b"))
	e.WaitFor(t, e.Ask(t, alice, ns, withTask("wild.example.com/v1", "Build", "b", succeeded)), v1alpha1.RequestActive)
	lease := e.WaitFor(t, e.Ask(t, alice, ns, withTask("coordination.k8s.io/v1", "Lease", "x", "object.spec.holderIdentity == 'me'")), v1alpha1.RequestFailed)
	if !kit.HasMessage(lease.Status.Conditions, "resources [leases]") {
		t.Errorf("nobody can tell what to do: %s", kit.Describe(lease.Status.Conditions))
	}
}

// The list of kinds changes: what waits is looked at again, and a grant says that
// its task cannot be read any more, until it can.
func TestListOfKindsChanges(t *testing.T) {
	t.Parallel()
	newKind(t, "fickle.example.com", "Sync", "Namespaced", "v1")
	listKind(t, "fickle.example.com", "syncs", "get", "list", "watch")
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	task := newTask("fickle.example.com/v1", "Sync", ns, "ledger")
	kit.Create(t, e.Admin, task.DeepCopy())
	held := e.WaitMatched(t, e.Ask(t, alice, ns, withTask("fickle.example.com/v1", "Sync", "ledger", succeeded)))
	kit.MustDecide(t, bob, held, v1alpha1.VerdictApprove)
	held = e.WaitFor(t, held, v1alpha1.RequestActive)
	waits := e.WaitMatched(t, e.Ask(t, dave, ns, withTask("fickle.example.com/v1", "Sync", "ledger", succeeded)))

	withdraw(t, "fickle.example.com")
	ended := e.WaitFor(t, waits, v1alpha1.RequestFailed)
	if !kit.HasMessage(ended.Status.Conditions, "Sync is not listed as a kind of task") {
		t.Errorf("nobody can tell why: %s", kit.Describe(ended.Status.Conditions))
	}
	told := e.WaitUntil(t, held, "what cannot be told", func(r *v1alpha1.AccessRequest) bool {
		return meta.IsStatusConditionFalse(r.Status.Conditions, v1alpha1.ConditionTaskWatched)
	})
	if !kit.HasMessage(told.Status.Conditions, "until that is fixed, the access lasts until its deadline") {
		t.Errorf("nobody can tell what comes of it: %s", kit.Describe(told.Status.Conditions))
	}
	if !kit.Can(t, alice, ns) {
		t.Error("the access ended though nobody can say that the task is over")
	}

	listKind(t, "fickle.example.com", "syncs", "get", "list", "watch")
	e.WaitUntil(t, held, "the trouble to be over", func(r *v1alpha1.AccessRequest) bool {
		return meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionTaskWatched) == nil
	})
	e.PatchStatus(t, task, `{"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`)
	e.WaitEnded(t, held.Status.GrantName, v1alpha1.EndTaskCompleted)
}

// withdraw takes a group off the list of kinds.
func withdraw(t *testing.T, group string) {
	t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		role := &rbacv1.ClusterRole{}
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: "access-broker-task-kinds"}, role); err != nil {
			return err
		}
		role.Rules = slices.DeleteFunc(role.Rules, func(rule rbacv1.PolicyRule) bool { return slices.Contains(rule.APIGroups, group) })
		return e.Admin.Update(t.Context(), role)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// completeWhen that errs is told before anybody decides and while it errs, on the
// request and the grant and in an Event, and it is no end.
func TestCompleteWhenErrs(t *testing.T) {
	t.Parallel()
	newKind(t, "errs.example.com", "Backup", "Namespaced", "v1")
	listKind(t, "errs.example.com", "backups", "get", "list", "watch")
	for name, tc := range map[string]struct{ completeWhen, message, mend, done string }{
		"typo":                  {"object.status.pahse == 'Done'", "no such key: pahse", `{"status":{"pahse":"Busy"}}`, `{"status":{"pahse":"Done"}}`},
		"number against string": {"object.status.done > '3'", "no such overload", `{"status":{"done":"1"}}`, `{"status":{"done":"7"}}`},
		"no boolean":            {"object.status.phase", "must be true or false", `{"status":{"phase":false}}`, `{"status":{"phase":true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, nil)
			task := newTask("errs.example.com/v1", "Backup", ns, "nightly")
			kit.Create(t, e.Admin, task.DeepCopy())
			e.PatchStatus(t, task.DeepCopy(), `{"status":{"phase":"Busy","done":3}}`)
			request := e.WaitMatched(t, e.Ask(t, alice, ns, withTask("errs.example.com/v1", "Backup", "nightly", tc.completeWhen)))
			if !kit.HasMessage(request.Status.Conditions, tc.message) {
				t.Errorf("those who approve are not told: %s", kit.Describe(request.Status.Conditions))
			}
			kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
			active := e.WaitFor(t, request, v1alpha1.RequestActive)
			told := e.WaitUntil(t, request, "what cannot be told", func(r *v1alpha1.AccessRequest) bool {
				return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonCompleteWhenErrs) && r.Status.Phase == v1alpha1.RequestActive
			})
			if !kit.HasMessage(told.Status.Conditions, tc.message) || !kit.HasMessage(e.GrantOf(t, request).Status.Conditions, tc.message) {
				t.Errorf("want %q in: %s\nand: %s", tc.message, kit.Describe(told.Status.Conditions), kit.Describe(e.GrantOf(t, request).Status.Conditions))
			}
			kit.Eventually(t, "an Event that tells of it", func(ctx context.Context) (bool, error) {
				list := &eventsv1.EventList{}
				if err := e.Admin.List(ctx, list, client.InNamespace(ns)); err != nil {
					return false, err
				}
				return slices.ContainsFunc(list.Items, func(event eventsv1.Event) bool {
					return event.Reason == v1alpha1.ReasonCompleteWhenErrs && event.Type == corev1.EventTypeWarning && strings.Contains(event.Note, tc.message)
				}), nil
			})
			e.PatchStatus(t, task.DeepCopy(), tc.mend)
			e.WaitUntil(t, request, "the trouble to be over", func(r *v1alpha1.AccessRequest) bool {
				return meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionTaskWatched) == nil
			})
			if !kit.Can(t, alice, ns) {
				t.Error("the access ended by an error")
			}
			e.PatchStatus(t, task.DeepCopy(), tc.done)
			e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndTaskCompleted)
		})
	}
}

// A task that a queue holds back has not begun: nothing is given and no time runs
// until it does. One that is suspended again keeps its access.
func TestTaskIsHeldBack(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		task           *v1alpha1.TaskRef
		create         func(t *testing.T, ns string)
		message        string
		begin, suspend func(t *testing.T, ns string)
	}{
		"suspended Job": {
			task: &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: "train"},
			create: func(t *testing.T, ns string) {
				job := kit.NewJob(ns, "train")
				job.Spec.Suspend = ptr.To(true)
				kit.Create(t, e.Admin, job)
			},
			message: "train is suspended: the access begins when it runs",
			begin:   func(t *testing.T, ns string) { e.Patch(t, kit.NewJob(ns, "train"), `{"spec":{"suspend":false}}`) },
			suspend: func(t *testing.T, ns string) { e.Patch(t, kit.NewJob(ns, "train"), `{"spec":{"suspend":true}}`) },
		},
		"gated Pod": {
			task: &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: "train"},
			create: func(t *testing.T, ns string) {
				pod := kit.NewPod(ns, "train")
				pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "kueue.x-k8s.io/admission"}}
				kit.Create(t, e.Admin, pod)
			},
			message: "train is held back by the scheduling gate kueue.x-k8s.io/admission",
			begin: func(t *testing.T, ns string) {
				e.Patch(t, kit.NewPod(ns, "train"), `{"spec":{"schedulingGates":null}}`)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, automatic(nil))
			tc.create(t, ns)
			request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) { s.Task = tc.task })
			e.WaitUntil(t, request, "a word of what it waits for", func(r *v1alpha1.AccessRequest) bool {
				return kit.HasReason(r.Status.Conditions, v1alpha1.ReasonWaitingForTask) && kit.HasMessage(r.Status.Conditions, tc.message)
			})
			if kit.Can(t, alice, ns) {
				t.Fatal("the access began before the task")
			}
			begun := time.Now().Truncate(time.Second)
			tc.begin(t, ns)
			e.WaitFor(t, request, v1alpha1.RequestActive)
			g := e.GrantOf(t, request)
			if g.Spec.NotBefore.Time.Before(begun) || g.Spec.ExpirationTime.Sub(g.Spec.NotBefore.Time) < time.Hour-time.Second {
				t.Errorf("the clock began at %s and ends at %s, the task began at %s", g.Spec.NotBefore, g.Spec.ExpirationTime, begun)
			}
			if tc.suspend == nil {
				return
			}
			looked := lookout(t, ns, *tc.task, "object.spec.suspend")
			tc.suspend(t, ns)
			looked()
			if !kit.Can(t, alice, ns) {
				t.Error("the access ended when its task was suspended")
			}
		})
	}
}

// A failed try is no end where the kind tries again; completeWhen alone decides
// where it is given, and tells this run's result from the last one's.
func TestTaskRunsAgain(t *testing.T) {
	t.Parallel()
	newKind(t, "tekton.dev", "TaskRun", "Namespaced", "v1")
	newKind(t, "argoproj.io", "Application", "Namespaced", "v1alpha1")
	listKind(t, "tekton.dev", "taskruns", "get", "list", "watch")
	listKind(t, "argoproj.io", "applications", "get", "list", "watch")
	active := func(t *testing.T, ns, apiVersion, kind, completeWhen, status string) (*unstructured.Unstructured, *v1alpha1.AccessRequest) {
		t.Helper()
		e.NewPolicy(t, ns, automatic(nil))
		task := newTask(apiVersion, kind, ns, "deploy")
		kit.Create(t, e.Admin, task.DeepCopy())
		e.PatchStatus(t, task.DeepCopy(), status)
		return task, e.WaitFor(t, e.Ask(t, alice, ns, withTask(apiVersion, kind, "deploy", completeWhen)), v1alpha1.RequestActive)
	}
	still := func(t *testing.T, task *unstructured.Unstructured, request *v1alpha1.AccessRequest, is, status string) {
		t.Helper()
		looked := lookout(t, request.Namespace, *request.Spec.Task, is)
		e.PatchStatus(t, task.DeepCopy(), status)
		looked()
		if !kit.Can(t, alice, request.Namespace) {
			t.Fatalf("the access ended at %s", status)
		}
	}
	const failedOnce = `{"status":{"conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}}`
	t.Run("TaskRun that is tried again", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		task, request := active(t, ns, "tekton.dev/v1", "TaskRun", "", `{"status":{"conditions":[{"type":"Succeeded","status":"Unknown"}]}}`)
		still(t, task, request, "object.status.conditions[0].status == 'False'", failedOnce)
		still(t, task, request, "object.status.conditions[0].reason == 'ToBeRetried'", `{"status":{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"ToBeRetried"}]}}`)
		e.PatchStatus(t, task, `{"status":{"completionTime":"2026-07-15T12:00:00Z","conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}}`)
		e.WaitEnded(t, request.Status.GrantName, v1alpha1.EndTaskFailed)
	})
	t.Run("completeWhen overrules a failure", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		task, request := active(t, ns, "tekton.dev/v1", "TaskRun", succeeded, failedOnce)
		still(t, task, request, "has(object.status.completionTime)", `{"status":{"completionTime":"2026-07-15T12:00:00Z"}}`)
		e.PatchStatus(t, task, `{"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`)
		e.WaitEnded(t, request.Status.GrantName, v1alpha1.EndTaskCompleted)
	})
	const synced = "object.status.operationState.phase == 'Succeeded' && timestamp(object.status.operationState.finishedAt) > granted"
	t.Run("result newer than the grant", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		task, request := active(t, ns, "argoproj.io/v1alpha1", "Application", synced, `{"status":{"operationState":{"phase":"Succeeded","finishedAt":"2026-07-15T12:00:00Z"}}}`)
		still(t, task, request, "object.status.operationState.phase == 'Running'", `{"status":{"operationState":{"phase":"Running","finishedAt":null}}}`)
		later := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
		e.PatchStatus(t, task, fmt.Sprintf(`{"status":{"operationState":{"phase":"Succeeded","finishedAt":%q}}}`, later))
		e.WaitEnded(t, request.Status.GrantName, v1alpha1.EndTaskCompleted)
	})
	t.Run("result left over", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, automatic(nil))
		task := newTask("argoproj.io/v1alpha1", "Application", ns, "deploy")
		kit.Create(t, e.Admin, task.DeepCopy())
		e.PatchStatus(t, task, `{"status":{"operationState":{"phase":"Succeeded","finishedAt":"2026-07-15T12:00:00Z"}}}`)
		for completeWhen, message := range map[string]string{
			"object.status.operationState.phase == 'Succeeded'": "write in completeWhen that it is newer than the grant: " + synced,
			"": "say it in completeWhen, for example: " + synced,
		} {
			ended := e.WaitFor(t, e.Ask(t, alice, ns, withTask("argoproj.io/v1alpha1", "Application", "deploy", completeWhen)), v1alpha1.RequestFailed)
			if !kit.HasMessage(ended.Status.Conditions, message) {
				t.Errorf("want %q in: %s", message, kit.Describe(ended.Status.Conditions))
			}
		}
	})
	t.Run("what the request asks for", func(t *testing.T) {
		t.Parallel()
		ns := e.NewNamespace(t, nil)
		e.NewPolicy(t, ns, automatic(nil))
		task := newTask("argoproj.io/v1alpha1", "Application", ns, "deploy")
		kit.Create(t, e.Admin, task.DeepCopy())
		e.PatchStatus(t, task.DeepCopy(), `{"status":{"sync":{"revision":"abc"}}}`)
		request := e.WaitFor(t, e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.Ticket = "CHG-7"
			withTask("argoproj.io/v1alpha1", "Application", "deploy", "object.status.sync.revision == request.spec.ticket")(s)
		}), v1alpha1.RequestActive)
		e.PatchStatus(t, task, `{"status":{"sync":{"revision":"CHG-7"}}}`)
		e.WaitEnded(t, request.Status.GrantName, v1alpha1.EndTaskCompleted)
	})
}

// A version that is withdrawn says nothing about the object, which is there under
// another one.
func TestVersionOfATaskIsWithdrawn(t *testing.T) {
	t.Parallel()
	crd := newKind(t, "versions.example.com", "Move", "Namespaced", "v1", "v2")
	listKind(t, "versions.example.com", "moves", "get", "list", "watch")
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(nil))
	for _, name := range []string{"finishes", "is-deleted"} {
		kit.Create(t, e.Admin, newTask("versions.example.com/v2", "Move", ns, name))
	}
	finishes := e.WaitFor(t, e.Ask(t, alice, ns, withTask("versions.example.com/v1", "Move", "finishes", succeeded)), v1alpha1.RequestActive)
	deleted := e.WaitFor(t, e.Ask(t, dave, ns, withTask("versions.example.com/v1", "Move", "is-deleted", succeeded)), v1alpha1.RequestActive)

	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(crd), crd); err != nil {
			return err
		}
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		versions[0].(map[string]any)["served"] = false
		_ = unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")
		return e.Admin.Update(t.Context(), crd)
	})
	if err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "the end of v1", func(ctx context.Context) (bool, error) {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("versions.example.com/v1")
		list.SetKind("MoveList")
		return e.Admin.List(ctx, list) != nil, nil
	})
	if !kit.Can(t, alice, ns) || !kit.Can(t, dave, ns) {
		t.Fatal("the access ended though the task is there")
	}
	e.PatchStatus(t, newTask("versions.example.com/v2", "Move", ns, "finishes"), `{"status":{"conditions":[{"type":"Succeeded","status":"True"}]}}`)
	e.WaitEnded(t, finishes.Status.GrantName, v1alpha1.EndTaskCompleted)
	kit.Delete(t, e.Admin, newTask("versions.example.com/v2", "Move", ns, "is-deleted"))
	e.WaitEnded(t, deleted.Status.GrantName, v1alpha1.EndTaskGone)
}

// A Job that is deleted as soon as it is over is told as what it was.
func TestJobIsDeletedAsItFinishes(t *testing.T) {
	t.Parallel()
	for phase, reason := range map[corev1.PodPhase]v1alpha1.EndReason{corev1.PodSucceeded: v1alpha1.EndTaskCompleted, corev1.PodFailed: v1alpha1.EndTaskFailed} {
		for _, completeWhen := range []string{"", "object.status.?conditions.orValue([]).exists(c, c.type in ['Complete', 'Failed'] && c.status == 'True')"} {
			t.Run(fmt.Sprint(phase, " with completeWhen: ", completeWhen != ""), func(t *testing.T) {
				t.Parallel()
				reason := reason
				if completeWhen != "" {
					reason = v1alpha1.EndTaskCompleted
				}
				ns := e.NewNamespace(t, nil)
				e.NewPolicy(t, ns, automatic(nil))
				job := kit.NewJob(ns, "migrate")
				job.Spec.TTLSecondsAfterFinished = new(int32)
				kit.Create(t, e.Admin, job)
				active := e.WaitFor(t, e.Ask(t, alice, ns, withTask("batch/v1", "Job", "migrate", completeWhen)), v1alpha1.RequestActive)
				e.FinishJob(t, ns, "migrate", phase)
				e.WaitEnded(t, active.Status.GrantName, reason)
				if kit.Can(t, alice, ns) {
					t.Error("alice still has access")
				}
			})
		}
	}
}

// A policy that asks for the task of a request is usable however large the task is.
func TestPolicyAboutALargeTask(t *testing.T) {
	t.Parallel()
	newKind(t, "large.example.com", "Workflow", "Namespaced", "v1")
	listKind(t, "large.example.com", "workflows", "get", "list", "watch")
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) {
		s.Conditions = []v1alpha1.PolicyCondition{{Name: "account", Expression: "task == null || task.spec.serviceAccountName == 'deployer'"}}
	}))
	nodes := map[string]any{}
	for i := range 600 {
		name := fmt.Sprintf("nightly-%d", i)
		nodes[name] = map[string]any{
			"id": name, "displayName": name, "type": "Pod", "phase": "Succeeded", "templateName": "step",
			"startedAt": "2026-07-15T12:00:00Z", "finishedAt": "2026-07-15T12:01:00Z",
			"children": []any{name + "-a", name + "-b"}, "outputs": map[string]any{"exitCode": "0"},
		}
	}
	workflow := newTask("large.example.com/v1", "Workflow", ns, "nightly")
	workflow.Object["spec"] = map[string]any{"serviceAccountName": "deployer"}
	kit.Create(t, e.Admin, workflow)
	workflow.Object["status"] = map[string]any{"phase": "Running", "nodes": nodes}
	if err := e.Admin.Status().Update(t.Context(), workflow); err != nil {
		t.Fatal(err)
	}
	active := e.WaitFor(t, e.Ask(t, alice, ns, withTask("large.example.com/v1", "Workflow", "nightly", "object.status.phase == 'Succeeded'")), v1alpha1.RequestActive)
	e.PatchStatus(t, newTask("large.example.com/v1", "Workflow", ns, "nightly"), `{"status":{"phase":"Succeeded"}}`)
	e.WaitEnded(t, active.Status.GrantName, v1alpha1.EndTaskCompleted)
}

// A task that waits long for its start is told as that when the request lapses.
func TestLapsesWhileTheTaskIsHeldBack(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic(func(s *v1alpha1.AccessPolicySpec) { s.PendingTimeout = &metav1.Duration{Duration: 2 * time.Second} }))
	job := kit.NewJob(ns, "train")
	job.Spec.Suspend = ptr.To(true)
	kit.Create(t, e.Admin, job)
	lapsed := e.WaitFor(t, e.Ask(t, alice, ns, withTask("batch/v1", "Job", "train", "")), v1alpha1.RequestLapsed)
	if !kit.HasMessage(lapsed.Status.Conditions, "did not begin within 2s (approved; Job "+ns+"/train is suspended") {
		t.Errorf("nobody can tell why: %s", kit.Describe(lapsed.Status.Conditions))
	}
}
