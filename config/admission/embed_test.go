package admission

import (
	"reflect"
	"strings"
	"testing"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Only the broker writes a request's status, all but the decisions: anyone could
// forge a new field that decisions.yaml does not compare.
func TestStatusIsWrittenByTheBrokerAlone(t *testing.T) {
	content, err := files.ReadFile("decisions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	status := reflect.TypeFor[v1alpha1.AccessRequestStatus]()
	for i := range status.NumField() {
		name, _, _ := strings.Cut(status.Field(i).Tag.Get("json"), ",")
		rule := "object.?status." + name + " == oldObject.?status." + name
		if guarded := strings.Contains(string(content), rule); guarded == (name == "decisions") {
			t.Errorf("status.%s: compared by decisions.yaml: %v", name, guarded)
		}
	}
}
