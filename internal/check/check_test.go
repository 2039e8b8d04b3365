package check

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

var noon = time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)

// parsed is one check, with a few lines more or other ones.
func parsed(t testing.TB, lines ...string) *Compiled {
	t.Helper()
	checks, err := Parse([]byte(config(lines...)))
	if err != nil {
		t.Fatal(err)
	}
	return checks[0]
}

// config is a file with one check whose fields are those of lines, or the default.
func config(lines ...string) string {
	fields := []string{"name: ticket", "stage: change", "allow: https://tickets.example.com", "url: allow + '/t/' + segment(request.spec.ticket)", "approve: answer.body.ok"}
	out := "checks:\n- "
	for _, field := range fields {
		key, _, _ := strings.Cut(field, ":")
		replaced := false
		for _, line := range lines {
			replaced = replaced || strings.HasPrefix(line, key+":") || line == "-"+key
		}
		if !replaced {
			out += field + "\n  "
		}
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "-") {
			out += line + "\n  "
		}
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	if _, err := Parse([]byte("checks: []")); err == nil || !strings.Contains(err.Error(), "there must be 1 to 16, not 0") {
		t.Errorf("none: %v", err)
	}
	two := config() + "\n" + strings.TrimPrefix(config(), "checks:\n")
	if _, err := Parse([]byte(two)); err == nil || !strings.Contains(err.Error(), `check "ticket": name: another check has it`) {
		t.Errorf("the same name: %v", err)
	}
	for line, want := range map[string]string{
		"name: Ticket":            "name: it must be 1 to 63 lower case letters",
		"-stage":                  "stage: name the stage",
		"method: PUT":             "method: it must be GET or POST",
		"timeout: 2m":             "timeout: it must be more than 0 and at most 1m",
		"timeout: -1s":            "timeout:",
		"period: 500ms":           "period: it must be between 1s and 1h",
		"period: 2h":              "period: it must be between 1s and 1h",
		"maxBytes: -1":            "maxBytes: it must be between 1 and 4194304",
		"maxBytes: 5000000":       "maxBytes:",
		"body: '{}'":              "body: only a POST has one",
		"-approve":                "approve: one of approve and deny is required",
		"approve: answer.boody +": "approve: 1:",
		"approve: 1 + 1":          "approve: 1:1: the result must be true or false, but is of type int",
		"approve: nobody.ok":      "approve: 1:1: undeclared reference to 'nobody'",
		"deny: \"'no'\"":          "deny: 1:1: the result must be true or false, but is of type string",
		"url: 1 + 1":              "url: 1:1: the result must be a string, but is of type int",
		"url: answer.body.next":   "url: 1:1: undeclared reference to 'answer'",
		"-url":                    "url:",
		"notAfter: \"'12:00'\"":   "notAfter: 1:1: the result must be a timestamp, but is of type string",
		"comment: verdikt":        "comment: 1:1: undeclared",
		"headers: [{name: 'X Y', value: \"'a'\"}]":             "headers[0]: name:",
		"headers: [{name: Host, value: \"'a'\"}]":              "headers[0]: name:",
		"headers: [{name: Transfer-Encoding, value: \"''\"}]":  "headers[0]: name:",
		"headers: [{name: A}]":                                 "headers[0]: exactly one of value and valueFile",
		"headers: [{name: A, value: x, valueFile: y}]":         "headers[0]: exactly one of value and valueFile",
		"headers: [{name: A, value: \"'x'\", prefix: 'B '}]":   "headers[0]: base64 and prefix go with valueFile",
		"headers: [{name: A, valueFile: y, prefix: \"B\\n\"}]": "headers[0]: prefix: it must be one line",
		"headers: [{name: A, value: '1'}]":                     "headers[0]: value: 1:1: the result must be a string",
		"requires: [{expression: 'true'}]":                     "requires[0].message: say what is required",
		"requires: [{expression: '1', message: m}]":            "requires[0].expression: 1:1",
		"requires: [{expression: answer.body, message: m}]":    "requires[0].expression: 1:1: undeclared",
		"-allow":                                    "allow: it must be like https://jira.example.com",
		"allow: tickets.example.com":                "allow: it must be like",
		"allow: ftp://tickets.example.com":          "allow: it must be like",
		"allow: https://Tickets.example.com":        "allow: it must be like",
		"allow: https://*.example.com":              "allow: it must be like",
		"allow: https://":                           "allow: it must be like",
		"allow: https://me@tickets.example.com":     "allow: it must have no user",
		"allow: https://tickets.example.com?x=y":    "allow: it must have no user, query",
		"allow: 'https://tickets.example.com#x'":    "allow: it must have no user, query",
		"allow: https://tickets.example.com/":       "allow: it must not end with /",
		"allow: https://tickets.example.com/a/../b": "allow: its path must not lead upwards",
		"alow: https://tickets.example.com":         `unknown field "alow"`,
	} {
		if _, err := Parse([]byte(config(line))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", line, err, want)
		}
	}
	if _, err := Parse([]byte(config("allow: http://roster.tools.svc:8080", "headers: [{name: Authorization, valueFile: /x}]"))); err == nil || !strings.Contains(err.Error(), "valueFile: what a file holds is sent over https alone") {
		t.Errorf("a credential in the clear: %v", err)
	}
	if _, err := Parse([]byte(config("-approve", "deny: answer.body.no", "notAfter: now"))); err == nil || !strings.Contains(err.Error(), "notAfter: it goes with approve") {
		t.Errorf("notAfter alone: %v", err)
	}
	many := config("policies: [" + strings.Repeat("p, ", 65) + "]")
	if _, err := Parse([]byte(many)); err == nil || !strings.Contains(err.Error(), "policies: there are too many") {
		t.Errorf("many policies: %v", err)
	}
	parsed(t, "allow: https://[2001:db8::1]:8443/base", "method: POST", "body: \"{'a': 1}\"", "headers: [{name: A, valueFile: y, base64: true, prefix: 'B '}]")
}

// asked is a request with a ticket, as expressions see it.
func asked(ticket string) map[string]any {
	return map[string]any{"spec": map[string]any{"ticket": ticket, "requester": map[string]any{"username": "alice"}}}
}

// The ticket is written by who asks. Whatever it is, the check asks the server that it
// may ask, or none: both with segment() and with a careless expression.
var hostile = []string{
	"../../admin", "..", ".", "", "a/../../admin", "a/b", `a\b`, `..\admin`, "%2e%2e/admin", "%2E%2E%2fadmin", "..%2fadmin", "..%252fadmin", "%252e%252e", "..;/admin", ".;x/..;y/admin",
	"@evil.example.org", "@evil.example.org/", ":443@evil.example.org/", ".evil.example.org/", ":8443/x", "//evil.example.org/x", "https://evil.example.org/x", "\\\\evil.example.org",
	"x#@evil.example.org", "x#", "x?fields=none", "x&fields=none", "x\n", "x\r\nHost: evil.example.org", "x\x00", "x y", "x\ty", "ü", "\u2028", "\xff", "x\u202eevil", "javascript:alert(1)", "..\u2024/",
}

func TestHostileTickets(t *testing.T) {
	careful := parsed(t)
	careless := map[string]*Compiled{
		"after the host":   parsed(t, "url: allow + request.spec.ticket"),
		"in the path":      parsed(t, "url: allow + '/t/' + request.spec.ticket"),
		"in a query":       parsed(t, "url: allow + '/t?id=' + request.spec.ticket"),
		"the whole":        parsed(t, "url: request.spec.ticket"),
		"behind a path":    parsed(t, "allow: https://tickets.example.com/base", "url: allow + request.spec.ticket"),
		"query() for path": parsed(t, "url: allow + '/t/' + query(request.spec.ticket)"),
	}
	ctx := context.Background()
	for _, ticket := range append(hostile, "OPS-1") {
		if q, err := careful.Question(ctx, asked(ticket), noon); err == nil {
			u, err := url.Parse(q.URL)
			last := strings.TrimPrefix(u.EscapedPath(), "/t/")
			if back, wrong := url.PathUnescape(last); err != nil || wrong != nil || back != ticket || strings.Contains(last, "/") || u.RawQuery != "" || u.Host != "tickets.example.com" {
				t.Errorf("%q became %s", ticket, q.URL)
			}
		} else if ticket == "OPS-1" {
			t.Error(err)
		}
		for name, c := range careless {
			q, err := c.Question(ctx, asked(ticket), noon)
			if err != nil {
				continue
			}
			u, err := url.Parse(q.URL)
			if err != nil || u.Scheme != "https" || u.Host != "tickets.example.com" || u.User != nil || u.Fragment != "" || slices.Contains(strings.Split(u.Path, "/"), "..") || !strings.HasPrefix(u.Path, c.allow.Path) {
				t.Errorf("%s: %q became %s", name, ticket, q.URL)
			}
			if name == "behind a path" && u.Path != "/base" && !strings.HasPrefix(u.Path, "/base/") {
				t.Errorf("%s: %q became %s", name, ticket, q.URL)
			}
		}
	}
	// Words for each way to leave.
	for ticket, want := range map[string]string{
		"@evil.example.org": "it has a user", ".evil.example.org/": "it leads to another server", ":8443/x": "it leads to another server",
		"/../x": "leads upwards", "/..%2fx": "leads upwards", "/%252e%252e/x": "leads upwards", "/..;/x": "leads upwards", "#x": "has a fragment", "/ x": "spaces", "\n": "spaces", `\x`: "spaces", "/%zz": "cannot be read",
	} {
		if _, err := careless["after the host"].Question(ctx, asked(ticket), noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", ticket, err, want)
		}
	}
	if _, err := careless["behind a path"].Question(ctx, asked("ment/x"), noon); err == nil || !strings.Contains(err.Error(), "not under https://tickets.example.com/base") {
		t.Errorf("a longer name: %v", err)
	}
	if q, err := careless["the whole"].Question(ctx, asked("https://TICKETS.example.com:443/x"), noon); err != nil {
		t.Errorf("the same server, written otherwise: %v, %v", q, err)
	}
}

func FuzzURL(f *testing.F) {
	for _, ticket := range hostile {
		f.Add(ticket)
	}
	careless, careful := parsed(f, "allow: https://tickets.example.com/base", "url: allow + request.spec.ticket"), parsed(f)
	f.Fuzz(func(t *testing.T, ticket string) {
		if q, err := careless.Question(context.Background(), asked(ticket), noon); err == nil {
			u, err := url.Parse(q.URL)
			if err != nil || !strings.EqualFold(u.Hostname(), "tickets.example.com") || u.Port() != "" && u.Port() != "443" || u.User != nil || u.Path != "/base" && !strings.HasPrefix(u.Path, "/base/") {
				t.Errorf("%q became %s", ticket, q.URL)
			}
		}
		if q, err := careful.Question(context.Background(), asked(ticket), noon); err == nil && strings.Count(q.URL, "/") != 4 {
			t.Errorf("%q became %s", ticket, q.URL)
		}
	})
}

func TestQuestion(t *testing.T) {
	ctx := context.Background()
	c := parsed(t, "method: POST", "url: allow + '/t?id=' + query(request.spec.ticket) + '&at=' + query(string(now))",
		"headers: [{name: X-Who, value: request.spec.requester.username}, {name: Authorization, valueFile: /x}, {name: X-Ticket, value: request.spec.ticket}]",
		"body: \"{'who': request.spec.requester.username, 'n': 1, 'list': [true, null, 1.5], 'ticket': request.spec.ticket}\"")
	q, err := c.Question(ctx, asked("a&b=c d+e"), noon)
	if err != nil {
		t.Fatal(err)
	}
	want := Question{
		Method: "POST", URL: "https://tickets.example.com/t?id=a%26b%3Dc+d%2Be&at=2026-07-15T12%3A00%3A00Z",
		Headers: []HeaderValue{{Name: "X-Who", Value: "alice"}, {Name: "Authorization", File: true, Index: 1}, {Name: "X-Ticket", Value: "a&b=c d+e", Index: 2}},
		Body:    []byte(`{"list":[true,null,1.5],"n":1,"ticket":"a\u0026b=c d+e","who":"alice"}`),
	}
	if got := fmt.Sprintf("%+v", *q); got != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %s\nwant %+v", got, want)
	}
	c.url = parsed(t, "url: allow + '/t'").url
	if _, err := c.Question(ctx, asked("a\r\nX-Admin: yes"), noon); err == nil || !strings.Contains(err.Error(), "headers[2].value: it is not one line") {
		t.Errorf("a header within a header: %v", err)
	}
	for line, want := range map[string]string{
		"url: request.spec.nope":                         "url: 1:13: no such key: nope",
		"url: request.spec":                              "url: 1:1: the result must be a string, but is of type map",
		"url: segment(request.spec)":                     "url: ",
		"url: query(1)":                                  "url: ",
		"headers: [{name: A, value: request.spec.nope}]": "headers[0].value: 1:13: no such key: nope",
		"url: allow + request.spec.ticket":               "url: the result is longer than 16384 bytes",
	} {
		ticket := strings.Repeat("x", 20000)
		if strings.HasPrefix(line, "headers") {
			ticket = "x"
		}
		if _, err := parsed(t, line).Question(ctx, asked(ticket), noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	for line, want := range map[string]string{
		"body: request.spec.nope":   "body: 1:13: no such key: nope",
		"body: request.spec.ticket": "body: the result is longer than 16384 bytes",
		"body: type(request)":       "body: the result cannot be written as JSON",
	} {
		if _, err := parsed(t, "method: POST", "url: allow", line).Question(ctx, asked(strings.Repeat("x", 20000)), noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

func TestRequired(t *testing.T) {
	c := parsed(t, "requires: [{expression: request.spec.ticket.startsWith('OPS-'), message: name an issue}, {expression: \"request.spec.nope\", message: m}]")
	for ticket, want := range map[string]string{"x": "name an issue, <nil>", "OPS-1": ", requires[1].expression: 1:13: no such key: nope"} {
		says, err := c.Required(context.Background(), asked(ticket), noon)
		if got := fmt.Sprintf("%s, %v", says, err); got != want {
			t.Errorf("%s: %s, want %s", ticket, got, want)
		}
	}
	if says, err := parsed(t).Required(context.Background(), asked("x"), noon); says != "" || err != nil {
		t.Errorf("%s, %v", says, err)
	}
}

func TestWeigh(t *testing.T) {
	base := []string{
		"deny: answer.status == 410 || answer.body.?no.orValue(false)", "approve: answer.body.?ok.orValue(false) && answer.headers.?x.orValue('') != 'stop'",
		"notAfter: timestamp(answer.body.until)", "comment: verdict + ' because ' + answer.body.?why.orValue('so')",
	}
	c := parsed(t, base...)
	long := strings.Repeat("ü", 2000)
	for name, test := range map[string]struct {
		answer Answer
		want   string
	}{
		"yes":               {Answer{Status: 200, Body: map[string]any{"ok": true, "until": "2026-07-15T12:30:00.9Z"}}, "Approve 12:30:00 Approve because so"},
		"no":                {Answer{Status: 200, Body: map[string]any{"ok": true, "no": true}}, "Deny  Deny because so"},
		"gone":              {Answer{Status: 410, Body: map[string]any{}}, "Deny  Deny because so"},
		"not yet":           {Answer{Status: 200, Body: map[string]any{"ok": false}}, "Wait  Wait because so"},
		"header":            {Answer{Status: 200, Headers: map[string]string{"x": "stop"}, Body: map[string]any{"ok": true}}, "Wait  Wait because so"},
		"over":              {Answer{Status: 200, Body: map[string]any{"ok": true, "until": "2026-07-15T12:00:00.9Z"}}, "Wait  ticket: the time until which access is allowed is over"},
		"never ends":        {Answer{Status: 200, Body: map[string]any{"ok": true, "until": "3000-01-01T00:00:00Z"}}, "Wait notAfter: it is not in the years 2000 to 2999"},
		"no end":            {Answer{Status: 200, Body: map[string]any{"ok": true}}, "Wait notAfter: 1:22: no such key: until"},
		"end is no time":    {Answer{Status: 200, Body: map[string]any{"ok": true, "until": "hunter2"}}, "Wait notAfter: 1:10: a value is not what is needed here"},
		"no JSON":           {Answer{Status: 404}, "Wait  Wait because so"},
		"another JSON":      {Answer{Status: 200, Body: []any{"ok"}}, "Wait deny: 1:36: a value is not what is needed here"},
		"a text":            {Answer{Status: 200, Body: map[string]any{"ok": "true"}}, "Wait approve: 1:"},
		"a hidden comment":  {Answer{Status: 200, Body: map[string]any{"why": "a\nb\u202ec"}}, `Wait  Wait because a b\u202ec`},
		"a comment that is": {Answer{Status: 200, Body: map[string]any{"why": int64(1)}}, "Wait comment: 1:"},
	} {
		v, err := c.Weigh(context.Background(), asked("x"), test.answer, noon)
		got := fmt.Sprint(v.Word, " ", err)
		if err == nil {
			end := ""
			if !v.NotAfter.IsZero() {
				end = v.NotAfter.Format(time.TimeOnly)
			}
			got = fmt.Sprintf("%s %s %s", v.Word, end, v.Comment)
		}
		if begins := strings.HasSuffix(test.want, ":"); !begins && got != test.want || begins && !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("%s: it tells what the server answered: %s", name, got)
		}
	}
	v, err := c.Weigh(context.Background(), asked("x"), Answer{Status: 200, Body: map[string]any{"why": long}}, noon)
	if err != nil || len(v.Comment) > 1000 || text.Fault(v.Comment) != "" {
		t.Errorf("a long comment: %d, %v", len(v.Comment), err)
	}
	plain := parsed(t, "-approve", "deny: answer.body.no")
	for no, want := range map[bool]string{true: "ticket: the answer denies", false: "ticket: not yet"} {
		if v, err := plain.Weigh(context.Background(), asked("x"), Answer{Status: 200, Body: map[string]any{"no": no}}, noon); err != nil || v.Comment != want {
			t.Errorf("%+v, %v, want %s", v, err, want)
		}
	}
	if v, err := parsed(t).Weigh(context.Background(), asked("x"), Answer{Status: 200, Body: map[string]any{"ok": true}}, noon); err != nil || v.Word != Approve || !v.NotAfter.IsZero() {
		t.Errorf("%+v, %v", v, err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if v, err := c.Weigh(over, asked("x"), Answer{}, noon); err == nil || v.Word != Wait {
		t.Errorf("without time: %+v, %v", v, err)
	}
}

func TestTogether(t *testing.T) {
	yes := func(minutes int, comment string) Verdict {
		v := Verdict{Word: Approve, Comment: comment}
		if minutes > 0 {
			v.NotAfter = noon.Add(time.Duration(minutes) * time.Minute)
		}
		return v
	}
	no, wait := Verdict{Word: Deny, Comment: "no"}, Verdict{Word: Wait, Comment: "hm"}
	for name, test := range map[string]struct {
		of   []Verdict
		want string
	}{
		"none":            {nil, "Wait  "},
		"one":             {[]Verdict{yes(0, "a")}, "Approve  a"},
		"the earliest":    {[]Verdict{yes(30, "a"), yes(0, "b"), yes(10, "c")}, "Approve 12:10:00 a; b; c"},
		"none, then some": {[]Verdict{yes(0, "a"), yes(10, "a")}, "Approve 12:10:00 a"},
		"one waits":       {[]Verdict{yes(10, "a"), wait}, "Wait  hm"},
		"one denies":      {[]Verdict{yes(10, "a"), wait, no}, "Deny  no"},
	} {
		v := Together(test.of)
		end := ""
		if !v.NotAfter.IsZero() {
			end = v.NotAfter.Format(time.TimeOnly)
		}
		if got := fmt.Sprintf("%s %s %s", v.Word, end, v.Comment); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestApplying(t *testing.T) {
	me := v1alpha1.UserInfo{Username: "system:serviceaccount:broker:checker", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:broker"}}
	account := v1alpha1.PolicySubject{Kind: "ServiceAccount", Namespace: "broker", Name: "checker"}
	another := v1alpha1.PolicySubject{Kind: "ServiceAccount", Namespace: "other", Name: "checker"}
	group := v1alpha1.PolicySubject{Kind: "Group", Name: "system:serviceaccounts:broker"}
	checks, err := Parse([]byte(config("name: a", "stage: change") + "\n" + strings.TrimPrefix(config("name: b", "stage: change", "policies: [p2]")+"\n"+strings.TrimPrefix(config("name: c", "stage: roster"), "checks:\n"), "checks:\n")))
	if err != nil {
		t.Fatal(err)
	}
	stage := func(name string, count int32, from ...v1alpha1.PolicySubject) v1alpha1.StageApproval {
		return v1alpha1.StageApproval{Name: name, From: from, Count: ptr.To(count)}
	}
	for name, test := range map[string]struct {
		phase  v1alpha1.RequestPhase
		policy string
		stages []v1alpha1.StageApproval
		want   string
	}{
		"mine":                 {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, account)}, "a /"},
		"of one policy":        {"Pending", "p2", []v1alpha1.StageApproval{stage("change", 1, account)}, "a b /"},
		"two stages":           {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, account), stage("roster", 1, another, account)}, "a c /"},
		"one twice":            {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, account), stage("change", 1, account)}, "a /"},
		"somebody else's":      {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, another)}, "/"},
		"unchecked":            {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, account), stage("four-eyes", 1, account)}, "a / four-eyes"},
		"unchecked by group":   {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, account), stage("four-eyes", 1, group)}, "a / four-eyes"},
		"not meant":            {"Pending", "p1", []v1alpha1.StageApproval{stage("any-machine", 1, group)}, "/"},
		"unchecked, of nobody": {"Pending", "p1", []v1alpha1.StageApproval{stage("change", 1, account), stage("may-deny", 0, group)}, "a /"},
		"no policy yet":        {"Pending", "", []v1alpha1.StageApproval{stage("change", 1, account)}, "/"},
		"approved":             {"Approved", "p1", []v1alpha1.StageApproval{stage("change", 1, account)}, "/"},
		"over":                 {"Denied", "p1", []v1alpha1.StageApproval{stage("change", 1, account)}, "/"},
	} {
		r := &v1alpha1.AccessRequest{Status: v1alpha1.AccessRequestStatus{Phase: test.phase, Approvals: test.stages}}
		if test.policy != "" {
			r.Status.Policy = &v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: test.policy}}
		}
		applying, unchecked := Applying(checks, r, me)
		got := ""
		for _, c := range applying {
			got += c.Name + " "
		}
		if got = strings.TrimSpace(got + "/ " + strings.Join(unchecked, " ")); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestDecided(t *testing.T) {
	for name, test := range map[string]struct {
		decision v1alpha1.Decision
		want     bool
	}{
		"approved":      {v1alpha1.Decision{Username: "me", Verdict: "Approve", RulesHash: "now"}, true},
		"approved then": {v1alpha1.Decision{Username: "me", Verdict: "Approve", RulesHash: "then"}, false},
		"denied":        {v1alpha1.Decision{Username: "me", Verdict: "Deny", RulesHash: "then"}, true},
		"somebody else": {v1alpha1.Decision{Username: "you", Verdict: "Approve", RulesHash: "now"}, false},
	} {
		r := &v1alpha1.AccessRequest{Status: v1alpha1.AccessRequestStatus{RulesHash: "now", Decisions: []v1alpha1.Decision{test.decision}}}
		if got := Decided(r, "me"); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// The ready configurations can be used as they are.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../config/components/checks/examples/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(content); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
