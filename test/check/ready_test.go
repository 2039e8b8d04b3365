package check

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// What the clients of the ready configurations send.
const (
	jiraAuth       = "Basic bWVAZXhhbXBsZS5jb206czNjcmV0IG9mIGppcmE="
	servicenowAuth = "Basic bWVAZXhhbXBsZS5jb206czNjcmV0IG9mIHNlcnZpY2Vub3c="
	pagerdutyAuth  = "Token token=me@example.com:s3cret of pagerduty"
	opsgenieAuth   = "GenieKey me@example.com:s3cret of opsgenie"
	githubAuth     = "Bearer me@example.com:s3cret of github"
)

// decisionOf is what the machine decided.
func decisionOf(t *testing.T, r *v1alpha1.AccessRequest) v1alpha1.Decision {
	t.Helper()
	for _, d := range r.Status.Decisions {
		if d.Username == lab.Checker {
			return d
		}
	}
	t.Fatalf("the machine did not decide: %v, %s", r.Status.Decisions, kit.Describe(r.Status.Conditions))
	return v1alpha1.Decision{}
}

// denied waits for the end of a request, and tells the machine's comment.
func denied(t *testing.T, r *v1alpha1.AccessRequest, says string) {
	t.Helper()
	d := decisionOf(t, e.WaitFor(t, r, v1alpha1.RequestDenied))
	if d.Verdict != v1alpha1.VerdictDeny || !strings.Contains(d.Comment, says) {
		t.Errorf("it says %s %q, want Deny %q", d.Verdict, d.Comment, says)
	}
}

// active waits until the access is there, and tells whether it ends in time.
func active(t *testing.T, r *v1alpha1.AccessRequest, says string, notAfter time.Time) {
	t.Helper()
	current := e.WaitFor(t, r, v1alpha1.RequestActive)
	d := decisionOf(t, current)
	if d.Verdict != v1alpha1.VerdictApprove || !strings.Contains(d.Comment, says) {
		t.Errorf("it says %s %q, want Approve %q", d.Verdict, d.Comment, says)
	}
	switch end := current.Status.ExpirationTime; {
	case notAfter.IsZero():
		if d.NotAfter != nil {
			t.Errorf("it ends by %s", d.NotAfter)
		}
	case d.NotAfter == nil || !d.NotAfter.Time.Equal(notAfter) || end == nil || end.After(notAfter):
		t.Errorf("allowed until %v, ends %v, want %s", d.NotAfter, end, notAfter)
	}
}

// waits tells whether a request is still undecided once an Event says why.
func waits(t *testing.T, r *v1alpha1.AccessRequest, reason, says string) {
	t.Helper()
	kit.Eventually(t, "an Event that says "+says, func(ctx context.Context) (bool, error) {
		events := &corev1.EventList{}
		if err := e.Admin.List(ctx, events, client.InNamespace(r.Namespace)); err != nil {
			return false, err
		}
		var all []string
		for _, event := range events.Items {
			if event.InvolvedObject.UID == r.UID && event.Reason == reason && strings.Contains(event.Message, says) {
				return true, nil
			}
			all = append(all, event.Reason+": "+event.Message)
		}
		return false, fmt.Errorf("there are %q", all)
	})
	current := &v1alpha1.AccessRequest{}
	if err := e.Admin.Get(t.Context(), client.ObjectKeyFromObject(r), current); err != nil {
		t.Fatal(err)
	}
	if current.Status.Phase != v1alpha1.RequestPending || len(current.Status.Decisions) > 0 {
		t.Errorf("it is %s, decided by %v", current.Status.Phase, current.Status.Decisions)
	}
}

// asks makes a request as somebody who exists for one test only.
func asks(t *testing.T, name, ns, named string) *v1alpha1.AccessRequest {
	t.Helper()
	return e.Ask(t, e.Person(t, name, "dev"), ns, ticket(named))
}

func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// jira is an issue as Jira Cloud's API shows it, with these two fields.
func jira(key, status, category, assignee string) http.HandlerFunc {
	who := "null"
	if assignee != "" {
		who = fmt.Sprintf(`{"self":"https://example.atlassian.net/rest/api/3/user?accountId=5b10ac8d82e05b22cc7d4ef5",
			"accountId":"5b10ac8d82e05b22cc7d4ef5","accountType":"atlassian","emailAddress":%q,"displayName":"Mia Krystof","active":true,"timeZone":"Australia/Sydney"}`, assignee)
	}
	return says(jiraAuth, `{"expand":"renderedFields,names,schema,operations","id":"10002","self":"https://example.atlassian.net/rest/api/3/issue/10002","key":%q,
		"fields":{"status":{"self":"https://example.atlassian.net/rest/api/3/status/3","description":"","iconUrl":"","name":%q,"id":"3",
		"statusCategory":{"self":"https://example.atlassian.net/rest/api/3/statuscategory/4","id":4,"key":%q,"colorName":"yellow","name":"In Progress"}},
		"assignee":%s}}`, key, status, category, who)
}

func jiraPath(key string) string { return "GET /rest/api/3/issue/" + key + "?fields=status,assignee" }

func TestJira(t *testing.T) {
	t.Parallel()
	ns := scene(t, "jira")
	outside.answer(jiraPath("OPS-1"), jira("OPS-1", "In Progress", "indeterminate", "Jane@Example.com"))
	outside.answer(jiraPath("OPS-2"), jira("OPS-2", "Done", "done", "jane@example.com"))
	outside.answer(jiraPath("OPS-3"), jira("OPS-3", "In Progress", "indeterminate", "mallory@example.com"))
	outside.answer(jiraPath("OPS-4"), jira("OPS-4", "To Do", "new", ""))
	outside.answer(jiraPath("OPS-5"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errorMessages":["Issue does not exist or you do not have permission to see it."],"errors":{}}`)
	})
	jane := "jane@example.com"
	active(t, asks(t, jane, ns, "OPS-1"), "OPS-1 is In Progress, assigned to Mia Krystof", time.Time{})
	denied(t, asks(t, jane, ns, "OPS-2"), "OPS-2 is Done")
	denied(t, asks(t, jane, ns, "please"), "must be a Jira issue, such as OPS-42")
	waits(t, asks(t, jane, ns, "OPS-3"), "CheckWaiting", "OPS-3 is In Progress")
	waits(t, asks(t, jane, ns, "OPS-5"), "CheckWaiting", "does not show it to the check")
	late := asks(t, jane, ns, "OPS-4")
	waits(t, late, "CheckWaiting", "OPS-4 is To Do, assigned to nobody")
	outside.answer(jiraPath("OPS-4"), jira("OPS-4", "Approved", "indeterminate", jane))
	active(t, late, "OPS-4 is Approved", time.Time{})
}

// servicenow is a change as the Table API shows it.
func servicenow(number, state, approval, who string, from, to time.Time) string {
	const form = "2006-01-02 15:04:05"
	return fmt.Sprintf(`{"number":%q,"state":%q,"approval":%q,"start_date":%q,"end_date":%q,"assigned_to.email":%q}`,
		number, state, approval, from.UTC().Format(form), to.UTC().Format(form), who)
}

func servicenowPath(number string) string {
	return "GET /api/now/table/change_request?sysparm_query=number%3D" + number +
		"&sysparm_fields=number,state,approval,start_date,end_date,assigned_to.email&sysparm_display_value=false&sysparm_exclude_reference_link=true&sysparm_limit=2"
}

func TestServiceNow(t *testing.T) {
	t.Parallel()
	ns := scene(t, "servicenow")
	const sam = "sam@example.com"
	now := time.Now()
	begin, end := now.Add(-time.Hour), moment(now.Add(10*time.Minute))
	change := func(number string, results ...string) {
		outside.answer(servicenowPath(number), says(servicenowAuth, `{"result":[%s]}`, strings.Join(results, ",")))
	}
	change("CHG0030001", servicenow("CHG0030001", "-1", "approved", "Sam@example.com", begin, end))
	change("CHG0030002", servicenow("CHG0030002", "-1", "approved", sam, now.Add(time.Hour), now.Add(2*time.Hour)))
	change("CHG0030003", servicenow("CHG0030003", "4", "approved", sam, begin, end))
	change("CHG0030004")
	// What ServiceNow does with a query that it does not understand.
	change("CHG0030005", servicenow("CHG0000001", "-1", "approved", sam, begin, end))
	change("CHG0030006", servicenow("CHG0030006", "-1", "approved", sam, begin, now.Add(-time.Minute)))
	change("CHG0030007", servicenow("CHG0030007", "-1", "rejected", sam, begin, end))
	active(t, asks(t, sam, ns, "CHG0030001"), "CHG0030001 is in state -1, approved", end)
	denied(t, asks(t, sam, ns, "CHG0030003"), "is in state 4")
	denied(t, asks(t, sam, ns, "CHG0030007"), "rejected")
	denied(t, asks(t, sam, ns, "CHG0030001^ORnumber=CHG0030001"), "must be a ServiceNow change")
	waits(t, asks(t, sam, ns, "CHG0030002"), "CheckWaiting", "CHG0030002 is in state -1, approved")
	waits(t, asks(t, sam, ns, "CHG0030004"), "CheckWaiting", "no such change")
	waits(t, asks(t, sam, ns, "CHG0030005"), "CheckWaiting", "CHG0030005")
	waits(t, asks(t, sam, ns, "CHG0030006"), "CheckWaiting", "the time until which access is allowed is over")
}

// Each on-call policy is asked by a server of its own; who is on call is one list for
// all tests, so each person is on it or not.
func TestPagerDuty(t *testing.T) {
	t.Parallel()
	ns := scene(t, "pagerduty")
	now := time.Now()
	begin, end := moment(now.Add(-time.Hour)), moment(now.Add(15*time.Minute))
	lima := time.FixedZone("", -5*60*60) // times are in the account's zone
	oncall := func(email string, from, to time.Time) string {
		return fmt.Sprintf(`{"escalation_policy":{"id":"PT20YPA","type":"escalation_policy_reference","summary":"Another Escalation Policy"},"escalation_level":1,
			"schedule":{"id":"PI7DH85","type":"schedule_reference","summary":"Daily Engineering Rotation"},
			"user":{"id":"PXPGF42","type":"user","summary":"Earline Greenholt","name":"Earline Greenholt","email":%q,"time_zone":"America/Lima","role":"admin"},
			"start":%q,"end":%q}`, email, from.In(lima).Format(time.RFC3339), to.In(lima).Format(time.RFC3339))
	}
	outside.answer("GET /oncalls?schedule_ids%5B%5D=PI7DH85&include%5B%5D=users&limit=100", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "application/vnd.pagerduty+json;version=2" {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		says(pagerdutyAuth, `{"oncalls":[%s,%s],"limit":100,"offset":0,"more":false,"total":null}`,
			oncall("Pat@Example.com", begin, end), oncall("next@example.com", end, end.Add(time.Hour)))(w, r)
	})
	active(t, asks(t, "Pat@example.com", ns, ""), "on call in PagerDuty", end) // written in capitals elsewhere
	denied(t, asks(t, "peter@example.com", ns, ""), "peter@example.com is not on call in PagerDuty")
	waits(t, asks(t, "next@example.com", ns, ""), "CheckWaiting", "PagerDuty answered 200")
}

func TestOpsgenie(t *testing.T) {
	t.Parallel()
	ns := scene(t, "opsgenie")
	outside.answer("GET /v2/schedules/payments/on-calls?scheduleIdentifierType=name&flat=true", says(opsgenieAuth,
		`{"data":{"_parent":{"id":"d875e654-9b4e-4219-a803-0c26936d18de","name":"payments","enabled":true},"onCallRecipients":["Olga@example.com"]},"took":0.101,"requestId":"7306726b-6e3b-4a3a-9a3b-4b3b0f0e6a3f"}`))
	before := time.Now()
	r := asks(t, "olga@example.com", ns, "")
	d := decisionOf(t, e.WaitFor(t, r, v1alpha1.RequestActive))
	if d.NotAfter == nil || d.NotAfter.Before(&metav1.Time{Time: before.Add(time.Hour - time.Second)}) || d.NotAfter.After(time.Now().Add(time.Hour)) {
		t.Errorf("allowed until %v", d.NotAfter)
	}
	denied(t, asks(t, "otto@example.com", ns, ""), "otto@example.com is not on call in Opsgenie")
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	ns := scene(t, "github")
	const greta = "github:greta"
	merged := moment(time.Now().Add(-time.Hour))
	pull := func(number int, state, who, base string, at *time.Time) {
		when := "null"
		if at != nil {
			when = `"` + at.Format(time.RFC3339) + `"`
		}
		outside.answer(fmt.Sprintf("GET /repos/example/deploy/pulls/%d", number), says(githubAuth,
			`{"url":"https://api.github.com/repos/example/deploy/pulls/%d","id":1,"number":%d,"state":%q,"locked":false,"title":"Amazing new feature",
			"user":{"login":%q,"id":1,"type":"User","site_admin":false},"merged_at":%s,"merge_commit_sha":"e5bd3914e2e596debea16f433f57875b5b90bcd6",
			"head":{"label":"greta:new-topic","ref":"new-topic"},"base":{"label":"example:%s","ref":%q},"draft":false,"merged":%t,"mergeable":true,"merged_by":{"login":"octocat"},"comments":10}`,
			number, number, state, who, when, base, base, at != nil))
	}
	old := merged.Add(-48 * time.Hour)
	pull(1, "closed", "greta", "main", &merged)
	pull(2, "closed", "greta", "main", nil)
	pull(3, "open", "greta", "main", nil)
	pull(4, "closed", "mallory", "main", &merged)
	pull(5, "closed", "greta", "main", &old)
	pull(6, "closed", "greta", "playground", &merged)
	name := func(number int) string { return fmt.Sprintf("https://github.com/example/deploy/pull/%d", number) }
	active(t, asks(t, greta, ns, name(1)), "pull request 1 of greta was merged into main", merged.Add(24*time.Hour))
	denied(t, asks(t, greta, ns, name(2)), "is closed and not merged")
	denied(t, asks(t, greta, ns, name(4)), "pull request 4 of mallory")
	denied(t, asks(t, greta, ns, name(5)), "pull request 5")
	denied(t, asks(t, greta, ns, "https://github.com/mallory/deploy/pull/1"), "must be a pull request")
	waits(t, asks(t, greta, ns, name(3)), "CheckWaiting", "is open and not merged")
	waits(t, asks(t, greta, ns, name(6)), "CheckWaiting", "merged into playground")
	waits(t, asks(t, greta, ns, name(7)), "CheckWaiting", "GitHub has no such pull request")
}
