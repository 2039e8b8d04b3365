package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/env"
)

const awsRole = "arn:aws:sts::111122223333:assumed-role/"

// onePerson plays docs/identities.md, one engineer with two roles of AWS, when
// TestSamples has applied the policy.
func onePerson(t *testing.T, e *installed) {
	ns := e.NewNamespace(t, map[string]string{"team": "payments"})
	operator := func(session string) client.Client { return as(t, e, awsRole+"Operator/"+session, "aws-operators") }
	lead := func(session string) client.Client { return as(t, e, awsRole+"Lead/"+session, "aws-operators") }
	for _, a := range []ask{
		{name: "two others", approve: []client.Client{operator("bob"), operator("carol")}, want: v1alpha1.RequestActive},
		{name: "one other", approve: []client.Client{operator("bob")}, want: v1alpha1.RequestPending, says: "1 of 2 approvals"},
		{name: "oneself", approve: []client.Client{operator("alice")}, want: v1alpha1.RequestDenied, says: "one of those who approved is the requester under another role"},
		{name: "oneself, written in another way", approve: []client.Client{operator("Alice")}, want: v1alpha1.RequestDenied, says: "the requester under another role"},
		{name: "another one twice", approve: []client.Client{operator("bob"), lead("bob")}, want: v1alpha1.RequestDenied, says: "two of the approvals are by one person under two roles"},
		{name: "the session of another role", approve: []client.Client{operator("bob"), lead("carol")}, want: v1alpha1.RequestActive},
	} {
		a.who, a.groups, a.ns = awsRole+"Developer/alice", []string{"aws-developers"}, ns
		a.edit = func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = "one-person" }
		t.Run(a.name, func(t *testing.T) { a.run(t, e) })
	}
}

// cronJob runs the command of the sample twice, as its Pods would: there are no
// nodes here to run them. It needs what TestSamples has made.
func cronJob(t *testing.T, e *installed) {
	e.kubectl(t, "apply", "-f", "config/samples/request-cronjob.yaml")
	config, err := e.ServiceAccount(t.Context(), "ci", "deployer")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := e.Kubeconfig("nightly", config)
	if err != nil {
		t.Fatal(err)
	}
	nightly := &batchv1.CronJob{}
	if err := e.Admin.Get(t.Context(), client.ObjectKey{Namespace: "ci", Name: "nightly"}, nightly); err != nil {
		t.Fatal(err)
	}
	container := nightly.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
	if got, want := container.Env[0].ValueFrom.FieldRef.FieldPath, "metadata.labels['"+batchv1.JobNameLabel+"']"; got != want {
		t.Fatalf("the Job's name comes from %s, want %s", got, want)
	}
	deployer, err := env.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{"nightly-1", "nightly-2"} {
		e.kubectl(t, "create", "job", job, "-n", "ci", "--from=cronjob/nightly")
		cmd := exec.CommandContext(t.Context(), container.Command[0], append(container.Command[1:], container.Args...)...)
		cmd.Env = append(os.Environ(), "JOB="+job, "KUBECONFIG="+kubeconfig, "PATH="+filepath.Dir(e.Binary("kubectl"))+string(os.PathListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", job, err, out)
		}
		request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "ci", Name: requestIn(t, string(out))}}
		given := e.GrantOf(t, e.WaitFor(t, request, v1alpha1.RequestActive))
		e.FinishJob(t, "ci", job, corev1.PodSucceeded)
		e.WaitEnded(t, given.Name, v1alpha1.EndTaskCompleted)
		if env.Can(t, deployer, "shop") {
			t.Errorf("%s is over and its access is not", job)
		}
	}
}

// requestIn finds the name of the request in what kubectl said of it.
func requestIn(t *testing.T, out string) string {
	t.Helper()
	_, rest, found := strings.Cut(out, "accessrequest.jit.accessbroker.dev/")
	if !found {
		t.Fatalf("no request in: %s", out)
	}
	return strings.Fields(rest)[0]
}

// TestIdentitiesPage runs the commands of docs/identities.md.
func TestIdentitiesPage(t *testing.T) {
	e := running(t)
	commandsOf(t, e, "docs/identities.md")
}
