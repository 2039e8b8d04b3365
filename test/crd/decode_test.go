package crd

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Nothing that the schema admits may fail to decode: one such object and the
// informers of its kind, and with them the broker, stand still. The generated
// values are the same in every run.

const seed = 20261001

var goodDuration = regexp.MustCompile(`^([0-9]{1,4}h)?([0-9]{1,4}m)?([0-9]{1,4}s)?$`)

func TestGeneratedDurations(t *testing.T) {
	for i, x := range []struct {
		target target
		path   string
		values int
	}{
		{requestSpec, "spec.duration", 400},
		{policySpec, "spec.maxDuration", 150},
		{policySpec, "spec.defaultDuration", 150},
		{policySpec, "spec.pendingTimeout", 150},
	} {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		begin := parse(x.target.valid)
		switch x.path {
		case "spec.maxDuration":
			unset("spec.defaultDuration")(begin)
		case "spec.defaultDuration":
			set("spec.maxDuration", "720h")(begin)
		}
		x.target.generate(t, begin, x.path, x.values, func() (string, *bool) {
			value := duration(random)
			d, err := time.ParseDuration(value)
			good := err == nil && goodDuration.MatchString(value) && time.Second <= d && d <= 720*time.Hour
			return value, &good
		})
	}
}

func TestGeneratedTimes(t *testing.T) {
	for i, x := range []struct {
		target target
		path   string
		values int
	}{
		{requestSpec, "spec.startTime", 400},
		{grantSpec, "spec.notBefore", 200},
		{grantSpec, "spec.expirationTime", 200},
		{requestStatus, "status.expirationTime", 200},
		{grantStatus, "status.grantedTime", 200},
		{grantStatus, "status.endedTime", 200},
		{requestStatus, "status.conditions.0.lastTransitionTime", 200},
		{policyStatus, "status.conditions.0.lastTransitionTime", 200},
		{grantStatus, "status.conditions.0.lastTransitionTime", 200},
		{lockSpec, "spec.until", 400},
		{usageSpec, "status.until", 200},
		{usageSpec, "status.sessions.0.since", 200},
	} {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		begin, err := x.target.fresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Which of them are good is for the tables to say: here it matters that
		// those which are accepted decode.
		x.target.generate(t, begin, x.path, x.values, func() (string, *bool) { return moment(random), nil })
	}
}

// generate sends generated values for a field; good, when it is known, tells
// whether a value must be accepted or refused.
func (x target) generate(t *testing.T, begin object, path string, values int, next func() (value string, good *bool)) {
	t.Run(x.kind+" "+path, func(t *testing.T) {
		acceptances := 0
		for range values {
			value, good := next()
			o := runtime.DeepCopyJSON(begin)
			set(path, value)(o)
			result := x.send(t.Context(), o)
			err := result.Error()
			if good != nil && *good != (err == nil) {
				t.Errorf("%q must be accepted: %t; got %v", value, *good, err)
			}
			if err == nil {
				acceptances++
				t.Run(fmt.Sprintf("%q", value), func(t *testing.T) { x.mustDecode(t, o, result) })
			}
		}
		t.Logf("%d of %d accepted", acceptances, values)
		if acceptances < values/10 || acceptances > values*9/10 {
			t.Errorf("%d of %d generated values were accepted: that tests only one side", acceptances, values)
		}
	})
}

func pick[T any](random *rand.Rand, values ...T) T { return values[random.IntN(len(values))] }

// duration makes something like a duration.
func duration(random *rand.Rand) string {
	var out strings.Builder
	for _, unit := range []string{"h", "m", "s"} {
		switch random.IntN(12) {
		case 0, 1, 2, 3:
			continue
		case 4:
			unit = pick(random, "h", "m", "s", "ms", "us", "µs", "ns", "d", "H", "")
		}
		out.WriteString(pick(random, "0", "1", "00", "7", "59", "60", "90", "720", "721", "999", "9999", "99999", "0001", "0720", "43200", "1.5", "01"))
		out.WriteString(unit)
	}
	return mutate(random, out.String(), "0123456789hmsµundHMS.,+-eE_ \t\n\x00١１ⅼ\u200b")
}

// moment makes something like a time.
func moment(random *rand.Rand) string {
	// part is good most of the time: six bad ones leave no good whole.
	part := func(good []string, bad ...string) string {
		if random.IntN(8) == 0 {
			return pick(random, bad...)
		}
		return pick(random, good...)
	}
	out := part([]string{"2000", "2026", "2027", "2028", "2100", "2999"}, "0000", "0001", "1999", "3000", "9999", "10000") + "-" +
		part([]string{"01", "02", "06", "10", "12"}, "00", "13", "1") + "-" +
		part([]string{"01", "15", "28", "29", "30", "31"}, "00", "32", "1") +
		part([]string{"T"}, "t", " ", "") +
		part([]string{"00", "08", "12", "23"}, "24", "8") + ":" + part([]string{"00", "30", "59"}, "60", "5") + ":" + part([]string{"00", "01", "59"}, "60", "61") +
		part([]string{""}, ".5", ",5", ".123456789", "x1", ".", ".1234567890123") +
		part([]string{"Z", "Z", "+00:00", "-00:00", "+02:00", "-11:30", "+14:00", "-14:59"}, "+15:00", "+23:59", "+24:00", "-25:00", "+99:99", "z", "", "Zt", "ZT1")
	return mutate(random, out, "0123456789TtZz:+-.,/ \n\x00１١‐")
}

// mutate spoils every fourth value a little.
func mutate(random *rand.Rand, value, alphabet string) string {
	if random.IntN(4) != 0 {
		return value
	}
	runes, letters := []rune(value), []rune(alphabet)
	at := 0
	if len(runes) > 0 {
		at = random.IntN(len(runes))
	}
	letter := string(pick(random, letters...))
	switch {
	case len(runes) == 0 || random.IntN(3) == 0:
		return string(runes[:at]) + letter + string(runes[at:])
	case random.IntN(2) == 0:
		return string(runes[:at]) + string(runes[at+1:])
	}
	return string(runes[:at]) + letter + string(runes[at+1:])
}

// What is stored is read as the broker reads it: a list of the kind.
func TestStoredObjectsDecode(t *testing.T) {
	for _, x := range []struct {
		target target
		into   runtime.Object
		want   int
	}{
		{requestSpec, &v1alpha1.AccessRequestList{}, 3},
		{policySpec, &v1alpha1.AccessPolicyList{}, 1},
		{grantSpec, &v1alpha1.AccessGrantList{}, 2},
		{usageSpec, &v1alpha1.AccessUsageList{}, 1},
		{lockSpec, &v1alpha1.AccessLockList{}, 1},
	} {
		if err := admin.Get().Resource(x.target.resource).Do(t.Context()).Into(x.into); err != nil {
			t.Errorf("%s: %v", x.target.kind, err)
		}
		if got := meta.LenList(x.into); got != x.want {
			t.Errorf("%s: got %d objects, want the %d that are stored: a dry run was none", x.target.kind, got, x.want)
		}
	}
}
