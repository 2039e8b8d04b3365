package node

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What the page says, with Pods that run: uninstalled with kustomize, installed
// with Helm, and uninstalled again.
func TestUninstallAndHelm(t *testing.T) {
	settled(t)
	t.Cleanup(func() { installAgain(t) })
	t.Run("kustomize", uninstall)
	awaitEnd(t)
	t.Run("helm", func(t *testing.T) {
		installWithHelm(t)
		uninstallWithHelm(t)
	})
	awaitEnd(t)
}

// active gives alice access for an hour.
func active(t *testing.T) (ns string, grant *v1alpha1.AccessGrant) {
	t.Helper()
	ns = e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, automatic)
	request := e.WaitFor(t, e.Ask(t, alice, ns, lasting(time.Hour)), v1alpha1.RequestActive)
	if !kit.Can(t, alice, ns) {
		t.Fatal("alice has no access: this shows nothing")
	}
	return ns, e.GrantOf(t, request)
}

func uninstall(t *testing.T) {
	ns, _ := active(t)
	folder := t.TempDir()
	lines := kit.CommandsOf(t, "install.md", "## Uninstall", "With Helm")
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "kubectl exec ") }) {
		t.Error("the page runs nothing in the broker's Pod")
	}
	for _, line := range lines {
		line = strings.ReplaceAll(line, "> ", "> "+folder+"/") // what it saves is not for the folder of the module
		if err := e.MustRun(t.Context(), strings.ReplaceAll(line, "config/default", e.Installation())); err != nil {
			t.Log(unended(t))
			t.Fatal(err)
		}
	}
	if kit.Can(t, alice, ns) {
		t.Error("alice has access after all is gone")
	}
}

// unended says of every grant that has not ended where it stands, and what the
// brokers say of it: kubectl names only what it waited for.
func unended(t *testing.T) string {
	t.Helper()
	grants := &v1alpha1.AccessGrantList{}
	if err := e.Admin.List(t.Context(), grants); err != nil {
		return err.Error()
	}
	var out strings.Builder
	logs := map[string]string{}
	for _, pod := range brokers(t) {
		logs[pod.Name], _ = e.Run(t.Context(), lab.AdminName, "kubectl logs -n "+lab.BrokerNamespace+" "+pod.Name)
	}
	for _, g := range grants.Items {
		if g.Status.Phase == v1alpha1.GrantEnded {
			continue
		}
		fmt.Fprintf(&out, "%s is %q, expires %s\n%s\n", g.Name, g.Status.Phase, g.Spec.ExpirationTime, kit.Describe(g.Status.Conditions))
		for name, log := range logs {
			for line := range strings.Lines(log) {
				if strings.Contains(line, g.Name) || strings.Contains(line, g.Spec.RequestRef.Name) {
					out.WriteString(name + ": " + line)
				}
			}
		}
	}
	return out.String()
}

// helmInstall installs the chart of this folder with the image that is here.
func helmInstall() string {
	line := helm() + "install access-broker charts/access-broker --namespace default --set image.tag=latest --wait --timeout=2m"
	if !e.Stamps {
		line += " --set admission.mutating=false"
	}
	return line
}

func helm() string { return filepath.Join(e.Root, "bin", "node", "helm") + " " }

func installWithHelm(t *testing.T) {
	t.Helper()
	begin := time.Now()
	must(t, helmInstall())
	t.Logf("helm install --wait: %s", time.Since(begin).Round(100*time.Millisecond))
	kit.Eventually(t, "the admission policies", func(ctx context.Context) (bool, error) { return true, e.AdmissionReady(ctx) })
	settled(t)
	endOnTime(t, given(t, 3*time.Second))
}

// uninstallWithHelm: the Job in front of it refuses while somebody could be given
// access, and otherwise ends all access, although no replica runs.
func uninstallWithHelm(t *testing.T) {
	t.Helper()
	ns, grant := active(t)
	begin := time.Now()
	output, err := e.Run(t.Context(), lab.AdminName, helm()+"uninstall access-broker --namespace default --timeout=2m")
	t.Logf("helm uninstall is refused after %s: %s", time.Since(begin).Round(100*time.Millisecond), output)
	if err == nil {
		t.Fatal("it is not held up by a policy")
	}
	tried := &corev1.PodList{}
	if err := e.Admin.List(t.Context(), tried, client.InNamespace(lab.BrokerNamespace), client.MatchingLabels{"app.kubernetes.io/name": "access-broker-uninstall"}); err != nil || len(tried.Items) != 1 {
		t.Errorf("it tried %d times what had to be refused: %v", len(tried.Items), err)
	}
	if log, err := e.Run(t.Context(), lab.AdminName, "kubectl logs -n "+lab.BrokerNamespace+" job/access-broker-uninstall"); err != nil || !strings.Contains(log, "kubectl delete accesspolicies") {
		t.Errorf("the Job's log does not say what to do: %v\n%s", err, log)
	}
	if !kit.Can(t, alice, ns) {
		t.Error("it took access away although it refused")
	}

	must(t, "kubectl scale deployment/access-broker -n "+lab.BrokerNamespace+" --replicas=0")
	kit.Eventually(t, "the last replica to end", func(context.Context) (bool, error) { return len(brokers(t)) == 0, nil })
	must(t, "kubectl delete accesspolicies --all")
	if !kit.Can(t, alice, ns) {
		t.Fatal("somebody ended the access: this shows nothing")
	}
	begin = time.Now()
	must(t, helm()+"uninstall access-broker --namespace default --timeout=2m")
	t.Logf("helm uninstall: %s", time.Since(begin).Round(100*time.Millisecond))
	if kit.Can(t, alice, ns) {
		t.Error("alice has access after all is gone")
	}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(grant), grant); err != nil || grant.Status.Phase != v1alpha1.GrantEnded {
		t.Errorf("the record says %q: %v", grant.Status.Phase, err)
	}
	for _, line := range kit.CommandsOf(t, "install.md", "unless the chart was installed with", "### When no broker runs") {
		must(t, line+" --timeout=60s")
	}
}

// awaitEnd waits until the broker's namespace is gone.
func awaitEnd(t *testing.T) {
	t.Helper()
	e.WaitGone(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: lab.BrokerNamespace}})
}

// installAgain is for the tests that come after this one.
func installAgain(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	// What a failed test has left of the chart would be in the way.
	if output, err := e.Run(ctx, lab.AdminName, helm()+"uninstall access-broker --namespace default --no-hooks --ignore-not-found"); err != nil {
		t.Errorf("%v: %s", err, output)
	}
	if err := e.MustRun(ctx, "kubectl apply -k "+e.Installation()); err != nil {
		t.Error(err)
		return
	}
	if err := e.AdmissionReady(ctx); err != nil {
		t.Error(err)
	}
	if err := on.BrokerReady(ctx); err != nil {
		t.Error(err)
	}
}
