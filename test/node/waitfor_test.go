package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab/node"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The samples run for real: the init container in the plugin's own image holds the Job
// until its access is there, as the Pod's ServiceAccount and with the names that the
// downward API gives it, and says why when it is refused.
func TestWorkloadSamples(t *testing.T) {
	settled(t)
	samples := filepath.Join(e.Root, "config", "samples", "workloads")
	for _, name := range []string{"ci", "shop"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		kit.Create(t, e.Admin, ns)
		t.Cleanup(func() { _ = e.Admin.Delete(context.WithoutCancel(t.Context()), ns) })
	}
	kit.Create(t, e.Admin, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "deployer"}})
	must(t, "kubectl apply -f "+filepath.Join(samples, "policy.yaml"), "kubectl wait --for=condition=Ready --timeout=30s accesspolicy/workloads")
	t.Cleanup(func() {
		_ = e.MustRun(context.WithoutCancel(t.Context()), "kubectl delete --ignore-not-found -f "+filepath.Join(samples, "policy.yaml"))
	})

	job := &batchv1.Job{}
	sample(t, filepath.Join(samples, "job.yaml"), job)
	here(&job.Spec, 0)
	kit.Create(t, e.Admin, job)
	endsWithAccess(t, job, v1alpha1.RequestCompleted)

	cron := &batchv1.CronJob{}
	sample(t, filepath.Join(samples, "cronjob.yaml"), cron)
	here(&cron.Spec.JobTemplate.Spec, 0)
	kit.Create(t, e.Admin, cron)
	names := map[string]bool{}
	for _, run := range []string{"monday", "tuesday"} {
		must(t, "kubectl create job "+run+" -n ci --from=cronjob/"+cron.Name)
		names[endsWithAccess(t, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: run}}, v1alpha1.RequestCompleted).Name] = true
	}
	if len(names) != 2 {
		t.Errorf("two runs have the requests %v", names)
	}

	// Tried again, it has the same request: the first Pod fails in its work.
	again := &batchv1.Job{}
	sample(t, filepath.Join(samples, "job.yaml"), again)
	again.Name = "again"
	here(&again.Spec, 1)
	again.Spec.BackoffLimit = new(int32(1))
	kit.Create(t, e.Admin, again)
	endsWithAccess(t, again, v1alpha1.RequestCompleted)

	refused := &batchv1.Job{}
	sample(t, filepath.Join(samples, "job.yaml"), refused)
	refused.Name = "refused"
	here(&refused.Spec, 0)
	refused.Spec.BackoffLimit = new(int32(0))
	refused.Spec.Template.Spec.InitContainers[0].Args = append(refused.Spec.Template.Spec.InitContainers[0].Args, "--for=2h")
	kit.Create(t, e.Admin, refused)
	pod := &corev1.Pod{}
	kit.Within(t, taskPatience, "the end of the init container", func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		err := e.Admin.List(ctx, pods, client.InNamespace("ci"), client.MatchingLabels{batchv1.JobNameLabel: "refused"})
		if err != nil || len(pods.Items) != 1 || pods.Items[0].Status.Phase != corev1.PodFailed {
			return false, err
		}
		pod = &pods.Items[0]
		return true, nil
	})
	if code := pod.Status.InitContainerStatuses[0].State.Terminated.ExitCode; code != 3 {
		t.Errorf("it ended with code %d, want 3", code)
	}
	if said, err := e.Run(t.Context(), "admin", "kubectl logs -n ci "+pod.Name+" -c access"); err != nil || !strings.Contains(said, "error: Denied: ") || !strings.Contains(said, "at most 1h") {
		t.Errorf("it does not say why: %v %s", err, said)
	}
}

func sample(t *testing.T, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

// here has a Job of the samples run what this node has.
func here(s *batchv1.JobSpec, code int) {
	pod := &s.Template.Spec
	pod.InitContainers[0].Image, pod.InitContainers[0].ImagePullPolicy = node.PluginImage, corev1.PullIfNotPresent
	work := workload(time.Second, code).Containers[0]
	work.Name = pod.Containers[0].Name
	pod.Containers[0] = work
}

// endsWithAccess waits until a Job is over and its one request is, too, and checks that the work
// began with the access and not before.
func endsWithAccess(t *testing.T, job *batchv1.Job, phase v1alpha1.RequestPhase) *v1alpha1.AccessRequest {
	t.Helper()
	kit.Within(t, taskPatience, "the end of Job "+job.Name, func(ctx context.Context) (bool, error) {
		err := e.Admin.Get(ctx, client.ObjectKeyFromObject(job), job)
		return has(job, batchv1.JobComplete) || has(job, batchv1.JobFailed), err
	})
	list := &v1alpha1.AccessRequestList{}
	if err := e.Admin.List(t.Context(), list, client.InNamespace(job.Namespace)); err != nil {
		t.Fatal(err)
	}
	var request *v1alpha1.AccessRequest
	for i, r := range list.Items {
		if r.Spec.Task != nil && r.Spec.Task.Name == job.Name {
			if request != nil {
				t.Errorf("Job %s has two requests: %s and %s", job.Name, request.Name, r.Name)
			}
			request = &list.Items[i]
		}
	}
	if request == nil {
		t.Fatalf("Job %s has not asked", job.Name)
	}
	e.WaitFor(t, request, phase)
	given := e.GrantOf(t, request).Status.GrantedTime
	pods := &corev1.PodList{}
	if err := e.Admin.List(t.Context(), pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil || len(pods.Items) == 0 {
		t.Fatal(err, len(pods.Items))
	}
	for _, pod := range pods.Items {
		ended := pod.Status.ContainerStatuses[0].State.Terminated
		if ended == nil || given == nil || ended.StartedAt.Time.Before(given.Truncate(time.Second)) {
			t.Errorf("the work of %s began before its access, which was given at %v: %s", pod.Name, given, fmt.Sprint(pod.Status.ContainerStatuses))
		}
	}
	return request
}
