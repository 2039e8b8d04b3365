package install

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	psaapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// Every workload that is installed passes the Pod Security Standard that the
// namespace enforces.
func TestRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psaapi.LevelVersion{Level: psaapi.LevelRestricted, Version: psaapi.LatestVersion()}
	for from, list := range map[string]objects{
		"config/default with every component": kustomize(t, withComponents(t, components(t)...)),
		"the observer":                        kustomize(t, withComponents(t, "observer")),
		"the chart":                           chart(t),
		"the chart with the observer":         chart(t, "--set", "observer.enabled=true"),
		"the chart with checks":               chart(t, "--set", "checks.enabled=true"),
		"the chart that reads log files":      chart(t, "--set", "observer.enabled=true,observer.mode=logs"),
	} {
		workloads := 0
		for key, o := range list {
			template := podOf(t, o)
			if template == nil {
				continue
			}
			workloads++
			result := policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec))
			if !result.Allowed {
				t.Errorf("%s: %s: %s: %s", from, key, result.ForbiddenReason(), result.ForbiddenDetail())
			}
			// Not asked for by the standard, but by the documents.
			for _, c := range template.Spec.Containers {
				if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s: the root file system is not read-only", from, key)
				}
			}
		}
		if workloads == 0 {
			t.Errorf("%s has no workload", from)
		}
	}
}

// components are the names of all.
func components(t *testing.T) []string {
	t.Helper()
	folders, err := os.ReadDir(filepath.Join(root(t), "config", "components"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, folder := range folders {
		names = append(names, folder.Name())
	}
	return names
}

// podOf is the Pod that a workload makes, nil when it makes none.
func podOf(t *testing.T, o *unstructured.Unstructured) *corev1.PodTemplateSpec {
	t.Helper()
	path := []string{"spec", "template"}
	switch o.GetKind() {
	case "Pod":
		path = nil
	case "CronJob":
		path = []string{"spec", "jobTemplate", "spec", "template"}
	case "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job":
	default:
		return nil
	}
	content, found, err := unstructured.NestedMap(o.Object, path...)
	if err != nil || !found {
		t.Fatalf("%s has no Pod: %v", keyOf(o), err)
	}
	template := &corev1.PodTemplateSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, template); err != nil {
		t.Fatalf("%s: %v", keyOf(o), err)
	}
	return template
}
