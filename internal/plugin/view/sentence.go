package view

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// UsageSentence says in a line what access was used for, as a person would.
func UsageSentence(s usage.Summary, now time.Time) string {
	if s.Calls == 0 {
		return "no calls"
	}
	parts := []string{calls(s, now)}
	if n := len(s.Used); n > 0 {
		parts = append(parts, "used "+atLeast(n, s.More.Used)+" "+noun(n+s.More.Used, "right"))
	}
	if s.Refused > 0 && s.Refused < s.Calls {
		parts = append(parts, Plural(s.Refused, "call")+" refused")
	}
	parts = append(parts, deeds(s)...)
	if len(s.Created) > 0 {
		parts = append(parts, "created "+text.List(Each(s.Created, func(c usage.CreatedUse) string { return named(c.Object) }), maxWho))
	}
	for _, kind := range distinct(Each(s.Open, func(s usage.Session) string { return s.Kind })) {
		open := Keep(s.Open, func(s *usage.Session) bool { return s.Kind == kind })
		parts = append(parts, Plural(len(open), kind+" session")+" of which no end was seen")
	}
	return strings.Join(parts, "; ")
}

func calls(s usage.Summary, now time.Time) string {
	all := Plural(s.Calls, "call")
	if s.Refused == s.Calls {
		all += ", all refused"
	}
	return when(all, s.Calls, s, now)
}

// when says of so many calls how long they took, and how long ago that was.
func when(all string, n int, s usage.Summary, now time.Time) string {
	if s.Last.IsZero() {
		return all
	}
	since := span(now.Sub(s.Last)) + " ago"
	switch took := s.Last.Sub(s.First); {
	case n == 1:
		return all + ", " + since
	case took >= time.Second && !s.First.IsZero():
		all += " in " + span(took)
	}
	return all + ", the last " + since
}

// deeds are what people ask about first.
func deeds(s usage.Summary) []string {
	var parts []string
	if n, more := touched(s, "secrets", "", "get"); n+more > 0 {
		parts = append(parts, "read "+atLeast(n, more)+" "+noun(n+more, "Secret"))
	}
	if n := went(s, "", "secrets", "", "list", "watch"); n > 0 {
		parts = append(parts, "listed Secrets "+times(n))
	}
	for _, pod := range []struct{ subresource, did string }{
		{"exec", "ran commands in"}, {"attach", "attached to"}, {"portforward", "forwarded ports of"}, {"ephemeralcontainers", "debugged"},
	} {
		if n, more := touched(s, "pods", pod.subresource, "get", "create", "patch", "update"); n+more > 0 {
			parts = append(parts, pod.did+" "+atLeast(n, more)+" "+noun(n+more, "Pod"))
		}
	}
	if n := went(s, "", "serviceaccounts", "token", "create"); n > 0 {
		parts = append(parts, "made "+Plural(n, "token"))
	}
	if n := went(s, "rbac.authorization.k8s.io", "", "", "create", "update", "patch", "delete", "deletecollection"); n > 0 {
		parts = append(parts, "changed RBAC "+times(n))
	}
	if n := went(s, "*", "", "", "delete", "deletecollection"); n > 0 {
		parts = append(parts, "deleted "+times(n))
	}
	return parts
}

// touched are the objects of a resource of the core for which calls went well.
func touched(s usage.Summary, resource, subresource string, verbs ...string) (n, more int) {
	objects := map[[2]string]bool{}
	for _, use := range s.Used {
		if use.Group == "" && use.Resource == resource && use.Subresource == subresource && slices.Contains(verbs, use.Verb) {
			more += use.MoreNames
			for _, name := range use.Names {
				objects[[2]string{use.Namespace, name}] = true
			}
		}
	}
	return len(objects), more
}

// went counts the calls that went well: for a resource, for all of a group, or for
// anything (*).
func went(s usage.Summary, group, resource, subresource string, verbs ...string) (n int) {
	for _, use := range s.Used {
		if (group == "*" || use.Group == group) && (resource == "" || use.Resource == resource && use.Subresource == subresource) && slices.Contains(verbs, use.Verb) {
			n += use.Calls - use.Failed
		}
	}
	return n
}

// kindOf are the kinds of well-known resources: a log knows only resources.
var kindOf = map[string]string{
	"pods": "Pod", "secrets": "Secret", "configmaps": "ConfigMap", "services": "Service", "serviceaccounts": "ServiceAccount",
	"namespaces": "Namespace", "persistentvolumeclaims": "PersistentVolumeClaim", "persistentvolumes": "PersistentVolume",
	"deployments.apps": "Deployment", "statefulsets.apps": "StatefulSet", "daemonsets.apps": "DaemonSet", "replicasets.apps": "ReplicaSet",
	"jobs.batch": "Job", "cronjobs.batch": "CronJob", "ingresses.networking.k8s.io": "Ingress", "networkpolicies.networking.k8s.io": "NetworkPolicy",
	"roles.rbac.authorization.k8s.io": "Role", "rolebindings.rbac.authorization.k8s.io": "RoleBinding",
	"clusterroles.rbac.authorization.k8s.io": "ClusterRole", "clusterrolebindings.rbac.authorization.k8s.io": "ClusterRoleBinding",
}

// named names an object: Pod debug-x, or certificates.cert-manager.io web.
func named(o usage.Object) string {
	what := o.Resource
	if o.Group != "" {
		what += "." + o.Group
	}
	kind, known := kindOf[what]
	if !known {
		kind = word(what)
	}
	if o.Name == "" {
		return kind + " (its name is not in the log)"
	}
	return kind + " " + word(o.Name)
}

// Word is a text that users chose, such that it cannot be read as more than a word.
func Word(s string) string { return word(s) }

var plainWord = regexp.MustCompile(`^[-A-Za-z0-9._:@/*+=~]+$`)

// word is a text that users chose, such that it cannot be read as more than a word.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return text.Quote(s)
}

// Plural counts things: 1 call, 2 calls.
func Plural(n int, of string) string { return fmt.Sprintf("%d %s", n, noun(n, of)) }

func noun(n int, of string) string {
	if n == 1 {
		return of
	}
	return of + "s"
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return fmt.Sprintf("%d times", n)
}

// span is a span of time in words, in its largest unit.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d >= 2*unit.length || unit.length == time.Minute && d >= unit.length {
			return Plural(int(d/unit.length), unit.name)
		}
	}
	return Plural(int(max(0, d)/time.Second), "second")
}
