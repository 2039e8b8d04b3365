package grant

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestExpired(t *testing.T) {
	g := newGrant(func(s *v1alpha1.AccessGrantSpec) { s.ExpirationTime = metav1.NewTime(deadline) })
	for name, test := range map[string]struct {
		now  time.Time
		want bool
	}{
		"long before":          {deadline.Add(-time.Hour), false},
		"just before":          {deadline.Add(-time.Nanosecond), false},
		"just before, in UTC":  {deadline.Add(-time.Nanosecond).UTC(), false},
		"at the moment":        {deadline, true},
		"at the moment in UTC": {deadline.UTC(), true},
		"just after":           {deadline.Add(time.Nanosecond), true},
		"long after":           {deadline.AddDate(10, 0, 0), true},
		"the clock not set":    {time.Time{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var want *End
			if test.want {
				want = &End{Reason: v1alpha1.EndExpired, Message: "the access was given until 2026-07-15T12:00:00Z"}
			}
			if diff := cmp.Diff(want, Expired(g, test.now)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	t.Run("without a deadline", func(t *testing.T) {
		if Expired(newGrant(), deadline) == nil {
			t.Error("a grant without a deadline goes on")
		}
	})
}

func TestRequestPhase(t *testing.T) {
	phases := map[v1alpha1.EndReason]v1alpha1.RequestPhase{
		v1alpha1.EndExpired:        v1alpha1.RequestExpired,
		v1alpha1.EndTaskCompleted:  v1alpha1.RequestCompleted,
		v1alpha1.EndTaskFailed:     v1alpha1.RequestCompleted,
		v1alpha1.EndTaskGone:       v1alpha1.RequestCompleted,
		v1alpha1.EndReleased:       v1alpha1.RequestCompleted,
		v1alpha1.EndRevoked:        v1alpha1.RequestRevoked,
		v1alpha1.EndDenied:         v1alpha1.RequestDenied,
		v1alpha1.EndRequestDeleted: v1alpha1.RequestRevoked,
		v1alpha1.EndGrantDeleted:   v1alpha1.RequestRevoked,
		v1alpha1.EndPolicyGone:     v1alpha1.RequestRevoked,
		v1alpha1.EndPolicyChanged:  v1alpha1.RequestRevoked,
		v1alpha1.EndBindingTouched: v1alpha1.RequestRevoked,
		v1alpha1.EndIdle:           v1alpha1.RequestRevoked,
		v1alpha1.EndSuspicious:     v1alpha1.RequestRevoked,
		v1alpha1.EndRoleWidened:    v1alpha1.RequestRevoked,
		v1alpha1.EndRoleGone:       v1alpha1.RequestRevoked,
		v1alpha1.EndSubjectGone:    v1alpha1.RequestRevoked,
		v1alpha1.EndNamespaceGone:  v1alpha1.RequestRevoked,
		v1alpha1.EndNameTaken:      v1alpha1.RequestFailed,
		v1alpha1.EndLocked:         v1alpha1.RequestRevoked,
		v1alpha1.EndExtended:       v1alpha1.RequestCompleted,
		v1alpha1.EndNotGrantable:   v1alpha1.RequestFailed,
		v1alpha1.EndNotApproved:    v1alpha1.RequestFailed,
	}
	for reason, want := range phases {
		t.Run(string(reason), func(t *testing.T) {
			if got := RequestPhase(reason); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if !want.Ended() {
				t.Errorf("%s is no end", want)
			}
		})
	}
	// A new reason must choose its phase, not get the default.
	for _, reason := range endReasons(t) {
		if _, ok := phases[reason]; !ok {
			t.Errorf("no phase for %s", reason)
		}
	}
	if got := RequestPhase("SomethingNew"); got != v1alpha1.RequestRevoked {
		t.Errorf("got %s of an unknown reason", got)
	}
}

// endReasons reads the constants of type EndReason from the source.
func endReasons(t *testing.T) []v1alpha1.EndReason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/accessgrant_types.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []v1alpha1.EndReason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "EndReason" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, v1alpha1.EndReason(text))
		}
		return true
	})
	if len(reasons) == 0 {
		t.Fatal("the source has no constants of type EndReason")
	}
	return reasons
}
