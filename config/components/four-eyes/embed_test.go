package foureyes

import (
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// People write status.confirmed and nothing else of a policy: every other field is
// named in the rule that says so.
func TestEveryFieldOfTheStatusIsGuarded(t *testing.T) {
	rules, err := fs.ReadFile(Files, "confirmations.yaml")
	if err != nil {
		t.Fatal(err)
	}
	status := reflect.TypeFor[v1alpha1.AccessPolicyStatus]()
	for i := range status.NumField() {
		name, _, _ := strings.Cut(status.Field(i).Tag.Get("json"), ",")
		if name != "confirmed" && !strings.Contains(string(rules), "object.?status."+name+".orValue(") {
			t.Errorf("anyone who may confirm may write status.%s", name)
		}
	}
}
