// Package refusal reads, in what a program printed, which rights the API server
// refused for want of RBAC, and finds what policies offer for them. What it reads may
// have been written by anybody: it only tells, and nothing may come of it but what
// somebody has seen and wanted.
package refusal

import (
	"regexp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Right is one that was refused.
type Right struct {
	// User whom the API server took the caller for.
	User string
	Verb string
	// Group and Resource, with a subresource as in pods/log; both empty for a Path.
	Group, Resource string
	// Name of the object, empty where the call was for none or the message has none.
	Name string
	// Namespace of the call, empty for the whole cluster.
	Namespace string
	// Path that is no resource.
	Path string
}

// MaxRights bounds how many rights are read from one output.
const MaxRights = 64

// maxOutput bounds how much of an output is looked at, in bytes: its end.
const maxOutput = 1 << 20

// maxLevels of quoting: a message in JSON, in a log line, in an error of a log line.
const maxLevels = 4

// quotedText is a text as %q writes it.
const quotedText = `"((?:[^"\\]|\\.)*)"`

// refused is the message of the API server, from Kubernetes 1.12 on, before that, and
// for paths. A reason may follow: `: RBAC: …`, `: requires one of […] permission(s).`,
// `: no RBAC policy matched`, `.: "Unknown user …"`. White space may have been wrapped.
var refused = regexp.MustCompile(strings.ReplaceAll(`(?:`+quotedText+` is forbidden: )?User `+quotedText+` cannot (\S+) (?:`+
	`resource "([^"\\]*)" in API group "([^"\\]*)" (?:in the namespace "([^"\\]*)"|(at the cluster scope))`+
	`|([a-z0-9./*-]+) (?:in the namespace "([^"\\]*)"|in project "([^"\\]*)"|(at the cluster scope))`+
	`|path `+quotedText+`)`, " ", `\s+`))

// The places of its parts.
const (
	inName = iota + 1
	inUser
	inVerb
	inResource
	inGroup
	inNamespace
	inCluster
	inOldResource
	inOldNamespace
	inProject
	inOldCluster
	inPath
)

// others refuse for other reasons than RBAC, and may say anything: nothing on the
// line after these words is taken for the API server's own.
var others = regexp.MustCompile(`admission webhook|AdmissionPolicy|denied the request`)

var unquoting = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

// Parse reads the rights that were refused, each once, in their order. What has a
// wildcard in it, or anything that no call has, is left out: rules would take it for
// more than the call was.
func Parse(output string) []Right {
	output = output[max(0, len(output)-maxOutput):]
	var found []Right
	for range maxLevels {
		for _, at := range refused.FindAllStringSubmatchIndex(output, -1) {
			line := output[strings.LastIndexByte(output[:at[0]], '\n')+1 : at[0]]
			if others.MatchString(line) || len(found) == MaxRights {
				continue
			}
			part := func(i int) string {
				if at[2*i] < 0 {
					return ""
				}
				return output[at[2*i]:at[2*i+1]]
			}
			if r, ok := rightOf(part); ok && !slices.Contains(found, r) {
				found = append(found, r)
			}
		}
		next := unquoting.Replace(output)
		if next == output {
			break
		}
		output = next
	}
	return found
}

func rightOf(part func(int) string) (Right, bool) {
	r := Right{
		User: unquoting.Replace(part(inUser)), Verb: part(inVerb), Name: unquoting.Replace(part(inName)),
		Group: part(inGroup), Resource: part(inResource), Namespace: part(inNamespace) + part(inOldNamespace) + part(inProject),
		Path: unquoting.Replace(part(inPath)),
	}
	if old := part(inOldResource); old != "" {
		resource, sub, has := strings.Cut(old, "/")
		r.Resource, r.Group, _ = strings.Cut(resource, ".")
		if has {
			r.Resource += "/" + sub
		}
	}
	return r, r.valid()
}

var (
	isVerb      = regexp.MustCompile(`^[a-z][a-zA-Z0-9-]{0,62}$`)
	isGroup     = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$`)
	isResource  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,252}(/[a-z0-9A-Z._/-]{1,128})?$`)
	isNamespace = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$`)
	isName      = regexp.MustCompile(`^[^\s*,"'/\\]{0,253}$`)
	isPath      = regexp.MustCompile(`^/[^\s*,"'\\]{0,254}$`)
)

// valid tells whether it is what a call can be, all of it can be seen, and it means
// no more than itself in a rule.
func (r Right) valid() bool {
	for _, s := range []string{r.User, r.Name, r.Path} {
		if s != text.Visible(s) || text.Fault(s) != "" {
			return false
		}
	}
	if r.User == "" || len(r.User) > 1024 || !isVerb.MatchString(r.Verb) {
		return false
	}
	if r.Path != "" {
		return isPath.MatchString(r.Path) && r.Name == ""
	}
	return isResource.MatchString(r.Resource) && isGroup.MatchString(r.Group) && isNamespace.MatchString(r.Namespace) && isName.MatchString(r.Name)
}

// Rule that allows the right and no more. A rule cannot name what is yet to be
// created, nor what is deleted together.
func (r Right) Rule() rbacv1.PolicyRule {
	if r.Path != "" {
		return rbacv1.PolicyRule{Verbs: []string{r.Verb}, NonResourceURLs: []string{r.Path}}
	}
	rule := rbacv1.PolicyRule{Verbs: []string{r.Verb}, APIGroups: []string{r.Group}, Resources: []string{r.Resource}}
	if creates := r.Verb == "create" && !strings.Contains(r.Resource, "/"); r.Name != "" && !creates && r.Verb != "deletecollection" {
		rule.ResourceNames = []string{r.Name}
	}
	return rule
}

// Rules that allow the rights and no more.
func Rules(rights []Right) []rbacv1.PolicyRule {
	all := make([]rbacv1.PolicyRule, len(rights))
	for i, r := range rights {
		all[i] = r.Rule()
	}
	return rules.Normalize(all)
}

// Lines says what rules allow, as kubectl access takes it for --rules.
func Lines(all []rbacv1.PolicyRule) []string {
	return rules.Show(all, rules.Limit{Lines: MaxRights, Bytes: MaxRights * rules.MaxLine}).Lines
}

// Place is where rights are missing: a namespace, or the whole cluster when it is "".
type Place struct {
	Namespace string
	Rights    []Right
}

// ByPlace parts rights by where they are missing, in their order: what one namespace
// lacks is not asked for in another.
func ByPlace(rights []Right) []Place {
	var places []Place
	for _, r := range rights {
		at := slices.IndexFunc(places, func(p Place) bool { return p.Namespace == r.Namespace })
		if at < 0 {
			at = len(places)
			places = append(places, Place{Namespace: r.Namespace})
		}
		places[at].Rights = append(places[at].Rights, r)
	}
	return places
}

// Rules that allow what is missing and no more.
func (p Place) Rules() []rbacv1.PolicyRule { return Rules(p.Rights) }

// String says what is missing as a sentence goes on after "you may not".
func (p Place) String() string { return strings.Join(Lines(p.Rules()), "; ") + in(p.Namespace) }

// String says the right as a sentence goes on after "you may".
func (r Right) String() string {
	return strings.Join(Lines([]rbacv1.PolicyRule{r.Rule()}), "; ") + in(r.Namespace)
}

func in(namespace string) string {
	if namespace == "" {
		return " in the whole cluster"
	}
	return " in namespace " + namespace
}
