package task

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is how objects of a kind tell that they are over, and that they have not
// begun.
type kind struct {
	// outcome is Completed, Failed, or Running, and the reason that it gives.
	outcome func(object map[string]any) (State, string)
	// held says what holds the object back, "" when nothing does; nil when
	// nothing can.
	held func(object map[string]any) string
}

// kinds are those whose end is known: each object of them ends once. Kinds that run
// again and again are not among them: the last result may be left over from before,
// and only completeWhen can tell which result is meant.
//
// docs/policies.md lists them; a test holds the list against this one.
var kinds = map[schema.GroupKind]kind{
	{Group: "", Kind: "Pod"}: {
		phase(map[string]State{"Succeeded": Completed, "Failed": Failed}, "status", "phase"), gated,
	},
	// SuccessCriteriaMet and FailureTarget come while the pods of a Job still run
	// and so end nothing (KEP-3998).
	{Group: "batch", Kind: "Job"}: {conditions(completeOrFailed), suspended("spec", "suspend")},

	{Group: "jobset.x-k8s.io", Kind: "JobSet"}: {conditions(map[condition]State{
		{"Completed", metav1.ConditionTrue}: Completed,
		{"Failed", metav1.ConditionTrue}:    Failed,
	}), suspended("spec", "suspend")},
	{Group: "kueue.x-k8s.io", Kind: "Workload"}:           {finished, notAdmitted},
	{Group: "workload.codeflare.dev", Kind: "AppWrapper"}: {phase(succeededOrFailed, "status", "phase"), suspended("spec", "suspend")},
	{Group: "trainer.kubeflow.org", Kind: "TrainJob"}:     {conditions(completeOrFailed), suspended("spec", "suspend")},
	{Group: "kubeflow.org", Kind: "JAXJob"}:               training,
	{Group: "kubeflow.org", Kind: "MPIJob"}:               training,
	{Group: "kubeflow.org", Kind: "PaddleJob"}:            training,
	{Group: "kubeflow.org", Kind: "PyTorchJob"}:           training,
	{Group: "kubeflow.org", Kind: "TFJob"}:                training,
	{Group: "kubeflow.org", Kind: "XGBoostJob"}:           training,
	{Group: "ray.io", Kind: "RayJob"}:                     {rayJob, suspended("spec", "suspend")},
	{Group: "batch.volcano.sh", Kind: "Job"}: {phase(map[string]State{
		"Completed": Completed, "Failed": Failed, "Terminated": Failed,
	}, "status", "state", "phase"), nil},
	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}: {phase(map[string]State{
		"COMPLETED": Completed, "FAILED": Failed,
	}, "status", "applicationState", "state"), suspended("spec", "suspend")},
	{Group: "apps.kruise.io", Kind: "BroadcastJob"}: {conditions(completeOrFailed), nil},

	{Group: "tekton.dev", Kind: "TaskRun"}:     {retried(conditions(succeeded), true), nil},
	{Group: "tekton.dev", Kind: "PipelineRun"}: {retried(conditions(succeeded), true), pending("PipelineRunPending", "spec", "status")},
	{Group: "tekton.dev", Kind: "CustomRun"}:   {retried(conditions(succeeded), false), nil},
	{Group: "shipwright.io", Kind: "BuildRun"}: {conditions(succeeded), nil},
	{Group: "argoproj.io", Kind: "Workflow"}: {phase(map[string]State{
		"Succeeded": Completed, "Failed": Failed, "Error": Failed,
	}, "status", "phase"), suspended("spec", "suspend")},
	{Group: "argoproj.io", Kind: "AnalysisRun"}: {phase(map[string]State{
		"Successful": Completed, "Failed": Failed, "Error": Failed, "Inconclusive": Failed,
	}, "status", "phase"), nil},
	{Group: "actions.github.com", Kind: "EphemeralRunner"}: {phase(succeededOrFailed, "status", "phase"), nil},
	{Group: "k6.io", Kind: "TestRun"}: {phase(map[string]State{
		"finished": Completed, "stopped": Failed, "error": Failed,
	}, "status", "stage"), nil},

	{Group: "velero.io", Kind: "Backup"}:  {velero, nil},
	{Group: "velero.io", Kind: "Restore"}: {velero, nil},
	{Group: "postgresql.cnpg.io", Kind: "Backup"}: {phase(map[string]State{
		"completed": Completed, "failed": Failed,
	}, "status", "phase"), nil},
	{Group: "kubevirt.io", Kind: "VirtualMachineInstanceMigration"}: {phase(succeededOrFailed, "status", "phase"), nil},
	{Group: "cdi.kubevirt.io", Kind: "DataVolume"}:                  {phase(succeededOrFailed, "status", "phase"), nil},
}

// runAgain are kinds whose objects run again and again, with the expression that
// waits for the next result.
var runAgain = map[schema.GroupKind]string{
	{Group: "argoproj.io", Kind: "Application"}:                   "object.status.operationState.phase == 'Succeeded' && timestamp(object.status.operationState.finishedAt) > granted",
	{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}: becameReady,
	{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}:        becameReady,
	{Group: "batch", Kind: "CronJob"}:                             "has(object.status.lastSuccessfulTime) && timestamp(object.status.lastSuccessfulTime) > granted",
	{Group: "apps", Kind: "Deployment"}:                           "object.status.conditions.exists(c, c.type == 'Progressing' && c.reason == 'NewReplicaSetAvailable' && timestamp(c.lastUpdateTime) > granted)",
}

const becameReady = "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True' && timestamp(c.lastTransitionTime) > granted)"

// anyKind is the example for an unknown kind.
const anyKind = "object.status.phase == 'Done'"

// Known tells whether the end of objects of a kind is known without completeWhen.
func Known(kind schema.GroupKind) bool {
	_, known := kinds[kind]
	return known
}

// Example is an expression that a completeWhen for objects of a kind may look like.
func Example(kind schema.GroupKind) string {
	if example, ok := runAgain[kind]; ok {
		return example
	}
	return anyKind
}

// Another says what to write when a task is over already.
func Another(kind schema.GroupKind) string {
	if Known(kind) {
		return fmt.Sprintf("name a %s that is not over", kind.Kind)
	}
	example, ok := runAgain[kind]
	if !ok {
		example = "timestamp(object.status.finishedAt) > granted"
	}
	return "to wait for its next result, write in completeWhen that it is newer than the grant: " + example
}

type condition struct {
	kind   string
	status metav1.ConditionStatus
}

var (
	completeOrFailed = map[condition]State{
		{"Complete", metav1.ConditionTrue}: Completed,
		{"Failed", metav1.ConditionTrue}:   Failed,
	}
	// succeeded is Unknown while it runs.
	succeeded = map[condition]State{
		{"Succeeded", metav1.ConditionTrue}:  Completed,
		{"Succeeded", metav1.ConditionFalse}: Failed,
	}
	succeededOrFailed = map[string]State{"Succeeded": Completed, "Failed": Failed}

	// training is a job of the Kubeflow training operator, whose Succeeded is
	// False while it restarts.
	training = kind{conditions(map[condition]State{
		{"Succeeded", metav1.ConditionTrue}: Completed,
		{"Failed", metav1.ConditionTrue}:    Failed,
	}), suspended("spec", "runPolicy", "suspend")}

	velero = phase(map[string]State{
		"Completed": Completed, "PartiallyFailed": Failed, "Failed": Failed, "FailedValidation": Failed,
	}, "status", "phase")
)

// conditions reads status.conditions, a failure before a success.
func conditions(outcomes map[condition]State) func(map[string]any) (State, string) {
	return func(object map[string]any) (State, string) {
		state, reason := Running, ""
		for fields := range conditionsOf(object) {
			is, over := outcomes[condition{text(fields, "type"), metav1.ConditionStatus(text(fields, "status"))}]
			if over && state != Failed {
				state, reason = is, text(fields, "reason")
			}
		}
		return state, reason
	}
}

// conditionsOf yields the conditions of an object, without any that are malformed.
func conditionsOf(object map[string]any) func(yield func(map[string]any) bool) {
	return func(yield func(map[string]any) bool) {
		// The typed accessors of unstructured copy, and panic on what is not JSON.
		list, _, _ := unstructured.NestedFieldNoCopy(object, "status", "conditions")
		items, _ := list.([]any)
		for _, item := range items {
			if fields, ok := item.(map[string]any); ok && !yield(fields) {
				return
			}
		}
	}
}

// phase reads one word at a path.
func phase(outcomes map[string]State, path ...string) func(map[string]any) (State, string) {
	return func(object map[string]any) (State, string) {
		if state, over := outcomes[text(object, path...)]; over {
			return state, text(object, "status", "reason")
		}
		return Running, ""
	}
}

// retried takes a failure in Tekton as final only when nothing tries again: older
// releases write a failure for each try.
func retried(outcome func(map[string]any) (State, string), stamped bool) func(map[string]any) (State, string) {
	return func(object map[string]any) (State, string) {
		state, reason := outcome(object)
		if state != Failed {
			return state, reason
		}
		tried, _, _ := unstructured.NestedFieldNoCopy(object, "status", "retriesStatus")
		tries, _ := tried.([]any)
		stopped := text(object, "spec", "status") != "" // cancelled
		if !stopped && int64(len(tries)) < number(object, "spec", "retries") || stamped && text(object, "status", "completionTime") == "" {
			return Running, ""
		}
		return state, reason
	}
}

// rayJob is over when its deployment is; the job's own status says how it went.
func rayJob(object map[string]any) (State, string) {
	deployment, job := text(object, "status", "jobDeploymentStatus"), text(object, "status", "jobStatus")
	switch {
	case deployment == "Failed", deployment == "Complete" && (job == "FAILED" || job == "STOPPED"):
		return Failed, text(object, "status", "reason")
	case deployment == "Complete":
		return Completed, ""
	}
	return Running, ""
}

// finished reads a Workload of Kueue.
func finished(object map[string]any) (State, string) {
	state, reason := conditions(map[condition]State{{"Finished", metav1.ConditionTrue}: Completed})(object)
	if state == Completed && reason == "Failed" {
		return Failed, ""
	}
	return state, ""
}

func notAdmitted(object map[string]any) string {
	for fields := range conditionsOf(object) {
		if text(fields, "type") == "Admitted" && text(fields, "status") == string(metav1.ConditionTrue) {
			return ""
		}
	}
	return "is not admitted yet"
}

func suspended(path ...string) func(map[string]any) string {
	return func(object map[string]any) string {
		if value, _, _ := unstructured.NestedFieldNoCopy(object, path...); value == true {
			return "is suspended"
		}
		return ""
	}
}

func pending(value string, path ...string) func(map[string]any) string {
	return func(object map[string]any) string {
		if text(object, path...) == value {
			return "is pending (" + value + ")"
		}
		return ""
	}
}

// gated says why the scheduler may not place a Pod yet. A Pod without gates may
// start at any moment.
func gated(object map[string]any) string {
	list, _, _ := unstructured.NestedFieldNoCopy(object, "spec", "schedulingGates")
	gates, _ := list.([]any)
	if len(gates) == 0 {
		return ""
	}
	first, _ := gates[0].(map[string]any)
	if name := text(first, "name"); qualifiedName.MatchString(name) {
		return "is held back by the scheduling gate " + name
	}
	return "is held back by a scheduling gate"
}

// text is the string at a path, or empty when there is none.
func text(object map[string]any, path ...string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	s, _ := value.(string)
	return s
}

// number is the whole number at a path, or 0 when there is none.
func number(object map[string]any, path ...string) int64 {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	n, _ := value.(int64)
	return n
}
