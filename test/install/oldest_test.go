package install

import (
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
)

// oldest is the Kubernetes from which on docs/install.md says it works.
var oldest = version.MajorMinor(1, 30)

// There is no API server of that version here, but its CEL is: every rule that
// is installed before 1.36 compiles with the functions that it knows.
func TestRulesCompileOnTheOldestKubernetes(t *testing.T) {
	var variables []cel.EnvOption
	for _, name := range []string{"object", "oldObject", "request", "namespaceObject", "authorizer", "variables", "self", "oldSelf"} {
		variables = append(variables, cel.Variable(name, cel.DynType))
	}
	set, err := environment.MustBaseEnvSet(oldest).Extend(environment.VersionedOptions{IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: variables})
	if err != nil {
		t.Fatal(err)
	}
	known := set.NewExpressionsEnv()
	if _, issues := known.Compile("semver('1.2.3')"); issues.Err() == nil { // since 1.33
		t.Fatal("it knows what came later: this shows nothing")
	}
	compiled := 0
	for key, o := range kustomize(t, withComponents(t, "four-eyes", "no-mutating-admission")) {
		if gvk := o.GroupVersionKind(); gvk.Group == "admissionregistration.k8s.io" && (gvk.Version != "v1" || !strings.HasPrefix(gvk.Kind, "Validating")) {
			t.Errorf("%s %s is not served by %s", gvk.Version, key, oldest)
		}
		rules(o, func(rule string) {
			compiled++
			if _, issues := known.Compile(rule); issues.Err() != nil {
				t.Errorf("%s: %v", key, issues.Err())
			}
		})
	}
	if compiled < 50 {
		t.Errorf("only %d rules were found", compiled)
	}
}

// rules visits the CEL expressions of admission policies and CRDs.
func rules(o *unstructured.Unstructured, visit func(string)) {
	admission := o.GetKind() == "ValidatingAdmissionPolicy"
	if !admission && o.GetKind() != "CustomResourceDefinition" {
		return
	}
	var walk func(any)
	walk = func(node any) {
		switch n := node.(type) {
		case []any:
			for _, item := range n {
				walk(item)
			}
		case map[string]any:
			for _, field := range []string{"expression", "messageExpression", "rule"} {
				if expression, ok := n[field].(string); ok && (admission || field == "rule" || n["rule"] != nil) {
					visit(expression)
				}
			}
			for _, value := range n {
				walk(value)
			}
		}
	}
	walk(o.Object["spec"])
}
