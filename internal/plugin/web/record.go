package web

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

const (
	// auditor is the ClusterRole that lets its holders read the record.
	auditor = "access-auditor"
	// onePage is how many grants a page lists.
	onePage = 40
	// soon is how long the record is waited for before the page says that it is being
	// read; it comes by itself then.
	soon = 200 * time.Millisecond
	// maxSuggested bounds what a field of the filter offers.
	maxSuggested = 300
)

// recordData is who had which access when, as far as the filter picks it.
type recordData struct {
	// Reading: not all of the record is there yet.
	Reading bool
	// Old says why what is shown may be out of date.
	Old    string
	Faults []fault
	Fields []field
	Active bool
	// Filtered: something is picked.
	Filtered bool
	// First to Last of Total grants are listed, of Known that there are.
	First, Last, Total, Known string
	// None: no grant is picked.
	None         bool
	Newer, Older string
	CSV, All     string
	Command      string
	Timeline     timeline
	Legend       []view.OutcomeKind
}

func (p *Page) record(r *http.Request) (content, error) {
	ctx, cancel := context.WithTimeout(r.Context(), soon)
	defer cancel()
	if err := p.grants.wait(ctx); err != nil && ctx.Err() == nil {
		return p.notRead(err)
	}
	grants, whole := p.grants.all()
	shown := p.recorded(r, grants, whole, time.Now())
	if err := p.grants.why(); err != nil {
		shown.data.(*recordData).Old = p.Explain(err, auditor)
	}
	return shown, nil
}

// recorded is what a request asks for of these grants; whole tells that they are all.
func (p *Page) recorded(r *http.Request, grants []*v1alpha1.AccessGrant, whole bool, now time.Time) content {
	asked := pickedBy(r, now)
	data := recordData{
		Reading: !whole, Faults: asked.faults, Fields: asked.fields(grants), Active: asked.filter.Active,
		Filtered: len(asked.written) > 0, Known: count(len(grants)), All: p.at("record"), Legend: view.Outcomes,
		CSV: p.query("record.csv", asked.written), Command: asked.command(),
	}
	shown := content{template: "record", title: "Record", data: &data}
	if len(asked.faults) > 0 {
		shown.status = http.StatusUnprocessableEntity
		return shown
	}
	picked := newestFirst(grants, asked.filter)
	data.Total, data.None = count(len(picked)), len(picked) == 0
	first := pageOf(r, len(picked)) * onePage
	listed := picked[first:min(first+onePage, len(picked))]
	data.First, data.Last = count(first+1), count(first+len(listed))
	turn := func(by int) string {
		query := maps.Clone(asked.written)
		if page := first/onePage + by; page > 0 {
			query.Set("page", strconv.Itoa(page+1))
		}
		return p.query("record", query)
	}
	if first > 0 {
		data.Newer = turn(-1)
	}
	if first+onePage < len(picked) {
		data.Older = turn(1)
	}
	window := view.WindowOf(listed, asked.filter.Since, asked.filter.Until, now)
	data.Timeline = p.drawn(view.TimelineOf(listed, window, now))
	return shown
}

// recordCSV writes what `kubectl access audit -o csv` does.
func (p *Page) recordCSV(w http.ResponseWriter, r *http.Request) {
	asked := pickedBy(r, time.Now())
	if len(asked.faults) > 0 {
		p.fail(w, r, &badInput{asked.faults[0].Message})
		return
	}
	used := map[string]view.Use{}
	err := p.grants.wait(r.Context())
	grants, _ := p.grants.all()
	picked := newestFirst(grants, asked.filter)
	slices.Reverse(picked)
	if err == nil {
		used, err = p.uses(r.Context(), picked)
	}
	if err != nil {
		if shown, err := p.notRead(err); err == nil {
			p.show(w, r, shown.status, shown)
		} else {
			p.fail(w, r, err)
		}
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="access-`+time.Now().UTC().Format(time.DateOnly)+`.csv"`)
	if err := view.WriteCSV(w, picked, used, true); err != nil {
		// What was sent must not look whole.
		panic(http.ErrAbortHandler)
	}
}

// uses is what was observed of the use of these grants, as far as it is told.
func (p *Page) uses(ctx context.Context, grants []*v1alpha1.AccessGrant) (map[string]view.Use, error) {
	used := map[string]view.Use{}
	err := p.Cluster.UsagesOf(ctx, grants, func(u *v1alpha1.AccessUsage) { used[u.Name] = view.UseOf(&u.Status) })
	if cluster.NotTold(err) {
		err = nil
	}
	return used, err
}

// notRead says why the record is not shown, and to whom it may not be which role they need.
func (p *Page) notRead(err error) (content, error) {
	if !apierrors.IsForbidden(err) {
		return content{}, err
	}
	shown := failed(p.Explain(err, auditor))
	shown.title, shown.status = "You may not see this", http.StatusForbidden
	return shown, nil
}

// pick is what somebody asked of the record.
type pick struct {
	filter view.Filter
	// written are the fields that are filled in, as they were.
	written url.Values
	faults  []fault
}

// names of the fields, which are those of the flags of audit where it has them.
const (
	byUser, byRole, byNamespace, byPolicy = "user", "role", "namespace", "policy"
	bySince, byUntil, byEnd, byActive     = "since", "until", "ended", "active"
)

// pickedBy reads the filter of a request.
func pickedBy(r *http.Request, now time.Time) pick {
	query := r.URL.Query()
	asked := pick{written: url.Values{}}
	of := func(name string) string {
		value := strings.TrimSpace(query.Get(name))
		if value != "" {
			asked.written.Set(name, value)
		}
		return value
	}
	check := func(name string, err error) {
		if err != nil {
			asked.faults = append(asked.faults, fault{name, err.Error()})
		}
	}
	f := &asked.filter
	f.User, f.Role, f.Namespace, f.Policy, f.Active = of(byUser), of(byRole), of(byNamespace), of(byPolicy), of(byActive) != ""
	if f.User != "" {
		_, err := asking.User(f.User)
		check(byUser, err)
	}
	if f.Role != "" {
		_, err := asking.Role(f.Role, "")
		check(byRole, err)
	}
	var err error
	if word := of(bySince); word != "" {
		f.Since, err = asking.Since(word, now)
		check(bySince, err)
	}
	if word := of(byUntil); word != "" {
		f.Until, err = asking.Until(word, now)
		if err == nil && f.Until.Before(f.Since) {
			err = errors.New("it is before the beginning: nothing was held then")
		}
		check(byUntil, err)
	}
	if word := of(byEnd); word != "" {
		f.Outcome = view.Outcome(word)
		if !slices.ContainsFunc(view.Outcomes, func(k view.OutcomeKind) bool { return k.Outcome == f.Outcome }) {
			check(byEnd, errors.New("it is none of the ways in which access ends"))
		}
	}
	return asked
}

// fields of the filter, with what was written and what there is to choose from.
func (asked pick) fields(grants []*v1alpha1.AccessGrant) []field {
	people, roles, namespaces, policies := offered(grants)
	ends := []option{{Text: "in any way, or not yet"}}
	for _, kind := range view.Outcomes {
		if kind.Outcome != view.Held { // which has a box of its own
			ends = append(ends, option{Value: string(kind.Outcome), Text: kind.Words})
		}
	}
	return fill([]field{
		{ID: byUser, Name: byUser, Label: "Person", Hint: "Who asked or got it: NAME, group:NAME or sa:NAMESPACE/NAME.", Suggest: people},
		{ID: byRole, Name: byRole, Label: "Role", Hint: "NAME, Role/NAME or ClusterRole/NAME.", Suggest: roles},
		{ID: byNamespace, Name: byNamespace, Label: "Namespace", Hint: "Cluster-wide access holds there too.", Suggest: namespaces},
		{ID: byPolicy, Name: byPolicy, Label: "Policy", Hint: "The policy that allowed it.", Suggest: policies},
		{ID: bySince, Name: bySince, Label: "From", Hint: "7d back, 2026-05-04 or 2026-05-04T10:00:00Z, in UTC.", Suggest: []string{"24h", "7d", "30d", "90d"}},
		{ID: byUntil, Name: byUntil, Label: "To", Hint: "The same; a day to its end.", Suggest: []string{"24h", "7d", "30d"}},
		{ID: byEnd, Name: byEnd, Label: "How it ended", Hint: "One of the marks below.", Options: ends},
	}, asked.written.Get, asked.faults)
}

// command is the one that lists the same; none does by the way in which it ended.
func (asked pick) command() string {
	if asked.filter.Outcome != "" || len(asked.faults) > 0 {
		return ""
	}
	command := "kubectl access audit"
	for _, name := range []string{byUser, byRole, byPolicy, bySince, byUntil} {
		if value := asked.written.Get(name); value != "" {
			command += " --" + name + " " + asking.Bare(value)
		}
	}
	if asked.filter.Namespace != "" {
		command += " -n " + asking.Bare(asked.filter.Namespace)
	}
	if asked.filter.Active {
		command += " --active"
	}
	return command
}

// offered is what the fields of the filter suggest: what is on record. A text that is not
// shown as it is could not be picked either.
func offered(grants []*v1alpha1.AccessGrant) (people, roles, namespaces, policies []string) {
	var sets [4]map[string]bool
	for i := range sets {
		sets[i] = map[string]bool{}
	}
	for _, g := range grants {
		sets[0][text.Subject(identity.SubjectOf(g.Spec.Requester))] = true
		for i := range g.Spec.Subjects {
			sets[0][text.Subject(g.Spec.Subjects[i].Subject)] = true
		}
		sets[1][g.Spec.Summary.Role] = true
		for i := range g.Spec.Namespaces {
			sets[2][g.Spec.Namespaces[i].Name] = true
		}
		sets[3][g.Spec.PolicyRef.Name] = true
	}
	var lists [4][]string
	for i, set := range sets {
		for name := range set {
			if name != "" && text.Visible(name) == name {
				lists[i] = append(lists[i], name)
			}
		}
		slices.Sort(lists[i])
		lists[i] = lists[i][:min(len(lists[i]), maxSuggested)]
	}
	return lists[0], lists[1], lists[2], lists[3]
}

// newestFirst are the grants that a filter picks.
func newestFirst(grants []*v1alpha1.AccessGrant, f view.Filter) []*v1alpha1.AccessGrant {
	var picked []*v1alpha1.AccessGrant
	for _, g := range grants {
		if f.Picks(g) {
			picked = append(picked, g)
		}
	}
	slices.SortFunc(picked, func(a, b *v1alpha1.AccessGrant) int {
		return cmp.Or(view.Given(b).Compare(view.Given(a)), cmp.Compare(b.Name, a.Name))
	})
	return picked
}

// pageOf is the page that is asked for, from 0 on; the last one where there are fewer.
func pageOf(r *http.Request, total int) int {
	page, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		return 0
	}
	return max(0, min(page-1, (total-1)/onePage))
}

// query is the address of a page with a query.
func (p *Page) query(page string, query url.Values) string {
	if len(query) == 0 {
		return p.at(page)
	}
	return p.at(page) + "?" + query.Encode()
}

// count writes a number as people do: 10,000.
func count(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
