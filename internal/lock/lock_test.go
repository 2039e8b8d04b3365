package lock

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

var noon = time.Date(2026, time.July, 15, 12, 0, 0, 0, time.UTC)

func user(name string) v1alpha1.Subject { return v1alpha1.Subject{Kind: v1alpha1.UserKind, Name: name} }

func group(name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.GroupKind, Name: name}
}

func account(namespace, name string) v1alpha1.Subject {
	return v1alpha1.Subject{Kind: v1alpha1.ServiceAccountKind, Namespace: namespace, Name: name}
}

func locks(subjects ...v1alpha1.Subject) (out []v1alpha1.AccessLock) {
	for _, s := range subjects {
		out = append(out, v1alpha1.AccessLock{Spec: v1alpha1.AccessLockSpec{Subject: s}})
	}
	return out
}

func TestOn(t *testing.T) {
	alice := v1alpha1.UserInfo{Username: "alice", Groups: []string{"dev", "system:authenticated"}}
	many := v1alpha1.UserInfo{Username: "alice", OmittedGroups: 3}
	deployer := v1alpha1.UserInfo{Username: "system:serviceaccount:ci:deployer", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ci"}}
	for name, test := range map[string]struct {
		held Held
		on   v1alpha1.Subject
		want bool
	}{
		"the requester":                           {Held{alice, []v1alpha1.Subject{user("alice")}}, user("alice"), true},
		"the requester, in another spelling":      {Held{alice, nil}, user("Alice"), true},
		"the requester, who asks for another":     {Held{alice, []v1alpha1.Subject{account("ci", "deployer")}}, user("alice"), true},
		"a subject":                               {Held{alice, []v1alpha1.Subject{user("bob")}}, user("bob"), true},
		"somebody else":                           {Held{alice, []v1alpha1.Subject{user("alice")}}, user("bob"), false},
		"a name that begins like theirs":          {Held{alice, nil}, user("alice2"), false},
		"a user of the name of a group":           {Held{alice, nil}, user("dev"), false},
		"a group of the requester":                {Held{alice, nil}, group("dev"), true},
		"a group in another spelling":             {Held{alice, nil}, group("Dev"), false},
		"another group":                           {Held{alice, nil}, group("ops"), false},
		"a group, and groups are left out":        {Held{many, nil}, group("ops"), true},
		"a user, and groups are left out":         {Held{many, nil}, user("bob"), false},
		"a subject group":                         {Held{alice, []v1alpha1.Subject{group("ops")}}, group("ops"), true},
		"a ServiceAccount that asks":              {Held{deployer, nil}, account("ci", "deployer"), true},
		"a ServiceAccount, named as a user":       {Held{deployer, nil}, user("system:serviceaccount:ci:deployer"), true},
		"a subject that is a ServiceAccount":      {Held{alice, []v1alpha1.Subject{account("ci", "deployer")}}, account("ci", "deployer"), true},
		"another of the namespace":                {Held{deployer, nil}, account("ci", "other"), false},
		"one of that name elsewhere":              {Held{deployer, nil}, account("cd", "deployer"), false},
		"all ServiceAccounts of a namespace":      {Held{alice, []v1alpha1.Subject{account("ci", "deployer")}}, group("system:serviceaccounts:ci"), true},
		"all ServiceAccounts of another":          {Held{alice, []v1alpha1.Subject{account("ci", "deployer")}}, group("system:serviceaccounts:cd"), false},
		"everybody, by a ServiceAccount":          {Held{deployer, nil}, group("system:serviceaccounts"), true},
		"everybody, by what the API server tells": {Held{alice, nil}, group("system:authenticated"), true},
	} {
		if got := On(test.held, locks(user("nobody"), test.on), noon) != nil; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestUntil(t *testing.T) {
	held := Held{Requester: v1alpha1.UserInfo{Username: "alice"}}
	for _, test := range []struct {
		until time.Duration
		want  bool
	}{{time.Second, true}, {0, false}, {-time.Second, false}} {
		l := locks(user("alice"))
		l[0].Spec.Until = &metav1.Time{Time: noon.Add(test.until)}
		if got := On(held, l, noon) != nil; got != test.want {
			t.Errorf("until %s from now: %v", test.until, got)
		}
		if got := On(held, append(l, locks(user("alice"))...), noon); got == nil {
			t.Errorf("until %s from now, beside another: not locked", test.until)
		}
	}
}

func TestWhoHolds(t *testing.T) {
	g := &v1alpha1.AccessGrant{}
	g.Spec.Requester.Username = "alice"
	g.Spec.Subjects = []v1alpha1.GrantSubject{{Subject: account("ci", "deployer"), UID: "1"}}
	if On(OfGrant(g), locks(account("ci", "deployer")), noon) == nil || On(OfGrant(g), locks(user("alice")), noon) == nil || On(OfGrant(g), locks(user("bob")), noon) != nil {
		t.Error("of a grant: not who asked, or not who holds it")
	}
	spec := &v1alpha1.AccessRequestSpec{Requester: v1alpha1.UserInfo{Username: "alice"}}
	if held := OfRequest(spec); len(held.Subjects) != 1 || held.Subjects[0] != user("alice") {
		t.Errorf("of a request for oneself: %+v", held)
	}
	spec.Subjects = []v1alpha1.Subject{user("bob")}
	if On(OfRequest(spec), locks(user("bob")), noon) == nil || On(OfRequest(spec), locks(user("alice")), noon) == nil {
		t.Error("of a request for another: not who asked, or not who would hold it")
	}
}

func TestWhy(t *testing.T) {
	l := locks(user("alice"))[0]
	l.Name, l.Spec.By, l.Spec.Reason = "stop", "sam", "INC-43: her laptop was stolen\n"
	for want, until := range map[string]*metav1.Time{
		"alice is locked out until it is deleted by AccessLock stop of sam: INC-43: her laptop was stolen":        nil,
		"alice is locked out until 2026-07-15T12:00:00Z by AccessLock stop of sam: INC-43: her laptop was stolen": {Time: noon},
	} {
		l.Spec.Until = until
		if got := Why(&l); got != want {
			t.Errorf("%s", got)
		}
	}
}
