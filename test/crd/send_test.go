package crd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/policy"
)

// target is a part of a kind and how it is written: a spec by creating, a
// status by replacing that of a stored object.
type target struct {
	kind, resource, namespace string
	// subresource and name of the stored object; empty to create.
	subresource, name string
	as                func() rest.Interface
	valid             string
	typed             func() runtime.Object
	dryRun            bool
}

func newRequest() runtime.Object { return &v1alpha1.AccessRequest{} }
func newPolicy() runtime.Object  { return &v1alpha1.AccessPolicy{} }
func newGrant() runtime.Object   { return &v1alpha1.AccessGrant{} }
func newLock() runtime.Object    { return &v1alpha1.AccessLock{} }
func newUsage() runtime.Object   { return &v1alpha1.AccessUsage{} }

func theAdmin() rest.Interface   { return admin }
func bobHimself() rest.Interface { return bob }
func theBroker() rest.Interface  { return broker }

func theObserver() rest.Interface { return observer }

var (
	requestSpec = target{kind: "AccessRequest", resource: "accessrequests", namespace: "default", as: theAdmin, valid: validRequest, typed: newRequest, dryRun: true}
	policySpec  = target{kind: "AccessPolicy", resource: "accesspolicies", as: theAdmin, valid: validPolicy, typed: newPolicy, dryRun: true}
	grantSpec   = target{kind: "AccessGrant", resource: "accessgrants", as: theBroker, valid: validGrant, typed: newGrant, dryRun: true}
	lockSpec    = target{kind: "AccessLock", resource: "accesslocks", as: theAdmin, valid: validLock, typed: newLock, dryRun: true}
	usageSpec   = target{kind: "AccessUsage", resource: "accessusages", as: theObserver, valid: validUsage, typed: newUsage, dryRun: true}

	requestStatus = target{kind: "AccessRequest", resource: "accessrequests", namespace: "default", subresource: "status", name: storedName, as: theBroker, valid: validRequestStatus, typed: newRequest, dryRun: true}
	policyStatus  = target{kind: "AccessPolicy", resource: "accesspolicies", subresource: "status", name: storedName, as: theAdmin, valid: validPolicyStatus, typed: newPolicy, dryRun: true}
	grantStatus   = target{kind: "AccessGrant", resource: "accessgrants", subresource: "status", name: storedName, as: theBroker, valid: validGrantStatus, typed: newGrant, dryRun: true}
)

// fresh is a valid object of the target's own, to be changed.
func (x target) fresh(ctx context.Context) (object, error) {
	if x.name == "" {
		return parse(x.valid), nil
	}
	o, err := x.stored(ctx, x.name)
	if err == nil && x.subresource == "status" {
		o["status"] = parse(x.valid)
	}
	return o, err
}

// stored reads an object as the API server has it.
func (x target) stored(ctx context.Context, name string) (object, error) {
	body, err := admin.Get().Resource(x.resource).NamespaceIfScoped(x.namespace, x.namespace != "").Name(name).Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", x.kind, name, err)
	}
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		return nil, err
	}
	return o, nil
}

// send writes an object. Unknown fields are refused, so that no case passes
// because its field is misspelt.
func (x target) send(ctx context.Context, o object) rest.Result {
	body, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	request := x.as().Post()
	if x.name != "" {
		request = x.as().Put().Name(x.name)
	}
	request = request.Resource(x.resource).NamespaceIfScoped(x.namespace, x.namespace != "").SubResource(nonEmpty(x.subresource)...).
		Param("fieldValidation", "Strict").SetHeader("Content-Type", "application/json").Body(body)
	if x.dryRun {
		request = request.Param("dryRun", "All")
	}
	return request.Do(ctx)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// edit changes an object.
type edit func(object)

// set sets the field at a path such as spec.subjects.0.name.
func set(path string, value any) edit {
	return func(o object) {
		parent, last := descend(o, path)
		switch p := parent.(type) {
		case object:
			p[last] = value
		case []any:
			p[index(path, last, p)] = value
		}
	}
}

// unset takes fields away.
func unset(paths ...string) edit {
	return func(o object) {
		for _, path := range paths {
			parent, last := descend(o, path)
			delete(parent.(object), last)
		}
	}
}

func both(edits ...edit) edit {
	return func(o object) {
		for _, edit := range edits {
			edit(o)
		}
	}
}

func same(object) {}

// descend returns the map or list that holds the last step of a path.
func descend(o object, path string) (parent any, last string) {
	steps := strings.Split(path, ".")
	parent = o
	for _, step := range steps[:len(steps)-1] {
		switch p := parent.(type) {
		case object:
			if p[step] == nil {
				p[step] = object{}
			}
			parent = p[step]
		case []any:
			parent = p[index(path, step, p)]
		default:
			panic(fmt.Sprintf("%s: there is nothing below %s", path, step))
		}
	}
	return parent, steps[len(steps)-1]
}

func index(path, step string, list []any) int {
	i, err := strconv.Atoi(step)
	if err != nil || i >= len(list) {
		panic(fmt.Sprintf("%s: no item %s", path, step))
	}
	return i
}

// field is a path as the API server spells it.
func field(path string) string {
	var out strings.Builder
	for i, step := range strings.Split(path, ".") {
		if _, err := strconv.Atoi(step); err == nil {
			out.WriteString("[" + step + "]")
			continue
		}
		if i > 0 {
			out.WriteString(".")
		}
		out.WriteString(step)
	}
	return out.String()
}

// testCase is a change of a valid object and what comes of it.
type testCase struct {
	name string
	edit edit
	// want is accepted, or what the refusal says: the parts between … are all
	// in what is said of one field, which comes first.
	want string
}

const accepted = ""

// ok and no are cases of one value of one field.
func ok(path string, value any) testCase {
	return testCase{name: path + " = " + show(value), edit: set(path, value), want: accepted}
}

func no(path string, value any, why string) testCase {
	return testCase{name: path + " = " + show(value), edit: set(path, value), want: field(path) + ": …" + why}
}

func missing(path string) testCase {
	return testCase{name: path + " is missing", edit: unset(path), want: field(path) + ": …Required value"}
}

// show makes a short name of a value.
func show(value any) string {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	if s := string(body); len(s) <= 60 {
		return s
	}
	return fmt.Sprintf("%.40s (%d bytes)", body, len(body))
}

// cases flattens cases and lists of cases.
func cases(parts ...any) []testCase {
	var out []testCase
	for _, part := range parts {
		switch p := part.(type) {
		case testCase:
			out = append(out, p)
		case []testCase:
			out = append(out, p...)
		default:
			panic(fmt.Sprintf("%T is no case", part))
		}
	}
	return out
}

// check sends each case to a target.
func (x target) check(t *testing.T, table []testCase) {
	t.Helper()
	begin, err := x.fresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range table {
		t.Run(tc.name, func(t *testing.T) {
			o := runtime.DeepCopyJSON(begin)
			tc.edit(o)
			result := x.send(t.Context(), o)
			if tc.want == accepted {
				if err := result.Error(); err != nil {
					t.Fatalf("refused: %v", err)
				}
				x.mustDecode(t, o, result)
				return
			}
			x.mustRefuse(t, result, tc.want)
		})
	}
}

// mustRefuse checks that the refusal says what it has to.
func (x target) mustRefuse(t *testing.T, result rest.Result, want string) {
	t.Helper()
	err := result.Error()
	if err == nil {
		t.Fatalf("accepted, want it refused: %s", want)
	}
	for _, cause := range x.refused(err) {
		if containsAll(cause, strings.Split(want, "…")) || !e.Stamps && containsAll(cause, strings.Split(strings.TrimPrefix(want, "status."), "…")) {
			return // 1.30 names fields of the status without it
		}
	}
	t.Errorf("refused, but nothing says %q in: %v", want, err)
}

// containsAll tells whether s begins with the first part and holds the others.
func containsAll(s string, parts []string) bool {
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

// refused splits an error by field and remembers what was refused, for
// everyRuleRefused. An error that is not about fields is its own only cause.
func (x target) refused(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return []string{err.Error()}
	}
	s := status.Status()
	if s.Code != http.StatusUnprocessableEntity || s.Details == nil {
		return []string{s.Message}
	}
	var out []string
	for _, c := range s.Details.Causes {
		remember(x.kind, c.Field, c.Message)
		out = append(out, c.Field+": "+c.Message)
	}
	return out
}

// mustDecode checks that what the API server has accepted decodes in Go, and
// that what Go makes of it is accepted again.
func (x target) mustDecode(t *testing.T, sent object, result rest.Result) {
	t.Helper()
	typed := x.typed()
	if err := result.Into(typed); err != nil {
		t.Fatalf("accepted, but a typed client cannot decode it: %v", err)
	}
	mustBeOfUse(t, typed)
	again, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		t.Fatal(err)
	}
	again["apiVersion"], again["kind"], again["metadata"] = sent["apiVersion"], sent["kind"], maps.Clone(sent["metadata"].(object))
	if x.subresource == "" {
		delete(again, "status")
	}
	if err := x.send(t.Context(), again).Error(); err != nil {
		t.Fatalf("accepted, but not as Go writes it: %v", err)
	}
}

// mustBeOfUse checks that what the API server has accepted is not refused later
// by Kubernetes itself, where the broker could only try again for ever.
func mustBeOfUse(t *testing.T, typed runtime.Object) {
	t.Helper()
	var (
		selector *v1alpha1.NamespaceSelector
		subjects []v1alpha1.Subject
		names    []string
	)
	switch o := typed.(type) {
	case *v1alpha1.AccessRequest:
		subjects = o.Spec.Subjects
		if o.Spec.Scope != nil {
			selector = o.Spec.Scope.NamespaceSelector
		}
		if o.Spec.RoleRef != nil {
			names = append(names, o.Spec.RoleRef.Name)
		}
		if o.Spec.Task != nil {
			names = append(names, o.Spec.Task.Name)
		}
	case *v1alpha1.AccessPolicy:
		if o.Spec.Namespaces != nil {
			selector = o.Spec.Namespaces.Selector
		}
	}
	if selector != nil {
		if _, err := policy.Selector(selector); err != nil {
			t.Errorf("accepted, but it selects nothing: %v", err)
		}
	}
	for _, s := range subjects {
		if s.Kind == v1alpha1.ServiceAccountKind {
			for _, why := range validation.ValidateServiceAccountName(s.Name, false) {
				t.Errorf("accepted, but no ServiceAccount can be named %q: %s", s.Name, why)
			}
		}
	}
	for _, name := range names {
		for _, why := range content.IsPathSegmentName(name) {
			t.Errorf("accepted, but nothing can be named %q: it %s", name, why)
		}
	}
}
