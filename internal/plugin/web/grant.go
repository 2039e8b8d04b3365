package web

import (
	"net/http"
	"net/url"
	"time"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// grantData is one grant: what `kubectl access show` says of it.
type grantData struct {
	Page    view.Page
	Outcome view.OutcomeKind
	Story   string
	Held    bool
	// From and Until bound what is held now.
	From, Until time.Time
	// RequestNamespace and RequestName are the request that led to it, Extends the grant
	// that it gives more time to.
	RequestNamespace, RequestName, Extends string
	// Same is the record of who asked for it.
	Who, Same string
	Command   string
}

func (p *Page) grant(r *http.Request) (content, error) {
	g, err := p.Cluster.Grant(r.Context(), r.PathValue("name"))
	if err != nil {
		return p.notRead(err)
	}
	used, err := p.Cluster.UsageOf(r.Context(), g)
	if err != nil {
		return content{}, err
	}
	// A page that is open hears of it when the grant changes.
	p.grants.start()
	return p.granted(g, used, time.Now()), nil
}

// granted is the page of a grant, with what is stored of its use.
func (p *Page) granted(g *v1alpha1.AccessGrant, used *v1alpha1.AccessUsage, now time.Time) content {
	data := grantData{
		Page: view.PageOfGrant(g, now), Outcome: view.OutcomeOf(g).Kind(), Story: view.Story(g, now),
		Held: g.Status.Phase == v1alpha1.GrantActive, From: view.Given(g), Until: g.Spec.ExpirationTime.Time,
		RequestNamespace: g.Spec.RequestRef.Namespace, RequestName: g.Spec.RequestRef.Name,
		Who: g.Spec.Requester.Username, Command: "kubectl access show " + g.Name,
	}
	data.Same = p.query("record", url.Values{byUser: {data.Who}})
	data.Page.Tell(used, g, nil, now)
	if g.Spec.Extends != nil {
		data.Extends = g.Spec.Extends.Name
	}
	return content{template: "grant", title: g.Name, data: data}
}
