package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	requestcontroller "github.com/accessbroker/accessbroker/controllers/request"
	"github.com/accessbroker/accessbroker/internal/cached"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/test/kit"
)

// missingNow is what a request may name that does not exist, with the reasons while
// it may be on its way and afterwards.
var missingNow = map[string]struct {
	edit    func(*v1alpha1.AccessRequestSpec)
	waits   string
	phase   v1alpha1.RequestPhase
	reason  string
	message string
}{
	"ClusterRole": {
		func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "later" },
		"WaitingForRole", v1alpha1.RequestFailed, "RoleNotFound", "ClusterRole later does not exist",
	},
	"Role": {
		func(s *v1alpha1.AccessRequestSpec) { s.RoleRef = &v1alpha1.RoleRef{Kind: "Role", Name: "later"} },
		"WaitingForRole", v1alpha1.RequestFailed, "RoleNotFound", "/later does not exist",
	},
	"namespace": {
		func(s *v1alpha1.AccessRequestSpec) { s.Scope = &v1alpha1.Scope{Namespaces: []string{"later"}} },
		"WaitingForNamespace", v1alpha1.RequestFailed, "NamespaceNotFound", "namespace later does not exist",
	},
	"namespace by label": {
		func(s *v1alpha1.AccessRequestSpec) {
			s.Scope = &v1alpha1.Scope{NamespaceSelector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"comes": "later"}}}
		},
		"WaitingForNamespace", v1alpha1.RequestFailed, "NamespaceNotFound", "selects no namespace",
	},
	"ServiceAccount": {
		func(s *v1alpha1.AccessRequestSpec) {
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "later"}}
		},
		"WaitingForServiceAccount", v1alpha1.RequestFailed, "SubjectNotFound", "ServiceAccount default/later does not exist",
	},
	"all at once": {
		func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef.Name = "later"
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "later"}}
		},
		"WaitingForServiceAccount", v1alpha1.RequestFailed, "SubjectNotFound", "ServiceAccount default/later does not exist",
	},
	"named policy": {
		func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = "later" },
		"WaitingForPolicy", v1alpha1.RequestDenied, "NoPolicyAllows", `there is no policy "later"`,
	},
	"policy": {
		func(s *v1alpha1.AccessRequestSpec) { s.PolicyName, s.RoleRef.Name = "", "cluster-admin" },
		"WaitingForPolicy", v1alpha1.RequestDenied, "NoPolicyAllows", "no policy lets alice (group dev) request ClusterRole cluster-admin",
	},
	"permission to bind": {
		func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "system:node" },
		"WaitingForPermission", v1alpha1.RequestFailed, "NotSupported", "access-broker-grantable-roles",
	},
	"kind of task": {
		func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Later", Name: "x"}
		},
		"WaitingForKind", v1alpha1.RequestFailed, "Invalid", "knows no kind Later",
	},
	"permission to watch the kind of task": {
		func(s *v1alpha1.AccessRequestSpec) {
			s.Task = &v1alpha1.TaskRef{APIVersion: "example.com/v1", Kind: "Later", Name: "x"}
		},
		"WaitingForPermission", v1alpha1.RequestFailed, "NotSupported", "Later is not listed as a kind of task",
	},
}

// A request waits for what is missing, and says so at once, until the settling time
// is over. Then it fails, with the usual message. Nobody is asked meanwhile.
func TestMissingNowIsNotNever(t *testing.T) {
	for name, tc := range missingNow {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) {
				s.Roles = append(s.Roles, v1alpha1.RoleRef{Kind: "ClusterRole", Name: "system:node"})
			})
			w.requests.Settle = requestcontroller.DefaultSettle
			request := w.ask(tc.edit)
			created := request.CreationTimestamp.Time
			for _, age := range []time.Duration{0, 59 * time.Second} {
				w.clock.SetTime(created.Add(age))
				result := w.reconcileRequest(request)
				got := w.request(request).Status
				c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionPolicyMatched)
				if got.Phase != v1alpha1.RequestPending || c == nil || c.Status != metav1.ConditionUnknown || c.Reason != tc.waits ||
					!strings.Contains(c.Message, tc.message) || !strings.Contains(c.Message, "waits until "+created.Add(time.Minute).UTC().Format(time.RFC3339)) {
					t.Fatalf("after %s it is %s: %s", age, got.Phase, kit.Describe(got.Conditions))
				}
				if got.Policy != nil || got.Approvals != nil {
					t.Errorf("somebody is asked to decide: %v", got.Approvals)
				}
				if result.RequeueAfter <= 0 || result.RequeueAfter > time.Minute-age {
					t.Errorf("after %s it is looked at again in %s", age, result.RequeueAfter)
				}
			}
			w.clock.SetTime(created.Add(requestcontroller.DefaultSettle))
			w.reconcileRequest(request)
			got := w.request(request).Status
			ended := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionEnded)
			if got.Phase != tc.phase || ended == nil || ended.Reason != tc.reason || !strings.Contains(ended.Message, tc.message) || strings.Contains(ended.Message, "waits until") {
				t.Errorf("in the end it is %s: %s", got.Phase, kit.Describe(got.Conditions))
			}
			if cached.Awaits(&v1alpha1.AccessRequest{Status: got}) {
				t.Errorf("it is over and waits: %s", kit.Describe(got.Conditions))
			}
		})
	}
}

// A request that waiting cannot help ends at once.
func TestDecidedAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		policy func(*v1alpha1.AccessPolicySpec)
		edit   func(*v1alpha1.AccessRequestSpec)
		phase  v1alpha1.RequestPhase
	}{
		"too long":       {nil, func(s *v1alpha1.AccessRequestSpec) { s.Duration.Duration = 2 * time.Hour }, v1alpha1.RequestDenied},
		"without a task": {func(s *v1alpha1.AccessPolicySpec) { s.Task = v1alpha1.TaskRequired }, nil, v1alpha1.RequestDenied},
		"on a condition": {func(s *v1alpha1.AccessPolicySpec) {
			s.Conditions = []v1alpha1.PolicyCondition{{Name: "no", Expression: "false"}}
		}, nil, v1alpha1.RequestDenied},
		"by the policy that is named":     {nil, func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "view" }, v1alpha1.RequestDenied},
		"where nobody could ever approve": {func(s *v1alpha1.AccessPolicySpec) { s.Approvals[0].From = s.RequesterSubjects() }, nil, v1alpha1.RequestDenied},
		"what is never granted to anybody": {nil, func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef, s.Rules = nil, []v1alpha1.PolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}
			s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "later"}} // missing, which does not matter
		}, v1alpha1.RequestFailed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.policy)
			w.requests.Settle = requestcontroller.DefaultSettle
			request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
				if tc.edit != nil {
					tc.edit(s)
				}
			})
			w.reconcileRequest(request)
			if got := w.request(request).Status; got.Phase != tc.phase {
				t.Errorf("it is %s: %s", got.Phase, kit.Describe(got.Conditions))
			}
		})
	}
}

// A request that was matched does not wait for an object that goes away afterwards.
func TestMatchedAndThenMissing(t *testing.T) {
	w := newWorld(t, func(s *v1alpha1.AccessPolicySpec) { s.Subjects = v1alpha1.SubjectsAny })
	w.requests.Settle = requestcontroller.DefaultSettle
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "worker"}}
	w.create(account)
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
		s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: "worker"}}
	})
	w.reconcileRequest(request)
	if got := w.request(request).Status; got.Policy == nil {
		t.Fatalf("it is not matched: %s", kit.Describe(got.Conditions))
	}
	kit.Delete(t, e.Admin, account)
	w.fresh(serviceAccountMetadataOf(account))
	w.reconcileRequest(request)
	if got := w.request(request).Status; got.Phase != v1alpha1.RequestFailed {
		t.Errorf("it is %s: %s", got.Phase, kit.Describe(got.Conditions))
	}
}

func serviceAccountMetadataOf(account *corev1.ServiceAccount) client.Object {
	object := resolve.ServiceAccountMetadata()
	object.Namespace, object.Name = account.Namespace, account.Name
	return object
}

// A request that waits for something missing can be withdrawn.
func TestWithdrawnWhileItWaits(t *testing.T) {
	w := newWorld(t, nil)
	w.requests.Settle = requestcontroller.DefaultSettle
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) { s.RoleRef.Name = "later" })
	w.reconcileRequest(request)
	w.decide(alice, request, v1alpha1.VerdictRelease)
	w.reconcileRequest(request)
	if got := w.request(request).Status; got.Phase != v1alpha1.RequestCompleted || cached.Awaits(&v1alpha1.AccessRequest{Status: got}) {
		t.Errorf("it is %s: %s", got.Phase, kit.Describe(got.Conditions))
	}
}

// Waiting requests are found by what they wait for, and by nothing else.
func TestAwaitedObjects(t *testing.T) {
	w := newWorld(t, nil)
	w.requests.Settle = requestcontroller.DefaultSettle
	request := w.ask(func(s *v1alpha1.AccessRequestSpec) {
		s.Scope = &v1alpha1.Scope{Namespaces: []string{"t-later"}}
		s.Subjects = []v1alpha1.Subject{{Kind: "ServiceAccount", Namespace: "t-later", Name: "worker"}}
	})
	labels := w.ask(missingNow["namespace by label"].edit)
	for _, r := range []*v1alpha1.AccessRequest{request, labels, w.ask()} {
		w.reconcileRequest(r)
		w.fresh(r)
	}
	found := func(o client.Object) string {
		var names []string
		for _, r := range (wiring{cache: broker.GetClient()}).requestsAwaiting(t.Context(), o) {
			if r.Namespace == w.namespace {
				names = append(names, r.Name)
			}
		}
		return strings.Join(names, ",")
	}
	for o, want := range map[client.Object]string{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "t-later"}}:                            request.Name + "," + labels.Name,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "another"}}:                            labels.Name,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "t-later", Name: "worker"}}:  request.Name,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "other"}}: "",
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "worker"}}:          "",
	} {
		if got := found(o); got != want {
			t.Errorf("%T %s concerns %q, want %q", o, o.GetName(), got, want)
		}
	}
}
