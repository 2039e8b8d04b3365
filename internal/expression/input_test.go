package expression

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// workflow is a task with so many nodes in its status, each as large as those of
// Argo Workflows.
func workflow(nodes int) map[string]any {
	status := map[string]any{}
	for i := range nodes {
		name := fmt.Sprintf("nightly-%d", i)
		status[name] = map[string]any{
			"id": name, "name": name, "displayName": name, "type": "Pod", "phase": "Succeeded",
			"templateName": "step", "templateScope": "local/nightly", "hostNodeName": "worker-1", "progress": "1/1",
			"startedAt": "2026-07-15T12:00:00Z", "finishedAt": "2026-07-15T12:01:00Z",
			"children":          []any{name + "-a", name + "-b"},
			"resourcesDuration": map[string]any{"cpu": int64(3), "memory": int64(70)},
			"outputs":           map[string]any{"exitCode": "0", "artifacts": []any{map[string]any{"name": "main-logs", "s3": map[string]any{"key": strings.Repeat("k", 200)}}}},
		}
	}
	return map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
		"metadata": map[string]any{"name": "nightly", "labels": map[string]any{"team": "payments"}},
		"spec":     map[string]any{"serviceAccountName": "deployer", "entrypoint": "main"},
		"status":   map[string]any{"phase": "Succeeded", "finishedAt": "2026-07-15T12:01:00Z", "nodes": status},
	}
}

// TestLargeTask: what policies and completeWhen ask of a task costs what it
// reads, however large the rest of the task is.
func TestLargeTask(t *testing.T) {
	blob := map[string]any{"status": map[string]any{"phase": "Done"}, "data": map[string]any{}}
	for i := range 4096 {
		blob["data"].(map[string]any)[fmt.Sprint("key", i)] = strings.Repeat("x", 256)
	}
	vars := map[string]any{"task": workflow(600), "blob": blob, "none": nil}
	for expr, want := range map[string]bool{
		"task == null || task.spec.serviceAccountName == 'deployer'":           true,
		"task != null && task.spec.?serviceAccountName.orValue('') == 'other'": false,
		"null == task":                                false,
		"!(task == null)":                             true,
		"none == null":                                true,
		"[task, none].exists(t, t == null)":           true,
		"dyn(task) != null":                           true,
		"type(task) == map":                           true,
		"task.status == null":                         false,
		"task.status.phase in ['Succeeded']":          true,
		"task.?status.?phase.orValue('') == 'Failed'": false,
		"has(task.status.nodes)":                      true,
		"'phase' in task.status":                      true,
		"size(task.status.nodes) == 600":              true,
		"task.status.nodes.all(n, task.status.nodes[n].phase == 'Succeeded')":        true,
		"task.status.nodes['nightly-7'].outputs.artifacts[0].name == 'main-logs'":    true,
		"task.metadata.labels == {'team': 'payments'} && task.spec != task.metadata": true,
		"(task != null ? task.status.phase : '') == 'Succeeded'":                     true,
		"timestamp(task.status.finishedAt) > timestamp('2026-07-15T12:00:00Z')":      true,
		"blob == null || blob.status.phase == 'Done'":                                true,
		"blob.status.phase == 'x'":                                                   false,
	} {
		t.Run(expr, func(t *testing.T) {
			program, err := Compile(expr, "task", "blob", "none")
			if err != nil {
				t.Fatal(err)
			}
			if got, err := program.Eval(context.Background(), vars); err != nil || got != want {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
}

// TestReadAsAWhole: what reads all of a value is charged for all of it, wherever
// in a constructed value it hides.
func TestReadAsAWhole(t *testing.T) {
	items := make([]any, 300)
	for i := range items {
		items[i] = map[string]any{"name": fmt.Sprint(i), "rest": []any{int64(1), int64(2), int64(3)}}
	}
	numbers := make([]any, 1500)
	for i := range numbers {
		numbers[i] = int64(i)
	}
	vars := map[string]any{"large": workflow(600), "same": workflow(600), "items": items, "again": append([]any{}, items...), "numbers": numbers, "holder": map[string]any{"items": items}}
	const cost, size = "costs more than the limit", "larger than the limit"
	for expr, want := range map[string]string{
		"large == same":                                      size,
		"large != same":                                      size,
		"[large] == [same]":                                  size,
		"{'a': large} == {'a': same}":                        size,
		"large in [same]":                                    size,
		"[same].exists(x, x == large)":                       size,
		"sets.contains([large], [same])":                     size,
		"items == again":                                     "",
		"numbers.all(x, items == again)":                     cost,
		"numbers.map(x, numbers) == numbers.map(x, numbers)": size,
		"numbers.map(x, holder) == numbers.map(x, holder)":   cost,
		"[numbers.map(x, holder)].all(x, x == x)":            cost,
		"numbers in numbers.map(x, [x])":                     "",
	} {
		t.Run(expr, func(t *testing.T) {
			program, err := Compile(expr, "large", "same", "items", "again", "numbers", "holder")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err = program.Eval(ctx, vars)
			if ctx.Err() != nil {
				t.Error("took longer than a minute")
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("got %v; want %q", err, want)
			}
		})
	}
}
