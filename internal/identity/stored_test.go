package identity

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func repeated(n int, format string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

func TestStored(t *testing.T) {
	kept := []string{"oid", "example.com/team"}
	extra := func(key string, values ...string) map[string]v1alpha1.ExtraValue {
		return map[string]v1alpha1.ExtraValue{key: values}
	}
	for name, test := range map[string]struct{ user, want v1alpha1.UserInfo }{
		"all of it fits": {
			v1alpha1.UserInfo{Username: "ann", UID: "1", Groups: list("dev", "sre"), Extra: extra("oid", "2")},
			v1alpha1.UserInfo{Username: "ann", UID: "1", Groups: list("dev", "sre"), Extra: extra("oid", "2")},
		},
		"a key is kept in any case, as it came": {
			v1alpha1.UserInfo{Extra: extra("Example.com/TEAM", "a")},
			v1alpha1.UserInfo{Extra: extra("Example.com/TEAM", "a")},
		},
		"lower case is ASCII's": {
			v1alpha1.UserInfo{Extra: extra("example.com/team\u212a", "a")}, // the Kelvin sign is a k to Unicode
			v1alpha1.UserInfo{OmittedExtra: list("example.com/team\u212a")},
		},
		"a credential": {
			v1alpha1.UserInfo{Extra: extra("iam.gke.io/user-assertion", "secret")},
			v1alpha1.UserInfo{OmittedExtra: list("iam.gke.io/user-assertion")},
		},
		"a value that is too long":  {v1alpha1.UserInfo{Extra: extra("oid", strings.Repeat("ü", 1025))}, v1alpha1.UserInfo{OmittedExtra: list("oid")}},
		"a value that is just not":  {v1alpha1.UserInfo{Extra: extra("oid", strings.Repeat("ü", 1024))}, v1alpha1.UserInfo{Extra: extra("oid", strings.Repeat("ü", 1024))}},
		"more values than fit":      {v1alpha1.UserInfo{Extra: extra("oid", repeated(65, "%d")...)}, v1alpha1.UserInfo{OmittedExtra: list("oid")}},
		"a key that is too long":    {v1alpha1.UserInfo{Extra: extra(strings.Repeat("ü", 300))}, v1alpha1.UserInfo{OmittedExtra: list(strings.Repeat("ü", 256))}},
		"a uid that is too long":    {v1alpha1.UserInfo{UID: strings.Repeat("1", 1025)}, v1alpha1.UserInfo{}},
		"a group that is too long":  {v1alpha1.UserInfo{Groups: list("a", strings.Repeat("ü", 2049), "b")}, v1alpha1.UserInfo{Groups: list("a", "b"), OmittedGroups: 1}},
		"a group that is just not":  {v1alpha1.UserInfo{Groups: list(strings.Repeat("ü", 2048))}, v1alpha1.UserInfo{Groups: list(strings.Repeat("ü", 2048))}},
		"no group, and one in two":  {v1alpha1.UserInfo{Groups: list("", "a\x00b", "c")}, v1alpha1.UserInfo{Groups: list("c"), OmittedGroups: 2}},
		"more groups than fit":      {v1alpha1.UserInfo{Groups: repeated(1030, "g%d")}, v1alpha1.UserInfo{Groups: repeated(1024, "g%d"), OmittedGroups: 6}},
		"exactly as many groups":    {v1alpha1.UserInfo{Groups: repeated(1024, "g%d")}, v1alpha1.UserInfo{Groups: repeated(1024, "g%d")}},
		"groups too long together":  {v1alpha1.UserInfo{Groups: repeated(100, "%02047d")}, v1alpha1.UserInfo{Groups: repeated(64, "%02047d"), OmittedGroups: 36}},
		"what comes after, though":  {v1alpha1.UserInfo{Groups: append(repeated(65, "%02047d"), "short")}, v1alpha1.UserInfo{Groups: repeated(64, "%02047d"), OmittedGroups: 2}},
		"control characters remain": {v1alpha1.UserInfo{Groups: list("a\nb")}, v1alpha1.UserInfo{Groups: list("a\nb")}},
	} {
		if got := Stored(test.user, kept); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %.300v, want %.300v", name, got, test.want)
		}
	}
	many := map[string]v1alpha1.ExtraValue{}
	for i := range 70 {
		many[fmt.Sprintf("k%02d", i)] = nil
	}
	if got := Stored(v1alpha1.UserInfo{Extra: many}, kept).OmittedExtra; len(got) != 64 || !slices.IsSorted(got) {
		t.Errorf("of 70 keys left out %d are named: %q", len(got), got)
	}
}

func TestStoredGroups(t *testing.T) {
	approvers := list(group("sre"), user("bob"), group("oncall"))
	subjects := list(group("dba"), account("payments", "migrate"))
	everybody := append(repeated(600, "team-%d"), "dba", "sre", "system:authenticated")
	for name, test := range map[string]struct {
		groups  []string
		verdict v1alpha1.Verdict
		want    []string
		omitted int32
	}{
		"an approval keeps the others behind":   {list("a", "sre", "b"), v1alpha1.VerdictApprove, list("sre", "a", "b"), 0},
		"a Revoke needs those that are named":   {list("a", "sre", "b", "dba"), v1alpha1.VerdictRevoke, list("sre", "dba"), 0},
		"a Deny by name needs none":             {list("a", "b"), v1alpha1.VerdictDeny, nil, 0},
		"a Release by a member of a subject":    {list("a", "dba"), v1alpha1.VerdictRelease, list("dba"), 0},
		"an approval never loses what is named": {everybody, v1alpha1.VerdictApprove, append(list("sre", "dba"), repeated(512, "team-%d")...), 89},
		"a Revoke by somebody in many groups":   {everybody, v1alpha1.VerdictRevoke, list("sre", "dba"), 0},
		"others too long together":              {append(repeated(10, "%02047d"), "oncall"), v1alpha1.VerdictApprove, append(list("oncall"), repeated(8, "%02047d")...), 2},
		"an empty group is left out":            {list("", "sre"), v1alpha1.VerdictApprove, list("sre"), 1},
	} {
		got, omitted := StoredGroups(test.groups, test.verdict, named(approvers), subjects)
		if !slices.Equal(got, test.want) || omitted != test.omitted {
			t.Errorf("%s: %.300q and %d left out, want %.300q and %d", name, got, omitted, test.want, test.omitted)
		}
	}
}

// FuzzStored: whatever an identity is, its copy fits, is no invention, and what
// is left out is counted. Who decides stays who they are to a policy.
func FuzzStored(f *testing.F) {
	f.Add("dev,sre", "oid", "2", 1)
	f.Add(strings.Repeat("x", 2049)+",sre,,\x00", "OID", strings.Repeat("v", 1025), 1500)
	f.Fuzz(func(t *testing.T, names, key, value string, copies int) {
		groups := strings.Split(names, ",")
		for i := range min(max(copies, 0), 2000) {
			groups = append(groups, fmt.Sprint(names, i))
		}
		user := v1alpha1.UserInfo{Groups: groups, Extra: map[string]v1alpha1.ExtraValue{key: {value}}}
		stored := Stored(user, list("oid"))
		if len(stored.Groups)+int(stored.OmittedGroups) != len(groups) || len(stored.Extra)+len(stored.OmittedExtra) != 1 {
			t.Errorf("%d of %d groups, %d left out; %v, %q", len(stored.Groups), len(groups), stored.OmittedGroups, stored.Extra, stored.OmittedExtra)
		}
		length := 0
		for _, g := range stored.Groups {
			length += utf8.RuneCountInString(g)
			if !slices.Contains(groups, g) || utf8.RuneCountInString(g) > maxGroup || g == "" {
				t.Errorf("group %q", g)
			}
		}
		if len(stored.Groups) > maxGroups || length > maxGroupsText {
			t.Errorf("%d groups of %d characters", len(stored.Groups), length)
		}
		for _, verdict := range list(v1alpha1.VerdictApprove, v1alpha1.VerdictRevoke) {
			approvers := named(list(group("sre"), group("dba")))
			kept, omitted := StoredGroups(groups, verdict, approvers, nil)
			if Among(approvers, "", kept) != Among(approvers, "", groups) || omitted < 0 || len(kept) > maxOtherGroups+len(approvers) {
				t.Errorf("%s keeps %.300q and leaves %d out", verdict, kept, omitted)
			}
		}
	})
}
