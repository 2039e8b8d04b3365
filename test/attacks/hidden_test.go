package attacks

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// shownTo is what those who decide about a role are shown.
func shownTo(t *testing.T, name string, rules ...rbacv1.PolicyRule) (ns string, request *v1alpha1.AccessRequest) {
	t.Helper()
	kit.Create(t, e.Admin, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules})
	grantable(t, name)
	return ofRole(t, name, nil)
}

func writingOf(group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: list(group), Resources: resources, Verbs: list("create", "update", "patch")}
}

func readingOf(group string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: list(group), Resources: resources, Verbs: list("get", "list", "watch")}
}

func mustWarn(t *testing.T, request *v1alpha1.AccessRequest, kind, says string) {
	t.Helper()
	for _, risk := range request.Status.Risks {
		if risk.Kind == kind && strings.Contains(risk.Message, says) {
			return
		}
	}
	t.Errorf("bob is not told of %s (%q), only %v", kind, says, request.Status.Risks)
}

// manyRules are more than can be shown.
func manyRules() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for i := range 5000 {
		rules = append(rules, readingOf(fmt.Sprintf("operator%d.example.com", i), "widgets"))
	}
	return rules
}

// What a role holds and does not look like.
func TestHiddenPowers(t *testing.T) {
	t.Parallel()
	attack(t, "role over custom kinds that run code or read Secrets", func(t *testing.T) {
		_, request := shownTo(t, "friendly", writingOf("argoproj.io", "workflows"), writingOf("kustomize.toolkit.fluxcd.io", "kustomizations"),
			writingOf("external-secrets.io", "externalsecrets"), writingOf("velero.io", "restores"), writingOf("apiextensions.crossplane.io", "compositions"))
		for kind, says := range map[string]string{
			"RunWorkflows": "commands of their own", "DeployAnything": "with its own permissions", "SyncSecrets": "bring them into the cluster",
			"RestoreBackups": "Secrets, permissions and data included", "ProvisionInfrastructure": "outside of the cluster",
		} {
			mustWarn(t, request, kind, says)
		}
	})
	attack(t, "role over a kind that nobody knows", func(t *testing.T) {
		_, request := shownTo(t, "obscure", writingOf("acme.example.com", "rockets"))
		mustWarn(t, request, "WriteUnknownKinds", "not known here: rockets.acme.example.com")
	})
	attack(t, "role of which no risk is known", func(t *testing.T) {
		_, request := shownTo(t, "plain", readingOf("", "pods"))
		mustWarn(t, request, "NoneKnown", "does not mean that there is nothing")
	})
	attack(t, "Secrets read without a word for reading", func(t *testing.T) {
		for _, verb := range list("patch", "delete", "deletecollection") {
			ns, request := shownTo(t, "mute-"+verb, rbacv1.PolicyRule{APIGroups: list(""), Resources: list("secrets"), Verbs: list(verb)})
			mustWarn(t, request, "ReadSecrets", "contents of Secrets")
			kit.Create(t, e.Admin, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "secret"}, StringData: map[string]string{"key": "hush"}})
			kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
			e.WaitFor(t, request, v1alpha1.RequestActive)
			if seen := answered(t, ns, verb); !strings.Contains(seen, "aHVzaA==") {
				t.Errorf("the answer to %s is no longer the Secret: %s", verb, seen)
			}
		}
	})
	attack(t, "power hidden among five thousand rules", func(t *testing.T) {
		ns, request := shownTo(t, "haystack", append(manyRules(), rbacv1.PolicyRule{APIGroups: list(""), Resources: list("users"), Verbs: list("impersonate"), ResourceNames: list("root")}, may("delete")[0])...)
		mustWarn(t, request, "Impersonate", "limited to the names root")
		lines := request.Status.Rules
		if lines[0] != "impersonate users root" {
			t.Errorf("the first of %d lines is %q", len(lines), lines[0])
		}
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, "... and ") || !strings.Contains(last, "of 15,002 permissions more; kubectl get clusterrole haystack") {
			t.Errorf("the last of %d lines is %q", len(lines), last)
		}
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
	})
	attack(t, "long role widened where nobody sees it", func(t *testing.T) {
		ns, request := shownTo(t, "longer", append(manyRules(), may("delete")...)...)
		kit.MustDecide(t, bob, request, v1alpha1.VerdictApprove)
		e.WaitFor(t, request, v1alpha1.RequestActive)
		must(t, alice, ns)
		role := &rbacv1.ClusterRole{}
		if err := e.Admin.Get(t.Context(), client.ObjectKey{Name: "longer"}, role); err != nil {
			t.Fatal(err)
		}
		role.Rules[4999].Verbs = list("create")
		if err := e.Admin.Update(t.Context(), role); err != nil {
			t.Fatal(err)
		}
		g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndRoleWidened)
		mustNot(t, alice, ns)
		if !kit.HasMessage(g.Status.Conditions, "that the grant lists, and for none that it leaves out") {
			t.Errorf("the proof claims too much: %s", kit.Describe(g.Status.Conditions))
		}
	})
	attack(t, "rules that multiply to millions", func(t *testing.T) {
		ns := e.NewNamespace(t, nil)
		p := newPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
			s.Roles, s.Rules = nil, []v1alpha1.PolicyRule{{APIGroups: list(""), Resources: list("pods"), Verbs: list("get")}}
		})
		// All that the schema takes: millions of lines of long verbs and names.
		long := func(n int, text string) []string {
			var out []string
			for i := range n {
				out = append(out, fmt.Sprint(text, i))
			}
			return out
		}
		request := e.Ask(t, alice, ns, func(s *v1alpha1.AccessRequestSpec) {
			s.RoleRef, s.PolicyName = nil, p.Name
			s.Rules = []v1alpha1.PolicyRule{{
				Verbs: long(64, strings.Repeat("v", 250)), APIGroups: long(64, "g"),
				Resources: long(256, "r"), ResourceNames: long(256, strings.Repeat("n", 250)),
			}}
		})
		mustEnd(t, request, v1alpha1.RequestDenied, "does not cover all of the rules")
	})
}

// answered is what the API server answers alice to an empty patch of a Secret,
// or to its deletion for trial.
func answered(t *testing.T, ns, verb string) string {
	t.Helper()
	config, err := e.User("alice", "dev")
	if err != nil {
		t.Fatal(err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	secrets := clientset.CoreV1().RESTClient()
	trial := metav1.DeleteOptions{DryRun: list(metav1.DryRunAll), PropagationPolicy: ptr.To(metav1.DeletePropagationForeground)}
	path := "/api/v1/namespaces/" + ns + "/secrets"
	ask := secrets.Delete().AbsPath(path).Body(&trial)
	switch verb {
	case "patch":
		ask = secrets.Patch(types.MergePatchType).AbsPath(path + "/secret").Body([]byte(`{}`))
	case "delete":
		ask = secrets.Delete().AbsPath(path + "/secret").Body(&trial)
	}
	seen, err := ask.Do(t.Context()).Raw()
	if err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	return string(seen)
}
