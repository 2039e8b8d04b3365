package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	yamlprinter "sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage/advice"
)

// readRole reads the rules of a role from a file, in which there may be others.
func readRole(path, kind, name string) ([]rbacv1.PolicyRule, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	var found []rbacv1.ClusterRole // a Role has the same fields
	for {
		var role rbacv1.ClusterRole
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if (role.Kind == v1alpha1.RoleKind || role.Kind == v1alpha1.ClusterRoleKind) &&
			(name == "" || role.Name == name && (kind == "" || role.Kind == kind)) {
			found = append(found, role)
		}
	}
	if len(found) != 1 {
		what := "roles"
		if name != "" {
			what = "roles of the name " + name
		}
		return nil, hintf("For example: kubectl get clusterrole edit -o yaml", "%s has %d %s, and one is needed", path, len(found), what)
	}
	return append([]rbacv1.PolicyRule{}, found[0].Rules...), nil
}

// roleName of what is proposed.
func (f *advise) roleName() string {
	if f.name != "" {
		return f.name
	}
	of := "calls"
	for _, given := range []string{f.policy, f.role, f.binding, f.user} {
		if given != "" {
			of = given
		}
	}
	if _, bare, found := strings.Cut(of, "/"); found {
		of = bare
	}
	return "used-" + strings.NewReplacer("/", "-", "%", "-").Replace(of)
}

// writeRoles writes roles, and if somebody is named bindings, as documents to apply.
func writeRoles(w io.Writer, a *advice.Advice, name string, bound *v1alpha1.Subject) error {
	writeNotes(w, a)
	for i, role := range a.Roles {
		meta := metav1.ObjectMeta{Name: name}
		kind := v1alpha1.ClusterRoleKind
		switch {
		case role.Cluster():
			meta.Name += "-cluster"
		case len(role.Namespaces) == 1:
			kind, meta.Namespace = v1alpha1.RoleKind, role.Namespaces[0]
		default:
			meta.Name = fmt.Sprintf("%s-%d", name, i)
		}
		if err := writeDocument(w, view.RoleScope(role), rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind},
			ObjectMeta: meta, Rules: role.Rules,
		}); err != nil {
			return err
		}
		if bound == nil {
			continue
		}
		in, bindingKind := role.Namespaces, "RoleBinding"
		if role.Cluster() {
			in, bindingKind = []string{""}, "ClusterRoleBinding"
		}
		subject := rbacv1.Subject{Kind: bound.Kind, Name: bound.Name, Namespace: bound.Namespace}
		if subject.Kind != rbacv1.ServiceAccountKind {
			subject.APIGroup = rbacv1.GroupName
		}
		for _, namespace := range in {
			if err := writeDocument(w, "", rbacv1.RoleBinding{
				TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: bindingKind},
				ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Namespace: namespace},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: meta.Name},
				Subjects:   []rbacv1.Subject{subject},
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// policyPart is what a policy says of rules: where, and which. Each scope is a part for
// a policy of its own, because a policy allows all of its rules in all of its scope.
type policyPart struct {
	ClusterScope v1alpha1.ClusterScopeRule `json:"clusterScope"`
	Namespaces   *policyNamespaces         `json:"namespaces,omitempty"`
	Rules        []v1alpha1.PolicyRule     `json:"rules"`
}

type policyNamespaces struct {
	Names []string `json:"names"`
}

// What the schema of an AccessPolicy admits.
const (
	maxPolicyRules = 64
	maxPolicyNames = 256
)

func writePolicyRules(w io.Writer, a *advice.Advice, format string) error {
	var parts []policyPart
	for _, role := range a.Roles {
		part := policyPart{ClusterScope: v1alpha1.ClusterScopeAllowed}
		if !role.Cluster() {
			part = policyPart{ClusterScope: v1alpha1.ClusterScopeForbidden, Namespaces: &policyNamespaces{role.Namespaces}}
		}
		for _, rule := range role.Rules {
			names := slices.Collect(slices.Chunk(rule.ResourceNames, maxPolicyNames))
			for _, some := range append(names, [][]string{nil}[:max(0, 1-len(names))]...) {
				rule.ResourceNames = some
				part.Rules = append(part.Rules, v1alpha1.PolicyRule(rule))
			}
		}
		if len(part.Rules) > maxPolicyRules {
			return hintf("Try --widen generated-names, or several policies by hand from -o yaml.",
				"%s: %d rules, and a policy can have %d", view.RoleScope(role), len(part.Rules), maxPolicyRules)
		}
		parts = append(parts, part)
	}
	if format == "json" {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(parts)
	}
	writeNotes(w, a)
	for _, part := range parts {
		if err := writeDocument(w, "Part of the spec of an AccessPolicy", part); err != nil {
			return err
		}
	}
	return nil
}

// writeNotes says as comments what was widened and what the log cannot show.
func writeNotes(w io.Writer, a *advice.Advice) {
	for _, line := range view.AdviceSummary(a) {
		comment(w, line)
	}
	for _, part := range view.Advice(a, "the present rules") {
		if part.Title == "Proposed" || part.Table != nil {
			continue
		}
		comment(w, part.Title+":")
		for _, line := range part.Lines {
			comment(w, "  "+line)
		}
	}
}

// comment is one line, whatever is in it: what callers chose must not become YAML.
func comment(w io.Writer, line string) { fmt.Fprintln(w, "# "+text.OneLine(line)) }

// writeDocument writes a document of YAML under a title, if it has one.
func writeDocument(w io.Writer, title string, document any) error {
	out, err := yamlprinter.Marshal(document)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "---")
	if title != "" {
		comment(w, title)
	}
	_, err = w.Write(out)
	return err
}
