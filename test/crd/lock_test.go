package crd

import (
	"strings"
	"testing"
)

func TestAccessLock(t *testing.T) {
	lockSpec.check(t, cases(
		testCase{"every field", same, accepted},
		testCase{"only what is required", unset("spec.until"), accepted},
		missing("spec"), missing("spec.subject"), missing("spec.reason"),
		no("spec.reason", "", "should be at least 1 chars long"), no("spec.reason", " ", "reason must not be blank"),
		no("spec.reason", strings.Repeat("r", 1025), "Too long"), ok("spec.reason", strings.Repeat("日", 1024)), no("spec.reason", "a\nb", "contains a line break"),
		no("spec.by", "", "should be at least 1 chars long"), no("spec.by", strings.Repeat("b", 2049), "Too long"), no("spec.by", "ad\u200bmin", "must be a name of visible characters"),
	))
	lockSpec.check(t, subjects("spec.subject"))
	lockSpec.check(t, moments("spec.until", "spec.until"))
	lockSpec.check(t, zonedMoments("spec.until"))
	if e.Stamps {
		lockSpec.check(t, cases(testCase{"by is left out", unset("spec.by"), accepted}))
	} else {
		lockSpec.check(t, cases(missing("spec.by")))
	}
}

// A lock that somebody could change could be lifted without a word.
func TestAccessLockIsImmutable(t *testing.T) {
	again := lockSpec.update(storedName)
	for _, change := range []edit{set("spec.subject.name", "other"), set("spec.until", "2026-10-01T08:00:01Z"), unset("spec.until"), set("spec.by", "bob"), set("spec.reason", "because")} {
		o, err := again.stored(t.Context(), storedName)
		if err != nil {
			t.Fatal(err)
		}
		change(o)
		again.mustRefuse(t, again.send(t.Context(), o), "spec: …spec is immutable: make another lock")
	}
	// Nothing is stamped when it is changed.
	o, err := again.stored(t.Context(), storedName)
	if err != nil {
		t.Fatal(err)
	}
	unset("spec.by")(o)
	again.mustRefuse(t, again.send(t.Context(), o), "spec.by: …Required value")
}
