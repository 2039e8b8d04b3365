package web

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// aGrant was given to alice some minutes before noon.
func aGrant(name string, minutes int, change ...func(*v1alpha1.AccessGrant)) *v1alpha1.AccessGrant {
	given := metav1.NewTime(noon.Add(-time.Duration(minutes) * time.Minute))
	g := &v1alpha1.AccessGrant{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.AccessGrantSpec{
			Requester:  v1alpha1.UserInfo{Username: "alice"},
			Subjects:   []v1alpha1.GrantSubject{{Subject: v1alpha1.Subject{Kind: "User", Name: "alice"}}},
			Namespaces: []v1alpha1.GrantNamespace{{ObjectRef: v1alpha1.ObjectRef{Name: "payments"}}},
			PolicyRef:  v1alpha1.PolicyRef{ObjectRef: v1alpha1.ObjectRef{Name: "on-call"}},
			NotBefore:  given, ExpirationTime: metav1.NewTime(given.Add(time.Hour)),
			Summary: v1alpha1.GrantSummary{Subjects: "alice", Role: "ClusterRole/edit", Scope: "payments"},
		},
		Status: v1alpha1.AccessGrantStatus{Phase: v1alpha1.GrantActive, GrantedTime: &given},
	}
	for _, f := range change {
		f(g)
	}
	return g
}

func ended(after int, why v1alpha1.EndReason, by string) func(*v1alpha1.AccessGrant) {
	return func(g *v1alpha1.AccessGrant) {
		g.Status.Phase, g.Status.EndReason, g.Status.EndedBy = v1alpha1.GrantEnded, why, by
		g.Status.EndedTime = &metav1.Time{Time: g.Spec.NotBefore.Add(time.Duration(after) * time.Minute)}
		if why == v1alpha1.EndNameTaken {
			g.Status.GrantedTime = nil
		}
	}
}

func pending(g *v1alpha1.AccessGrant) { g.Status = v1alpha1.AccessGrantStatus{} }

// one of each way in which access ends.
func oneOfEach() []*v1alpha1.AccessGrant {
	return []*v1alpha1.AccessGrant{
		aGrant("pending", 0, pending),
		aGrant("held", 20),
		aGrant("expired", 200, ended(60, v1alpha1.EndExpired, "")),
		aGrant("done", 170, ended(30, v1alpha1.EndReleased, "alice")),
		aGrant("taken", 120, ended(50, v1alpha1.EndRevoked, "bob")),
		aGrant("stopped", 110, ended(40, v1alpha1.EndRoleWidened, "")),
		aGrant("never", 90, ended(1, v1alpha1.EndNameTaken, "")),
		aGrant("short", 60, ended(0, v1alpha1.EndReleased, "alice")),
	}
}

// aPage is one without a cluster.
func aPage(t *testing.T) *Page {
	t.Helper()
	p := &Page{Options: Options{Root: "/root/"}}
	var err error
	if p.templates, err = p.parse(); err != nil {
		t.Fatal(err)
	}
	return p
}

// render is what a view looks like.
func render(t *testing.T, p *Page, template string, data any) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.templates[template].ExecuteTemplate(&out, "layout", frame{Title: "Record", Data: data}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// All that a bar shows is said beside it, and none is told from others by its colour alone.
func TestRecordSaysWhatItShows(t *testing.T) {
	p := aPage(t)
	r := httptest.NewRequest("GET", "/record?user=alice", nil)
	shown := p.recorded(r, oneOfEach(), true, noon)
	html := render(t, p, shown.template, shown.data)
	for _, kind := range view.Outcomes {
		if !strings.Contains(html, `<span class="letter" aria-hidden="true">`+kind.Letter+`</span> `+kind.Words) {
			t.Errorf("the page does not say %q", kind.Words)
		}
		if !regexp.MustCompile(`class="letter( inside)?"( dx="8")?>` + kind.Letter + `</text>`).MatchString(html) {
			t.Errorf("no bar has the letter %s", kind.Letter)
		}
	}
	for _, want := range []string{
		"1–8 of 8, picked of 8, the newest first",
		`<a href="/root/grants/taken">alice<span class="hidden">, </span> <span class="dim">`, "ClusterRole/edit in payments", "by policy on-call",
		"<title>Held from 2026-05-04T10:00:00Z, ended 2026-05-04T10:50:00Z, taken away (Revoked) by bob</title>",
		"Held from <time>2026-05-04T10:00:00Z</time>, ended <time>2026-05-04T10:50:00Z</time>, taken away (Revoked) by bob</td>",
		`href="/root/record.csv?user=alice"`, "kubectl access audit --user alice</pre>",
		`<option value="payments">`, `<option value="ClusterRole/edit">`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// The Content-Security-Policy lets neither through.
	if found := regexp.MustCompile(`<[^>]* style=|<script>|<[^>]* on[a-z]+=`).FindString(html); found != "" {
		t.Error(found)
	}
	if strings.Index(html, "grants/held") > strings.Index(html, "grants/expired") {
		t.Error("the oldest comes first")
	}
	// What a keyboard or a screen reader comes to is there once: the bar is for the eye.
	for _, bar := range regexp.MustCompile(`<a [^>]*><svg class="bar"`).FindAllString(html, -1) {
		if !strings.Contains(bar, `tabindex="-1" aria-hidden="true"`) {
			t.Error(bar)
		}
	}
}

// What somebody wrote wrong is said at the field, and what they wrote is still there.
func TestRecordFilterFaults(t *testing.T) {
	p := aPage(t)
	for query, want := range map[string]struct{ field, says string }{
		"since=monday&user=alice":                           {"since", "24h or 7d"},
		"until=2026-02-30&user=alice":                       {"until", "2026-02-30"},
		"since=1d&until=2d&user=alice":                      {"until", "before the beginning"},
		"role=Pod/x&user=alice":                             {"role", "not a kind of role"},
		"user=sa:x&policy=alice":                            {"user", "not a ServiceAccount"},
		"ended=eaten&user=alice":                            {"ended", "none of the ways"},
		"since=%3Cscript%3Ealert(1)&namespace=p&user=alice": {"since", "&lt;script&gt;"},
	} {
		shown := p.recorded(httptest.NewRequest("GET", "/record?"+query, nil), oneOfEach(), true, noon)
		html := render(t, p, shown.template, shown.data)
		if shown.status != 422 || strings.Contains(html, "<table") || strings.Contains(html, "<script>alert") {
			t.Errorf("%s: status %d\n%s", query, shown.status, html)
		}
		field := regexp.MustCompile(`(?s)<p class="fault" id="` + want.field + `-fault">.*?</p>`).FindString(html)
		if !strings.Contains(field, want.says) || !strings.Contains(html, `value="alice"`) || !strings.Contains(html, `<a href="#`+want.field+`">`) {
			t.Errorf("%s: %q", query, field)
		}
	}
	// A field that is empty is none, and a space is nothing.
	shown := p.recorded(httptest.NewRequest("GET", "/record?user=+&since=&until=&role=&ended=&active=&namespace=%20&policy=", nil), oneOfEach(), true, noon)
	if data := shown.data.(*recordData); shown.status != 0 || data.Total != "8" || data.Filtered {
		t.Errorf("%+v", data)
	}
}

// Neither page loses the filter, and all of them together are the record.
func TestRecordPages(t *testing.T) {
	p := aPage(t)
	var grants []*v1alpha1.AccessGrant
	for i := range 1234 {
		grants = append(grants, aGrant(fmt.Sprintf("g-%04d", i), i, ended(5, v1alpha1.EndExpired, "")))
	}
	seen := map[string]bool{}
	address, turned := "/record?policy=on-call&since=2026-05-01", 0
	for address != "" {
		shown := p.recorded(httptest.NewRequest("GET", address, nil), grants, true, noon)
		data := shown.data.(*recordData)
		for _, row := range data.Timeline.Rows {
			if seen[row.Grant] {
				t.Fatalf("%s is on two pages", row.Grant)
			}
			seen[row.Grant] = true
		}
		if turned == 0 && (data.First+"–"+data.Last+" of "+data.Total != "1–40 of 1,234" || data.Newer != "" || data.Timeline.Rows[0].Grant != "g-0000") {
			t.Errorf("%+v", data)
		}
		if turned == 1 && data.Newer != "/root/record?policy=on-call&since=2026-05-01" {
			t.Error(data.Newer)
		}
		if data.Older != "" && !strings.HasPrefix(data.Older, "/root/record?page="+fmt.Sprint(turned+2)+"&policy=on-call&since=2026-05-01") {
			t.Error(data.Older)
		}
		turned++
		address = strings.TrimPrefix(data.Older, "/root")
	}
	if len(seen) != 1234 || turned != 31 {
		t.Errorf("%d grants on %d pages", len(seen), turned)
	}
	for page, first := range map[string]string{"99": "1,201", "0": "1", "-3": "1", "x": "1", "13": "481", "9999999999999999999999": "1"} {
		data := p.recorded(httptest.NewRequest("GET", "/record?page="+page, nil), grants, true, noon).data.(*recordData)
		if data.First != first {
			t.Errorf("page %s begins with %s", page, data.First)
		}
	}
}

// What is on record is offered, but for what could not be picked as it is shown.
func TestRecordOffers(t *testing.T) {
	grants := oneOfEach()
	grants[0].Spec.Requester.Username = "a\u202elice"
	grants[1].Spec.Requester.Username = "system:serviceaccount:ci:deployer"
	for i := range 2000 {
		g := aGrant("x", i)
		g.Spec.Namespaces[0].Name = fmt.Sprintf("n-%04d", i)
		grants = append(grants, g)
	}
	people, roles, namespaces, policies := offered(grants)
	if got := fmt.Sprint(people, roles, policies, len(namespaces)); got != "[alice sa:ci/deployer] [ClusterRole/edit] [on-call] 300" {
		t.Error(got)
	}
}

func TestRecordCommand(t *testing.T) {
	for query, want := range map[string]string{
		"":                                       "kubectl access audit",
		"user=alice&namespace=payments&active=1": "kubectl access audit --user alice -n payments --active",
		"role=Role/x&policy=p&since=7d&until=1d": "kubectl access audit --role Role/x --policy p --since 7d --until 1d",
		"user=" + url.QueryEscape("a b'$(x)"):    `kubectl access audit --user 'a b'\''$(x)'`,
		"ended=done":                             "",
		"since=x":                                "",
	} {
		if got := pickedBy(httptest.NewRequest("GET", "/record?"+query, nil), noon).command(); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
}

// Each bar and letter is inside the picture and wide enough to be seen.
func TestDrawn(t *testing.T) {
	p := aPage(t)
	at := func(s string) float64 {
		var of float64
		if s != "" {
			if _, err := fmt.Sscanf(s, "%f%%", &of); err != nil {
				t.Fatal(err)
			}
		}
		return of
	}
	for _, w := range []view.Window{
		{From: noon.Add(-time.Hour * 4), To: noon.Add(time.Hour)},
		{From: noon.Add(-100), To: noon},
		{From: noon.AddDate(-50, 0, 0), To: noon},
		{From: noon.Add(-time.Hour), To: noon.AddDate(50, 0, 0)},
	} {
		drawn := p.drawn(view.TimelineOf(oneOfEach(), w, noon))
		for _, row := range drawn.Rows {
			if row.Bar.Outside != "" {
				continue
			}
			x, width, rest, restWidth, letter := at(row.X), at(row.Width), at(row.Rest), at(row.RestWidth), at(row.LetterX)
			if x < 0 || width < thin*100 || x+width > 100.01 || rest < 0 || rest+restWidth > 100.01 || letter < 0 || letter > 100 {
				t.Errorf("%s to %s, %s: %+v", drawn.From, drawn.To, row.Grant, row)
			}
		}
	}
	if drawn := p.drawn(view.TimelineOf(nil, view.Window{From: noon.Add(-2 * time.Hour), To: noon.Add(-time.Hour)}, noon)); drawn.Now != "" {
		t.Error("now is drawn where it is not")
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

// While the record is being read, the page says so and comes again without script too.
func TestRecordReading(t *testing.T) {
	p := aPage(t)
	shown := p.recorded(httptest.NewRequest("GET", "/record", nil), nil, false, noon)
	html := render(t, p, shown.template, shown.data)
	if !strings.Contains(html, "The record is still being read, 0 so far.") || !strings.Contains(html, `<noscript><meta http-equiv="refresh" content="2"></noscript>`) {
		t.Error(html)
	}
	for query, says := range map[string]string{"": "Nothing is on record yet.", "?user=eve": "No such access is on record, of 0 that there are."} {
		shown := p.recorded(httptest.NewRequest("GET", "/record"+query, nil), nil, true, noon)
		if html := render(t, p, shown.template, shown.data); !strings.Contains(html, says) || strings.Contains(html, "refresh") {
			t.Errorf("%s: %s", query, html)
		}
	}
}

// The page of a grant has all that show has, long lists too.
func TestGrantPage(t *testing.T) {
	p := aPage(t)
	g := aGrant("fix-1", 20, func(g *v1alpha1.AccessGrant) {
		g.Spec.RoleRef, g.Spec.RoleRules = &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, []string{"get pods"}
		g.Spec.Decisions = []v1alpha1.Decision{{Username: "bob", Verdict: v1alpha1.VerdictApprove}}
		g.Status.Conditions = []metav1.Condition{{Type: "AccessGiven", Status: "True", Message: "by one binding"}}
	})
	html := render(t, p, "grant", p.granted(g, nil, noon).data)
	for _, want := range []string{"held now", "40m left", "Approve by bob", "<li>pods</li>", "by one binding", "kubectl access show fix-1", "/root/record?user=alice"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not say %q:\n%s", want, html)
		}
	}
}
