// Package web is the page of kubectl access ui: what the commands show and do, in a
// browser on the machine of its user. It acts as that user and can do nothing that
// they could not; who reaches it at all is up to the Door.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	segment "k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Options of a page.
type Options struct {
	Cluster *cluster.Client
	// Me is whom the page acts as.
	Me v1alpha1.UserInfo
	// Context of the kubeconfig, shown in the head.
	Context string
	// Root is the path below which the page is, with a slash at its end.
	Root string
	// ReadOnly: nothing can be asked for or decided.
	ReadOnly bool
	// Explain says what went wrong and what to do; role is the ClusterRole that is needed.
	Explain func(err error, role string) string
	// AskWithKey asks for an issued credential, and keeps its key on this machine.
	AskWithKey func(context.Context, *v1alpha1.AccessRequest) error
	// Kinds tells which kinds the cluster has, for tasks and permissions.
	Kinds func() (meta.RESTMapper, error)
}

// Page serves all views. Its paths are those below the root.
type Page struct {
	Options
	mux       *http.ServeMux
	templates map[string]*template.Template
	notices   notices

	changes pulse
	// everywhere: requests of all namespaces are shown, else those of Cluster.Namespace.
	everywhere bool
	requests   *store[v1alpha1.AccessRequest]
	policies   *store[v1alpha1.AccessPolicy]
	grants     *store[v1alpha1.AccessGrant]
	// ended is the end of the page itself.
	ended <-chan struct{}
}

var (
	//go:embed templates
	templates embed.FS
	//go:embed static
	static embed.FS
)

// New makes a page, which reads until the context ends. It errs when the API server
// does not say what its user may read.
func New(ctx context.Context, o Options) (*Page, error) {
	everywhere, err := o.Cluster.MayWatch(ctx, "accessrequests", metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	p := &Page{Options: o, mux: http.NewServeMux(), everywhere: everywhere, ended: ctx.Done()}
	namespace := metav1.NamespaceAll
	if !everywhere {
		namespace = o.Cluster.Namespace
	}
	p.requests = newStore[v1alpha1.AccessRequest](ctx, o.Cluster.WatchRequests(namespace), &p.changes)
	p.policies = newStore[v1alpha1.AccessPolicy](ctx, o.Cluster.WatchPolicies(), &p.changes)
	p.grants = newStore[v1alpha1.AccessGrant](ctx, o.Cluster.WatchGrants(), &p.changes)
	if p.templates, err = p.parse(); err != nil {
		return nil, err
	}
	files, err := fs.Sub(static, "static")
	if err != nil {
		return nil, err
	}
	p.mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(files)))
	p.mux.HandleFunc("GET /events", p.events)
	p.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, p.at("mine"), http.StatusSeeOther) })
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.show(w, r, http.StatusNotFound, failed("There is no such page."))
	})
	p.get("/mine", p.mine)
	p.get("/decide", p.decide)
	p.get("/requests/{namespace}/{name}", p.request)
	p.post("/requests/{namespace}/{name}/{verdict}", p.act)
	// Where a form was sent, and somebody opens the address again.
	p.mux.HandleFunc("GET /requests/{namespace}/{name}/{verdict}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, p.at("requests", r.PathValue("namespace"), r.PathValue("name")), http.StatusSeeOther)
	})
	p.get("/record", p.record)
	p.mux.HandleFunc("GET /record.csv", p.recordCSV)
	p.get("/grants/{name}", p.grant)
	if !o.ReadOnly {
		p.get("/ask", p.ask)
		p.post("/ask", p.asked)
	}
	return p, nil
}

// ServeHTTP serves a path below the root.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// content is what a view shows.
type content struct {
	// template is the file of the view, without its ending.
	template string
	// title of the tab and of the page.
	title string
	data  any
	// status of the answer, 200 when 0.
	status int
	// at is where the page is read anew; where it is, when empty.
	at string
}

// outcome of what somebody did: where they go on, and what they are told there; or the
// same form again, with what is wrong.
type outcome struct {
	to, said string
	again    *content
}

// get serves a view.
func (p *Page) get(path string, view func(*http.Request) (content, error)) {
	p.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		if !named(r) {
			p.show(w, r, http.StatusNotFound, failed("There is nothing of this name."))
			return
		}
		shown, err := view(r)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		p.show(w, r, max(http.StatusOK, shown.status), shown)
	})
}

// post serves something that its user does. In a page that is read-only there is nothing
// of it.
func (p *Page) post(path string, act func(*http.Request) (outcome, error)) {
	p.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		if p.ReadOnly {
			p.show(w, r, http.StatusForbidden, failed("This page is read-only: nothing was done."))
			return
		}
		if !named(r) {
			p.show(w, r, http.StatusNotFound, failed("There is nothing of this name."))
			return
		}
		done, err := act(r)
		switch {
		case err != nil:
			p.fail(w, r, err)
		case done.again != nil:
			p.show(w, r, max(http.StatusOK, done.again.status), *done.again)
		default:
			http.Redirect(w, r, p.notices.carry(done.to, done.said), http.StatusSeeOther)
		}
	})
}

// named tells whether the names in a path are such that there can be an object of them.
func named(r *http.Request) bool {
	return len(segment.IsPathSegmentName(r.PathValue("namespace"))) == 0 && len(segment.IsPathSegmentName(r.PathValue("name"))) == 0
}

// frame is what is around each view.
type frame struct {
	Title   string
	Me      string
	Context string
	// Only is the namespace whose requests are shown, "" for all.
	Only     string
	ReadOnly bool
	Notice   string
	Nav      []link
	Events   string
	// Page is where the page is read anew.
	Page string
	Data any
}

type link struct {
	Name, To string
	Here     bool
	// Waiting counts what waits for the user there.
	Waiting int
}

// show answers with a view.
func (p *Page) show(w http.ResponseWriter, r *http.Request, status int, shown content) {
	f := frame{
		Title: shown.title, Me: text.Person(p.Me.Username, p.Me.Groups, 3), Context: p.Context, ReadOnly: p.ReadOnly,
		Notice: p.notices.take(r), Nav: p.nav(r), Data: shown.data,
		Events: p.at("events"), Page: shown.at,
	}
	if !p.everywhere {
		f.Only = p.Cluster.Namespace
	}
	page, err := p.render(shown.template, f)
	if err != nil {
		http.Error(w, "the page cannot be shown: "+text.Visible(err.Error()), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, page) // a browser that has gone reads no error
}

// render makes the HTML of a view. All of it is made safe to look at, at once and as a
// whole, so that no template can forget it.
func (p *Page) render(view string, f frame) (string, error) {
	var out bytes.Buffer
	err := p.templates[view].ExecuteTemplate(&out, "layout", f)
	return text.Lines(out.String()), err
}

func (p *Page) nav(r *http.Request) []link {
	links := []link{{Name: "Mine", To: "mine"}}
	if !p.ReadOnly {
		links = append(links, link{Name: "Ask", To: "ask"})
	}
	links = append(links, link{Name: "To decide", To: "decide", Waiting: p.waiting()}, link{Name: "Record", To: "record"})
	for i := range links {
		links[i].Here = strings.TrimPrefix(r.URL.Path, "/") == links[i].To
		links[i].To = p.at(links[i].To)
	}
	return links
}

// fail shows what went wrong, in the words of the commands.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	var answer apierrors.APIStatus
	var bad *badInput
	switch {
	case errors.As(err, &bad):
		status = http.StatusBadRequest
	case errors.As(err, &answer) && answer.Status().Code >= http.StatusBadRequest:
		status = int(answer.Status().Code)
	case errors.Is(err, context.Canceled):
		return // the browser has gone
	}
	p.show(w, r, status, failed(p.explain(err)))
}

func (p *Page) explain(err error) string {
	var bad *badInput
	if errors.As(err, &bad) {
		return bad.message
	}
	return p.Explain(err, "access-requester, or access-approver to decide,")
}

// failed is a page that says only what went wrong.
func failed(why string) content {
	return content{template: "failed", title: "That did not work", data: why}
}

// badInput is a mistake of who uses the page.
type badInput struct{ message string }

func (b *badInput) Error() string { return b.message }

// at is the address of a page, by the parts of its path.
func (p *Page) at(parts ...string) string {
	escaped := make([]string, len(parts))
	for i, part := range parts {
		escaped[i] = url.PathEscape(part)
	}
	return p.Root + strings.Join(escaped, "/")
}

// parse reads the templates: each file is a view, but for those that all of them have in
// common.
func (p *Page) parse() (map[string]*template.Template, error) {
	common, err := template.New("").Funcs(template.FuncMap{
		"at":     p.at,
		"moment": text.Moment,
	}).ParseFS(templates, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return nil, err
	}
	views := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		view, err := common.Clone()
		if err == nil {
			view, err = view.ParseFS(templates, file)
		}
		if err != nil {
			return nil, err
		}
		views[name] = view
	}
	return views, nil
}
