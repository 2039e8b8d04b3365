package web

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Values of fields that have no other.
const (
	noRole       = "-"
	wholeCluster = "cluster"
)

const (
	// maxListed is how many namespaces a list to choose from has; of more, they are
	// suggested.
	maxListed = 100
	// maxSeen bounds how many namespaces are looked at to foresee what would come.
	maxSeen = 50
)

// formOf reads the form of a policy.
func formOf(of *v1alpha1.AccessPolicy, value func(string) string) (form asking.Form, namespace string) {
	form = asking.Form{
		Role: value("role"), Rules: lines(value("rules")), Cluster: value("where") == wholeCluster,
		Namespaces: words(value("namespaces")), Selector: value("selector"), Subjects: lines(value("subject")),
		Task: value("task"), CompleteWhen: value("complete-when"), Duration: value("for"), Start: value("start"),
		Reason: value("reason"), Ticket: value("ticket"), Policy: of.Name, Name: value("name"),
		Credential: of.Spec.Credential == v1alpha1.CredentialIssued,
	}
	if form.Role == noRole {
		form.Role = ""
	}
	return form, value("namespace")
}

// allFields of a form, but for the policy.
var allFields = []string{
	"role", "rules", "namespace", "where", "namespaces", "selector", "subject", "task", "complete-when", "for", "start", "reason", "ticket", "name",
}

// unseen finds what cannot be seen in what somebody wrote: the page would show it, and
// send it, as something else. The reason and the ticket are looked at with the form.
func unseen(value func(string) string) (faults []fault) {
	for _, name := range allFields {
		if name == "reason" || name == "ticket" {
			continue
		}
		for _, line := range lines(value(name)) {
			if what := text.Fault(line); what != "" {
				faults = append(faults, fault{name, "it " + what})
			}
		}
	}
	return faults
}

// lines are those that have something in them.
func lines(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// words are separated by commas or white space.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// fields are those of the form of a policy, within its bounds: first what is always
// asked, and more that is seldom needed.
func (p *Page) fields(ctx context.Context, of *v1alpha1.AccessPolicy, value func(string) string) (fields, more []field) {
	spec := &of.Spec
	add := func(f field) { fields = append(fields, f) }
	if len(spec.Roles) > 0 {
		roles := view.Each(spec.Roles, func(role v1alpha1.RoleRef) option {
			return option{Value: view.RoleArgument(role), Text: text.Role(&role)}
		})
		if len(spec.Rules) > 0 {
			roles = append(roles, option{Value: noRole, Text: "No role, but the permissions below"})
		}
		add(field{ID: "role", Label: "Role", Options: choose(roles), Required: true})
	}
	if len(spec.Rules) > 0 {
		add(field{
			ID: "rules", Label: "Permissions", Area: 2, Required: len(spec.Roles) == 0,
			Hint: "Exactly these, instead of a role, one a line: verbs, resources and, if any, names, such as get,list pods/log or patch deployments.apps api.",
		})
	}
	add(p.namespaceField(ctx, spec))
	if spec.ClusterScope == v1alpha1.ClusterScopeAllowed {
		where := []option{{Value: wholeCluster, Text: "In the whole cluster"}}
		if spec.Namespaces != nil {
			where = slices.Insert(where, 0, option{Value: "namespace", Text: "In that namespace alone"})
		}
		add(field{ID: "where", Label: "Where", Options: where})
	}
	offer := view.OfferOf(of, p.Me, time.Now())
	add(field{
		ID: "for", Label: "How long", Hint: fmt.Sprintf("By default %s, at most %s. Write it as 30m, 1h30m or 2d.", offer.Default, offer.AtMost),
		Suggest: spans(spec.MaxDuration.Duration),
	})
	task := field{ID: "task", Label: "Task", Hint: "The access ends with this object of the namespace, if that is sooner: job/NAME, pod/NAME or KIND.GROUP/NAME.", Required: spec.Task == v1alpha1.TaskRequired}
	if task.Required {
		add(task)
	}
	add(field{ID: "reason", Label: "Reason", Hint: "Why, in one line, for those who decide and for the record.", Required: true, Most: asking.MaxReason})
	add(field{ID: "ticket", Label: "Ticket", Hint: "An external reference, such as INC-42.", Most: asking.MaxTicket})

	if !task.Required {
		more = append(more, task)
	}
	more = append(more, field{ID: "complete-when", Label: "The task is complete when", Hint: "A CEL expression over object, request and granted, for kinds of which it is not known when they are over."})
	switch {
	case spec.Credential == v1alpha1.CredentialIssued: // only who asks gets it
	case spec.Subjects == v1alpha1.SubjectsServiceAccounts:
		more = append(more, field{ID: "subject", Label: "For whom", Area: 2, Hint: "ServiceAccounts of the namespace that get the access instead of you, one a line: sa:NAMESPACE/NAME."})
	case spec.Subjects == v1alpha1.SubjectsAny:
		more = append(more, field{ID: "subject", Label: "For whom", Area: 2, Hint: "Who gets the access instead of you, one a line: user:NAME, group:NAME, sa:NAMESPACE/NAME or spiffe://TRUST-DOMAIN/PATH."})
	}
	more = append(more, field{ID: "start", Label: "Start", Hint: "Not before: +10m from now, or a time such as 2026-05-04T10:00:00Z."})
	if several(spec.Namespaces) {
		more = append(more,
			field{ID: "namespaces", Label: "Other namespaces", Hint: "In which the access holds instead, separated by commas."},
			field{ID: "selector", Label: "Labels of namespaces", Hint: "In all namespaces with these labels instead, such as team=money."})
	}
	more = append(more, field{ID: "name", Label: "Name of the request", Hint: "By default one is generated."})
	for _, group := range [][]field{fields, more} {
		for i := range group {
			write(&group[i], value)
		}
	}
	return fields, more
}

// choose makes somebody choose where there is more than one: nobody asks for the first of
// a list because it is the first.
func choose(options []option) []option {
	if len(options) == 1 {
		return options
	}
	return slices.Insert(options, 0, option{Text: "Choose one"})
}

// several tells whether a policy is about more than one namespace.
func several(of *v1alpha1.PolicyNamespaces) bool {
	return of != nil && (of.Selector != nil || len(of.Names) > 1)
}

// write puts into a field what somebody wrote; the namespace has a value before.
func write(f *field, value func(string) string) {
	f.Name = f.ID
	if is := value(f.Name); is != "" {
		f.Value = is
	}
	chosen := false
	for i := range f.Options {
		f.Options[i].Chosen = f.Options[i].Value == f.Value
		chosen = chosen || f.Options[i].Chosen
	}
	// What was written and cannot be chosen is not lost.
	if f.Value != "" && len(f.Options) > 0 && !chosen {
		f.Options = append(f.Options, option{Value: f.Value, Text: f.Value, Chosen: true})
	}
}

// namespaceField is where the request is made and, unless it says otherwise, the access
// holds.
func (p *Page) namespaceField(ctx context.Context, spec *v1alpha1.AccessPolicySpec) field {
	f := field{ID: "namespace", Label: "Namespace", Required: true}
	of := spec.Namespaces
	if of == nil {
		f.Value = p.Cluster.Namespace
		f.Hint = "The request is kept there; the access is not bound to it."
		return f
	}
	names := slices.Sorted(slices.Values(of.Names))
	listed := true
	if of.Selector != nil {
		matching, err := p.matching(ctx, of.Selector)
		listed = err == nil
		names = slices.Compact(slices.Sorted(slices.Values(append(names, matching...))))
		if !listed {
			f.Hint = "One with " + text.Selector(of.Selector) + "; you may not list them."
		}
	}
	if slices.Contains(names, p.Cluster.Namespace) {
		f.Value = p.Cluster.Namespace
	}
	if listed && len(names) > 0 && len(names) <= maxListed {
		f.Options = view.Each(names, func(name string) option { return option{Value: name, Text: name} })
		if f.Value == "" {
			f.Options = choose(f.Options)
		}
	} else {
		f.Suggest = names[:min(len(names), maxListed)]
	}
	return f
}

// matching are the namespaces that labels select, as far as they may be listed.
func (p *Page) matching(ctx context.Context, of *v1alpha1.NamespaceSelector) ([]string, error) {
	all, err := p.Cluster.Namespaces(ctx)
	if err != nil {
		return nil, err
	}
	selector, err := policy.Selector(of)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, ns := range all {
		if ns.Name != v1alpha1.GrantsNamespace && selector.Matches(labels.Set(ns.Labels)) {
			names = append(names, ns.Name)
		}
	}
	return names, nil
}

// spans are usual lengths of time, up to a longest.
func spans(longest time.Duration) []string {
	var out []string
	for _, word := range []string{"15m", "30m", "1h", "2h", "4h", "8h", "1d"} {
		if d, err := asking.Duration(word); err == nil && d <= longest {
			out = append(out, word)
		}
	}
	return out
}

// keeps are the fields of a form as they were looked at: with a start that no longer
// moves, and with the name under which it is the same request, however often it is sent.
func keeps(of *v1alpha1.AccessPolicy, request *v1alpha1.AccessRequest, value func(string) string) []field {
	out := []field{{Name: "policy", Value: of.Name}}
	for _, name := range allFields {
		f := field{Name: name, Value: value(name)}
		switch {
		case name == "start" && request.Spec.StartTime != nil:
			f.Value = text.Moment(request.Spec.StartTime.Time)
		case name == "name":
			f.Value = request.Name
		}
		if f.Value != "" {
			out = append(out, f)
		}
	}
	return out
}

// see looks at what I may read of what a request names, what of it is not there, and what
// was not looked at.
func (p *Page) see(ctx context.Context, r *v1alpha1.AccessRequest) (seen view.Seen, warns, untold []string) {
	names := []string{r.Namespace}
	switch scope := r.Asked().Scope; {
	case scope == nil:
	case scope.Cluster != nil:
		names = nil
	case scope.NamespaceSelector != nil:
		var err error
		names, err = p.matching(ctx, scope.NamespaceSelector)
		seen.Unlisted = err != nil
		if err == nil && len(names) == 0 {
			warns = append(warns, "No namespace has these labels now: the request waits for one, for a while.")
		}
	default:
		names = slices.Clone(scope.Namespaces)
	}
	if len(names) > maxSeen {
		untold = append(untold, fmt.Sprintf("What the policies say to all of the %d namespaces: only the first %d were looked at.", len(names), maxSeen))
		names = names[:maxSeen]
	}
	for _, name := range names {
		object, err := p.Cluster.NamespaceMetadata(ctx, name)
		if apierrors.IsNotFound(err) {
			warns = append(warns, "Namespace "+name+" does not exist: the request waits for it, for a while.")
		}
		if err != nil {
			object = nil
		}
		seen.Namespaces = append(seen.Namespaces, view.SeenNamespace{Name: name, Object: object})
	}
	seen.Rules = v1alpha1.RBACRules(r.Asked().Rules)
	if ref := r.Asked().RoleRef; ref != nil {
		in := names
		if ref.Kind == v1alpha1.ClusterRoleKind {
			in = []string{""}
		}
		for _, namespace := range in {
			rules, err := p.Cluster.RoleRules(ctx, ref.Kind, namespace, ref.Name)
			if err != nil {
				seen.Unread = unread(err, text.Role(ref))
			}
			seen.Rules = append(seen.Rules, rules...)
		}
		if len(in) == 0 {
			seen.Unread = "it is not known in which namespaces " + text.Role(ref) + " is meant"
		}
	}
	return seen, warns, untold
}

// unread says why a role is not known.
func unread(err error, role string) string {
	switch {
	case apierrors.IsNotFound(err):
		return role + " does not exist"
	case apierrors.IsForbidden(err):
		return "you may not read " + role
	}
	return role + " could not be read"
}

// placeholderKey stands for the key that is made when the request is sent: only then is
// it kept.
func placeholderKey(r *v1alpha1.AccessRequest) error {
	key, err := credential.NewKey()
	if err == nil {
		r.Spec.CredentialKey = key.Public()
	}
	return err
}

// yamlOf is a request as it would be created, to copy.
func yamlOf(r *v1alpha1.AccessRequest, form asking.Form) (string, error) {
	r = r.DeepCopy()
	r.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("AccessRequest"))
	r.ObjectMeta = metav1.ObjectMeta{Namespace: r.Namespace, Name: form.Name, GenerateName: r.GenerateName}
	if form.Name != "" {
		r.GenerateName = ""
	}
	head := ""
	if form.Credential {
		r.Spec.CredentialKey = ""
		head = "# The credential is sealed to a key that stays on one machine:\n# the command makes it, and credentialKey is its public half.\n"
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	if err != nil {
		return "", err
	}
	delete(object, "status")
	unstructured.RemoveNestedField(object, "metadata", "creationTimestamp")
	out, err := yaml.Marshal(object)
	return head + string(out), err
}

// fieldsOf are the fields of the form for those of a request.
var fieldsOf = []struct{ path, field string }{
	{"spec.reason", "reason"},
	{"spec.ticket", "ticket"},
	{"spec.duration", "for"},
	{"spec.startTime", "start"},
	{"spec.roleRef", "role"},
	{"spec.rules", "rules"},
	{"spec.subjects", "subject"},
	{"spec.task.completeWhen", "complete-when"},
	{"spec.task", "task"},
	{"spec.scope.namespaceSelector", "selector"},
	{"spec.scope.namespaces", "namespaces"},
	{"spec.scope", "where"},
	{"metadata.namespace", "namespace"},
	{"metadata.generateName", "name"},
	{"metadata.name", "name"},
}

// invalidAt says at which fields the API server found something wrong.
func invalidAt(err error) []fault {
	faults := view.Each(cluster.Invalid(err), func(w cluster.Wrong) fault {
		for _, of := range fieldsOf {
			if strings.HasPrefix(w.Field, of.path) {
				return fault{of.field, w.Message}
			}
		}
		return fault{Message: w.Field + ": " + w.Message}
	})
	if len(faults) == 0 && apierrors.IsNotFound(err) && !cluster.NotServed(err) {
		return []fault{{"namespace", "there is no such namespace"}}
	}
	return faults
}
