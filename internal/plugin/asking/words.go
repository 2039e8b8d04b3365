// Package asking is what somebody writes to ask, in the flags of a command or in the
// fields of a page: how each word is read, what is wrong with it, and the same as a
// command to copy. It asks no cluster and knows no clock.
package asking

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/task"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Bounds of what people write, in characters; the API server has them too.
const (
	MaxReason  = 1024
	MaxTicket  = 256
	MaxComment = 1024
)

// CheckLine says what the API server would, before anything is sent.
func CheckLine(flag, line string, most int) error {
	if n := utf8.RuneCountInString(line); n > most {
		return fmt.Errorf("%s is %d characters long, at most %d are allowed", flag, n, most)
	}
	if fault := text.Fault(line); fault != "" {
		return fmt.Errorf("%s %s", flag, fault)
	}
	return nil
}

var days = regexp.MustCompile(`^([0-9]{1,4})d`)

// Duration reads 30m, 1h30m or 2d, in whole seconds.
func Duration(word string) (time.Duration, error) {
	var d time.Duration
	rest := word
	if match := days.FindStringSubmatch(word); match != nil {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			return 0, err
		}
		d, rest = time.Duration(n)*24*time.Hour, word[len(match[0]):]
	}
	if rest != "" {
		more, err := time.ParseDuration(rest)
		if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
			return 0, fmt.Errorf("%q is not a duration: write it as 30m, 1h30m or 2d", word)
		}
		d += more
	}
	if d < time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("%q is not a duration of whole seconds", word)
	}
	return d, nil
}

// Moment reads a time, or a span of time from now on.
func Moment(word string, now time.Time) (time.Time, error) {
	if after, ok := strings.CutPrefix(word, "+"); ok {
		d, err := Duration(after)
		return now.Add(d).Truncate(time.Second), err
	}
	t, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is not a time: write it as 2026-05-04T10:00:00Z, or as +10m from now", word)
	}
	return t, nil
}

// Since reads a time, a day in UTC, or a span of time back from now.
func Since(word string, now time.Time) (time.Time, error) {
	if d, err := Duration(word); err == nil {
		return now.Add(-d), nil
	}
	if day, err := time.Parse(time.DateOnly, word); err == nil {
		return day, nil
	}
	t, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a span of time, such as 24h or 7d, nor a day, such as 2026-05-04, nor a time, such as 2026-05-04T10:00:00Z", word)
	}
	return t, nil
}

// Until reads what Since does, of a day its last moment: who writes "until
// Friday" means Friday too.
func Until(word string, now time.Time) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, word); err == nil {
		return day.Add(24*time.Hour - time.Nanosecond), nil
	}
	return Since(word, now)
}

// Role reads NAME, Role/NAME or ClusterRole/NAME. kind is that of a bare
// name, "" for a ClusterRole.
func Role(word, kind string) (*v1alpha1.RoleRef, error) {
	given, name, qualified := strings.Cut(word, "/")
	if !qualified {
		given, name = cmp.Or(kind, v1alpha1.ClusterRoleKind), word
	}
	ref := &v1alpha1.RoleRef{Name: name}
	for _, known := range []string{v1alpha1.RoleKind, v1alpha1.ClusterRoleKind} {
		if strings.EqualFold(given, known) {
			ref.Kind = known
		}
	}
	switch {
	case ref.Kind == "":
		return nil, fmt.Errorf("%q is not a kind of role: there are Role and ClusterRole", given)
	case ref.Name == "":
		return nil, fmt.Errorf("%q does not name a role", word)
	case qualified && kind != "" && !strings.EqualFold(kind, ref.Kind):
		return nil, fmt.Errorf("%q is not a %s", word, kind)
	}
	return ref, nil
}

// Subject reads user:NAME, group:NAME, sa:NAMESPACE/NAME or the SPIFFE ID of a
// workload.
func Subject(word string) (v1alpha1.Subject, error) {
	if strings.HasPrefix(word, "spiffe://") || strings.HasPrefix(word, "user:spiffe://") {
		id := strings.TrimPrefix(word, "user:")
		if err := identity.CheckSPIFFE(id); err != nil {
			return v1alpha1.Subject{}, fmt.Errorf("%q is no workload: %w", id, err)
		}
		return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: id}, nil
	}
	kind, name, _ := strings.Cut(word, ":")
	if name != "" {
		switch kind {
		case "user":
			return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: name}, nil
		case "group":
			return v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: name}, nil
		case "sa":
			if namespace, account, ok := strings.Cut(name, "/"); ok && namespace != "" && account != "" {
				return v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: namespace, Name: account}, nil
			}
		}
	}
	return v1alpha1.Subject{}, fmt.Errorf("%q is not a subject: write user:NAME, group:NAME, sa:NAMESPACE/NAME or spiffe://TRUST-DOMAIN/PATH", word)
}

// User reads NAME or sa:NAMESPACE/NAME, and returns the name that the API server
// knows the user by.
func User(word string) (string, error) {
	if !strings.HasPrefix(word, "sa:") {
		return word, nil
	}
	account, err := Subject(word)
	if err != nil {
		return "", fmt.Errorf("%q is not a ServiceAccount: write sa:NAMESPACE/NAME", word)
	}
	name, _ := identity.Username(account)
	return name, nil
}

// Binding reads NAMESPACE/NAME of a RoleBinding, or NAME of a
// ClusterRoleBinding.
func Binding(word string) (namespace, name string, err error) {
	namespace, name, namespaced := strings.Cut(word, "/")
	if !namespaced {
		return "", word, nil
	}
	if namespace == "" || name == "" {
		return "", "", fmt.Errorf("%q is not a binding: write NAMESPACE/NAME, or NAME of a ClusterRoleBinding", word)
	}
	return namespace, name, nil
}

// Selector reads what kubectl's -l does.
func Selector(word string) (*v1alpha1.NamespaceSelector, error) {
	parsed, err := metav1.ParseToLabelSelector(word)
	if err != nil {
		return nil, err
	}
	selector := &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{}}
	for key, value := range parsed.MatchLabels {
		selector.MatchLabels[key] = v1alpha1.LabelValue(value)
	}
	for _, e := range parsed.MatchExpressions {
		requirement := v1alpha1.NamespaceSelectorRequirement{Key: e.Key, Operator: e.Operator}
		for _, value := range e.Values {
			requirement.Values = append(requirement.Values, v1alpha1.LabelValue(value))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, requirement)
	}
	return selector, nil
}

// WellKnownTask reads job/NAME and pod/NAME without asking the cluster what it has,
// as an init container does; nil is any other kind, or no task.
func WellKnownTask(word string) *v1alpha1.TaskRef {
	kind, name, _ := strings.Cut(word, "/")
	if name == "" {
		return nil
	}
	switch kind {
	case "job", "jobs", "job.batch", "jobs.batch":
		return &v1alpha1.TaskRef{APIVersion: "batch/v1", Kind: "Job", Name: name}
	case "pod", "pods", "po":
		return &v1alpha1.TaskRef{APIVersion: "v1", Kind: "Pod", Name: name}
	}
	return nil
}

// Task reads job/migrate or KIND.GROUP/NAME, and asks the mapper, which
// knows what the cluster has, for the rest.
func Task(word string, mapper meta.RESTMapper) (*v1alpha1.TaskRef, error) {
	kind, name, ok := strings.Cut(word, "/")
	if !ok || kind == "" || name == "" {
		return nil, fmt.Errorf("%q is not a task: write it as job/migrate, or as KIND.GROUP/NAME", word)
	}
	full, short := schema.ParseResourceArg(kind)
	var gvk schema.GroupVersionKind
	var err error
	if full != nil {
		gvk, err = mapper.KindFor(*full)
	}
	if gvk.Empty() {
		gvk, err = mapper.KindFor(short.WithVersion(""))
	}
	if err != nil {
		return nil, unknownKind(err, kind)
	}
	mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, unknownKind(err, kind)
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return nil, fmt.Errorf("a task is in the namespace of its request, and a %s is in no namespace", gvk.Kind)
	}
	return &v1alpha1.TaskRef{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: name}, nil
}

// task says what the broker would, before anything is sent: it must be known when a
// task is over, or an expression that compiles must say it.
func (f *Faults) task(ref *v1alpha1.TaskRef) {
	kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
	switch {
	case ref.CompleteWhen != "":
		_, err := task.Compile(ref.CompleteWhen)
		f.add("complete-when", err)
	case !task.Known(kind):
		why := fmt.Sprintf("it is not known when a %s is over: say so", kind.Kind)
		f.refuse("complete-when", fmt.Sprintf("%s, for example: %s", why, task.Example(kind)),
			fmt.Sprintf("%s with --complete-when, for example: --complete-when %q", why, task.Example(kind)))
	}
}

// Rule reads verbs, resources and, if any, names, each separated by
// commas: 'get,list pods/log,deployments.apps api,worker'. A resource is
// RESOURCE[.GROUP][/SUBRESOURCE], or a path such as /metrics. Each group
// becomes a rule of its own: one rule would ask for every resource in every
// group. The mapper finds the group of a resource that names none.
func Rule(word string, mapper meta.RESTMapper) ([]v1alpha1.PolicyRule, error) {
	fields := strings.Fields(word)
	if len(fields) < 2 || len(fields) > 3 {
		return nil, fmt.Errorf("%q is not a rule: write verbs, resources and, if any, names, as in 'get,list pods/log' or 'patch deployments.apps api'", word)
	}
	lists := make([][]string, len(fields))
	for i, field := range fields {
		lists[i] = strings.Split(field, ",")
		if slices.Contains(lists[i], "") {
			return nil, fmt.Errorf("%q is not a rule: separate words by commas, without spaces", word)
		}
	}
	var names []string
	if len(lists) == 3 {
		names = lists[2]
	}
	var rules []v1alpha1.PolicyRule
	paths := v1alpha1.PolicyRule{Verbs: lists[0]}
	for _, word := range lists[1] {
		if strings.HasPrefix(word, "/") {
			paths.NonResourceURLs = append(paths.NonResourceURLs, word)
			continue
		}
		group, resource, err := parseResource(word, mapper)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(rules, func(r v1alpha1.PolicyRule) bool { return r.APIGroups[0] == group })
		if at < 0 {
			at = len(rules)
			rules = append(rules, v1alpha1.PolicyRule{Verbs: lists[0], APIGroups: []string{group}, ResourceNames: names})
		}
		rules[at].Resources = append(rules[at].Resources, resource)
	}
	if paths.NonResourceURLs != nil {
		if names != nil {
			return nil, fmt.Errorf("%q is not a rule: a path has no names", word)
		}
		rules = append(rules, paths)
	}
	return rules, nil
}

func parseResource(word string, mapper meta.RESTMapper) (group, resource string, err error) {
	resource, subresource, hasSubresource := strings.Cut(word, "/")
	resource, group, hasGroup := strings.Cut(resource, ".")
	if !hasGroup && resource != "*" {
		found, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: resource})
		if err != nil {
			return "", "", unknownKind(err, resource)
		}
		group, resource = found.Group, found.Resource
	}
	if hasSubresource {
		resource += "/" + subresource
	}
	return group, resource, nil
}

func unknownKind(err error, what string) error {
	if meta.IsNoMatchError(err) {
		return &advised{fmt.Errorf("the cluster has no resource type %q", what), "See 'kubectl api-resources' for what it has."}
	}
	return err
}
