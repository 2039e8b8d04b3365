package faults

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// What is installed to outlive faults is taken by the API server: the
// Deployment, and the CronJob under the same restrictions but apart from it.
func TestManifests(t *testing.T) {
	c := take(t)
	dir := t.TempDir()
	config, err := filepath.Rel(dir, filepath.Join(c.Root, "config")) // kustomize takes no absolute path
	if err != nil {
		t.Fatal(err)
	}
	kustomization := fmt.Sprintf("resources: [%[1]s/default]\ncomponents: [%[1]s/components/sweep-cronjob]\n", config)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := c.KubeconfigOf(lab.AdminName)
	manifests, err := c.Kubectl(admin, "kustomize", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	apply := c.Kubectl(admin, "apply", "--dry-run=server", "-f", "-")
	apply.Stdin = bytes.NewReader(manifests)
	out, err := apply.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Pod Security warns of workloads whose Pods it would refuse.
	if !strings.Contains(string(out), "cronjob.batch/access-broker-sweep") || strings.Contains(string(out), "Warning") {
		t.Errorf("the API server says:\n%s", out)
	}

	deployment, cronJob := &appsv1.Deployment{}, &batchv1.CronJob{}
	find(t, manifests, "Deployment", deployment)
	find(t, manifests, "CronJob", cronJob)
	job := cronJob.Spec.JobTemplate.Spec
	for name, template := range map[string]corev1.PodTemplateSpec{"deployment": deployment.Spec.Template, "sweep": job.Template} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: lab.BrokerNamespace, Name: "test-" + name, Labels: template.Labels}, Spec: template.Spec}
		if err := c.Admin.Create(t.Context(), pod, client.DryRunAll); err != nil {
			t.Errorf("a Pod of the %s is refused: %v", name, err)
		}
		if pod.Spec.ServiceAccountName != lab.BrokerServiceAccount {
			t.Errorf("a Pod of the %s runs as %s", name, pod.Spec.ServiceAccountName)
		}
		pod.Spec.Containers[0].SecurityContext = nil
		pod.ResourceVersion, pod.UID = "", ""
		if err := c.Admin.Create(t.Context(), pod, client.DryRunAll); err == nil {
			t.Errorf("the namespace admits what is not restricted: the test of the %s shows nothing", name)
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(deployment.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if selector.Matches(labels.Set(job.Template.Labels)) {
		t.Error("the sweep's Pods count as replicas")
	}
	if cronJob.Spec.ConcurrencyPolicy != batchv1.ForbidConcurrent || *job.BackoffLimit != 0 || !slices.Equal(job.Template.Spec.Containers[0].Args, []string{"sweep"}) {
		t.Errorf("the sweep is run as %+v", cronJob.Spec)
	}
}

// find decodes the one object of a kind.
func find(t *testing.T, manifests []byte, kind string, into client.Object) {
	t.Helper()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			t.Fatalf("no %s", kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		meta := &metav1.TypeMeta{}
		if err := yaml.Unmarshal(document, meta); err != nil {
			t.Fatal(err)
		}
		if meta.Kind == kind {
			if err := yaml.UnmarshalStrict(document, into); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}
