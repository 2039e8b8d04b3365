package install

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The Deployment runs what the image does, as the user that the image has; the
// tests of hack/image look into that.
func TestDeploymentRunsImage(t *testing.T) {
	pod := podOf(t, kustomize(t, "config/default")["Deployment access-broker-system/access-broker"])
	is := func(id *int64) bool { return id != nil && *id == 65532 }
	if c := pod.Spec.SecurityContext; !is(c.RunAsUser) || !is(c.RunAsGroup) || pod.Spec.Containers[0].Command != nil {
		t.Errorf("the Deployment runs %v as %v", pod.Spec.Containers[0].Command, c)
	}
}

// The program knows every flag that the manifests give it.
func TestProgramKnowsItsFlags(t *testing.T) {
	workloads := 0
	for from, list := range map[string]objects{
		"config/default with every component": kustomize(t, withComponents(t, components(t)...)),
		"the observer":                        kustomize(t, withComponents(t, "observer")),
		"the chart":                           chart(t, "--set", "observer.enabled=true,observer.clientCASecret=ca,checks.enabled=true"),
		"the chart that reads log files":      chart(t, "--set", "observer.enabled=true,observer.mode=logs"),
	} {
		for key, o := range list {
			template := podOf(t, o)
			if template == nil {
				continue
			}
			workloads++
			// It parses flags up to the one that asks for help. Commands take none.
			args := template.Spec.Containers[0].Args
			if len(args) == 1 && !strings.HasPrefix(args[0], "-") {
				continue
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(root(t), "bin", "access-broker"), append(slices.Clone(args), "-h")...)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "-metrics-bind-address") {
				t.Errorf("%s: %s: %v: %s", from, key, err, out)
			}
		}
	}
	if workloads < 8 {
		t.Errorf("there are %d workloads", workloads)
	}
}

// The files for a release are what kustomize makes, with the image.
func TestInstallYAML(t *testing.T) {
	dist := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "install-yaml", "IMAGE=example/access-broker:v1.2.3", "DIST="+dist)
	cmd.Dir = root(t)
	run(t, cmd)
	for name, folder := range map[string]string{"install.yaml": "config/default", "install-no-mutating-admission.yaml": "config/variants/no-mutating-admission"} {
		content, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		got, want := byKey(t, parse(t, content)), kustomize(t, folder)
		const deployment = "Deployment access-broker-system/access-broker"
		containers, _, _ := unstructured.NestedSlice(want[deployment].Object, "spec", "template", "spec", "containers")
		containers[0].(map[string]any)["image"] = "example/access-broker:v1.2.3"
		if err := unstructured.SetNestedSlice(want[deployment].Object, containers, "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s has other objects than %s:\n%s", name, folder, diff)
		}
		for key, o := range want {
			if got[key] != nil && !cmp.Equal(o.Object, got[key].Object) {
				t.Errorf("%s: %s differs:\n%s", name, key, cmp.Diff(o.Object, got[key].Object))
			}
		}
	}
}
