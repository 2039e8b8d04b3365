package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func TestControlPlane(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	begin := time.Now()
	c, err := StartControlPlane(ctx, Options{Output: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	t.Logf("ready after %s", time.Since(begin).Round(time.Millisecond))

	admin := c.Clientset

	t.Run("a user is who the certificate says and may do nothing", func(t *testing.T) {
		cfg, err := c.User("alice", "dev")
		if err != nil {
			t.Fatal(err)
		}
		alice := clientFor(t, cfg)
		if got := called(ctx, t, alice); got != "alice [dev system:authenticated]" {
			t.Errorf("alice is %q", got)
		}
		if _, err := alice.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("alice lists secrets: got %v, want Forbidden", err)
		}
	})

	t.Run("a ServiceAccount is itself", func(t *testing.T) {
		cfg, err := c.ServiceAccount(ctx, "default", "default")
		if err != nil {
			t.Fatal(err)
		}
		got := called(ctx, t, clientFor(t, cfg))
		if !strings.HasPrefix(got, "system:serviceaccount:default:default ") {
			t.Errorf("the ServiceAccount is %q", got)
		}
	})

	t.Run("kubectl works with a kubeconfig", func(t *testing.T) {
		path, err := c.Kubeconfig("admin", c.AdminConfig())
		if err != nil {
			t.Fatal(err)
		}
		out, err := c.Kubectl(path, "api-resources", "--api-group=admissionregistration.k8s.io", "-oname").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "validatingadmissionpolicies.") {
			t.Errorf("want ValidatingAdmissionPolicies served, got %v:\n%s", err, out)
		}
	})

	t.Run("a Job completes", func(t *testing.T) {
		createJob(ctx, t, admin, "good")
		if err := c.FinishPod(ctx, "default", "good", corev1.PodSucceeded); err != nil {
			t.Fatal(err)
		}
		waitForJob(ctx, t, admin, "good", batchv1.JobComplete)
	})

	t.Run("a Job fails", func(t *testing.T) {
		createJob(ctx, t, admin, "bad")
		if err := c.FinishPod(ctx, "default", "bad", corev1.PodFailed); err != nil {
			t.Fatal(err)
		}
		waitForJob(ctx, t, admin, "bad", batchv1.JobFailed)
	})

	t.Run("a process that was killed starts again", func(t *testing.T) {
		for _, p := range c.processes() {
			before := p.PID()
			p.Kill()
			if p.PID() != 0 {
				t.Fatalf("%s has a pid after Kill", p.name)
			}
			begin := time.Now()
			if err := p.Start(ctx); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s again after %s", p.name, time.Since(begin).Round(time.Millisecond))
			if p.PID() == before {
				t.Errorf("%s has the pid of its former life", p.name)
			}
			if err := p.Start(ctx); err == nil {
				t.Errorf("%s starts twice", p.name)
			}
		}
		if _, err := admin.BatchV1().Jobs("default").Get(ctx, "good", metav1.GetOptions{}); err != nil {
			t.Errorf("what was stored is lost: %v", err)
		}
	})

	t.Run("nothing is left after Stop", func(t *testing.T) {
		var pids []int
		for _, p := range c.processes() {
			pids = append(pids, p.PID())
		}
		// One that hangs must go as well.
		if err := c.ControllerManager.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for range 2 {
			if err := c.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("stopped after %s", time.Since(begin).Round(time.Millisecond))
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d is still there: %v", pid, err)
			}
		}
		if _, err := os.Stat(c.Dir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the temporary folder is still there: %v", err)
		}
	})
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Run("missing binaries", func(t *testing.T) {
		_, err := StartControlPlane(t.Context(), Options{Binaries: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "make controlplane") {
			t.Errorf("got %v, want a hint at make controlplane", err)
		}
	})
	t.Run("a program that dies", func(t *testing.T) {
		binaries := t.TempDir()
		for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kubectl"} {
			script := "#!/bin/sh\necho " + name + " is out of order >&2\nexit 3\n"
			if err := os.WriteFile(filepath.Join(binaries, name), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		_, err := StartControlPlane(t.Context(), Options{Dir: t.TempDir(), Binaries: binaries})
		if err == nil || !strings.Contains(err.Error(), "etcd is out of order") || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("got %v, want the log and the exit status", err)
		}
	})
}

func clientFor(t *testing.T, cfg *rest.Config) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func called(ctx context.Context, t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	review, err := client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	user := review.Status.UserInfo
	return fmt.Sprintf("%s %v", user.Username, user.Groups)
}

func createJob(ctx context.Context, t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	never := int32(0)
	_, err := client.BatchV1().Jobs("default").Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: batchv1.JobSpec{
			BackoffLimit: &never,
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: "work", Image: "example.com/work"}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func waitForJob(ctx context.Context, t *testing.T, client kubernetes.Interface, name string, want batchv1.JobConditionType) {
	t.Helper()
	err := Until(ctx, Patience, func(ctx context.Context) (bool, error) {
		job, err := client.BatchV1().Jobs("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, condition := range job.Status.Conditions {
			if condition.Type == want && condition.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, fmt.Errorf("Job %s is not %s: %v", name, want, job.Status.Conditions)
	})
	if err != nil {
		t.Fatal(err)
	}
}
