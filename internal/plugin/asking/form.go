package asking

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Form is what somebody writes to ask: the flags of `kubectl access request`, or the
// fields of a page, in the words in which they were written.
type Form struct {
	// Role is NAME, Role/NAME or ClusterRole/NAME, of RoleKind where it says none.
	Role, RoleKind string
	// Rules are asked for instead of a role.
	Rules []string
	// Namespaces, Selector or Cluster say where; by default where the request is.
	Namespaces []string
	Selector   string
	Cluster    bool
	// Subjects get the access instead of whoever asks.
	Subjects           []string
	Task, CompleteWhen string
	Duration, Start    string
	Reason, Ticket     string
	Policy             string
	// Name of the request, generated when it is "".
	Name string
	// Credential of its own. Its key is not part of the form: it stays on the machine.
	Credential bool
}

// Spec of the request, but for the requester and what LookUp finds. Its error is
// Faults: all that is wrong.
func (f Form) Spec(now time.Time) (v1alpha1.AccessRequestSpec, error) {
	spec := v1alpha1.AccessRequestSpec{Reason: f.Reason, Ticket: f.Ticket, PolicyName: f.Policy}
	var faults Faults
	var err error
	switch {
	case f.Role == "" && len(f.Rules) == 0:
		faults.refuse("role", "say which role", "name a role, or give --rules; 'kubectl access policies' lists what you may ask for")
	case f.Role != "" && len(f.Rules) > 0:
		faults.refuse("role", "ask for a role or for permissions, not for both", "ask for a role or for --rules, not for both")
	case f.Role != "":
		if spec.RoleRef, err = Role(f.Role, f.RoleKind); err != nil {
			faults = append(faults, &Fault{Field: "role", Says: err.Error(), flag: err.Error(), err: err})
		}
	}
	spec.Scope = f.scope(&faults)
	for _, word := range f.Subjects {
		subject, err := Subject(word)
		faults.add("subject", err)
		spec.Subjects = append(spec.Subjects, subject)
	}
	if f.Credential && len(f.Subjects) > 0 {
		faults.refuse("subject", "only you get the credential; whoever needs the access asks for themselves",
			"--credential and --subject exclude each other: only you get the credential; whoever needs the access asks for themselves")
	}
	spec.Duration = f.duration(&faults)
	if f.Start != "" {
		start, err := Moment(f.Start, now)
		faults.add("start", err)
		spec.StartTime = &metav1.Time{Time: start}
	}
	if f.CompleteWhen != "" && f.Task == "" {
		faults.refuse("task", "say which task it is that is complete then", "--complete-when needs --task")
	}
	f.why(&faults, "say why you need it")
	return spec, faults.orNil()
}

// Extending is the spec of a request for more time of another: only how long, why and
// the ticket are of the form.
func (f Form) Extending(name string) (v1alpha1.AccessRequestSpec, error) {
	spec := v1alpha1.AccessRequestSpec{Extends: name, Reason: f.Reason, Ticket: f.Ticket}
	var faults Faults
	spec.Duration = f.duration(&faults)
	f.why(&faults, "say why you need it for longer")
	return spec, faults.orNil()
}

func (f Form) duration(faults *Faults) *metav1.Duration {
	if f.Duration == "" {
		return nil
	}
	d, err := Duration(f.Duration)
	faults.add("for", err)
	return &metav1.Duration{Duration: d}
}

func (f Form) why(faults *Faults, wanted string) {
	if strings.TrimSpace(f.Reason) == "" {
		faults.refuse("reason", wanted, wanted+", with --reason")
	} else {
		faults.line("reason", f.Reason, MaxReason)
	}
	faults.line("ticket", f.Ticket, MaxTicket)
}

func (f Form) scope(faults *Faults) *v1alpha1.Scope {
	named, selected := len(f.Namespaces) > 0, f.Selector != ""
	switch {
	case named && selected, named && f.Cluster, selected && f.Cluster:
		faults.refuse("namespaces", "choose namespaces by name, by labels, or the whole cluster, not two of them",
			"--namespaces, --selector and --cluster exclude each other")
	case named:
		for _, name := range f.Namespaces {
			if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
				faults.add("namespaces", fmt.Errorf("%q is no name of a namespace: %s", name, wrong[0]))
			}
		}
		return &v1alpha1.Scope{Namespaces: slices.Compact(slices.Sorted(slices.Values(f.Namespaces)))}
	case selected:
		selector, err := Selector(f.Selector)
		faults.add("selector", err)
		return &v1alpha1.Scope{NamespaceSelector: selector}
	case f.Cluster:
		return &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}}
	}
	return nil
}

// LookUp asks the cluster for the kinds that the task and the rules name. Its error is
// Faults, or that of the cluster.
func (f Form) LookUp(spec *v1alpha1.AccessRequestSpec, discover func() (meta.RESTMapper, error)) error {
	if f.Task != "" {
		spec.Task = WellKnownTask(f.Task)
	}
	var faults Faults
	if f.Task != "" && spec.Task == nil || len(f.Rules) > 0 {
		mapper, err := discover()
		if err != nil {
			return err
		}
		if f.Task != "" && spec.Task == nil {
			spec.Task, err = Task(f.Task, mapper)
			faults.add("task", err)
		}
		for _, word := range f.Rules {
			rules, err := Rule(word, mapper)
			faults.add("rules", err)
			spec.Rules = append(spec.Rules, rules...)
		}
	}
	if spec.Task != nil {
		spec.Task.CompleteWhen = f.CompleteWhen
		faults.task(spec.Task)
	}
	return faults.orNil()
}

// Request for a spec, in a namespace.
func (f Form) Request(namespace string, spec v1alpha1.AccessRequestSpec) *v1alpha1.AccessRequest {
	request := &v1alpha1.AccessRequest{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.Name}, Spec: spec}
	if f.Name == "" {
		request.GenerateName = NamePrefix(&spec)
	}
	return request
}

// NamePrefix makes the name of a request tell what it is for.
func NamePrefix(spec *v1alpha1.AccessRequestSpec) string {
	switch {
	case spec.Extends != "":
		return NameLike(spec.Extends, "more")
	case spec.RoleRef == nil:
		return NameLike("rules", "")
	}
	return NameLike(spec.RoleRef.Name, "role")
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// NameLike begins the name of an object as what it is about is called; otherwise is
// for what has no letter or digit.
func NameLike(what, otherwise string) string {
	name := cmp.Or(strings.Trim(notInName.ReplaceAllString(strings.ToLower(what), "-"), "-"), otherwise)
	return strings.TrimRight(name[:min(len(name), 40)], "-") + "-"
}
