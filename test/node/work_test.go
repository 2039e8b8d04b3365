package node

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// must runs the administrator's commands.
func must(t *testing.T, lines ...string) {
	t.Helper()
	if err := e.MustRun(t.Context(), lines...); err != nil {
		t.Fatal(err)
	}
}

// A rolling update keeps a replica at work: nothing ends late.
func TestNothingEndsLateInARollingUpdate(t *testing.T) {
	settled(t)
	ends := given(t, 3*time.Second, 5*time.Second, 7*time.Second, 9*time.Second, 11*time.Second, 13*time.Second)
	begin := time.Now()
	must(t, "kubectl rollout restart deployment/access-broker -n "+lab.BrokerNamespace)
	again := givenAfter(t, begin)
	endOnTime(t, ends)
	if took, err := again(); err != nil {
		t.Error(err)
	} else {
		t.Logf("access that is asked for at the start of the update is given after %s", took.Round(time.Millisecond))
	}
	settled(t)
}

// Who drains the only node is held up by the last replica: it is not evicted,
// and nothing ends late.
func TestDrainLeavesOneReplica(t *testing.T) {
	settled(t)
	ends := given(t, 3*time.Second, 5*time.Second, 7*time.Second, 9*time.Second)
	t.Cleanup(func() {
		if err := e.MustRun(context.WithoutCancel(t.Context()), "kubectl uncordon node"); err != nil {
			t.Error(err)
		}
	})
	drained := make(chan string, 1)
	go func() {
		output, err := e.Run(t.Context(), lab.AdminName, "kubectl drain node --pod-selector=app.kubernetes.io/name=access-broker --delete-emptydir-data --timeout=8s")
		if err == nil {
			output = "the drain was not held up: " + output
		}
		drained <- output
	}()
	endOnTime(t, ends)
	output := <-drained
	if !strings.Contains(output, "disruption budget") || strings.Contains(output, "was not held up") {
		t.Errorf("the drain says: %s", output)
	}
	ready := 0
	for _, pod := range brokers(t) {
		if pod.Spec.NodeName != "" && pod.DeletionTimestamp == nil {
			ready++
		}
	}
	if ready != 1 {
		t.Errorf("%d replicas are left", ready)
	}
	must(t, "kubectl uncordon node")
	settled(t)
}

// While no replica works, the sweep ends what is due. Its Job fails, so that
// somebody looks why it had to.
func TestSweepEndsWhatNobodyEnds(t *testing.T) {
	settled(t)
	// Its schedule is a minute: the test makes its own Job of it.
	must(t, "kubectl apply -f config/components/sweep-cronjob/cronjob.yaml",
		`kubectl patch cronjob access-broker-sweep -n `+lab.BrokerNamespace+` --type=merge -p '{"spec":{"suspend":true}}'`)
	ends := given(t, 5*time.Second)
	scale := "kubectl scale deployment/access-broker -n " + lab.BrokerNamespace + " --replicas="
	t.Cleanup(func() {
		if err := e.MustRun(context.WithoutCancel(t.Context()), scale+"2", "kubectl delete cronjob access-broker-sweep -n "+lab.BrokerNamespace); err != nil {
			t.Error(err)
		}
	})
	must(t, scale+"0")
	kit.Eventually(t, "the last replica to end", func(context.Context) (bool, error) { return len(brokers(t)) == 0, nil })
	kit.WaitPast(t, ends[0].due.Add(time.Second))
	if !kit.Can(t, alice, ends[0].namespace) {
		t.Fatal("somebody ended the access: the test shows nothing")
	}

	begin := time.Now()
	must(t, "kubectl create job sweep --from=cronjob/access-broker-sweep -n "+lab.BrokerNamespace)
	kit.Eventually(t, "the end of the access", func(context.Context) (bool, error) { return !kit.Can(t, alice, ends[0].namespace), nil })
	t.Logf("the access ended %s after the sweep's Job was made", time.Since(begin).Round(time.Millisecond))
	kit.Eventually(t, "the sweep's exit code", func(ctx context.Context) (bool, error) {
		pods := &corev1.PodList{}
		err := e.Admin.List(ctx, pods, client.InNamespace(lab.BrokerNamespace), client.MatchingLabels{"batch.kubernetes.io/job-name": "sweep"})
		if err != nil || len(pods.Items) != 1 || pods.Items[0].Status.Phase != corev1.PodFailed {
			return false, err
		}
		if code := pods.Items[0].Status.ContainerStatuses[0].State.Terminated.ExitCode; code != 3 {
			t.Errorf("the sweep ended with code %d, want 3", code)
		}
		return true, nil
	})
	if err := e.Clientset.BatchV1().Jobs(lab.BrokerNamespace).Delete(t.Context(), "sweep", metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}); err != nil {
		t.Fatal(err)
	}
	must(t, scale+"2")
	settled(t)
}
