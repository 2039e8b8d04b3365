package identity

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// pattern is a subject of kind SPIFFE.
func pattern(name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.SPIFFEKind, Name: name}
}

// table is testdata/patterns.yaml.
type table struct {
	Patterns []struct {
		Pattern         string
		Matches, Others []string
	}
	Refused []string
}

func readTable(t testing.TB) table {
	t.Helper()
	file, err := os.ReadFile("testdata/patterns.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out table
	if err := yaml.UnmarshalStrict(file, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPatterns(t *testing.T) {
	cases := readTable(t)
	for _, p := range cases.Patterns {
		if _, err := ParsePattern(p.Pattern); err != nil {
			t.Errorf("%s: %v", p.Pattern, err)
		}
		subjects := named(list(pattern(p.Pattern)))
		for _, name := range p.Matches {
			if !Among(subjects, name, nil) {
				t.Errorf("%s does not match %s", name, p.Pattern)
			}
		}
		for _, name := range p.Others {
			if Among(subjects, name, nil) {
				t.Errorf("%s matches %s", name, p.Pattern)
			}
			if Among(subjects, "alice", list(name)) {
				t.Errorf("the group %s matches %s", name, p.Pattern)
			}
		}
	}
	// Their bounds, which a file of cases would not show well.
	long := "spiffe://example.org/" + strings.Repeat("a", maxPattern-len("spiffe://example.org/"))
	if _, err := ParsePattern(long); err != nil {
		t.Error(err)
	}
	for _, name := range append(cases.Refused, "", long+"a", "spiffe://example.org/x\n", "spiffe://example.org/x\x00", "spiffe://example.org/\u200bx", "spiffe://example.org/*\n") {
		if p, err := ParsePattern(name); err == nil || p.Matches(name) {
			t.Errorf("%q is a pattern", name)
		}
		if Among(named(list(pattern(name))), name, nil) {
			t.Errorf("%q matches itself, and is no pattern", name)
		}
	}
}

// TestPatternWords: what is wrong is said so that it can be mended.
func TestPatternWords(t *testing.T) {
	for name, want := range map[string]string{
		"example.org/x":                         "does not begin with spiffe://",
		"spiffe://example.org":                  "write spiffe://example.org/**",
		"spiffe://example.org/a*":               `"a*" is no wildcard: * stands for a whole segment`,
		"spiffe://example.org/**/x":             `"**" is no wildcard`,
		"spiffe://*.example.org/x":              "trust domain characters",
		"spiffe://example.org/x/":               "empty",
		"spiffe://example.org/a b":              "path segment characters",
		strings.Repeat("spiffe://", 99):         "longer than 512",
		"spiffe://e" + strings.Repeat("/a", 17): "more than 16",
	} {
		if _, err := ParsePattern(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
	err := CheckPolicySubjects(named(list(user("bob"), group("spiffe://*"), pattern("spiffe://example.org/ns/*/sa/x"), pattern("spiffe://example.org"), pattern("x"))))
	if err == nil || strings.Count(err.Error(), "is no pattern over SPIFFE IDs") != 2 {
		t.Errorf("%v", err)
	}
	if err := CheckPolicySubjects(named(list(user("spiffe://"), pattern("spiffe://example.org/**")))); err != nil {
		t.Error(err)
	}
}

func TestCheckSPIFFE(t *testing.T) {
	for name, want := range map[string]string{
		"alice":                       "",
		"oidc:spiffe://example.org/x": "",
		"spiffe://example.org/ns/payments/sa/deploy": "",
		"spiffe://example.org":                       "it is a trust domain",
		"spiffe://example.org/ns/*/sa/deploy":        "it is a pattern",
		"spiffe://example.org/**":                    "it is a pattern",
		"spiffe://Example.org/x":                     "trust domain characters",
		"spiffe://example.org/x/":                    "trailing slash",
	} {
		if err := CheckSPIFFE(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", name, err, want)
		}
	}
}

func TestExactly(t *testing.T) {
	const deployer = "spiffe://example.org/ns/payments/sa/deployer"
	for name, test := range map[string]struct {
		subject v1alpha1.Subject
		person  string
		ok      bool
	}{
		"user":                     {user("bob"), "bob", true},
		"ServiceAccount":           {account("payments", "migrate"), "system:serviceaccount:payments:migrate", true},
		"group":                    {group("dev"), "", false},
		"pattern":                  {pattern("spiffe://example.org/ns/*/sa/deployer"), "", false},
		"pattern with more":        {pattern("spiffe://example.org/**"), "", false},
		"pattern without wildcard": {pattern(deployer), deployer, true},
		"no pattern":               {pattern("spiffe://example.org"), "", false},
	} {
		if person, ok := Person(v1alpha1.PolicySubject(test.subject)); person != test.person || ok != test.ok {
			t.Errorf("%s: %q, %v", name, person, ok)
		}
	}
}

func TestDeciders(t *testing.T) {
	const deployer = "spiffe://example.org/ns/payments/sa/deployer"
	others, all := pattern("spiffe://example.org/ns/*/sa/deployer"), pattern("spiffe://example.org/**")
	approvers := list(user("bob"), group("sre"), account("ops", "bot"), pattern(deployer), others, all)
	for name, test := range map[string]struct {
		requester      string
		subjects, want []v1alpha1.Subject
	}{
		"a stranger asks":          {"alice", list(user("alice")), approvers},
		"an approver asks":         {"bob", list(user("bob")), list(group("sre"), account("ops", "bot"), pattern(deployer), others, all)},
		"a workload asks":          {deployer, list(user(deployer)), list(user("bob"), group("sre"), account("ops", "bot"), others, all)},
		"for a workload":           {"alice", list(user(deployer)), list(user("bob"), group("sre"), account("ops", "bot"), others, all)},
		"for a group":              {"alice", list(group("sre")), list(user("bob"), account("ops", "bot"), pattern(deployer), others, all)},
		"for another ":             {"alice", list(group("bob")), approvers},
		"for a ServiceAccount":     {"alice", list(account("ops", "bot")), list(user("bob"), group("sre"), pattern(deployer), others, all)},
		"a group named as pattern": {"alice", list(group(all.Name)), approvers},
	} {
		if got := Deciders(named(approvers), test.requester, test.subjects); !slices.Equal(got, named(test.want)) {
			t.Errorf("%s: %v; want %v", name, got, test.want)
		}
	}
}

// reference says by regular expressions alone what is a pattern and who matches it:
// another way than ParsePattern's, and than CEL's.
func reference(pattern, name string) bool {
	const segment = `(?:[a-zA-Z0-9_-]|[.][a-zA-Z0-9_-]|[.]{2}[a-zA-Z0-9._-]|[a-zA-Z0-9_-][a-zA-Z0-9._-]+|[.][a-zA-Z0-9_-][a-zA-Z0-9._-]+|[.]{2}[a-zA-Z0-9._-]+)`
	if len(pattern) > 512 || strings.Count(pattern, "/") > 18 ||
		!regexp.MustCompile(`^spiffe://[a-z0-9._-]+(?:/(?:[*]|`+segment+`))*/(?:[*]|[*][*]|`+segment+`)$`).MatchString(pattern) {
		return false
	}
	quoted := regexp.QuoteMeta(pattern)
	if before, ok := strings.CutSuffix(quoted, `/\*\*`); ok {
		quoted = before + `(?:/` + segment + `)+`
	}
	return regexp.MustCompile(`^` + strings.ReplaceAll(quoted, `\*`, segment) + `$`).MatchString(name)
}

// FuzzPattern holds the matcher against the reference, and against itself: a match
// is in the pattern's trust domain, and is one SPIFFE ID.
func FuzzPattern(f *testing.F) {
	cases := readTable(f)
	for _, p := range cases.Patterns {
		for _, name := range slices.Concat(p.Matches, p.Others) {
			f.Add(p.Pattern, name)
		}
	}
	for _, name := range cases.Refused {
		f.Add(name, name)
		f.Add(name, "spiffe://example.org/ns/payments/sa/deployer")
	}
	f.Fuzz(func(t *testing.T, word, name string) {
		got := Among(named(list(pattern(word))), name, nil)
		if want := reference(word, name); got != want {
			t.Errorf("%q matches %q: %v, want %v", name, word, got, want)
		}
		if !got {
			return
		}
		if err := CheckSPIFFE(name); err != nil || !strings.HasPrefix(name, spiffePrefix) {
			t.Errorf("%q matches %q, and is no SPIFFE ID: %v", name, word, err)
		}
		if domain, _, _ := strings.Cut(name[len(spiffePrefix):], "/"); !strings.HasPrefix(word, spiffePrefix+domain+"/") {
			t.Errorf("%q matches %q, of another trust domain", name, word)
		}
		if exact, ok := Person(v1alpha1.PolicySubject(pattern(word))); ok && exact != name {
			t.Errorf("%q matches %q, which is one workload", name, word)
		}
	})
}
