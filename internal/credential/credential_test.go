package credential

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func newKey(t testing.TB) *Key {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSealedOpens(t *testing.T) {
	key, g := newKey(t), Grant{Name: "fix-1", UID: "u1"}
	secret, err := key.Secret()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(secret)
	if err != nil || again.Public() != key.Public() {
		t.Fatalf("the key that was written is not the one that is read: %v", err)
	}
	for _, token := range []string{"", "a", strings.Repeat("token", 1000)} {
		sealed, err := Seal(key.Public(), g, token)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" && strings.Contains(sealed, base64.StdEncoding.EncodeToString([]byte(token))[:1]+"oken") {
			t.Error("the token shows")
		}
		if got, err := Open(again, g, sealed); err != nil || got != token {
			t.Errorf("opened %q, %v; want %q", got, err, token)
		}
	}
	one, _ := Seal(key.Public(), g, "token")
	if other, _ := Seal(key.Public(), g, "token"); one == other {
		t.Error("the same token is sealed to the same text twice")
	}
}

func TestNobodyElseOpens(t *testing.T) {
	key, g := newKey(t), Grant{Name: "fix-1", UID: "u1"}
	sealed, err := Seal(key.Public(), g, "token")
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(sealed)
	changed := func(i int) string {
		b := append([]byte(nil), raw...)
		b[i] ^= 1
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, try := range map[string]struct {
		key    *Key
		grant  Grant
		sealed string
	}{
		"another key":                    {newKey(t), g, sealed},
		"another grant":                  {key, Grant{"fix-2", "u1"}, sealed},
		"another grant of the name":      {key, Grant{"fix-1", "u2"}, sealed},
		"a shifted name":                 {key, Grant{"fix-1\x00u1", ""}, sealed},
		"an encapsulated key of another": {key, g, changed(0)},
		"a changed text":                 {key, g, changed(len(raw) - 20)},
		"a changed tag":                  {key, g, changed(len(raw) - 1)},
		"a cut text":                     {key, g, base64.StdEncoding.EncodeToString(raw[:len(raw)-1])},
		"nothing":                        {key, g, ""},
		"no base64":                      {key, g, "?" + sealed},
	} {
		if got, err := Open(try.key, try.grant, try.sealed); !errors.Is(err, ErrNotOpened) || got != "" {
			t.Errorf("%s: opened %q, %v", name, got, err)
		}
	}
}

// Points of small order give the same secret to everybody.
func TestKeysThatAreNone(t *testing.T) {
	point := func(first byte) string {
		b := make([]byte, keySize)
		b[0] = first
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, public := range map[string]string{
		"empty":                    "",
		"short":                    base64.StdEncoding.EncodeToString(make([]byte, 31)),
		"long":                     base64.StdEncoding.EncodeToString(make([]byte, 33)),
		"no base64":                strings.Repeat("?", 43) + "=",
		"a second spelling":        newKey(t).Public()[:42] + "B=",
		"without its padding":      strings.TrimSuffix(newKey(t).Public(), "="),
		"the point 0":              point(0),
		"the point 1":              point(1),
		"a line break in the text": newKey(t).Public()[:20] + "\n" + newKey(t).Public()[20:],
	} {
		if err := CheckPublic(public); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := CheckPublic(newKey(t).Public()); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{"", "?", point(0)[:40], point(0) + "AAAA"} {
		if _, err := ParseKey(secret); err == nil {
			t.Errorf("private key %q: taken", secret)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key, g := newKey(f), Grant{Name: "fix-1", UID: "u1"}
	sealed, err := Seal(key.Public(), g, "token")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := Open(key, g, text); err == nil && text != sealed {
			t.Errorf("%q opens to %q", text, got)
		}
	})
}
