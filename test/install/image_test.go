package install

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
)

// What CI cannot do for want of a container engine is held as far as it goes
// without one: from what .dockerignore leaves in, the Dockerfile's command
// builds the program that the manifests run.
func TestDockerfile(t *testing.T) {
	context := t.TempDir()
	for line := range strings.Lines(file(t, ".dockerignore")) {
		path, in := strings.CutPrefix(strings.TrimSpace(line), "!")
		if !in {
			continue
		}
		to := filepath.Join(context, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, exec.CommandContext(t.Context(), "cp", "-r", filepath.Join(root(t), path), to))
	}
	dockerfile := file(t, "Dockerfile")
	build := regexp.MustCompile(`go build (.*) -o /access-broker (\S+)\n`).FindStringSubmatch(dockerfile)
	if build == nil {
		t.Fatal("the Dockerfile does not build /access-broker")
	}
	binary := filepath.Join(context, "access-broker")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "go build "+build[1]+" -o "+binary+" "+build[2])
	cmd.Dir = context
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "VERSION=v1.2.3")
	run(t, cmd)
	if said := string(run(t, exec.CommandContext(t.Context(), binary, "--version"))); strings.TrimSpace(said) != "v1.2.3" {
		t.Errorf("its version is %q", said)
	}

	needed := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(file(t, "go.mod"))
	has := regexp.MustCompile(`(?m)^ARG GO_IMAGE=golang:(\S+)$`).FindStringSubmatch(dockerfile)
	if needed == nil || has == nil || version.MustParseGeneric(has[1]).LessThan(version.MustParseGeneric(needed[1])) {
		t.Errorf("the image has Go %v, go.mod asks for %v", has, needed)
	}
	for _, want := range []string{"\nUSER 65532:65532\n", "\nENTRYPOINT [\"/access-broker\"]\n"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
	pod := podOf(t, kustomize(t, "config/default")["Deployment access-broker-system/access-broker"])
	if user := pod.Spec.SecurityContext.RunAsUser; user == nil || *user != 65532 || pod.Spec.Containers[0].Command != nil {
		t.Errorf("the Deployment runs %v as %v", pod.Spec.Containers[0].Command, user)
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

func file(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
