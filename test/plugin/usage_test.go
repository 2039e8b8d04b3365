package plugin

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/test/kit"
)

// The log of the API server tells what alice did with her access, to somebody who
// has no access to the cluster.
func TestUsage(t *testing.T) {
	t.Parallel()
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, nil)
	ask(t, ns, "fix")
	bob.run(t, "approve", "fix", "-n", ns).ok(t)
	grant := e.WaitFor(t, request(ns, "fix"), v1alpha1.RequestActive).Status.GrantName
	use(t, ns)

	usage := func(args ...string) result {
		return eve.run(t, append([]string{"usage", "--audit-log", e.AuditLog(), "--kubeconfig", "/nowhere"}, args...)...)
	}
	table := usage().ok(t, "GRANT OR BINDING\tNAMESPACES\tUSERS\tCALLS\tRIGHTS\tLAST\tRISKS\n", "By bindings that are not of grants: ", "; --all lists them")
	if line := lineOf(table.out, grant); !strings.HasPrefix(line, grant+"\t"+ns+"\talice\t6\t5\t") || !strings.Contains(line, "ReadSecrets") {
		t.Errorf("the grant is listed as %q", line)
	}
	usage("--all").ok(t, grant, "access-requester").not(t, "--all lists them")
	page := usage("--grant", grant).ok(t, "Grant "+grant, "6 calls", "used 5 rights", "read 1 Secret", "created ConfigMap left, Pod debug-x", "deleted once",
		"Who called", "alice, from 127.0.0.1, with ", "2 calls: get secrets in "+ns+", 1 failed", "Created", "Pod debug-x in "+ns).not(t, "refused")
	if usage("--binding", ns+"/"+grant).ok(t, "RoleBinding "+ns+"/"+grant).out[strings.Index(page.out, "\n"):] == "" {
		t.Error("a binding has no page")
	}
	usage("--user", "alice", "--since", "1h").ok(t, "User alice", "Rights that were refused", "delete rolebindings.rbac.authorization.k8s.io in "+ns)
	usage("--user", "alice", "--grant", grant).ok(t, "6 calls").not(t, "refused")
	usage("--user", "bob", "--grant", grant).ends(t, 1, "no call of --grant "+grant+" and --user bob is in the log")

	var report struct {
		Events int
		Usage  []struct {
			Grant   string
			Calls   int
			Created []struct{ Resource, Name string }
		}
	}
	if err := json.Unmarshal([]byte(usage("--grant", grant, "-o", "json").ok(t).out), &report); err != nil {
		t.Fatal(err)
	}
	if len(report.Usage) != 1 || report.Usage[0].Grant != grant || report.Usage[0].Calls != 6 || len(report.Usage[0].Created) != 2 {
		t.Errorf("%+v", report)
	}
	usage("--grant", grant, "-o", "yaml").ok(t, "  grant: "+grant+"\n", "  calls: 6\n")
	elsewhere(t, grant)
}

// use is what alice does with edit: 6 calls that it allows, and one that it does not.
func use(t *testing.T, ns string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "db"}}
	kit.Create(t, e.Admin, secret)
	gone := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "gone"}}
	kit.Create(t, e.Admin, gone)
	kit.Create(t, alice, kit.NewPod(ns, "debug-x"))
	kit.Create(t, alice, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "left"}})
	kit.Delete(t, alice, gone)
	if err := alice.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	if err := alice.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "no; read 9 Secrets"}, secret); !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	if err := alice.List(t.Context(), &corev1.PodList{}, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "x"}}
	if err := alice.Delete(t.Context(), binding); !apierrors.IsForbidden(err) {
		t.Fatal(err)
	}
}

// elsewhere: the same from standard input and from copies, compressed or wrapped; a
// call that is in all of them counts once.
func elsewhere(t *testing.T, grant string) {
	t.Helper()
	log, err := os.ReadFile(e.AuditLog())
	if err != nil {
		t.Fatal(err)
	}
	var zipped, wrapped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(log); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		if err := json.NewEncoder(&wrapped).Encode(map[string]string{"log": string(line), "stream": "stdout"}); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"usage", "--grant", grant, "--audit-log", "-", "--audit-log", e.AuditLog()}
	for name, content := range map[string][]byte{"a.log.gz": zipped.Bytes(), "b.json": wrapped.Bytes()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--audit-log", path)
	}
	cmd := eve.access(args...)
	cmd.Stdin = bytes.NewReader(log)
	startCmd(t, cmd)().ok(t, "6 calls", "18 events came more than once and counted once")
}

func lineOf(text, begin string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	return ""
}
