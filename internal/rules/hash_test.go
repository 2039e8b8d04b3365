package rules

import (
	"math/rand"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

func TestNormalize(t *testing.T) {
	given := []rbacv1.PolicyRule{
		rule(words("list", "get", "list"), words("services", "pods"), ""),
		{Verbs: words("get"), NonResourceURLs: words("/version", "/metrics")},
		rule(words("get", "list"), words("pods", "services"), ""),
		rule(words("get"), words("deployments"), "apps", "b", "a"),
	}
	want := []rbacv1.PolicyRule{
		{Verbs: words("get"), NonResourceURLs: words("/metrics", "/version")},
		rule(words("get", "list"), words("pods", "services"), ""),
		rule(words("get"), words("deployments"), "apps", "a", "b"),
	}
	got := Normalize(given)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got[1].Verbs[0] = "delete"
	if given[0].Verbs[0] != "list" || given[0].Verbs[1] != "get" {
		t.Errorf("what was given became %v", given[0])
	}
}

func TestHashFormat(t *testing.T) {
	for _, rules := range [][]rbacv1.PolicyRule{nil, viewRole} {
		if got := Hash(rules); !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(got) {
			t.Errorf("got %q", got)
		}
	}
}

// TestHashStays: grants keep hashes, so they stay the same over versions of the
// broker.
func TestHashStays(t *testing.T) {
	const want = "c82ef413ba0d53a9d1d0861e5be295faa4b3287b7aaa31fa407d3af671eeb371"
	if got := Hash([]rbacv1.PolicyRule{rule(words("get"), words("pods"), "")}); got != want {
		t.Errorf("got %s", got)
	}
}

// TestHashDiffers: rules that look alike but allow something else have hashes
// of their own.
func TestHashDiffers(t *testing.T) {
	seen := map[string]int{}
	for i, rules := range [][]rbacv1.PolicyRule{
		nil,
		{rule(words("get"), words("pods"), "")},
		{rule(words("get", "list"), words("pods"), "")},
		{rule(words("get"), words("pods", "services"), "")},
		{rule(words("get"), words("pods"), "apps")},
		{rule(words("get"), words("pods"), "", "a")},
		{rule(words("get"), words("pods"), "", "a", "b")},
		{rule(words("get"), words("pods"), "", "a b")},
		{rule(words("get"), words("pods"), "", `a" "b`)},
		{rule(words("get"), words("pods"), "", "a"), rule(words("get"), words("pods"), "", "b")},
		{rule(words("get", "list"), words("pods"), ""), rule(words("get"), words("services"), "")},
		{rule(words("get"), words("pods"), ""), rule(words("get", "list"), words("services"), "")},
		{{Verbs: words("get"), NonResourceURLs: words("pods")}},
		{{Verbs: words("pods"), Resources: words("get"), APIGroups: words("")}},
		{rule(words("get"), words("pods"), "", "\xff")},
		{rule(words("get"), words("pods"), "", "\ufffd")},
		{rule(words("get"), words("pods"), "", `\xff`)},
	} {
		hash := Hash(rules)
		if before, ok := seen[hash]; ok {
			t.Errorf("rules %d and %d have the hash %s", before, i, hash)
		}
		seen[hash] = i
	}
}

// FuzzHash: the order and repetitions do not matter, and everything else does.
func FuzzHash(f *testing.F) {
	f.Add([]byte("abcdefghij"), []byte("abcdefghik"), int64(1))
	f.Add([]byte{1, 1, 1, 0, 0, 2, 2, 2, 1, 1}, []byte{}, int64(2))
	f.Fuzz(func(t *testing.T, a, b []byte, seed int64) {
		one, other := rulesFrom(a), rulesFrom(b)
		mixed := shuffled(one, rand.New(rand.NewSource(seed)))
		if Hash(mixed) != Hash(one) {
			t.Errorf("the order matters to %v and %v", one, mixed)
		}
		if diff := cmp.Diff(Normalize(one), Normalize(mixed)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(Normalize(one), Normalize(Normalize(one))); diff != "" {
			t.Errorf("normal rules are not: %s", diff)
		}
		if same := cmp.Equal(Normalize(one), Normalize(other)); same != (Hash(one) == Hash(other)) {
			t.Errorf("%v and %v are the same: %v, their hashes not", one, other, same)
		}
	})
}
