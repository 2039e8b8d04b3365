package usage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func rawObject(text string) *runtime.Unknown {
	return &runtime.Unknown{Raw: []byte(text), ContentType: runtime.ContentTypeJSON}
}

// evil are texts with which users try to write other events, users and bindings.
func evil(t testing.TB) []string {
	forged := encoded(t, call(id("forged"), func(e *auditv1.Event) {
		e.User.Username, e.Annotations[reasonKey] = "forger", allowedByBinding("forged", "payments")
	}))
	reason := `"authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"forged/payments\" of ClusterRole \"edit\" to User \"forger\""`
	return []string{
		forged, "\n" + forged + "\n", `"}` + forged, `"}` + "\n" + forged, "\u2028" + forged, `\"}` + forged, `\`, `\\"`, `"`, "\x00", "\xff\xfe" + forged,
		`","annotations":{` + reason + `},"x":"`, `"},"annotations":{"authorization.k8s.io/decision":"allow",` + reason + `},"x":{"y":"`,
		`","user":{"username":"forger"},"x":"`, `{"message":` + quoted(t, forged) + `}`, "]}" + forged, "[" + forged + "]",
		allowedByBinding("forged", "payments"), `x" of ClusterRole "y" to RoleBinding "forged/payments`, strings.Repeat(`{"log":"`, 20) + forged,
		"\u0066orged", `\u0066orged`, "\u202e" + forged,
	}
}

// Whatever users write, wherever it lands: the event stays one event, of who made it,
// by the binding that allowed it, however it is wrapped.
func TestNothingIsForged(t *testing.T) {
	for place, put := range map[string]func(*auditv1.Event, string){
		"user agent":       func(e *auditv1.Event, s string) { e.UserAgent = s },
		"path":             func(e *auditv1.Event, s string) { e.RequestURI = "/" + s },
		"query":            func(e *auditv1.Event, s string) { e.RequestURI += "?" + s },
		"address":          func(e *auditv1.Event, s string) { e.SourceIPs = append(e.SourceIPs, s) },
		"name":             func(e *auditv1.Event, s string) { e.ObjectRef.Name = s },
		"resource":         func(e *auditv1.Event, s string) { e.ObjectRef.Resource = s },
		"group of the API": func(e *auditv1.Event, s string) { e.ObjectRef.APIGroup = s },
		"verb":             func(e *auditv1.Event, s string) { e.Verb = s },
		"group":            func(e *auditv1.Event, s string) { e.User.Groups = []string{s} },
		"impersonated": func(e *auditv1.Event, s string) {
			e.ImpersonatedUser = &e.User
			e.ImpersonatedUser.Groups = []string{s}
		},
		"message":          func(e *auditv1.Event, s string) { e.ResponseStatus.Message = s },
		"annotation":       func(e *auditv1.Event, s string) { e.Annotations["x/y"] = s },
		"annotation's key": func(e *auditv1.Event, s string) { e.Annotations[s] = "x" },
		"request":          func(e *auditv1.Event, s string) { e.RequestObject = rawObject(`{"a":` + quoted(t, s) + `}`) },
		"response": func(e *auditv1.Event, s string) {
			e.ResponseObject = rawObject(`{"metadata":{"name":` + quoted(t, s) + `}}`)
		},
	} {
		t.Run(place, func(t *testing.T) {
			for _, text := range evil(t) {
				e := call()
				put(&e, text)
				event := encoded(t, e)
				for how, text := range map[string]string{
					"line": event, "string": `{"log":` + quoted(t, event) + `}`, "twice": `{"message":` + quoted(t, `{"log":`+quoted(t, event)+`}`) + `}`,
					"list": `{"items":[` + event + `]}`, "indented": indented2(t, `{"items":[`+event+`]}`),
				} {
					found, skipped := reading(t, nil, text)
					if len(found) != 1 {
						t.Fatalf("%s: %d events, %+v: %s", how, len(found), skipped, text)
					}
					got := found[0]
					b, ok := got.Binding()
					if got.ID != "7c9a0b4e-0001" || got.User != "alice" || got.Actor() != "alice" || !ok || b.Name != "fix" || b.Namespace != "payments" {
						t.Errorf("%s: %+v", how, got)
					}
					if found, _ := reading(t, NewFilter([]string{"fix"}, nil), text); len(found) != 1 {
						t.Errorf("%s: hidden from who asks for fix: %s", how, text)
					}
					if found, _ := reading(t, NewFilter([]string{"forged"}, []string{"forger"}), text); len(found) != 0 {
						t.Errorf("%s: shown to who asks for forged: %+v", how, found)
					}
				}
			}
		})
	}
}

// Users' names are chosen by those who issue identities; impersonated ones by users.
func TestNamesOfUsers(t *testing.T) {
	for _, name := range append(evil(t), "zoë", "a&b<c>", "https://issuer/#sub", ":x", "日本", "a b", `DOMAIN\alice`) {
		e := call(func(e *auditv1.Event) { e.ImpersonatedUser = &e.User; e.ImpersonatedUser.Username = name })
		event := encoded(t, e)
		found, _ := reading(t, nil, event)
		if len(found) != 1 || found[0].Actor() != strings.ToValidUTF8(name, "\ufffd\ufffd") && !strings.Contains(name, "\xff") {
			t.Errorf("%q: %+v", name, found)
		}
		actor := found[0].Actor()
		for _, text := range []string{event, `{"log":` + quoted(t, event) + `}`, indented2(t, event)} {
			if found, _ := reading(t, NewFilter(nil, []string{actor}), text); len(found) != 1 {
				t.Errorf("%q: hidden by the first look: %s", name, text)
			}
		}
	}
}

// Encoders differ in what they escape. None hides an event from the first look.
func TestFirstLookSeesEscapes(t *testing.T) {
	event := encoded(t, call())
	for name, change := range map[string][2]string{
		"a letter":    {`fix/payments`, `f\u0069x/payments`},
		"quotes":      {`\"fix/payments\"`, `\u0022fix/payments\u0022`},
		"a slash":     {`fix/payments`, `fix\/payments`},
		"a space":     {`RoleBinding \"`, `RoleBinding\u0020\"`},
		"upper case":  {`fix/payments`, `fix\u002Fpayments`},
		"the key":     {`"username":"alice"`, `"username" : "\u0061lice"`},
		"all of them": {`RBAC: allowed by RoleBinding \"fix`, `\u0052BAC: allowed by Role\u0042inding \u0022\u0066i\u0078`},
	} {
		text := strings.Replace(event, change[0], change[1], 1)
		if text == event {
			t.Fatalf("%s: nothing to change", name)
		}
		nested := `{"log":` + quoted(t, text) + `}`
		twice := `{"log":"` + strings.NewReplacer(`\`, `\u005c`, `"`, `\"`).Replace(text) + `"}`
		for _, text := range []string{text, nested, twice} {
			for how, f := range map[string]*Filter{"all": nil, "binding": NewFilter([]string{"fix"}, nil), "user": NewFilter(nil, []string{"alice"})} {
				if found, skipped := reading(t, f, text); len(found) != 1 || cmp.Diff(wanted(), found[0]) != "" {
					t.Errorf("%s, %s: %d events, %+v: %s", name, how, len(found), skipped, text)
				}
			}
		}
	}
}

// A patch is in the event as the user sent it. Nothing in it hides the call.
func TestPatchesDoNotHideCalls(t *testing.T) {
	event := encoded(t, call())
	for name, body := range map[string]string{
		"a name twice":         `{"a":1,"a":2}`,
		"not UTF-8":            "{\"a\":\"\xff\xfe\"}",
		"nested deeply":        strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000),
		"nested more deeply":   strings.Repeat(`{"a":`, 10_000) + `"}"` + strings.Repeat("}", 10_000),
		"nested, then the end": `{"b":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `,"c":"\\\""}`,
		"an event":             event,
		"a list":               `{"items":[` + event + `],"protoPayload":{},"kubernetes":{"pod_name":"x"}}`,
	} {
		text := strings.Replace(event, `"requestReceivedTimestamp"`, `"requestObject":`+body+`,"requestReceivedTimestamp"`, 1)
		for how, text := range map[string]string{"line": text, "list": `{"items":[` + text + `]}`, "lines": "[\n" + text + "\n]"} {
			found, skipped := reading(t, nil, text)
			for i := range found {
				found[i].Object = nil // that is the patch
			}
			if len(found) != 1 || cmp.Diff(wanted(), found[0]) != "" {
				t.Errorf("%s, %s: %d events, %+v", name, how, len(found), skipped)
			}
		}
	}
}

// The largest headers that an API server takes do not hide a call.
func TestHeadersDoNotHideCalls(t *testing.T) {
	headers := strings.Repeat("<", 1<<20)
	text := encoded(t, call(func(e *auditv1.Event) {
		e.UserAgent = headers
		for range 100 {
			e.SourceIPs = append([]string{"198.51.100.1"}, e.SourceIPs...)
		}
	}))
	for how, text := range map[string]string{"line": text, "list": `{"items":[` + text + `]}`, "string": `{"log":` + quoted(t, text) + `}`} {
		found, skipped := reading(t, nil, text)
		if len(found) != 1 || found[0].UserAgent != headers || len(found[0].Addresses) != maxAddresses || found[0].Addresses[maxAddresses-1] != "10.0.0.1" {
			t.Errorf("%s: %d events, %+v", how, len(found), skipped)
		}
	}
}

// indented2 is indented for texts that json.Indent takes as they are.
func indented2(t testing.TB, text string) string {
	t.Helper()
	var out strings.Builder
	depth := 0
	for at := 0; at < len(text); {
		n := 1
		switch text[at] {
		case '"':
			n = stringLen([]byte(text[at:]))
			fmt.Fprint(&out, text[at:at+n])
		case '{', '[':
			depth++
			fmt.Fprintf(&out, "%c\n%*s", text[at], 2*depth, "")
		case '}', ']':
			depth--
			fmt.Fprintf(&out, "\n%*s%c", 2*depth, "", text[at])
		default:
			fmt.Fprint(&out, text[at:at+1])
		}
		at += n
	}
	return out.String()
}
