package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/plugin/asking"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/refusal"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/pkg/accessclient"
)

// askData is where somebody begins to ask: by a policy, or by what was refused.
type askData struct {
	Reading bool
	Offers  []offerLink
	Faults  []fault
	Refused field
	// Told is what is said of what was refused, and Places what can be asked for.
	Told   []string
	Places []placeData
}

// offerLink is a policy and its form.
type offerLink struct {
	view.Offer
	To string
}

// placeData is what is missing in a place, and what policies offer for it, the best
// first.
type placeData struct {
	Lacks  string
	Offers []proposal
}

// proposal is a form that is filled in for what is missing.
type proposal struct {
	Policy, What, To string
	// Known tells that it is known to be enough.
	Known bool
	form  url.Values
}

// ask shows what may be asked for, or the form of one policy.
func (p *Page) ask(r *http.Request) (content, error) {
	if name := r.URL.Query().Get("policy"); name != "" {
		return p.askForm(r, name, r.URL.Query().Get, nil, nil)
	}
	return p.askList(r, askData{})
}

// asked is what somebody does with one of its forms.
func (p *Page) asked(r *http.Request) (outcome, error) {
	if err := r.ParseForm(); err != nil {
		return outcome{}, &badInput{"What you sent cannot be read, or is too long: " + err.Error()}
	}
	if r.PostForm.Get("do") == "propose" {
		page, err := p.propose(r, written(r.PostForm)("refused"))
		return outcome{again: &page}, err
	}
	return p.fillIn(r, written(r.PostForm))
}

// written is what somebody wrote into a form: browsers end lines as no file does.
func written(form url.Values) func(string) string {
	return func(name string) string {
		return strings.TrimSpace(strings.ReplaceAll(form.Get(name), "\r\n", "\n"))
	}
}

func (p *Page) askList(r *http.Request, data askData) (content, error) {
	mine, _, whole, err := p.offered(r.Context())
	if err != nil {
		return content{}, err
	}
	now := time.Now()
	for i := range mine {
		data.Offers = append(data.Offers, offerLink{view.OfferOf(&mine[i], p.Me, now), p.askAt(asking.Form{Policy: mine[i].Name}, "")})
	}
	data.Reading = !whole
	data.Refused.ID, data.Refused.Name, data.Refused.Label, data.Refused.Area, data.Refused.Required = "refused", "refused", "What was refused", 3, true
	data.Refused.Hint = "Paste what a command printed, with the words is forbidden: User … cannot …"
	shown := content{template: "ask", title: "Ask", data: data}
	if len(data.Faults) > 0 {
		shown.status = http.StatusUnprocessableEntity
	}
	return shown, nil
}

// offered are the policies that let me ask now, by name, and all of them.
func (p *Page) offered(ctx context.Context) (mine, all []v1alpha1.AccessPolicy, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.policies.wait(ctx); err != nil && ctx.Err() == nil {
		return nil, nil, false, err
	}
	stored, whole := p.policies.all()
	now := time.Now()
	for _, of := range stored {
		all = append(all, *of)
		if identity.Among(of.Spec.RequestersAt(now), p.Me.Username, p.Me.Groups) {
			mine = append(mine, *of)
		}
	}
	slices.SortFunc(mine, func(a, b v1alpha1.AccessPolicy) int { return strings.Compare(a.Name, b.Name) })
	return mine, all, whole, nil
}

// policy that lets me ask, by its name.
func (p *Page) policy(ctx context.Context, name string) (*v1alpha1.AccessPolicy, error) {
	mine, _, _, err := p.offered(ctx)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(mine, func(of v1alpha1.AccessPolicy) bool { return of.Name == name })
	if at < 0 {
		return nil, &badInput{fmt.Sprintf("There is no policy %s, or it does not let you ask.", view.Word(name))}
	}
	return &mine[at], nil
}

// askAt is the address of a form that is filled in.
func (p *Page) askAt(f asking.Form, namespace string) string {
	return p.at("ask") + "?" + filled(f, namespace).Encode()
}

// filled are the fields of a form of which something is known.
func filled(f asking.Form, namespace string) url.Values {
	values := url.Values{"policy": {f.Policy}}
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	set("role", f.Role)
	set("rules", strings.Join(f.Rules, "\n"))
	set("namespace", namespace)
	if f.Role == "" && len(f.Rules) > 0 {
		set("role", noRole)
	}
	if f.Cluster {
		set("where", wholeCluster)
	}
	return values
}

// propose reads what was refused, and what can be asked for to be allowed it.
func (p *Page) propose(r *http.Request, refused string) (content, error) {
	data := askData{Refused: field{Value: refused}}
	rights := refusal.Parse(refused)
	if len(rights) == 0 {
		data.Refused.Fault = "In this text the API server refuses nothing. It would say: pods \"x\" is forbidden: User \"you\" cannot delete resource \"pods\" in API group \"\" in the namespace \"y\"."
		if refused == "" {
			data.Refused.Fault = "Paste what was refused."
		}
		data.Faults = []fault{{"refused", data.Refused.Fault}}
		return p.askList(r, data)
	}
	looked, err := p.Cluster.Refused(r.Context(), p.Me.Username, rights)
	if err != nil {
		return content{}, err
	}
	for _, right := range looked.Others {
		data.Told = append(data.Told, fmt.Sprintf("%s was refused to %s, and you are %s: nothing is proposed.", right, right.User, p.Me.Username))
	}
	for _, right := range looked.Held {
		data.Told = append(data.Told, fmt.Sprintf("You may %s as far as the API server's roles go: it was something else that refused it.", right))
	}
	for _, place := range refusal.ByPlace(looked.Missing) {
		of, err := p.proposalsFor(r.Context(), place)
		if err != nil {
			return content{}, err
		}
		data.Places = append(data.Places, of)
	}
	if len(data.Places) == 1 && len(data.Places[0].Offers) > 0 {
		return p.proposed(r, data)
	}
	return p.askList(r, data)
}

// proposed is the form of the best offer for the one place where something is missing.
func (p *Page) proposed(r *http.Request, data askData) (content, error) {
	best := data.Places[0].Offers[0]
	shown, err := p.askForm(r, best.Policy, written(best.form), nil, nil)
	if form, ok := shown.data.(formData); ok {
		form.Told = slices.Concat(data.Told, []string{fmt.Sprintf("%s Policy %s offers %s.", data.Places[0].Lacks, best.Policy, best.What)})
		if !best.Known {
			form.Told = append(form.Told, "Whether that is enough you may not read.")
		}
		form.Others = data.Places[0].Offers[1:]
		shown.data = form
	}
	return shown, err
}

// proposalsFor are what policies offer for what is missing in a place.
func (p *Page) proposalsFor(ctx context.Context, place refusal.Place) (placeData, error) {
	out := placeData{Lacks: "You may not " + place.String() + "."}
	offers, err := p.Cluster.OffersFor(ctx, place.Namespace, "", place.Rules())
	if err != nil {
		return out, err
	}
	for _, offer := range offers {
		for _, name := range offer.Policies {
			form := asking.Form{Policy: name, Cluster: place.Namespace == ""}
			what := "exactly that"
			if offer.Role != nil {
				form.Role = view.RoleArgument(*offer.Role)
				what = text.Role(offer.Role)
			} else {
				form.Rules = refusal.Lines(place.Rules())
			}
			out.Offers = append(out.Offers, proposal{name, what, p.askAt(form, place.Namespace), offer.Known, filled(form, place.Namespace)})
		}
	}
	return out, nil
}

// formData is the form of a policy, with what would come of it once it was looked at.
type formData struct {
	Offer        view.Offer
	Faults       []fault
	Fields, More []field
	// Open shows what is seldom needed, because something of it is filled in or wrong.
	Open    bool
	Preview *previewData
	// Told is why it is filled in, and Others what could be asked for instead.
	Told   []string
	Others []proposal
}

// previewData is what would come of a form, before it is sent.
type previewData struct {
	view.Preview
	// Send tells that it can be sent.
	Send          bool
	Command, YAML string
	// Keeps is what is sent when it is.
	Keeps []field
}

// askForm is the form of a policy, with what was written into it.
func (p *Page) askForm(r *http.Request, name string, value func(string) string, faults []fault, preview *previewData) (content, error) {
	of, err := p.policy(r.Context(), name)
	if err != nil {
		return content{}, err
	}
	data := formData{Offer: view.OfferOf(of, p.Me, time.Now()), Preview: preview}
	data.Fields, data.More = p.fields(r.Context(), of, value)
	for _, f := range faults {
		data.Faults = append(data.Faults, place(f, data.Fields, data.More))
	}
	// In the order of the form, and what is at no field first.
	order := view.Each(slices.Concat(data.Fields, data.More), func(f field) string { return f.ID })
	slices.SortStableFunc(data.Faults, func(a, b fault) int {
		return cmp.Compare(slices.Index(order, a.Field), slices.Index(order, b.Field))
	})
	data.Open = slices.ContainsFunc(data.More, func(f field) bool { return f.Value != "" || f.Fault != "" })
	shown := content{template: "askform", title: "Ask by policy " + name, data: data}
	switch {
	case len(faults) > 0:
		shown.status = http.StatusUnprocessableEntity
	case preview != nil:
		shown.title = "What it would give"
	}
	return shown, nil
}

// place puts what is wrong at its field, and names the field where it is told first.
func place(f fault, groups ...[]field) fault {
	for _, fields := range groups {
		for i := range fields {
			if fields[i].ID == f.Field {
				if fields[i].Fault != "" {
					fields[i].Fault += "; "
				}
				fields[i].Fault += f.Message
				return fault{f.Field, fields[i].Label + ": " + f.Message}
			}
		}
	}
	return fault{Message: f.Message}
}

// fillIn looks at a form that was filled in, and shows what would come of it or, when
// that was seen, sends it.
func (p *Page) fillIn(r *http.Request, value func(string) string) (outcome, error) {
	of, err := p.policy(r.Context(), value("policy"))
	if err != nil {
		return outcome{}, err
	}
	again := func(preview *previewData, faults ...fault) (outcome, error) {
		page, err := p.askForm(r, of.Name, value, faults, preview)
		return outcome{again: &page}, err
	}
	now := time.Now()
	form, namespace := formOf(of, value)
	request, faults := p.requestOf(form, namespace, now)
	if faults = append(faults, unseen(value)...); len(faults) > 0 {
		return again(nil, faults...)
	}
	if value("do") != "send" {
		preview, faults := p.preview(r.Context(), form, request, now)
		if len(faults) > 0 {
			return again(nil, faults...)
		}
		preview.Keeps = keeps(of, request, value)
		return again(preview)
	}
	send := p.Cluster.AskOnce
	if form.Credential {
		send = p.AskWithKey
	}
	if err := send(r.Context(), request); err != nil && !p.sentBefore(r.Context(), request, err) {
		return again(nil, p.faultsOf(err)...)
	}
	return outcome{to: p.at("requests", request.Namespace, request.Name), said: "The request was sent."}, nil
}

// sentBefore tells whether a request with a key is there already because its form was
// sent twice. For others AskOnce tells.
func (p *Page) sentBefore(ctx context.Context, request *v1alpha1.AccessRequest, err error) bool {
	if !apierrors.IsAlreadyExists(err) || request.Spec.CredentialKey == "" {
		return false
	}
	there, err := p.Cluster.In(request.Namespace).Request(ctx, request.Name)
	return err == nil && there.Spec.CredentialKey != "" && there.Spec.Requester.Username == p.Me.Username
}

// requestOf is the request that a form describes, or what is wrong with the form.
func (p *Page) requestOf(form asking.Form, namespace string, now time.Time) (*v1alpha1.AccessRequest, []fault) {
	var faults []fault
	if namespace == "" {
		faults = append(faults, fault{"namespace", "say in which namespace"})
	}
	spec, err := form.Spec(now)
	wrong := p.faultsOf(err)
	if len(wrong) == 0 {
		wrong = p.faultsOf(form.LookUp(&spec, func() (meta.RESTMapper, error) {
			if p.Kinds == nil {
				return nil, errors.New("the kinds of the cluster cannot be looked up here: use the command")
			}
			return p.Kinds()
		}))
	}
	if faults = append(faults, wrong...); len(faults) > 0 {
		return nil, faults
	}
	return form.Request(namespace, spec), nil
}

// preview rehearses a request, and foresees what would come of it.
func (p *Page) preview(ctx context.Context, form asking.Form, request *v1alpha1.AccessRequest, now time.Time) (*previewData, []fault) {
	shown := &previewData{Command: form.Command(request.Namespace)}
	rehearsed := request.DeepCopy()
	if form.Credential {
		if err := placeholderKey(rehearsed); err != nil {
			return nil, []fault{{Message: p.explain(err)}}
		}
	}
	if err := p.Cluster.Rehearse(ctx, rehearsed); err != nil {
		return nil, p.faultsOf(err)
	}
	if request.Name == "" {
		// As the API server would: sent twice, it is the same request.
		request.Name = rehearsed.Name
	}
	_, all, whole, err := p.offered(ctx)
	if err != nil {
		return nil, []fault{{Message: p.explain(err)}}
	}
	seen, warns, untold := p.see(ctx, rehearsed)
	if shown.Preview, err = view.PreviewOf(ctx, all, rehearsed, seen, now); err != nil {
		return nil, []fault{{Message: p.explain(err)}}
	}
	if !whole {
		untold = append(untold, "Whether there are other policies: they are still being read.")
	}
	shown.Warns, shown.Untold = append(shown.Warns, warns...), append(shown.Untold, untold...)
	shown.Send = shown.Answer != policy.NotAllowed
	if shown.YAML, err = yamlOf(rehearsed, form); err != nil {
		return nil, []fault{{Message: p.explain(err)}}
	}
	return shown, nil
}

// faultsOf says what is wrong with a form, at its fields as far as that is known.
func (p *Page) faultsOf(err error) []fault {
	if err == nil {
		return nil
	}
	if wrong := asking.Faults(nil); errors.As(err, &wrong) {
		return view.Each(wrong, func(f *asking.Fault) fault { return fault{f.Field, f.Says} })
	}
	if faults := invalidAt(err); len(faults) > 0 {
		return faults
	}
	if apierrors.IsAlreadyExists(err) || errors.Is(err, accessclient.ErrNotOurs) {
		return []fault{{"name", "there is another request of this name"}}
	}
	return []fault{{Message: p.Explain(err, "access-requester")}}
}
