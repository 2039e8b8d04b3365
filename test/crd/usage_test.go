package crd

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
)

// The usage of a grant is written by a program alone, and every field has the same
// few kinds of bounds: the cases follow from the schema.
func TestAccessUsage(t *testing.T) {
	schema, err := schemaOf(t.Context(), usageSpec)
	if err != nil {
		t.Fatal(err)
	}
	table := cases(
		testCase{"every field", same, accepted},
		testCase{"no status", unset("status"), accepted},
		missing("spec"), missing("spec.grantRef"), missing("spec.grantRef.name"), missing("spec.grantRef.uid"),
		no("spec.grantRef.name", "", "should be at least 1 chars long"), no("spec.grantRef.name", strings.Repeat("x", 254), "Too long"),
		no("spec.grantRef.uid", "", "should be at least 1 chars long"), no("spec.grantRef.uid", strings.Repeat("x", 65), "Too long"),
	)
	valid := parse(validUsage)
	visit(schema, "", func(s object, f string) {
		if f != "status" && !strings.HasPrefix(f, "status.") {
			return
		}
		path := strings.ReplaceAll(f, "[*]", ".0")
		for _, name := range anys(s["required"]) {
			table = append(table, missing(path+"."+name.(string)))
		}
		if f == "status" {
			return
		}
		table = append(table, ofSchema(s, path, valid)...)
	})
	if len(table) < 200 {
		t.Errorf("only %d cases", len(table))
	}
	usageSpec.check(t, table)
}

// ofSchema are cases of the bounds of one field.
func ofSchema(s object, path string, valid object) (out []testCase) {
	whole := func(key string) int64 { return int64(s[key].(float64)) }
	switch {
	case s["enum"] != nil:
		var values []string
		for _, v := range anys(s["enum"]) {
			values = append(values, v.(string))
		}
		return choice(path, values...)
	case s["format"] == "date-time":
		return cases(ok(path, "2026-10-01T08:00:00Z"), no(path, "1999-12-31T23:59:59Z", "must be in the years 2000 to 2999"), no(path, "3000-01-01T00:00:00Z", "must be in the years 2000 to 2999"),
			testCase{path + " = a list", set(path, []any{"2026-10-01T08:00:00Z"}), field(path) + ": …"})
	}
	switch s["type"] {
	case "string":
		most := int(whole("maxLength"))
		out = cases(no(path, strings.Repeat("x", most+1), "Too long"))
		if strings.HasSuffix(path, ".0") || strings.HasSuffix(path, ".name") || strings.HasSuffix(path, ".id") || strings.HasSuffix(path, ".kind") {
			out = append(out, ok(path, strings.Repeat("x", most)))
		} else {
			out = append(out, ok(path, strings.Repeat("日", most)))
		}
		if s["minLength"] != nil {
			out = append(out, no(path, "", fmt.Sprintf("should be at least %d chars long", whole("minLength"))))
		}
	case "integer":
		out = number(path, whole("minimum"), whole("maximum"))
	case "array":
		parent, last := descend(valid, path)
		first := parent.(object)[last].([]any)[0]
		item := func(i int) any {
			o, isObject := first.(object)
			if !isObject {
				return "x" + strconv.Itoa(i)
			}
			o = maps.Clone(o)
			for _, key := range anys(s["x-kubernetes-list-map-keys"]) {
				o[key.(string)] = "x" + strconv.Itoa(i)
			}
			return o
		}
		out = lengths(path, 0, int(whole("maxItems")), item)
		if s["x-kubernetes-list-type"] != "atomic" {
			out = append(out, testCase{path + " with one twice", set(path, []any{item(1), item(2), item(1)}), field(path) + "[2]: …Duplicate value"})
		}
	}
	return out
}

func anys(list any) []any {
	out, _ := list.([]any)
	return out
}

// The spec says whose usage it is, for ever.
func TestAccessUsageIsImmutable(t *testing.T) {
	again := usageSpec.update(storedName)
	for _, change := range []edit{set("spec.grantRef.uid", "other"), set("spec.grantRef.name", "other")} {
		o, err := again.stored(t.Context(), storedName)
		if err != nil {
			t.Fatal(err)
		}
		change(o)
		again.mustRefuse(t, again.send(t.Context(), o), "spec: …spec is immutable")
	}
}
