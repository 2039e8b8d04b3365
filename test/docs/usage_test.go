package docs

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

const (
	usage        = "docs/usage.md"
	auditSamples = samples + "/audit"
	// observerUser is the group that the page lets read the log, and the user in it.
	observerUser = 65532
)

// TestUsagePage runs the commands of the page that any cluster runs, takes its
// kustomizations, and looks after what the commands of other clusters name.
func TestUsagePage(t *testing.T) {
	e := running(t)
	e.kubectl(t, "apply", "-k", onto(t, "resources: [../config/components/observer]"))
	t.Cleanup(func() {
		e.kubectl(t, "delete", "--ignore-not-found", "-k", onto(t, "resources: [../config/components/observer]"))
	})
	home := t.TempDir()
	for _, b := range blocksOf(t, usage) {
		switch {
		case b.value("file") != "": // TestSamplesAreThePages
		case b.is("sh") && b.has("elsewhere"):
			namesWhatIs(t, e, b)
		case b.is("sh"):
			out, err := typeIn(t, e.adminAlias()+"cd "+home+"\n", b.text)
			if b.has("refused") != (err != nil) {
				t.Errorf("%s:%d: to be refused: %v; it was: %v\n%s", usage, b.line, b.has("refused"), err, out)
			}
		case b.is("yaml") && b.has("kustomization"):
			e.kubectl(t, "apply", "--dry-run=server", "-k", onto(t, b.text))
		case b.is("yaml"):
			if err := yaml.UnmarshalStrict([]byte(b.text), &map[string]any{}); err != nil {
				t.Errorf("%s:%d: %v", usage, b.line, err)
			}
		case b.is("console"): // an illustration
		default:
			t.Errorf("%s:%d: nothing checks this block", usage, b.line)
		}
	}
}

// The page tells of every metric that the observer has.
func TestObserverMetrics(t *testing.T) {
	page, source := read(t, usage), read(t, "internal/observe/metrics.go")
	names := regexp.MustCompile(`counter\("(\w+)"|"access_observer_(\w+)"`).FindAllStringSubmatch(source, -1)
	if len(names) < 8 {
		t.Fatalf("only %d are found", len(names))
	}
	for _, name := range names {
		if name := name[1] + name[2]; name != "" && !strings.Contains(page, "| `access_observer_"+name+"` |") {
			t.Errorf("%s does not tell of access_observer_%s", usage, name)
		}
	}
	if rows := strings.Count(page, "\n| `access_observer_"); rows != len(slices.DeleteFunc(names, func(name []string) bool { return name[1]+name[2] == "" })) {
		t.Errorf("%s has %d metrics", usage, rows)
	}
}

// Attacks that the threat model says are played elsewhere are played there.
func TestThreatModelNamesTests(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\|.*\\| `([a-z/]+) (Test\\w+)` \\|$").FindAllStringSubmatch(read(t, "docs/threat-model.md"), -1)
	if len(rows) < 10 {
		t.Fatalf("only %d are found", len(rows))
	}
	for _, row := range rows {
		if !slices.ContainsFunc(files(t, row[1], "*_test.go"), func(file string) bool {
			return strings.Contains(read(t, file), "\nfunc "+row[2]+"(")
		}) {
			t.Errorf("%s has no %s", row[1], row[2])
		}
	}
}

// onto is the folder of a kustomization that is written as if it lay beside config.
func onto(t *testing.T, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp(filepath.Join(root, "tmp"), "usage-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	text = strings.ReplaceAll(text, "../config", "../../config")
	// A component is none of the resources of a kustomization.
	text = strings.Replace(text, "resources: [../../config/components/", "components: [../../config/components/", 1)
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}

// audited is a control plane that audits as the samples say, with a receiver of what
// it posts.
type audited struct {
	*lab.ControlPlane
	log, checkpoint string
	token           string
	receiver        *receiver
}

// receiver keeps what API servers post, and how they came.
type receiver struct {
	mu     sync.Mutex
	names  []string
	posts  []*http.Request
	events map[types.UID]bool
}

func (r *receiver) ServeHTTP(_ http.ResponseWriter, request *http.Request) {
	var list auditv1.EventList
	body, err := io.ReadAll(request.Body)
	if err != nil || json.Unmarshal(body, &list) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posts, r.names = append(r.posts, request), append(r.names, request.TLS.ServerName)
	for _, event := range list.Items {
		r.events[event.AuditID] = true
	}
}

// audit starts it: by the flags of the sample for kubeadm, on files and folders that
// are prepared by the commands of the page.
func audit(t *testing.T) *audited {
	t.Helper()
	// Whoever reads the log has to reach it, which a test's own folder does not let them.
	node, err := os.MkdirTemp("", "node-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(node) })
	if err := os.Chmod(node, 0o755); err != nil {
		t.Fatal(err)
	}
	etc, logs, lib := filepath.Join(node, "etc", "audit"), filepath.Join(node, "log", "kubernetes"), filepath.Join(node, "lib", "access-observer")
	a := &audited{log: filepath.Join(logs, "audit.log"), checkpoint: filepath.Join(lib, "checkpoint"), token: "a-token", receiver: &receiver{events: map[types.UID]bool{}}}
	there := strings.NewReplacer("/etc/kubernetes/audit", etc, "/var/log/kubernetes", logs, "/var/lib/access-observer", lib)
	for _, folder := range []string{etc, filepath.Dir(logs), filepath.Dir(lib)} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	blocks := blocksOf(t, usage)
	command := func(word, before string) {
		i := slices.IndexFunc(blocks, func(b block) bool { return b.has(word) })
		if i < 0 {
			t.Fatalf("%s has no block %s", usage, word)
		}
		if out, err := typeIn(t, before, there.Replace(strings.ReplaceAll(blocks[i].text, "sudo ", ""))); err != nil {
			t.Fatalf("%s:%d: %v\n%s", usage, blocks[i].line, err, out)
		}
	}
	if os.Getuid() == 0 {
		command("prepare", "")
	}
	command("certificate", "cd "+etc+"\n")

	pair, err := tls.LoadX509KeyPair(filepath.Join(etc, "tls.crt"), filepath.Join(etc, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(a.receiver)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	address := regexp.MustCompile(`https://[\d.]+/`)
	for name, content := range map[string]string{
		"policy.yaml":  read(t, auditSamples+"/policy.yaml"),
		"webhook.yaml": address.ReplaceAllString(there.Replace(read(t, auditSamples+"/webhook.yaml")), server.URL+"/"),
		"token":        a.token,
		"ca.crt":       readFile(t, filepath.Join(etc, "tls.crt")),
	} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var kubeadm struct {
		APIServer struct {
			ExtraArgs []struct{ Name, Value string }
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, auditSamples+"/kubeadm.yaml")), &kubeadm); err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, arg := range kubeadm.APIServer.ExtraArgs {
		flags = append(flags, "--"+arg.Name+"="+there.Replace(arg.Value))
	}
	if len(flags) < 6 {
		t.Fatalf("the sample has %q", flags)
	}
	// The last one counts: a small file is soon full.
	a.ControlPlane, err = lab.StartControlPlane(t.Context(), lab.Options{APIServerFlags: append(flags, "--audit-log-maxsize=1")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// The audit policy, the flags and the webhook's configuration of the samples in a
// real API server: each call comes out as the page says, once in the log and once
// over the webhook, and the observer's user reads the log through its rotation.
func TestAuditSamples(t *testing.T) {
	a := audit(t)
	ctx := t.Context()
	as := func(config *rest.Config, err error) kubernetes.Interface {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		clientset, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return clientset
	}
	admin := a.Clientset
	node := as(a.User("system:node:one", "system:nodes"))
	scheduler := as(a.User("system:kube-scheduler"))
	nobody := as(a.User("nobody"))
	if _, err := admin.CoreV1().ServiceAccounts("kube-system").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "replicaset-controller"}}, metav1.CreateOptions{}); err != nil && !strings.Contains(err.Error(), "already exists") {
		t.Fatal(err)
	}
	controller := as(a.ServiceAccount(ctx, "kube-system", "replicaset-controller"))
	pod := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "debug-"}, Spec: corev1.PodSpec{HostPID: true, Containers: []corev1.Container{{Name: "a", Image: "a"}}}}
	}
	none := auditv1.Level("")
	for _, c := range []struct {
		name  string
		level auditv1.Level
		// says are parts of the event, and secret are none.
		says   []string
		secret string
		do     func(mark string) error
	}{
		{"pod made under a name that is made", auditv1.LevelRequestResponse, []string{`"uid":"`, `"name":"debug-`, `"hostPID":true`}, "managedFields", func(mark string) error {
			p := pod()
			p.Annotations = map[string]string{"mark": mark}
			_, err := admin.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
			return err
		}},
		{"pod made by a controller", auditv1.LevelMetadata, nil, "hostPID", func(mark string) error {
			_, err := controller.CoreV1().Pods("default").Create(ctx, pod(), metav1.CreateOptions{FieldManager: mark})
			return err
		}},
		{"job made", auditv1.LevelRequestResponse, []string{`"uid":"`}, "", func(mark string) error {
			job := kit.NewJob("default", "")
			job.Name, job.GenerateName = "", "job-"
			_, err := admin.BatchV1().Jobs("default").Create(ctx, job, metav1.CreateOptions{FieldManager: mark})
			return err
		}},
		{"cronjob changed", auditv1.LevelRequestResponse, []string{"activeDeadlineSeconds"}, "", func(mark string) error {
			cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: "cron"}, Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *"}}
			cron.Spec.JobTemplate.Spec = kit.NewJob("default", "cron").Spec
			if _, err := admin.BatchV1().CronJobs("default").Create(ctx, cron, metav1.CreateOptions{}); err != nil {
				return err
			}
			_, err := admin.BatchV1().CronJobs("default").Patch(ctx, "cron", types.MergePatchType, []byte(`{"spec":{"jobTemplate":{"spec":{"activeDeadlineSeconds":7}}}}`), metav1.PatchOptions{FieldManager: mark})
			return err
		}},
		{"role bound", auditv1.LevelRequestResponse, []string{"cluster-admin"}, "", func(mark string) error {
			_, err := admin.RbacV1().RoleBindings("default").Create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Name: "bound"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
			}, metav1.CreateOptions{FieldManager: mark})
			return err
		}},
		{"secret made", auditv1.LevelMetadata, []string{`"name":"secret"`}, "aHVzaA==", func(mark string) error {
			_, err := admin.CoreV1().Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "secret"}, Data: map[string][]byte{"a": []byte("hush")}}, metav1.CreateOptions{FieldManager: mark})
			return err
		}},
		{"secret read", auditv1.LevelMetadata, nil, "aHVzaA==", func(mark string) error {
			return admin.CoreV1().RESTClient().Get().Namespace("default").Resource("secrets").Name("secret").Param("mark", mark).Do(ctx).Error()
		}},
		{"secrets read", auditv1.LevelMetadata, nil, "aHVzaA==", func(mark string) error {
			return admin.CoreV1().RESTClient().Get().Resource("secrets").Param("mark", mark).Do(ctx).Error()
		}},
		{"configmap made", auditv1.LevelMetadata, nil, "hush", func(mark string) error {
			_, err := admin.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "config"}, Data: map[string]string{"a": "hush"}}, metav1.CreateOptions{FieldManager: mark})
			return err
		}},
		{"token reviewed", auditv1.LevelMetadata, nil, "a-token-to-review", func(mark string) error {
			return admin.AuthenticationV1().RESTClient().Post().Resource("tokenreviews").Param("fieldManager", mark).
				Body([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"a-token-to-review"}}`)).Do(ctx).Error()
		}},
		{"token made", auditv1.LevelMetadata, []string{`"subresource":"token"`}, "eyJ", func(mark string) error {
			return admin.CoreV1().RESTClient().Post().Namespace("default").Resource("serviceaccounts").Name("default").SubResource("token").Param("fieldManager", mark).
				Body([]byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}`)).Do(ctx).Error()
		}},
		{"pods read", auditv1.LevelMetadata, nil, "", func(mark string) error {
			return admin.CoreV1().RESTClient().Get().Resource("pods").Param("mark", mark).Do(ctx).Error()
		}},
		{"call refused", auditv1.LevelMetadata, []string{`"authorization.k8s.io/decision":"forbid"`}, "", func(mark string) error {
			err := nobody.CoreV1().RESTClient().Get().Resource("pods").Param("mark", mark).Do(ctx).Error()
			if err == nil {
				return fmt.Errorf("it was not refused")
			}
			return nil
		}},
		{"exec refused", auditv1.LevelMetadata, []string{`"subresource":"exec"`}, "", func(mark string) error {
			_ = nobody.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("any").SubResource("exec").Param("command", mark).Do(ctx).Error()
			return nil
		}},
		{"watch", auditv1.LevelMetadata, []string{`"stage":"ResponseStarted"`}, "", func(mark string) error {
			w, err := admin.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{LabelSelector: "mark=" + mark})
			if err == nil {
				w.Stop()
			}
			return err
		}},
		{"observer's own call", auditv1.LevelMetadata, nil, "", func(mark string) error {
			observer := as(a.User("system:serviceaccount:access-broker-system:access-observer"))
			_ = observer.CoreV1().RESTClient().Get().AbsPath("/apis/jit.accessbroker.dev/v1alpha1/accessusages").Param("mark", mark).Do(ctx).Error()
			return nil
		}},
		{"read by a kubelet", none, nil, "", func(mark string) error {
			_ = node.CoreV1().RESTClient().Get().Resource("pods").Param("mark", mark).Do(ctx).Error()
			return nil
		}},
		{"pod made by a kubelet", auditv1.LevelMetadata, nil, "", func(mark string) error {
			_, _ = node.CoreV1().Pods("default").Create(ctx, pod(), metav1.CreateOptions{FieldManager: mark})
			return nil
		}},
		{"read by the scheduler", none, nil, "", func(mark string) error {
			_ = scheduler.CoreV1().RESTClient().Get().Resource("pods").Param("mark", mark).Do(ctx).Error()
			return nil
		}},
		{"probe", none, nil, "", func(mark string) error {
			return admin.CoreV1().RESTClient().Get().AbsPath("/readyz").Param("mark", mark).Do(ctx).Error()
		}},
		{"anything else by path", auditv1.LevelMetadata, nil, "", func(mark string) error {
			return admin.CoreV1().RESTClient().Get().AbsPath("/version").Param("mark", mark).Do(ctx).Error()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			mark := strings.ReplaceAll(c.name, " ", "-")
			mark = strings.ReplaceAll(mark, "'", "")
			if err := c.do("mark-" + mark + "-end"); err != nil {
				t.Fatal(err)
			}
			event, line := a.find(t, "mark-"+mark+"-end")
			if event.Level != c.level {
				t.Errorf("its level is %q, want %q: %s", event.Level, c.level, line)
			}
			if c.level == none {
				return
			}
			t.Logf("%d bytes", len(line))
			for _, want := range c.says {
				if !strings.Contains(line, want) {
					t.Errorf("it does not say %s: %s", want, line)
				}
			}
			if c.secret != "" && strings.Contains(line, c.secret) {
				t.Errorf("it says %s: %s", c.secret, line)
			}
			if c.level == auditv1.LevelMetadata && (event.RequestObject != nil || event.ResponseObject != nil) {
				t.Errorf("it has contents: %s", line)
			}
			kit.Eventually(t, "the event over the webhook", func(context.Context) (bool, error) {
				a.receiver.mu.Lock()
				defer a.receiver.mu.Unlock()
				return a.receiver.events[event.AuditID], nil
			})
		})
	}
	t.Run("lease of the API server, which is its sign of life", func(t *testing.T) {
		kit.Eventually(t, "it in the log", func(context.Context) (bool, error) {
			for line := range strings.Lines(readFile(t, a.log)) {
				if strings.Contains(line, `"username":"system:apiserver"`) && strings.Contains(line, `"resource":"leases"`) {
					return true, nil
				}
			}
			return false, nil
		})
	})
	a.posted(t)
	a.rotates(t)
}

// find the event of a call that is marked, in the log, which is written before each
// answer; the first one of a watch.
func (a *audited) find(t *testing.T, mark string) (event auditv1.Event, text string) {
	t.Helper()
	file, err := os.Open(a.log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), mark) {
			if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
				t.Fatal(err)
			}
			if event.Stage == auditv1.StageRequestReceived {
				t.Errorf("it was written before it was decided: %s", lines.Text())
			}
			return event, lines.Text()
		}
	}
	return event, ""
}

// posted: to the path of the stream, with the token, and looking for the Service's
// name in the certificate though it was posted to an address.
func (a *audited) posted(t *testing.T) {
	t.Helper()
	a.receiver.mu.Lock()
	defer a.receiver.mu.Unlock()
	for i, post := range a.receiver.posts {
		if post.Method != http.MethodPost || post.URL.Path != "/audit/control-plane-1" || post.Header.Get("Authorization") != "Bearer "+a.token || a.receiver.names[i] != "access-observer.access-broker-system.svc" {
			t.Fatalf("it was posted to %s of %s with %s", post.URL, a.receiver.names[i], post.Header)
		}
	}
	if len(a.receiver.posts) == 0 {
		t.Error("nothing was posted")
	}
}

// rotates: the API server gives a new file the mode and the group of the old one, so
// that what was prepared once stays.
func (a *audited) rotates(t *testing.T) {
	t.Helper()
	long := strings.Repeat("a", 8<<10)
	kit.Eventually(t, "the rotation of the log", func(ctx context.Context) (bool, error) {
		for range 50 {
			_ = a.Clientset.CoreV1().RESTClient().Get().AbsPath("/version").Param("long", long).Do(ctx).Error()
		}
		old, err := filepath.Glob(strings.TrimSuffix(a.log, ".log") + "-*.log")
		return len(old) > 0, err
	})
	if os.Getuid() != 0 {
		t.Skip("only root gives a file to another group")
	}
	files, err := filepath.Glob(strings.TrimSuffix(a.log, ".log") + "*.log")
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; info.Mode() != 0o640 || gid != observerUser {
			t.Errorf("%s is %s, of the group %d", file, info.Mode(), gid)
		}
		reader := exec.CommandContext(t.Context(), "head", "-c", "1", file)
		reader.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: observerUser, Gid: observerUser}}
		if out, err := reader.CombinedOutput(); err != nil || string(out) != "{" {
			t.Errorf("the observer cannot read %s: %v: %s", file, err, out)
		}
	}
	checkpoint := exec.CommandContext(t.Context(), "touch", a.checkpoint)
	checkpoint.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: observerUser, Gid: observerUser}}
	if out, err := checkpoint.CombinedOutput(); err != nil {
		t.Errorf("the observer cannot write its checkpoint: %v: %s", err, out)
	}
	spoil := exec.CommandContext(t.Context(), "sh", "-c", "echo forged >> "+a.log)
	spoil.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: observerUser, Gid: observerUser}}
	if err := spoil.Run(); err == nil {
		t.Error("the observer can write into the log")
	}
}
