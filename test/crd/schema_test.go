package crd

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// refusal is what was said of a field, an item of a list written as [*].
type refusal struct{ kind, field, message string }

var (
	refusalsLock sync.Mutex
	refusals     = map[refusal]bool{}
	indexes      = regexp.MustCompile(`\[\d+\]`)
)

func remember(kind, field, message string) {
	refusalsLock.Lock()
	defer refusalsLock.Unlock()
	refusals[refusal{kind, indexes.ReplaceAllString(field, "[*]"), message}] = true
}

// bound is one thing that the schema demands of a field, and the words in
// which the API server says that it is not so.
type bound struct{ field, words string }

// everyRuleRefused fails for each bound and each CEL rule of the CRDs that
// refused nothing in all the tests: it has no test, or it does nothing.
func everyRuleRefused(ctx context.Context) error {
	var untested []string
	for _, x := range []target{requestSpec, policySpec, grantSpec, usageSpec, lockSpec} {
		schema, err := schemaOf(ctx, x)
		if err != nil {
			return err
		}
		for _, b := range boundsOf(schema) {
			if !wasRefused(x.kind, b) {
				untested = append(untested, fmt.Sprintf("%s %s: %s", x.kind, b.field, b.words))
			}
		}
	}
	if len(untested) > 0 {
		return fmt.Errorf("%d rules of the CRDs refused nothing in any test:\n%s", len(untested), strings.Join(untested, "\n"))
	}
	return nil
}

func wasRefused(kind string, b bound) bool {
	for r := range refusals {
		if r.kind == kind && sameField(b.field, r.field) && strings.Contains(r.message, b.words) {
			return true
		}
	}
	return false
}

// sameField compares a field of the schema, where a key of a map is *, with a
// field of an error.
func sameField(schema, said string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(schema), `\.\*`, `(\.[^.]+|\[[^]]+\])`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(said)
}

// schemaOf reads the schema that the API server has, without metadata.
func schemaOf(ctx context.Context, x target) (object, error) {
	body, err := admin.Get().AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + x.resource + ".jit.accessbroker.dev").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("read the CRD of %s: %w", x.kind, err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct{ Properties object }
				}
			}
		}
	}
	if err := json.Unmarshal(body, &crd); err != nil {
		return nil, err
	}
	parts := object{}
	for _, part := range []string{"spec", "status"} {
		if schema, ok := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[part]; ok {
			parts[part] = schema
		}
	}
	return object{"type": "object", "required": []any{"spec"}, "properties": parts}, nil
}

// visit calls do for a schema and all that is in it.
func visit(schema object, field string, do func(schema object, field string)) {
	do(schema, field)
	if properties, ok := schema["properties"].(object); ok {
		for name, s := range properties {
			visit(s.(object), strings.TrimPrefix(field+"."+name, "."), do)
		}
	}
	if items, ok := schema["items"].(object); ok {
		visit(items, field+"[*]", do)
	}
	if values, ok := schema["additionalProperties"].(object); ok {
		visit(values, field+".*", do)
	}
}

// boundsOf lists what a schema demands.
func boundsOf(schema object) []bound {
	var out []bound
	visit(schema, "", func(s object, field string) {
		add := func(words string) { out = append(out, bound{field, words}) }
		for key, words := range map[string]string{
			"maxLength":     "Too long: may not be more than %v bytes",
			"minLength":     "should be at least %v chars long",
			"pattern":       "should match '%v'",
			"maxItems":      "must have at most %v items",
			"maxProperties": "must have at most %v items",
			"minItems":      "should have at least %v items",
			"minimum":       "should be greater than or equal to %v",
			"maximum":       "should be less than or equal to %v",
			"enum":          "Unsupported value",
		} {
			if value, ok := s[key]; ok {
				if n, ok := value.(float64); ok {
					value = fmt.Sprintf("%.0f", n)
				}
				if key == "enum" {
					add(words)
					continue
				}
				add(fmt.Sprintf(words, value))
			}
		}
		if t := s["x-kubernetes-list-type"]; t == "set" || t == "map" {
			out = append(out, bound{field + "[*]", "Duplicate value"})
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			out = append(out, bound{strings.TrimPrefix(field+"."+name.(string), "."), "Required value"})
		}
		rules, _ := s["x-kubernetes-validations"].([]any)
		for _, rule := range rules {
			r := rule.(object)
			if r["messageExpression"] != nil {
				add("contains ") // and then what
				continue
			}
			add(r["message"].(string))
		}
	})
	slices.SortFunc(out, func(a, b bound) int { return strings.Compare(a.field+a.words, b.field+b.words) })
	return out
}

// Every field has a bound: no object can be larger than the schema says.
func TestEveryFieldHasABound(t *testing.T) {
	for _, x := range []target{requestSpec, policySpec, grantSpec, usageSpec, lockSpec} {
		schema, err := schemaOf(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		fields := 0
		visit(schema, "", func(s object, field string) {
			fields++
			has := func(keys ...string) {
				for _, key := range keys {
					if s[key] == nil {
						t.Errorf("%s %s has no %s", x.kind, field, key)
					}
				}
			}
			switch s["type"] {
			case "string":
				if s["enum"] == nil && s["format"] != "date-time" {
					has("maxLength")
				}
			case "integer":
				has("minimum")
				// Of a condition, whose type is not ours.
				if !strings.HasSuffix(field, ".observedGeneration") {
					has("maximum")
				}
			case "array":
				has("maxItems", "items")
			case "object":
				if s["properties"] == nil && field != "spec.scope.cluster" && field != "status.extended.scope.cluster" {
					has("maxProperties", "additionalProperties")
				}
			case "boolean":
			default:
				t.Errorf("%s %s has type %v", x.kind, field, s["type"])
			}
			if s["x-kubernetes-preserve-unknown-fields"] != nil || s["nullable"] != nil || s["x-kubernetes-int-or-string"] != nil {
				t.Errorf("%s %s admits what it does not describe", x.kind, field)
			}
		})
		if fields < 10 {
			t.Errorf("%s has only %d fields", x.kind, fields)
		}
	}
}

// What people write is one line of plain text, or one of these, which are shown
// nowhere but escaped: what the authenticator says of a user, rules and
// expressions, and what is compared with something that has a shape.
var escaped = regexp.MustCompile(`\.(requester\.(uid|groups\[\*\]|extra\.\*\[\*\]|omittedExtra\[\*\])|rules\[\*\]\.\w+\[\*\]|completeWhen|expression|apiGroup|` +
	`decisions\[\*\]\.(groups\[\*\]|requestUID|rulesHash))$`)

func TestTextsArePlain(t *testing.T) {
	for _, x := range []struct {
		target target
		part   string
		edit   edit
	}{
		{requestSpec, "spec", same},
		{requestSpec, "spec", set("spec.scope", object{"namespaceSelector": object{"matchLabels": object{"a": "b"}, "matchExpressions": []any{object{"key": "a", "operator": "In", "values": []any{"b"}}}}})},
		{policySpec, "spec", same},
		{requestStatus, "status", set("status.decisions", []any{object{"username": "carol", "verdict": "Approve", "comment": "x"}})},
	} {
		begin, err := x.target.fresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		x.edit(begin)
		schema, err := schemaOf(t.Context(), x.target)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]bool{}
		visit(schema, "", func(s object, field string) {
			byPeople := strings.HasPrefix(field, "spec.") || strings.HasPrefix(field, "status.decisions")
			if s["type"] == "string" && byPeople && s["enum"] == nil && s["format"] != "date-time" && !escaped.MatchString(field) {
				texts[field] = true
			}
		})
		tested := 0
		for _, path := range paths(begin[x.part], x.part) {
			f := indexes.ReplaceAllString(field(path), "[*]")
			if !texts[f] && !strings.Contains(f, ".matchLabels.") {
				continue
			}
			tested++
			for _, value := range []string{"a\nb", "a\x00b", "a\x1bb", "a\u0085b", "a\u200bb", "a\u202eb", "a\u2028b", "a\ufeffb"} {
				o := runtime.DeepCopyJSON(begin)
				set(path, value)(o)
				result := x.target.send(t.Context(), o)
				if err := result.Error(); err == nil || strings.Contains(err.Error(), "should match") {
					t.Errorf("%s %s = %q: %v", x.target.kind, path, value, err)
				}
			}
		}
		if tested < 2 {
			t.Errorf("%s: only %d texts were tested", x.target.kind, tested)
		}
	}
}
