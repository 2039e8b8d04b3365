package expression

import (
	"context"
	"strings"
	"testing"
)

// TestWithoutValues: of what may not be read, an error quotes nothing, however it
// is asked; what the expression itself names it does.
func TestWithoutValues(t *testing.T) {
	secret := func(text string) bool { return strings.Contains(text, "hunter2") || strings.Contains(text, "4711") }
	vars := map[string]any{"object": map[string]any{
		"pin": "hunter2", "digit": int64(4711), "zone": "Mars/hunter2", "map": map[string]any{"a": true}, "list": []any{true},
	}}
	for expr, want := range map[string]string{
		"object.pahse == 'x'":                                          "1:7: no such key: pahse",
		"object.map.b":                                                 "1:11: no such key: b",
		"object['nope'] == 'x'":                                        "no such key: nope",
		"object[object.pin] == 'x'":                                    "no such key",
		"object.map[object.pin]":                                       "no such key",
		"object.map[object.pin + 'nope']":                              "no such key",
		"object.list[object.digit]":                                    "index out of bounds",
		"timestamp(object.pin) == timestamp(object.pin)":               "a value is not what is needed here",
		"duration(object.pin) == duration('1s')":                       "a value is not what is needed here",
		"int(object.pin) == 1":                                         "a value is not what is needed here",
		"object.pin.matches(object.pin + '(')":                         "a value is not what is needed here",
		"timestamp('2026-07-15T12:00:00Z').getHours(object.zone) == 1": "a value is not what is needed here",
		"object.pin > 3":                                               "no such overload",
		"object.pin":                                                   "must be true or false, but is of type string",
		"['a', 'b'].all(x, object.map[object.pin + x])":                "no such key",
		"object.mpa.b.c":                                               "no such key: mpa",
		"object['map'].b.c":                                            "no such key: b",
		"object[object.pin].hunter2.pin":                               "no such key",
		"(object.digit > 1 ? object[object.pin] : object).hunter2":     "no such key",
		"object.map[?object.pin].value()":                              "",
		"1 / (object.digit - 4711) == 1":                               "division by zero",
	} {
		t.Run(expr, func(t *testing.T) {
			program, err := Compile(expr, "object")
			if err != nil {
				t.Fatal(err)
			}
			_, err = program.Eval(context.Background(), vars)
			if err == nil {
				t.Fatal("there is no error to tell of")
			}
			got := WithoutValues(err)
			if !strings.Contains(got, want) || secret(got) {
				t.Errorf("got %q, want %q and no value; in full it is %q", got, want, err)
			}
		})
	}
}
