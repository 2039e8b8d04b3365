package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const workloads = samples + "/workloads"

// TestWorkloadSamplesAreThePages sees that a page shows each of them; whether it shows
// what is in them is looked at with the others.
func TestWorkloadSamplesAreThePages(t *testing.T) {
	var shown []string
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			shown = append(shown, b.value("file"))
		}
	}
	for _, file := range files(t, workloads, "*.yaml") {
		if !slices.Contains(shown, file) {
			t.Errorf("no page shows %s", file)
		}
	}
}

// TestRunsStatuses sees that the page on programs has the exit statuses that the
// commands tell of.
func TestRunsStatuses(t *testing.T) {
	page := read(t, "docs/programs.md")
	for _, command := range []string{"run", "for", "wait-for"} {
		help, err := exec.Command(filepath.Join(root, "bin", "kubectl-access"), command, "--help").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, help)
		}
		_, text, found := strings.Cut(string(help), "Exit status")
		text, _, _ = strings.Cut(text, "\n\n")
		lines := regexp.MustCompile(`(?m)^ +(\d+) +\S`).FindAllStringSubmatch(text, -1)
		if !found || len(lines) == 0 {
			t.Errorf("%s tells of no exit statuses:\n%s", command, help)
		}
		for _, line := range lines {
			if !regexp.MustCompile(`(?m)^\| ` + line[1] + ` \| `).MatchString(page) {
				t.Errorf("docs/programs.md does not tell of status %s of %s", line[1], command)
			}
		}
	}
}

// TestWorkloadSamples plays the samples: each workload asks for itself with the very
// arguments of its first step, as the ServiceAccount of its Pod, and has the access
// until its end, which is written as their controllers do.
func TestWorkloadSamples(t *testing.T) {
	e := running(t)
	for _, name := range []string{"shop", "ci"} {
		if err := e.Admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Fatal(err)
		}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: "deployer"}}
	if err := e.Admin.Create(t.Context(), account); err != nil && !strings.Contains(err.Error(), "already exists") {
		t.Fatal(err)
	}
	e.kubectl(t, "apply", "-f", workloads+"/policy.yaml")
	t.Cleanup(func() { e.kubectl(t, "delete", "-f", workloads+"/policy.yaml") })
	e.kubectl(t, "wait", "--for=condition=Ready", "--timeout=30s", "accesspolicy/workloads")
	for group, kind := range map[string]string{"argoproj.io": "Workflow", "tekton.dev": "TaskRun"} {
		aKind(t, e, group, kind)
	}
	e.kubectl(t, "patch", "clusterrole", "access-broker-task-kinds", "--type=json", "-p", `[
	  {"op": "add", "path": "/rules/-", "value": {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list", "watch"]}},
	  {"op": "add", "path": "/rules/-", "value": {"apiGroups": ["tekton.dev"], "resources": ["taskruns"], "verbs": ["get", "list", "watch"]}}]`)

	finish := func(job string) func(*testing.T, *unstructured.Unstructured) {
		return func(t *testing.T, _ *unstructured.Unstructured) { e.FinishJob(t, "ci", job, corev1.PodSucceeded) }
	}
	for name, tc := range map[string]struct {
		file string
		step []string
		// of the task's Pod, as its controller and its kubelet put them in.
		values map[string]string
		ends   func(*testing.T, *unstructured.Unstructured)
	}{
		"Job":      {"job.yaml", []string{"spec", "template", "spec", "initContainers"}, map[string]string{"$(JOB)": "name", "$(JOB_UID)": "uid"}, finish("deploy")},
		"CronJob":  {"cronjob.yaml", []string{"spec", "template", "spec", "initContainers"}, map[string]string{"$(JOB)": "name", "$(JOB_UID)": "uid"}, finish("nightly")},
		"Workflow": {"argo-workflow.yaml", []string{"spec", "templates", "0", "initContainers"}, map[string]string{"{{workflow.name}}": "name", "{{workflow.uid}}": "uid"}, statusOf(e, `{"status":{"phase":"Succeeded"}}`)},
		"TaskRun": {
			"tekton-taskrun.yaml",
			[]string{"spec", "taskSpec", "steps"},
			map[string]string{"$(context.taskRun.name)": "name", "$(context.taskRun.uid)": "uid"},
			statusOf(e, `{"status":{"conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}}`),
		},
	} {
		t.Run(name, func(t *testing.T) {
			task := workloadOf(t, e, tc.file)
			args := argsOf(t, task, tc.step)
			for i := range args {
				for from, what := range tc.values {
					with := task.GetName()
					if what == "uid" {
						with = string(task.GetUID())
					}
					args[i] = strings.ReplaceAll(args[i], from, with)
				}
				if strings.Contains(args[i], "$(") || strings.Contains(args[i], "{{") {
					t.Errorf("nobody fills in %s", args[i])
				}
			}
			deployer, step := asDeployer(t, e, args)
			step()
			step() // a step that is tried again asks for nothing
			list := &v1alpha1.AccessRequestList{}
			if err := e.Admin.List(t.Context(), list, client.InNamespace("ci")); err != nil {
				t.Fatal(err)
			}
			list.Items = slices.DeleteFunc(list.Items, func(r v1alpha1.AccessRequest) bool {
				return r.Spec.Task == nil || r.Spec.Task.Name != task.GetName() || !strings.HasPrefix(r.Name, task.GetName()+"-") || r.Status.Phase.Ended()
			})
			if len(list.Items) != 1 {
				t.Fatalf("%d requests", len(list.Items))
			}
			if !kit.Can(t, deployer, "shop") || kit.Can(t, deployer, "ci") {
				t.Error("it does not hold edit in shop, or holds it in ci too")
			}
			tc.ends(t, task)
			e.WaitFor(t, &list.Items[0], v1alpha1.RequestCompleted)
			if kit.Can(t, deployer, "shop") {
				t.Error("it is over and still has access")
			}
		})
	}
}

// aKind is one of somebody else's, of any shape.
func aKind(t *testing.T, e *installed, group, kind string) {
	t.Helper()
	one := strings.ToLower(kind)
	version := map[string]string{"Workflow": "v1alpha1", "TaskRun": "v1"}[kind]
	file := filepath.Join(t.TempDir(), "crd.yaml")
	crd := `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + one + `s.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {plural: ` + one + `s, singular: ` + one + `, kind: ` + kind + `}
  versions:
    - name: ` + version + `
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
	if err := os.WriteFile(file, []byte(crd), 0o600); err != nil {
		t.Fatal(err)
	}
	e.kubectl(t, "create", "-f", file)
	e.kubectl(t, "wait", "--for=condition=Established", "-f", file)
}

// workloadOf makes the object of a sample; of a CronJob, the Job of a run.
func workloadOf(t *testing.T, e *installed, file string) *unstructured.Unstructured {
	t.Helper()
	task := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(read(t, workloads+"/"+file)), task); err != nil {
		t.Fatal(err)
	}
	if task.GetKind() == "CronJob" {
		e.kubectl(t, "create", "-f", workloads+"/"+file)
		e.kubectl(t, "create", "job", "nightly", "-n", "ci", "--from=cronjob/"+task.GetName())
		task.SetAPIVersion("batch/v1")
		task.SetKind("Job")
		task.SetName("nightly")
		if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(task), task); err != nil {
			t.Fatal(err)
		}
		return task
	}
	if task.GetKind() == "Job" {
		// Another test has a Job of that name.
		e.kubectl(t, "delete", "job", task.GetName(), "-n", "ci", "--ignore-not-found")
	}
	kit.CreateSoon(t, e.Admin, task)
	return task
}

// argsOf are those of the first step at a path.
func argsOf(t *testing.T, task *unstructured.Unstructured, path []string) []string {
	t.Helper()
	at := any(task.Object)
	for _, key := range append(slices.Clone(path), "0", "args") {
		switch in := at.(type) {
		case map[string]any:
			at = in[key]
		case []any:
			at = in[0]
		}
	}
	var args []string
	list, ok := at.([]any)
	if !ok || len(list) == 0 {
		t.Fatalf("there is no first step at %v", path)
	}
	for _, arg := range list {
		args = append(args, arg.(string))
	}
	return args
}

// asDeployer is the ServiceAccount of the samples, and what runs the plugin as it.
func asDeployer(t *testing.T, e *installed, args []string) (client.Client, func()) {
	t.Helper()
	config, err := e.ServiceAccount(t.Context(), "ci", "deployer")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig("workload-deployer", config)
	if err != nil {
		t.Fatal(err)
	}
	deployer, err := lab.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	return deployer, func() {
		t.Helper()
		cmd := e.Kubectl(kubeconfig, append([]string{"access", "-n", "ci"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Active: ") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

func statusOf(e *installed, merge string) func(*testing.T, *unstructured.Unstructured) {
	return func(t *testing.T, task *unstructured.Unstructured) {
		t.Helper()
		e.PatchStatus(t, task, merge)
	}
}
