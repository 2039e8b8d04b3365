package task

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatal(err)
	}
	return obj
}

// task is an object called payments/migrate.
func task(t *testing.T, apiVersion, kind, status string) *unstructured.Unstructured {
	t.Helper()
	return object(t, `{"apiVersion":"`+apiVersion+`","kind":"`+kind+`",
		"metadata":{"namespace":"payments","name":"migrate"},"status":`+status+`}`)
}

func TestEvaluate(t *testing.T) {
	const (
		job, pod       = "batch/v1 Job", "v1 Pod"
		taskRun        = "tekton.dev/v1 TaskRun"
		jobSet         = "jobset.x-k8s.io/v1alpha2 JobSet"
		workflow       = "argoproj.io/v1alpha1 Workflow"
		rayJob         = "ray.io/v1 RayJob"
		workload       = "kueue.x-k8s.io/v1beta1 Workload"
		pyTorch        = "kubeflow.org/v1 PyTorchJob"
		restore        = "velero.io/v1 Restore"
		neverHeardOfIt = "example.com/v1 Pod"
	)
	for name, test := range map[string]struct {
		kind, status string
		want         State
		words        string
	}{
		"job not started":           {job, `{}`, Running, "Job payments/migrate is running"},
		"job without a status":      {job, `null`, Running, "Job payments/migrate is running"},
		"job at work":               {job, `{"active":1}`, Running, "Job payments/migrate is running"},
		"job suspended once":        {job, `{"conditions":[{"type":"Suspended","status":"True"}]}`, Running, "Job payments/migrate is running"},
		"job complete":              {job, `{"conditions":[{"type":"Complete","status":"True"}]}`, Completed, "Job payments/migrate is complete"},
		"job not complete":          {job, `{"conditions":[{"type":"Complete","status":"False"}]}`, Running, "Job payments/migrate is running"},
		"job failed":                {job, `{"conditions":[{"type":"Failed","status":"True","reason":"BackoffLimitExceeded"}]}`, Failed, "Job payments/migrate failed (BackoffLimitExceeded)"},
		"job about to complete":     {job, `{"conditions":[{"type":"SuccessCriteriaMet","status":"True"}]}`, Running, "Job payments/migrate is running"},
		"job about to fail":         {job, `{"conditions":[{"type":"FailureTarget","status":"True"}]}`, Running, "Job payments/migrate is running"},
		"job past its deadline":     {job, `{"terminating":1,"conditions":[{"type":"FailureTarget","status":"True","reason":"DeadlineExceeded"}]}`, Running, "Job payments/migrate is running"},
		"job failed after target":   {job, `{"conditions":[{"type":"FailureTarget","status":"True","reason":"PodFailurePolicy"},{"type":"Failed","status":"True","reason":"PodFailurePolicy"}]}`, Failed, "Job payments/migrate failed (PodFailurePolicy)"},
		"job between retries":       {job, `{"failed":1,"uncountedTerminatedPods":{}}`, Running, "Job payments/migrate is running"},
		"job complete after it met": {job, `{"conditions":[{"type":"SuccessCriteriaMet","status":"True"},{"type":"Complete","status":"True"}]}`, Completed, "Job payments/migrate is complete"},
		"job failed, then complete": {job, `{"conditions":[{"type":"Failed","status":"True"},{"type":"Complete","status":"True"}]}`, Failed, "Job payments/migrate failed"},
		"job complete, then failed": {job, `{"conditions":[{"type":"Complete","status":"True"},{"type":"Failed","status":"True"}]}`, Failed, "Job payments/migrate failed"},

		"pod pending":           {pod, `{"phase":"Pending"}`, Running, "Pod payments/migrate is running"},
		"pod running":           {pod, `{"phase":"Running"}`, Running, "Pod payments/migrate is running"},
		"pod unknown":           {pod, `{"phase":"Unknown"}`, Running, "Pod payments/migrate is running"},
		"pod succeeded":         {pod, `{"phase":"Succeeded"}`, Completed, "Pod payments/migrate is complete"},
		"pod failed":            {pod, `{"phase":"Failed","reason":"Evicted"}`, Failed, "Pod payments/migrate failed (Evicted)"},
		"pod goes by its phase": {pod, `{"phase":"Running","conditions":[{"type":"Complete","status":"True"}]}`, Running, "Pod payments/migrate is running"},

		"TaskRun running":             {taskRun, `{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"Running"}]}`, Running, "TaskRun payments/migrate is running"},
		"TaskRun succeeded":           {taskRun, `{"conditions":[{"type":"Succeeded","status":"True"}]}`, Completed, "TaskRun payments/migrate is complete"},
		"TaskRun failed for good":     {taskRun, `{"completionTime":"2026-07-15T12:00:00Z","conditions":[{"type":"Succeeded","status":"False","reason":"TaskRunTimeout"}]}`, Failed, "TaskRun payments/migrate failed (TaskRunTimeout)"},
		"TaskRun failed one try":      {taskRun, `{"conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]}`, Running, "TaskRun payments/migrate is running"},
		"TaskRun ready":               {taskRun, `{"conditions":[{"type":"Ready","status":"True"},{"type":"Completed","status":"True"}]}`, Running, "TaskRun payments/migrate is running"},
		"JobSet completed":            {jobSet, `{"conditions":[{"type":"Completed","status":"True","reason":"AllJobsCompleted"}]}`, Completed, "JobSet payments/migrate is complete"},
		"JobSet failed":               {jobSet, `{"conditions":[{"type":"Failed","status":"True","reason":"FailedJobs"}]}`, Failed, "JobSet payments/migrate failed (FailedJobs)"},
		"JobSet starting up":          {jobSet, `{"conditions":[{"type":"StartupPolicyCompleted","status":"True"}]}`, Running, "JobSet payments/migrate is running"},
		"Workflow succeeded":          {workflow, `{"phase":"Succeeded"}`, Completed, "Workflow payments/migrate is complete"},
		"Workflow in error":           {workflow, `{"phase":"Error"}`, Failed, "Workflow payments/migrate failed"},
		"Workflow running":            {workflow, `{"phase":"Running","conditions":[{"type":"PodRunning","status":"True"}]}`, Running, "Workflow payments/migrate is running"},
		"RayJob done, cluster up":     {rayJob, `{"jobStatus":"SUCCEEDED","jobDeploymentStatus":"Running"}`, Running, "RayJob payments/migrate is running"},
		"RayJob complete":             {rayJob, `{"jobStatus":"SUCCEEDED","jobDeploymentStatus":"Complete"}`, Completed, "RayJob payments/migrate is complete"},
		"RayJob retrying":             {rayJob, `{"jobStatus":"FAILED","jobDeploymentStatus":"Retrying"}`, Running, "RayJob payments/migrate is running"},
		"RayJob failed":               {rayJob, `{"jobStatus":"FAILED","jobDeploymentStatus":"Failed","reason":"AppFailed"}`, Failed, "RayJob payments/migrate failed (AppFailed)"},
		"RayJob failed, old operator": {rayJob, `{"jobStatus":"FAILED","jobDeploymentStatus":"Complete"}`, Failed, "RayJob payments/migrate failed"},
		"Workload finished":           {workload, `{"conditions":[{"type":"Finished","status":"True","reason":"Succeeded"}]}`, Completed, "Workload payments/migrate is complete"},
		"Workload finished badly":     {workload, `{"conditions":[{"type":"Finished","status":"True","reason":"Failed"}]}`, Failed, "Workload payments/migrate failed"},
		"Workload waits for quota":    {workload, `{"conditions":[{"type":"QuotaReserved","status":"False"}]}`, Waiting, "Workload payments/migrate is not admitted yet"},
		"Workload admitted":           {workload, `{"conditions":[{"type":"Admitted","status":"True"}]}`, Running, "Workload payments/migrate is running"},
		"training job restarts":       {pyTorch, `{"conditions":[{"type":"Succeeded","status":"False"},{"type":"Restarting","status":"True"}]}`, Running, "PyTorchJob payments/migrate is running"},
		"training job failed":         {pyTorch, `{"conditions":[{"type":"Failed","status":"True"}]}`, Failed, "PyTorchJob payments/migrate failed"},
		"restored in part":            {restore, `{"phase":"PartiallyFailed"}`, Failed, "Restore payments/migrate failed"},
		"Spark fails, tries again":    {"sparkoperator.k8s.io/v1beta2 SparkApplication", `{"applicationState":{"state":"FAILING"}}`, Running, "SparkApplication payments/migrate is running"},
		"Volcano":                     {"batch.volcano.sh/v1alpha1 Job", `{"state":{"phase":"Completed"}}`, Completed, "Job payments/migrate is complete"},
		"k6":                          {"k6.io/v1alpha1 TestRun", `{"stage":"finished"}`, Completed, "TestRun payments/migrate is complete"},
		"reason is free text":         {job, `{"conditions":[{"type":"Failed","status":"True","reason":"the\nend\u202e"}]}`, Failed, "Job payments/migrate failed"},
		"reason is too long":          {job, `{"conditions":[{"type":"Failed","status":"True","reason":"` + strings.Repeat("R", 65) + `"}]}`, Failed, "Job payments/migrate failed"},

		// Nothing in an object of an unknown kind counts as an end.
		"phase of an unknown kind":      {neverHeardOfIt, `{"phase":"Succeeded"}`, Running, "Pod payments/migrate is running"},
		"conditions of an unknown kind": {neverHeardOfIt, `{"conditions":[{"type":"Complete","status":"True"}]}`, Running, "Pod payments/migrate is running"},

		"status is text":           {job, `"Complete"`, Running, "Job payments/migrate is running"},
		"conditions are an object": {job, `{"conditions":{"type":"Complete","status":"True"}}`, Running, "Job payments/migrate is running"},
		"condition is a list":      {job, `{"conditions":[["Complete","True"],null,7]}`, Running, "Job payments/migrate is running"},
		"condition's status bool":  {job, `{"conditions":[{"type":"Complete","status":true}]}`, Running, "Job payments/migrate is running"},
		"malformed and complete":   {job, `{"conditions":[null,{"type":1},{"type":"Complete","status":"True"}]}`, Completed, "Job payments/migrate is complete"},
		"phase is a list":          {pod, `{"phase":["Succeeded"]}`, Running, "Pod payments/migrate is running"},
	} {
		t.Run(name, func(t *testing.T) {
			apiVersion, kind, _ := strings.Cut(test.kind, " ")
			state, words, err := Evaluate(task(t, apiVersion, kind, test.status), nil, Access{})
			if err != nil || state != test.want || words != test.words {
				t.Errorf("got %s, %q, %v; want %s, %q", state, words, err, test.want, test.words)
			}
		})
	}
}

// TestEvaluateWaiting: a task that a queue or a person holds back has not begun,
// unless it is over.
func TestEvaluateWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		object string
		want   State
		words  string
	}{
		"suspended Job": {`"apiVersion":"batch/v1","kind":"Job","spec":{"suspend":true}`, Waiting, "Job migrate is suspended"},
		"resumed Job":   {`"apiVersion":"batch/v1","kind":"Job","spec":{"suspend":false}`, Running, "Job migrate is running"},
		// kubernetes/kubernetes#132144: no Pods are wanted, and it waits to be resumed.
		"suspended, nothing to do": {`"apiVersion":"batch/v1","kind":"Job","spec":{"suspend":true,"completions":0},"status":{"conditions":[{"type":"SuccessCriteriaMet","status":"True","reason":"CompletionsReached"}]}`, Waiting, "Job migrate is suspended"},
		"failed while held":        {`"apiVersion":"batch/v1","kind":"Job","spec":{"suspend":true},"status":{"conditions":[{"type":"Failed","status":"True"}]}`, Failed, "Job migrate failed"},
		"suspended JobSet":         {`"apiVersion":"jobset.x-k8s.io/v1alpha2","kind":"JobSet","spec":{"suspend":true}`, Waiting, "JobSet migrate is suspended"},
		"suspended training":       {`"apiVersion":"kubeflow.org/v1","kind":"PyTorchJob","spec":{"runPolicy":{"suspend":true}}`, Waiting, "PyTorchJob migrate is suspended"},
		"suspended RayJob":         {`"apiVersion":"ray.io/v1","kind":"RayJob","spec":{"suspend":true}`, Waiting, "RayJob migrate is suspended"},
		"pending PipelineRun":      {`"apiVersion":"tekton.dev/v1","kind":"PipelineRun","spec":{"status":"PipelineRunPending"}`, Waiting, "PipelineRun migrate is pending (PipelineRunPending)"},
		"cancelled while held":     {`"apiVersion":"tekton.dev/v1","kind":"PipelineRun","spec":{"status":"Cancelled"}`, Running, "PipelineRun migrate is running"},
		"gated Pod":                {`"apiVersion":"v1","kind":"Pod","spec":{"schedulingGates":[{"name":"kueue.x-k8s.io/admission"}]}`, Waiting, "Pod migrate is held back by the scheduling gate kueue.x-k8s.io/admission"},
		"gate without a name":      {`"apiVersion":"v1","kind":"Pod","spec":{"schedulingGates":["\u202e"]}`, Waiting, "Pod migrate is held back by a scheduling gate"},
		"gates gone":               {`"apiVersion":"v1","kind":"Pod","spec":{"schedulingGates":[]},"status":{"phase":"Pending"}`, Running, "Pod migrate is running"},
		// People suspend a Kustomization to repair what it would undo.
		"unknown kind": {`"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","spec":{"suspend":true}`, Running, "Kustomization migrate is running"},
	} {
		t.Run(name, func(t *testing.T) {
			state, words, err := Evaluate(object(t, `{"metadata":{"name":"migrate"},`+test.object+`}`), nil, Access{})
			if err != nil || state != test.want || words != test.words {
				t.Errorf("got %s, %q, %v; want %s, %q", state, words, err, test.want, test.words)
			}
		})
	}
}

// TestEvaluateRetries: a failed try in Tekton is no end while Tekton tries again.
func TestEvaluateRetries(t *testing.T) {
	const failed = `"completionTime":"2026-07-15T12:00:00Z","conditions":[{"type":"Succeeded","status":"False","reason":"Failed"}]`
	for name, test := range map[string]struct {
		spec, status string
		want         State
	}{
		"one of two tries left": {`{"retries":2}`, `{` + failed + `,"retriesStatus":[{}]}`, Running},
		"none left":             {`{"retries":2}`, `{` + failed + `,"retriesStatus":[{},{}]}`, Failed},
		"tries again":           {`{"retries":2}`, `{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"ToBeRetried"}],"retriesStatus":[{}]}`, Running},
		"cancelled":             {`{"retries":2,"status":"TaskRunCancelled"}`, `{` + failed + `}`, Failed},
	} {
		t.Run(name, func(t *testing.T) {
			state, _, err := Evaluate(object(t, `{"apiVersion":"tekton.dev/v1","kind":"TaskRun","metadata":{"name":"a"},"spec":`+test.spec+`,"status":`+test.status+`}`), nil, Access{})
			if err != nil || state != test.want {
				t.Errorf("got %s, %v; want %s", state, err, test.want)
			}
		})
	}
}

// access began at noon; its request is for the revision abc.
var access = Access{
	Request: map[string]any{"metadata": map[string]any{"annotations": map[string]any{"revision": "abc"}}},
	Granted: time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC),
}

func TestEvaluateCompleteWhen(t *testing.T) {
	const (
		application, job = "argoproj.io/v1alpha1 Application", "batch/v1 Job"
		synced           = "object.status.operationState.phase == 'Succeeded' && timestamp(object.status.operationState.finishedAt) > granted"
	)
	for name, test := range map[string]struct {
		kind, expr, status string
		want               State
	}{
		"true":                        {application, "object.status.phase == 'Done'", `{"phase":"Done"}`, Completed},
		"false":                       {application, "object.status.phase == 'Done'", `{"phase":"Busy"}`, Running},
		"false overrules the kind":    {job, "object.status.phase == 'Done'", `{"phase":"Busy","conditions":[{"type":"Complete","status":"True"}]}`, Running},
		"a failure does not overrule": {job, "object.status.phase == 'Done'", `{"phase":"Busy","conditions":[{"type":"Failed","status":"True"}]}`, Running},
		"true though it failed":       {job, "object.status.phase == 'Done'", `{"phase":"Done","conditions":[{"type":"Failed","status":"True"}]}`, Completed},
		"over metadata":               {job, "object.metadata.name == 'migrate'", `{}`, Completed},
		"result of the last run":      {application, synced, `{"operationState":{"phase":"Succeeded","finishedAt":"2026-07-15T09:00:00Z"}}`, Running},
		"at work":                     {application, synced, `{"operationState":{"phase":"Running","startedAt":"2026-07-15T12:00:09Z"}}`, Running},
		"result of this run":          {application, synced, `{"operationState":{"phase":"Succeeded","finishedAt":"2026-07-15T12:00:30Z"}}`, Completed},
		"what the request asks for":   {application, "object.status.sync.revision == request.metadata.annotations.revision", `{"sync":{"revision":"abc"}}`, Completed},
		"no status yet":               {application, synced, `null`, Running},
		"an empty status":             {application, synced, `{}`, Running},
		"absent and asked for with ?": {application, "object.status.?phase.orValue('') == 'Done'", `{"sync":{}}`, Running},
	} {
		t.Run(name, func(t *testing.T) {
			completeWhen, err := Compile(test.expr)
			if err != nil {
				t.Fatal(err)
			}
			apiVersion, kind, _ := strings.Cut(test.kind, " ")
			state, _, err := Evaluate(task(t, apiVersion, kind, test.status), completeWhen, access)
			if err != nil || state != test.want {
				t.Errorf("got %s, %v; want %s", state, err, test.want)
			}
		})
	}
}

// TestEvaluateError: an expression that errs ends nothing, and its error is
// returned.
func TestEvaluateError(t *testing.T) {
	for name, test := range map[string]struct {
		expr, object, want string
	}{
		"typo in a field":          {"object.status.pahse == 'Done'", `"status":{"phase":"Done"}`, "completeWhen of Backup migrate: 1:14: no such key: pahse"},
		"typo in status":           {"object.staus.phase == 'Done'", `"status":{"phase":"Done"}`, "no such key: staus"},
		"typo without a status":    {"object.dta.done == 'yes'", `"data":{"done":"yes"}`, "no such key: dta"},
		"a number and a string":    {"object.status.done > '3'", `"status":{"done":3}`, "no such overload"},
		"no boolean":               {"object.status.phase", `"status":{"phase":"Done"}`, "must be true or false, but is of type string"},
		"no such time":             {"timestamp(object.status.at) > granted", `"status":{"at":"tomorrow"}`, "1:10: a value is not what is needed here"},
		"status that is no object": {"object.status.phase == 'Done'", `"status":"Done"`, "phase"},
	} {
		t.Run(name, func(t *testing.T) {
			completeWhen, err := Compile(test.expr)
			if err != nil {
				t.Fatal(err)
			}
			state, words, err := Evaluate(object(t, `{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"migrate"},`+test.object+`}`), completeWhen, access)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v; want %q", err, test.want)
			}
			if state != Running || words == "" {
				t.Errorf("got %s, %q with an error", state, words)
			}
		})
	}
	if state, _, err := Evaluate(nil, nil, access); state != "" || err == nil {
		t.Errorf("no object: got %s, %v", state, err)
	}
}

// TestExamples: the expressions that messages tell people to write compile, and
// wait.
func TestExamples(t *testing.T) {
	if Known(schema.GroupKind{Group: "argoproj.io", Kind: "Application"}) || Known(schema.GroupKind{Group: "example.com", Kind: "Pod"}) {
		t.Error("known is what is not")
	}
	examples := []string{anyKind, "timestamp(object.status.finishedAt) > granted"}
	for kind, example := range runAgain {
		if Known(kind) {
			t.Errorf("%s both ends once and runs again", kind)
		}
		if !strings.Contains(example, "granted") || !strings.Contains(Another(kind), example) {
			t.Errorf("%s: %s does not tell one run from another", kind, example)
		}
		examples = append(examples, example)
	}
	for _, example := range examples {
		if _, err := Compile(example); err != nil {
			t.Errorf("%s: %v", example, err)
		}
	}
}

// TestEvaluateDeleted: a task that is being deleted is not over before it is gone,
// unless it was over already.
func TestEvaluateDeleted(t *testing.T) {
	for name, test := range map[string]struct {
		status string
		want   State
		words  string
	}{
		"running":  {`{}`, Running, "Job migrate is being deleted"},
		"complete": {`{"conditions":[{"type":"Complete","status":"True"}]}`, Completed, "Job migrate is complete"},
	} {
		t.Run(name, func(t *testing.T) {
			obj := object(t, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"migrate",
				"deletionTimestamp":"2026-07-15T12:00:00Z"},"status":`+test.status+`}`)
			state, words, err := Evaluate(obj, nil, Access{})
			if err != nil || state != test.want || words != test.words {
				t.Errorf("got %s, %q, %v; want %s, %q", state, words, err, test.want, test.words)
			}
		})
	}
}

// FuzzEvaluate: no JSON object, however malformed, makes Evaluate panic or return
// anything but one of the four states, and an expression that is never true
// completes nothing.
func FuzzEvaluate(f *testing.F) {
	for _, seed := range []string{
		`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"status":{"conditions":[{"type":"Complete","status":"True"}]}}`,
		`{"apiVersion":"v1","kind":"Pod","status":{"phase":"Failed","reason":"Evicted"}}`,
		`{"apiVersion":"a/b/c","kind":7,"metadata":[],"status":{"conditions":[{"type":"Succeeded","status":"False","reason":{}}]}}`,
		`{"metadata":{"deletionTimestamp":"yesterday","name":{}},"status":{"conditions":[[],null,"",1.5,{"type":null}]}}`,
		`{"status":{"conditions":{}}}`,
		`{"status":[]}`,
		`{}`,
		`null`,
	} {
		f.Add(seed)
	}
	never, err := Compile("object == 'never'")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		obj := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(text), &obj.Object) != nil {
			return
		}
		state, words, err := Evaluate(obj, nil, Access{})
		if err != nil || words == "" || (state != Waiting && state != Running && !state.Over()) {
			t.Fatalf("got %s, %q, %v", state, words, err)
		}
		if state, _, err := Evaluate(obj, never, access); state.Over() || state == "" {
			t.Fatalf("got %s, %v where completeWhen is never true", state, err)
		}
	})
}
