package plugin

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/text"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

// aMapper knows some kinds, as discovery would tell of them.
func aMapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(appsv1.SchemeGroupVersion.WithKind("Deployment"), meta.RESTScopeNamespace)
	return m
}

// typed is what a shell makes of a command, by the flags of `kubectl access request`.
func typed(t *testing.T, command string) (form asking.Form, namespace string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", `kubectl() { printf '%s\0' "$@"; }; `+command).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	words := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if len(words) < 2 || words[0] != "access" || words[1] != "request" {
		t.Fatalf("%s: %q", command, words)
	}
	var a ask
	o := &options{config: genericclioptions.NewConfigFlags(true)}
	cmd := &cobra.Command{}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "")
	o.requestFlags(cmd, &a)
	if err := cmd.ParseFlags(words[2:]); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if args := cmd.Flags().Args(); len(args) > 1 {
		t.Fatalf("%s: arguments %q", command, args)
	}
	a.Role = cmd.Flags().Arg(0)
	return a.Form, namespace
}

// asked is all that comes of a form.
type asked struct {
	Spec       v1alpha1.AccessRequestSpec
	Name       string
	Credential bool
}

func outcomeOf(f asking.Form) (asked, error) {
	spec, err := f.Spec(now)
	if err == nil {
		err = f.LookUp(&spec, func() (meta.RESTMapper, error) { return aMapper(), nil })
	}
	return asked{spec, f.Name, f.Credential}, err
}

// samples are values for each field of a form, of which something else comes than of
// the base that they change.
var samples = map[string]func(*asking.Form){
	"Role":     func(f *asking.Form) { f.Role = "Role/deployer" },
	"RoleKind": func(f *asking.Form) { f.RoleKind = "role" },
	"Rules": func(f *asking.Form) {
		f.Role, f.Rules = "", []string{"get,list pods/log", "patch deployments.apps it's"}
	},
	"Namespaces":   func(f *asking.Form) { f.Namespaces = []string{"b", "a"} },
	"Selector":     func(f *asking.Form) { f.Selector = "team in (a,b),!prod" },
	"Cluster":      func(f *asking.Form) { f.Cluster = true },
	"Subjects":     func(f *asking.Form) { f.Subjects = []string{"user:o'brien $(id)", "sa:payments/migrator"} },
	"Task":         func(f *asking.Form) { f.Task = "job/migrate" },
	"CompleteWhen": func(f *asking.Form) { f.Task, f.CompleteWhen = "deployment/api", `object.status.phase == "it's done"` },
	"Duration":     func(f *asking.Form) { f.Duration = "1d12h" },
	"Start":        func(f *asking.Form) { f.Start = "+10m" },
	"Reason":       func(f *asking.Form) { f.Reason = "-n `id` \"x\" 'y' \\ $HOME ; rm é 日本" },
	"Ticket":       func(f *asking.Form) { f.Ticket = "--INC-42" },
	"Policy":       func(f *asking.Form) { f.Policy = "break-glass" },
	"Name":         func(f *asking.Form) { f.Name = "fix" },
	"Credential":   func(f *asking.Form) { f.Credential = true },
}

// TestCommandSaysAll takes every field of a form through the command and back.
func TestCommandSaysAll(t *testing.T) {
	base := asking.Form{Role: "edit", Reason: "why"}
	plain, err := outcomeOf(base)
	if err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeFor[asking.Form]().Fields() {
		t.Run(field.Name, func(t *testing.T) {
			sample, ok := samples[field.Name]
			if !ok {
				t.Fatal("this field is new: add a sample here, and the field to Command")
			}
			form := base
			sample(&form)
			want, err := outcomeOf(form)
			if err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(plain, want) {
				t.Fatal("nothing comes of the sample")
			}
			back, namespace := typed(t, form.Command("payments"))
			if namespace != "payments" {
				t.Errorf("in namespace %q", namespace)
			}
			got, err := outcomeOf(back)
			if err != nil {
				t.Fatalf("%s: %v", form.Command("payments"), err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: -want +got\n%s", form.Command("payments"), diff)
			}
		})
	}
}

func FuzzCommand(f *testing.F) {
	f.Add("edit", "", "", "", "", "", "why", "INC-42", "", "", false)
	f.Add("-edit", "a,b", "", "user:-x", "", "1h", "it's; $(id)", "'", "p", "n", true)
	f.Add("", "", "a=b", "group:a b", "job/x", "2d", "\\", "`", "--", "-", false)
	f.Fuzz(func(t *testing.T, role, namespaces, selector, subject, task, duration, reason, ticket, policy, name string, cluster bool) {
		form := asking.Form{Role: role, Selector: selector, Task: task, Duration: duration, Reason: reason, Ticket: ticket, Policy: policy, Name: name, Cluster: cluster}
		if namespaces != "" {
			form.Namespaces = strings.Split(namespaces, ",")
		}
		if subject != "" {
			form.Subjects = []string{subject}
		}
		want, err := outcomeOf(form)
		if err != nil {
			t.Skip("no form that is sent")
		}
		for _, word := range []string{role, selector, subject, task, reason, ticket, policy, name} {
			if text.Visible(word) != word {
				t.Skip("what cannot be seen is not made a command as it is")
			}
		}
		back, _ := typed(t, form.Command("payments"))
		got, err := outcomeOf(back)
		if err != nil {
			t.Fatalf("%s: %v", form.Command("payments"), err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", form.Command("payments"), diff)
		}
	})
}
