package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// maxEarlier is how many other requests of the same person are listed.
const maxEarlier = 10

// requestData is one request: what `kubectl access show` says of it, and what I can do.
type requestData struct {
	view.Shown
	Page   view.Page
	Card   view.Card
	Held   bool
	Faults []fault
	// Why is what I can do about it, Question what an approval would give.
	Why, Question string
	Forms         []form
	Login         string
	Commands      []string
	// Earlier are other requests of the same person, and More how many older ones.
	Earlier []view.Card
	More    int
}

// form for something that I can do about a request.
type form struct {
	ID, Action, Title string
	// More is the name of the request for more time that the form makes.
	More    string
	Fields  []field
	Buttons []button
}

type button struct{ Text, Action, Class string }

func (p *Page) request(r *http.Request) (content, error) {
	request, err := p.Cluster.In(r.PathValue("namespace")).Request(r.Context(), r.PathValue("name"))
	if err != nil {
		return content{}, err
	}
	return p.pageOf(r, request, nil)
}

// pageOf is the page of a request, with what is wrong with what was written there.
func (p *Page) pageOf(r *http.Request, request *v1alpha1.AccessRequest, faults []fault) (content, error) {
	now := time.Now()
	data := requestData{
		Shown: view.ShownOf(request), Page: view.PageOf(request, now), Card: view.CardOf(request, now),
		Held: request.Status.Phase == v1alpha1.RequestActive, Faults: faults,
	}
	used, g, err := p.Cluster.UsageOfRequest(r.Context(), request)
	if err != nil {
		return content{}, err
	}
	data.Page.Tell(used, g, view.RulesOfRequest(request), now)
	data.Why, _ = view.Next(request, p.Me)
	if view.MyCredential(request, p.Me) {
		data.Login = view.Command("login", request)
	}
	if !p.ReadOnly {
		p.forms(&data, request, r.PostFormValue, now)
	}
	if data.Why == "" {
		data.Why = "There is nothing for you to do"
	}
	others, _ := p.requests.all()
	slices.SortFunc(others, view.NewestFirst)
	for _, other := range others {
		switch {
		case !view.SameRequester(other, request):
		case len(data.Earlier) == maxEarlier:
			data.More++
		default:
			data.Earlier = append(data.Earlier, view.CardOf(other, now))
		}
	}
	status := http.StatusOK
	if len(faults) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return content{template: "request", title: request.Name, data: data, status: status, at: p.at("requests", request.Namespace, request.Name)}, nil
}

// forms are those for what I can do about a request, with what was written into them.
func (p *Page) forms(data *requestData, request *v1alpha1.AccessRequest, written func(string) string, now time.Time) {
	to := func(verdict string) string { return p.at("requests", request.Namespace, request.Name, verdict) }
	add := func(f form, verdicts ...string) {
		f.Fields = fill(f.Fields, written, data.Faults)
		data.Forms = append(data.Forms, f)
		for _, verdict := range verdicts {
			data.Commands = append(data.Commands, view.Command(verdict, request))
		}
	}
	deny := button{Text: "Deny", Action: to("deny"), Class: "bad"}
	switch {
	case view.WaitsForMe(request, p.Me):
		data.Question = view.ShortQuestion(request, now)
		add(form{ID: "approve", Action: to("approve"), Fields: []field{
			{ID: "atMost", Name: "atMost", Label: "At most", Hint: "Leave it empty for as long as was asked for, or give less: 30m, 2h.", Suggest: []string{"15m", "30m", "1h", "2h", "4h"}},
			{ID: "until", Name: "until", Label: "Until", Hint: "No later than this: +2h from now, or 2026-05-04T18:00:00Z."},
			commentField("comment", false),
		}, Buttons: []button{{Text: "Approve"}, deny}}, "approve", "deny")
	case view.Deniable(request, p.Me):
		data.Why = "It waits for others; you may still deny it"
		add(form{ID: "deny", Action: to("deny"), Fields: []field{commentField("comment", false)}, Buttons: []button{{Text: "Deny", Class: "bad"}}}, "deny")
	}
	if view.Revocable(request, p.Me) {
		add(form{ID: "revoke", Action: to("revoke"), Fields: []field{commentField("comment", false)}, Buttons: []button{{Text: "Revoke", Class: "bad"}}}, "revoke")
	}
	if view.ToReview(request, p.Me) {
		add(form{ID: "review", Action: to("review"), Fields: []field{
			{ID: "found", Name: "found", Label: "What you found", Required: true, Most: asking.MaxComment, Area: 3, Hint: "It stays on record, and nobody takes it back."},
		}, Buttons: []button{{Text: "Write the review"}}})
		data.Commands = append(data.Commands, view.Command("review", request)+" --comment …")
	}
	if view.Mine(request, p.Me) && !request.Status.Phase.Ended() {
		data.Why = "What you can do"
		text := "Release"
		if request.Status.Phase != v1alpha1.RequestActive {
			text = "Withdraw"
		}
		add(form{ID: "release", Action: to("release"), Buttons: []button{{Text: text}}}, "release")
	}
	if view.Extendable(request, p.Me) {
		add(form{ID: "extend", Action: to("extend"), Title: "More time", More: p.moreName(request), Fields: []field{
			{ID: "for", Name: "for", Label: "How long", Hint: "Added to the time that there is, such as 30m. Empty for as long as the policy says.", Suggest: []string{"15m", "30m", "1h", "2h"}},
			{ID: "reason", Name: "reason", Label: "Reason", Value: request.Spec.Reason, Required: true, Most: asking.MaxReason, Hint: "Why it takes longer, in one line."},
		}, Buttons: []button{{Text: "Extend", Class: "quiet"}}})
		data.Commands = append(data.Commands, view.Command("extend", request)+" --for 30m --reason …")
	}
}

func commentField(id string, required bool) field {
	return field{ID: id, Name: "comment", Label: "Comment", Required: required, Most: asking.MaxComment, Area: 2, Hint: "In one line, for the record."}
}

// doing is what a form does: the decision, what is said when it is done, and when it can
// be done.
type doing struct {
	verdict v1alpha1.Verdict
	done    string
}

var doings = map[string]doing{
	"approve": {v1alpha1.VerdictApprove, "approved"},
	"deny":    {v1alpha1.VerdictDeny, "denied"},
	"revoke":  {v1alpha1.VerdictRevoke, "revoked"},
	"release": {v1alpha1.VerdictRelease, "released"},
	"review":  {v1alpha1.VerdictReview, "reviewed"},
}

// act decides on a request as it was shown, or asks for more time of it.
func (p *Page) act(r *http.Request) (outcome, error) {
	namespace, name, verb := r.PathValue("namespace"), r.PathValue("name"), r.PathValue("verdict")
	do, known := doings[verb]
	if !known && verb != "extend" {
		return outcome{}, &badInput{fmt.Sprintf("%q is nothing that can be done about a request.", verb)}
	}
	c := p.Cluster.In(namespace)
	request, err := c.Request(r.Context(), name)
	if err != nil {
		return outcome{}, err
	}
	again := func(faults ...fault) (outcome, error) {
		page, err := p.pageOf(r, request, faults)
		return outcome{again: &page}, err
	}
	shown := view.Shown{UID: r.PostFormValue("uid"), RulesHash: r.PostFormValue("rulesHash")}
	switch is := view.ShownOf(request); {
	case shown.UID != is.UID, do.verdict == v1alpha1.VerdictApprove && shown != is:
		return again(fault{Message: "It has changed since it was shown to you, and nothing was done. This is how it is now: look at it again."})
	case request.Status.Phase.Ended() && do.verdict != v1alpha1.VerdictReview:
		return again(fault{Message: "It is over, and nothing was done: " + view.Progress(request, time.Now())})
	}
	if verb == "extend" {
		return p.extend(r, request, again)
	}
	comment := strings.TrimSpace(r.PostFormValue("comment"))
	field := "comment"
	if do.verdict == v1alpha1.VerdictReview {
		comment, field = strings.TrimSpace(r.PostFormValue("found")), "found"
	}
	faults := lineFault(field, comment, asking.MaxComment)
	if do.verdict == v1alpha1.VerdictReview && comment == "" {
		faults = append(faults, fault{field, "Say what you found."})
	}
	limits, wrong := limitsOf(r, do.verdict)
	if faults = append(faults, wrong...); len(faults) > 0 {
		return again(faults...)
	}
	_, already, err := c.Decide(r.Context(), request, p.Me, do.verdict, comment, limits...)
	if err != nil {
		return again(fault{Message: p.explain(err)})
	}
	if already && len(limits) > 0 {
		return again(fault{Message: "You approved it before, and a decision is never changed: to end it, deny or revoke it."})
	}
	said := name + " is " + do.done + "."
	if already {
		said = "You had " + do.done + " " + name + " before; nothing was changed."
	}
	to := p.at("requests", namespace, name)
	if r.PostFormValue("back") == "mine" {
		to = p.at("mine")
	}
	return outcome{to: to, said: said}, nil
}
