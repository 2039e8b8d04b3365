package task

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/accessbroker/accessbroker/internal/expression"
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
	const job, pod, taskRun = "batch/v1 Job", "v1 Pod", "tekton.dev/v1 TaskRun"
	for name, test := range map[string]struct {
		kind, status string
		want         State
		words        string
	}{
		"job not started":           {job, `{}`, Running, "Job payments/migrate is running"},
		"job without a status":      {job, `null`, Running, "Job payments/migrate is running"},
		"job at work":               {job, `{"active":1}`, Running, "Job payments/migrate is running"},
		"job suspended":             {job, `{"conditions":[{"type":"Suspended","status":"True"}]}`, Running, "Job payments/migrate is running"},
		"job complete":              {job, `{"conditions":[{"type":"Complete","status":"True"}]}`, Completed, "Job payments/migrate is complete"},
		"job not complete":          {job, `{"conditions":[{"type":"Complete","status":"False"}]}`, Running, "Job payments/migrate is running"},
		"job failed":                {job, `{"conditions":[{"type":"Failed","status":"True","reason":"BackoffLimitExceeded"}]}`, Failed, "Job payments/migrate failed (BackoffLimitExceeded)"},
		"job about to complete":     {job, `{"conditions":[{"type":"SuccessCriteriaMet","status":"True"}]}`, Running, "Job payments/migrate is running"},
		"job about to fail":         {job, `{"conditions":[{"type":"FailureTarget","status":"True"}]}`, Running, "Job payments/migrate is running"},
		"job complete after it met": {job, `{"conditions":[{"type":"SuccessCriteriaMet","status":"True"},{"type":"Complete","status":"True"}]}`, Completed, "Job payments/migrate is complete"},
		"job failed, then complete": {job, `{"conditions":[{"type":"Failed","status":"True"},{"type":"Complete","status":"True"}]}`, Failed, "Job payments/migrate failed"},
		"job complete, then failed": {job, `{"conditions":[{"type":"Complete","status":"True"},{"type":"Failed","status":"True"}]}`, Failed, "Job payments/migrate failed"},

		"pod pending":               {pod, `{"phase":"Pending"}`, Running, "Pod payments/migrate is running"},
		"pod running":               {pod, `{"phase":"Running"}`, Running, "Pod payments/migrate is running"},
		"pod unknown":               {pod, `{"phase":"Unknown"}`, Running, "Pod payments/migrate is running"},
		"pod succeeded":             {pod, `{"phase":"Succeeded"}`, Completed, "Pod payments/migrate is complete"},
		"pod failed":                {pod, `{"phase":"Failed","reason":"Evicted"}`, Failed, "Pod payments/migrate failed (Evicted)"},
		"pod goes by its phase":     {pod, `{"phase":"Running","conditions":[{"type":"Complete","status":"True"}]}`, Running, "Pod payments/migrate is running"},
		"a Pod of another group":    {"example.com/v1 Pod", `{"phase":"Succeeded"}`, Running, "Pod payments/migrate is running"},
		"conditions of another Pod": {"example.com/v1 Pod", `{"conditions":[{"type":"Complete","status":"True"}]}`, Completed, "Pod payments/migrate is complete"},

		"other kind running":   {taskRun, `{"conditions":[{"type":"Succeeded","status":"Unknown","reason":"Running"}]}`, Running, "TaskRun payments/migrate is running"},
		"other kind succeeded": {taskRun, `{"conditions":[{"type":"Succeeded","status":"True"}]}`, Completed, "TaskRun payments/migrate is complete"},
		"other kind failed":    {taskRun, `{"conditions":[{"type":"Succeeded","status":"False","reason":"TaskRunTimeout"}]}`, Failed, "TaskRun payments/migrate failed (TaskRunTimeout)"},
		"other kind ready":     {taskRun, `{"conditions":[{"type":"Ready","status":"True"},{"type":"Completed","status":"True"}]}`, Running, "TaskRun payments/migrate is running"},
		"reason is free text":  {taskRun, `{"conditions":[{"type":"Failed","status":"True","reason":"the\nend\u202e"}]}`, Failed, "TaskRun payments/migrate failed"},
		"reason is too long":   {taskRun, `{"conditions":[{"type":"Failed","status":"True","reason":"` + strings.Repeat("R", 65) + `"}]}`, Failed, "TaskRun payments/migrate failed"},

		"status is text":           {job, `"Complete"`, Running, "Job payments/migrate is running"},
		"conditions are an object": {job, `{"conditions":{"type":"Complete","status":"True"}}`, Running, "Job payments/migrate is running"},
		"condition is a list":      {job, `{"conditions":[["Complete","True"],null,7]}`, Running, "Job payments/migrate is running"},
		"condition's status bool":  {job, `{"conditions":[{"type":"Complete","status":true}]}`, Running, "Job payments/migrate is running"},
		"malformed and complete":   {job, `{"conditions":[null,{"type":1},{"type":"Complete","status":"True"}]}`, Completed, "Job payments/migrate is complete"},
		"phase is a list":          {pod, `{"phase":["Succeeded"]}`, Running, "Pod payments/migrate is running"},
	} {
		t.Run(name, func(t *testing.T) {
			apiVersion, kind, _ := strings.Cut(test.kind, " ")
			state, words, err := Evaluate(task(t, apiVersion, kind, test.status), nil)
			if err != nil || state != test.want || words != test.words {
				t.Errorf("got %s, %q, %v; want %s, %q", state, words, err, test.want, test.words)
			}
		})
	}
}

func TestEvaluateCompleteWhen(t *testing.T) {
	const workflow = "argoproj.io/v1alpha1"
	for name, test := range map[string]struct {
		expr, status string
		want         State
	}{
		"true":                         {"object.status.phase == 'Done'", `{"phase":"Done"}`, Completed},
		"false":                        {"object.status.phase == 'Done'", `{"phase":"Busy"}`, Running},
		"false overrides the built-in": {"object.status.phase == 'Done'", `{"phase":"Busy","conditions":[{"type":"Complete","status":"True"}]}`, Running},
		"failed all the same":          {"object.status.phase == 'Done'", `{"phase":"Done","conditions":[{"type":"Failed","status":"True"}]}`, Failed},
		"failed without the field":     {"object.status.phase == 'Done'", `{"conditions":[{"type":"Failed","status":"True"}]}`, Failed},
		"over metadata":                {"object.metadata.name == 'migrate'", `{}`, Completed},
	} {
		t.Run(name, func(t *testing.T) {
			completeWhen, err := expression.Compile(test.expr, Variable)
			if err != nil {
				t.Fatal(err)
			}
			state, _, err := Evaluate(task(t, workflow, "Workflow", test.status), completeWhen)
			if err != nil || state != test.want {
				t.Errorf("got %s, %v; want %s", state, err, test.want)
			}
		})
	}
}

func TestEvaluateError(t *testing.T) {
	completeWhen, err := expression.Compile("object.status.phase == 'Done'", Variable)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		obj  *unstructured.Unstructured
		want string
	}{
		"no object":    {nil, "there is no task"},
		"empty object": {&unstructured.Unstructured{}, "no such key: status"},
		"no such key":  {task(t, "example.com/v1", "Backup", `{}`), "completeWhen of Backup payments/migrate: 1:14: no such key: phase"},
	} {
		t.Run(name, func(t *testing.T) {
			state, words, err := Evaluate(test.obj, completeWhen)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v; want %q", err, test.want)
			}
			if state != "" || words != "" {
				t.Errorf("got %s, %q with an error", state, words)
			}
		})
	}
}

// TestEvaluateDeleted: a task on its way out is not over before it is gone,
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
			state, words, err := Evaluate(obj, nil)
			if err != nil || state != test.want || words != test.words {
				t.Errorf("got %s, %q, %v; want %s, %q", state, words, err, test.want, test.words)
			}
		})
	}
}

// FuzzEvaluate: no JSON object, however malformed, makes it panic or gets
// anything but one of the three states, and an expression that is never true
// lets nothing complete.
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
	never, err := expression.Compile("object == 'never'", Variable)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		obj := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(text), &obj.Object) != nil {
			return
		}
		state, words, err := Evaluate(obj, nil)
		if err != nil || words == "" || (state != Running && state != Completed && state != Failed) {
			t.Fatalf("got %s, %q, %v", state, words, err)
		}
		if over, _, err := Evaluate(obj, never); over == Completed || (over == Failed) != (state == Failed) {
			t.Fatalf("got %s, %v, and %s without completeWhen", over, err, state)
		}
	})
}
