package advice

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// Right is what the authorizer is asked for: one verb on one object, on all objects
// of a resource, or on a path.
type Right struct {
	Verb string `json:"verb"`
	// Group and Resource, which has its subresource as pods/log; or Path.
	Group    string `json:"group,omitempty"`
	Resource string `json:"resource,omitempty"`
	Path     string `json:"path,omitempty"`
	// Namespace is empty for what only a ClusterRoleBinding gives.
	Namespace string `json:"namespace,omitempty"`
	// Name is empty for all names.
	Name string `json:"name,omitempty"`
}

func (r Right) compare(s Right) int {
	return cmp.Or(
		cmp.Compare(r.Namespace, s.Namespace), cmp.Compare(r.Group, s.Group), cmp.Compare(r.Resource, s.Resource),
		cmp.Compare(r.Path, s.Path), cmp.Compare(r.Name, s.Name), cmp.Compare(r.Verb, s.Verb),
	)
}

// Rule is the right as a rule, which says nothing of the namespace.
func (r Right) Rule() rbacv1.PolicyRule {
	rule := rbacv1.PolicyRule{Verbs: []string{r.Verb}}
	if r.Resource == "" {
		rule.NonResourceURLs = []string{r.Path}
		return rule
	}
	rule.APIGroups, rule.Resources = []string{r.Group}, []string{r.Resource}
	if r.Name != "" {
		rule.ResourceNames = []string{r.Name}
	}
	return rule
}

// what is RESOURCE[.GROUP][/SUBRESOURCE] or a path, safe to look at.
func (r Right) what() string {
	if r.Resource == "" {
		return shown(r.Path)
	}
	resource, subresource, found := strings.Cut(r.Resource, "/")
	if r.Group != "" {
		resource += "." + r.Group
	}
	if found {
		resource += "/" + subresource
	}
	return shown(resource)
}

// shown is a word as people can see it, in quotes when there is anything in it that
// could be taken for something else.
func shown(word string) string {
	if word == "" || strings.ContainsAny(word, " ,\"'`") || text.OneLine(word) != word {
		return text.Cut(text.Quote(word), maxShown)
	}
	return text.Cut(word, maxShown)
}

// maxShown is how much of a name a sentence shows.
const maxShown = 100

// Where names the namespace for people.
func (r Right) Where() string { return where(r.Namespace) }

func where(namespace string) string {
	if namespace == "" {
		return "the whole cluster"
	}
	return "namespace " + shown(namespace)
}

// String is the right as people read it: get pods/log web-1.
func (r Right) String() string {
	out := shown(r.Verb) + " " + r.what()
	if r.Name != "" {
		out += " " + shown(r.Name)
	}
	return out
}

// need is a right that a call needs. why is empty for what the event itself says.
type need struct {
	Right
	why string
}

// Why a call needs a right beyond that of its own verb. The API server asks for it
// without an event of its own.
const (
	applied  = "an update, patch or apply that creates the object needs create as well"
	upgraded = "a session over WebSockets comes as a get, and since Kubernetes 1.35 needs create as well"
	actsAs   = "a call as somebody else needs impersonate; for their groups, UID and extra values, which the reader of the log does not keep, it needs more"
)

// saPrefix begins the user name of a ServiceAccount.
const saPrefix = "system:serviceaccount:"

// sessions are the subresources that a WebSocket opens.
var sessions = []string{"pods/exec", "pods/attach", "pods/portforward"}

// errCut: what is not stored whole cannot be proposed.
var errCut = errors.New("it was too long to be stored whole")

// needs are the rights that a call needs. It fails for a call that no rule can
// allow without allowing more than the call.
func needs(e *usage.Event) ([]need, error) {
	// The authorizer sees the path decoded.
	path, err := url.PathUnescape(e.Path)
	if err != nil && e.Resource == "" {
		return nil, errors.New("its path cannot be decoded")
	}
	r := Right{Verb: e.Verb, Path: path}
	if e.Resource != "" {
		r = Right{Verb: e.Verb, Group: e.Group, Resource: e.Resource, Namespace: e.Namespace, Name: e.Name}
		if e.Subresource != "" {
			r.Resource += "/" + e.Subresource
		}
	}
	if err := r.exact(); err != nil {
		return nil, err
	}
	if e.Resource == "" {
		return []need{{Right: r}}, nil
	}
	// Whoever creates an object in a collection names it in the body, which the
	// authorizer does not see. The API server writes what the body says into the event.
	if e.Verb == "create" && e.Subresource == "" {
		r.Name = ""
		if outside(path, e.Namespace) {
			r.Namespace = ""
		}
	}
	if e.Verb == "deletecollection" {
		r.Name = ""
	}
	out := []need{{Right: r}}
	also := r
	also.Verb = "create"
	switch {
	case e.Code == http.StatusCreated && (e.Verb == "update" || e.Verb == "patch"):
		out = append(out, need{also, applied})
	case e.Verb == "get" && e.Group == "" && slices.Contains(sessions, r.Resource):
		out = append(out, need{also, upgraded})
	}
	return out, nil
}

// exact tells whether a rule can hold the right and nothing more: in rules, * stands
// for everything, and callers choose methods and paths.
func (r Right) exact() error {
	switch {
	case r.Verb == "":
		return errors.New("its method stands for no verb")
	case r.Resource == "" && r.Path == "":
		return errors.New("the event says neither a resource nor a path")
	case r.Verb == rbacv1.VerbAll, r.Group == rbacv1.APIGroupAll, r.Resource == rbacv1.ResourceAll,
		strings.HasPrefix(r.Resource, "*/"), strings.HasSuffix(r.Path, "*") && r.Resource == "":
		return errors.New("it has a * that a rule takes for everything")
	}
	return nil
}

// outside tells whether a path is not in the namespace that the event says.
func outside(path, namespace string) bool {
	return path != "" && namespace != "" && !strings.Contains(path, "/namespaces/"+namespace+"/")
}

// impersonates is the right by which a user called as another.
func impersonates(e *usage.Event) need {
	r := Right{Verb: "impersonate", Resource: "users", Name: e.Impersonated}
	if account, found := strings.CutPrefix(e.Impersonated, saPrefix); found {
		if namespace, name, ok := strings.Cut(account, ":"); ok {
			r.Resource, r.Namespace, r.Name = "serviceaccounts", namespace, name
		}
	}
	return need{r, actsAs}
}

// everybody is what each authenticated user may do, by system:discovery,
// system:public-info-viewer and system:basic-user.
var everybody = []rbacv1.PolicyRule{
	{Verbs: []string{"get"}, NonResourceURLs: []string{
		"/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/",
	}},
	{Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"selfsubjectaccessreviews", "selfsubjectrulesreviews"}},
	{Verbs: []string{"create"}, APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"selfsubjectreviews"}},
}

// forEverybody tells whether everybody has a right, and by which path: callers choose
// paths, and could choose any number of them.
func forEverybody(r Right) (Right, bool) {
	if !covered(everybody, r) || r.Resource != "" {
		return r, covered(everybody, r)
	}
	for _, path := range everybody[0].NonResourceURLs {
		if covered([]rbacv1.PolicyRule{{Verbs: []string{r.Verb}, NonResourceURLs: []string{path}}}, r) {
			return Right{Verb: r.Verb, Path: path}, true
		}
	}
	return r, true
}
