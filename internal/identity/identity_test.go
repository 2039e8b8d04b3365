package identity

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func user(name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: name}
}

func group(name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: name}
}

func account(namespace, name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: namespace, Name: name}
}

func withAPIGroup(s v1alpha1.Subject) v1alpha1.Subject {
	s.APIGroup = "rbac.authorization.k8s.io"
	return s
}

// named are subjects as a policy names them.
func named(subjects []v1alpha1.Subject) []v1alpha1.PolicySubject {
	out := make([]v1alpha1.PolicySubject, len(subjects))
	for i, s := range subjects {
		out[i] = v1alpha1.PolicySubject(s)
	}
	return out
}

func list[T any](items ...T) []T { return items }

// lookAlikes of bob, each another string that a person reads as bob.
var lookAlikes = map[string]string{
	"capital":                   "Bob",
	"capitals":                  "BOB",
	"space after":               "bob ",
	"space before":              " bob",
	"no-break space after":      "bob\u00a0",
	"ideographic space after":   "bob\u3000",
	"Braille blank after":       "bob\u2800",
	"line feed after":           "bob\n",
	"tab after":                 "bob\t",
	"line separator after":      "bob\u2028",
	"line separator inside":     "bo\u2028b",
	"paragraph separator":       "b\u2029ob",
	"zero-width space":          "b\u200bob",
	"zero-width joiner":         "bo\u200db",
	"zero-width no-break space": "\ufeffbob",
	"word joiner":               "bob\u2060",
	"soft hyphen":               "bo\u00adb",
	"right-to-left override":    "\u202ebob",
	"left-to-right mark":        "bob\u200e",
	"isolates":                  "\u2066bob\u2069",
	"variation selector":        "bob\ufe0f",
	"variation selector 256":    "bob\U000e01ef",
	"grapheme joiner":           "b\u034fob",
	"Hangul filler":             "bob\u3164",
	"half-width Hangul filler":  "bob\uffa0",
	"tag characters":            "bob\U000e0061\U000e007f",
	"reserved and ignorable":    "bob\u2065",
	"null":                      "bob\x00",
	"full width":                "ｂｏｂ",
	"full-width capitals":       "ＢＯＢ",
	"mathematical bold":         "𝐛𝐨𝐛",
	"mathematical fraktur":      "𝔅𝔬𝔟",
	"circled":                   "ⓑⓞⓑ",
	"all at once":               " \u202eＢ\u200bO\ufe0fb\u00a0",
}

// others than bob, however alike in bytes.
var others = map[string]string{
	"another name":      "rob",
	"longer":            "bobby",
	"shorter":           "bo",
	"space inside":      "b ob",
	"accent":            "böb",
	"domain":            "bob@example.com",
	"prefix":            "oidc:bob",
	"nobody":            "",
	"not UTF-8":         "bob\xff",
	"a ServiceAccount":  "system:serviceaccount:payments:bob",
	"a digit for an l":  "b0b",
	"punctuation after": "bob.",
}

func TestUsername(t *testing.T) {
	for name, test := range map[string]struct {
		subject v1alpha1.Subject
		want    string
		ok      bool
	}{
		"user":           {user("bob"), "bob", true},
		"ServiceAccount": {account("payments", "migrate"), "system:serviceaccount:payments:migrate", true},
		"group":          {group("dev"), "", false},
		"no kind":        {v1alpha1.Subject{Name: "bob"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := Username(test.subject); got != test.want || ok != test.ok {
				t.Errorf("got %q, %v; want %q, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	for name, test := range map[string]struct {
		subject v1alpha1.Subject
		want    []string
	}{
		"user":           {user("bob"), nil},
		"group":          {group("dev"), list("dev")},
		"ServiceAccount": {account("payments", "migrate"), list("system:serviceaccounts", "system:serviceaccounts:payments", "system:authenticated")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Groups(test.subject)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSubjectOf(t *testing.T) {
	for username, want := range map[string]v1alpha1.Subject{
		"bob":                                    user("bob"),
		"system:serviceaccount:payments:migrate": account("payments", "migrate"),
		"system:serviceaccount:payments:a.b-c":   account("payments", "a.b-c"),
		"system:admin":                           user("system:admin"),
		"System:serviceaccount:payments:migrate": user("System:serviceaccount:payments:migrate"),
		// No authenticator of ServiceAccounts makes these names.
		"system:serviceaccount:payments:":    user("system:serviceaccount:payments:"),
		"system:serviceaccount::migrate":     user("system:serviceaccount::migrate"),
		"system:serviceaccount:payments":     user("system:serviceaccount:payments"),
		"system:serviceaccount:":             user("system:serviceaccount:"),
		"system:serviceaccount:payments:a:b": user("system:serviceaccount:payments:a:b"),
	} {
		t.Run(username, func(t *testing.T) {
			if diff := cmp.Diff(want, SubjectOf(v1alpha1.UserInfo{Username: username, Groups: list("dev")})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzSubjectOf: the subject of a user is that user, to RBAC and to themselves.
func FuzzSubjectOf(f *testing.F) {
	for _, seed := range []string{
		"", "bob", "system:admin", "system:serviceaccount:payments:migrate", "system:serviceaccount:payments:a:b",
		"system:serviceaccount::a", "system:serviceaccount:a:", "system:serviceaccount", "bob\u200b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, username string) {
		subject := SubjectOf(v1alpha1.UserInfo{Username: username})
		if got, ok := Username(subject); !ok || got != username {
			t.Errorf("%q became %+v, which is %q", username, subject, got)
		}
		if !Among(named(list(subject)), username, nil) {
			t.Errorf("%q is not among %+v", username, subject)
		}
		if !Benefits(username, nil, "somebody else", list(subject)) {
			t.Errorf("%q does not benefit from what is given to %+v", username, subject)
		}
		isAccount := subject.Kind == v1alpha1.ServiceAccountKind
		if isAccount != (subject.Namespace != "") || isAccount && (subject.Name == "" || strings.Contains(subject.Namespace+subject.Name, ":")) {
			t.Errorf("%q became %+v", username, subject)
		}
	})
}

func TestSubjects(t *testing.T) {
	for name, test := range map[string]struct {
		requester      string
		subjects, want []v1alpha1.Subject
	}{
		"the requester by default":           {"bob", nil, list(user("bob"))},
		"a ServiceAccount by default":        {"system:serviceaccount:payments:migrate", nil, list(account("payments", "migrate"))},
		"those named, in their order":        {"bob", list(group("dev"), user("alice")), list(group("dev"), user("alice"))},
		"not the requester unless named":     {"bob", list(user("alice")), list(user("alice"))},
		"without apiGroup":                   {"bob", list(withAPIGroup(user("alice"))), list(user("alice"))},
		"once, with and without apiGroup":    {"bob", list(user("alice"), withAPIGroup(user("alice")), user("alice")), list(user("alice"))},
		"each kind of one name":              {"bob", list(user("dev"), group("dev"), account("dev", "dev")), list(user("dev"), group("dev"), account("dev", "dev"))},
		"each namespace of one account name": {"bob", list(account("a", "x"), account("b", "x")), list(account("a", "x"), account("b", "x"))},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.AccessRequestSpec{Requester: v1alpha1.UserInfo{Username: test.requester}, Subjects: test.subjects}
			before := spec.DeepCopy()
			if diff := cmp.Diff(test.want, Subjects(spec)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, spec); diff != "" {
				t.Errorf("the request was changed: %s", diff)
			}
		})
	}
}

func TestReserved(t *testing.T) {
	for name, test := range map[string]struct {
		subject v1alpha1.Subject
		want    bool
	}{
		"user of Kubernetes":               {user("system:admin"), true},
		"group of Kubernetes":              {group("system:masters"), true},
		"user named like a ServiceAccount": {user("system:serviceaccount:payments:migrate"), true},
		"nothing but the prefix":           {user("system:"), true},
		"in capitals":                      {group("SYSTEM:masters"), true},
		"after a space":                    {group(" system:masters"), true},
		"with a zero-width space":          {group("sys\u200btem:masters"), true},
		"in full width":                    {group("ｓｙｓｔｅｍ：masters"), true},
		"ServiceAccount":                   {account("kube-system", "system:x"), false},
		"user":                             {user("bob"), false},
		"without the colon":                {group("systems"), false},
		"prefix later on":                  {group("my-system:masters"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Reserved(test.subject); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestAmong(t *testing.T) {
	const migrate = "system:serviceaccount:payments:migrate"
	for name, test := range map[string]struct {
		subjects []v1alpha1.Subject
		username string
		groups   []string
		want     bool
	}{
		"nobody":                             {nil, "bob", list("dev"), false},
		"user":                               {list(user("bob")), "bob", nil, true},
		"user, as RBAC spells it":            {list(withAPIGroup(user("bob"))), "bob", nil, true},
		"last of several":                    {list(user("alice"), group("ops"), user("bob")), "bob", nil, true},
		"another user":                       {list(user("alice")), "bob", nil, false},
		"user by the name of their group":    {list(user("dev")), "bob", list("dev"), false},
		"group":                              {list(group("dev")), "bob", list("ops", "dev"), true},
		"another group":                      {list(group("dev")), "bob", list("ops"), false},
		"group in capitals":                  {list(group("dev")), "bob", list("Dev"), false},
		"group with a zero-width space":      {list(group("dev")), "bob", list("dev\u200b"), false},
		"group by the name of the user":      {list(group("bob")), "bob", nil, false},
		"ServiceAccount":                     {list(account("payments", "migrate")), migrate, nil, true},
		"ServiceAccount of another space":    {list(account("billing", "migrate")), migrate, nil, false},
		"ServiceAccount of another name":     {list(account("payments", "report")), migrate, nil, false},
		"user named like the ServiceAccount": {list(user(migrate)), migrate, nil, true},
		"group of ServiceAccounts":           {list(group("system:serviceaccounts:payments")), migrate, list("system:serviceaccounts:payments"), true},
		"without a kind":                     {list(v1alpha1.Subject{Name: "bob"}), "bob", list("bob"), false},
		"without a kind, nobody":             {list(v1alpha1.Subject{Name: "bob"}), "", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Among(named(test.subjects), test.username, test.groups); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	// RBAC compares bytes, and so must we: who looks like bob is not bob.
	for name, alike := range lookAlikes {
		if Among(named(list(user("bob"))), alike, nil) || Among(named(list(user(alike))), "bob", nil) {
			t.Errorf("%s: %q is among subjects who are bob", name, alike)
		}
	}
}

func TestBenefits(t *testing.T) {
	const migrate = "system:serviceaccount:payments:migrate"
	for name, test := range map[string]struct {
		username  string
		groups    []string
		requester string
		subjects  []v1alpha1.Subject
		want      bool
	}{
		"a stranger":                            {"carol", list("ops"), "alice", list(user("bob"), group("dev"), account("payments", "migrate")), false},
		"the requester":                         {"alice", nil, "alice", list(user("bob")), true},
		"the requester in other letters":        {"Alice", nil, "alice", list(user("bob")), true},
		"a subject user":                        {"bob", nil, "alice", list(user("carol"), user("bob")), true},
		"a member of a subject group":           {"bob", list("ops", "dev"), "alice", list(group("dev")), true},
		"named like a subject group":            {"dev", nil, "alice", list(group("dev")), false},
		"member of a group named like the user": {"carol", list("bob"), "alice", list(user("bob")), false},
		"a subject ServiceAccount":              {migrate, nil, "alice", list(account("payments", "migrate")), true},
		"another ServiceAccount":                {migrate, nil, "alice", list(account("billing", "migrate")), false},
		"ServiceAccount of a subject group":     {migrate, list("system:serviceaccounts:payments"), "alice", list(group("system:serviceaccounts:payments")), true},
		"ServiceAccount that asks":              {migrate, nil, migrate, list(user("bob")), true},
		"user named like a ServiceAccount":      {migrate, nil, "alice", list(user(migrate)), true},
		"nobody, of a subject without a kind":   {"", nil, "alice", list(v1alpha1.Subject{Name: "bob"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Benefits(test.username, test.groups, test.requester, test.subjects); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	for name, alike := range lookAlikes {
		if !Benefits(alike, nil, "bob", list(user("alice"))) {
			t.Errorf("%s: %q does not benefit from what bob asks", name, alike)
		}
		if !Benefits("bob", nil, "alice", list(user(alike))) {
			t.Errorf("%s: bob does not benefit from what %q gets", name, alike)
		}
	}
	for name, other := range others {
		if Benefits(other, nil, "bob", list(user("bob"))) {
			t.Errorf("%s: %q benefits from what bob gets", name, other)
		}
	}
}

func TestSamePerson(t *testing.T) {
	for name, alike := range lookAlikes {
		if !SamePerson("bob", alike) {
			t.Errorf("%s: %q is somebody else than bob: %q", name, alike, Fold(alike))
		}
	}
	for name, other := range others {
		if SamePerson("bob", other) {
			t.Errorf("%s: %q is bob", name, other)
		}
	}
	for name, pair := range map[string][2]string{
		"composed and decomposed": {"jos\u00e9", "jose\u0301"},
		"marks in another order":  {"a\u0323\u0301", "a\u0301\u0323"},
		"sharp s":                 {"STRASSE", "straße"},
		"final sigma":             {"ΝΙΚΟΣ", "νικος"},
		"ligature":                {"ﬁona", "FIONA"},
		"Kelvin sign":             {"mar\u212a", "mark"},
		"iota below":              {"\u1fb3", "ΑΙ"},
		"dotted capital I":        {"\u0130", "I\u0307"},
		"Cherokee":                {"\uab70\u13f8", "\u13a0\u13f0"},
	} {
		if !SamePerson(pair[0], pair[1]) {
			t.Errorf("%s: %q and %q differ: %q, %q", name, pair[0], pair[1], Fold(pair[0]), Fold(pair[1]))
		}
	}
}

// FuzzFold: what was folded stays as it is, what is not seen makes no
// difference, and the result is text.
func FuzzFold(f *testing.F) {
	for _, seeds := range []map[string]string{lookAlikes, others} {
		for _, seed := range seeds {
			f.Add(seed, uint(1))
		}
	}
	for _, seed := range []string{"\u00b4", "a\u0345\u0301", "\u01f0", "\u1e9e", "\u03d2\u0301", "\u1680x\u1680", "\uac00\u11a8", "\u0f79", "\ufdfa", "\u3392", "\u13a0", "\uab70", "\u2800", "a" + strings.Repeat("\u0301", 29) + "\u0344\u0323", "\xc3"} {
		f.Add(seed, uint(0))
	}
	f.Fuzz(func(t *testing.T, name string, at uint) {
		folded := Fold(name)
		if strings.Contains(folded, "\u034f") {
			t.Skip("the normalizer cuts off more than 30 marks on one letter, and does not order them across the cut")
		}
		if again := Fold(folded); again != folded {
			t.Errorf("%q folds to %q, and that to %q", name, folded, again)
		}
		if !utf8.ValidString(folded) || strings.TrimSpace(folded) != folded || strings.Contains(folded, "\u200b") {
			t.Errorf("%q folds to %q", name, folded)
		}
		if !SamePerson(name, folded) {
			t.Errorf("%q is somebody else than %q", name, folded)
		}
		runes := []rune(name)
		cut := int(at % uint(len(runes)+1))
		if dressed := " " + string(runes[:cut]) + "\u200b\u202e" + string(runes[cut:]) + "\u3000"; !SamePerson(name, dressed) {
			t.Errorf("%q is somebody else than %q: %q, %q", name, dressed, folded, Fold(dressed))
		}
	})
}
