package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// second is a check that the API server makes while it handles a call, without an
// event of its own. Which right it asks for depends on what the object says.
type second struct {
	verbs    []string
	group    string
	resource string
	says     string
}

var writes = []string{"create", "update", "patch"}

var seconds = []second{
	{writes, "rbac.authorization.k8s.io", "roles", "Roles were written: whoever writes one needs all it allows, or escalate on it; which of the two was used is not logged."},
	{writes, "rbac.authorization.k8s.io", "clusterroles", "ClusterRoles were written: whoever writes one needs all it allows, or escalate on it; which of the two was used is not logged."},
	{writes, "rbac.authorization.k8s.io", "rolebindings", "RoleBindings were written: whoever writes one needs all that its role allows, or bind on the role; which of the two was used is not logged."},
	{writes, "rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBindings were written: whoever writes one needs all that its role allows, or bind on the role; which of the two was used is not logged."},
	{writes, "certificates.k8s.io", "certificatesigningrequests/approval", "CertificateSigningRequests were approved or denied: that needs approve on the signer, whose name is not logged."},
	{writes, "certificates.k8s.io", "certificatesigningrequests/status", "Certificates were issued: that needs sign on the signer, whose name is not logged."},
	{writes, "", "pods", "Pods were written: on OpenShift and the like, use on a SecurityContextConstraints may be needed, which is not logged."},
	{[]string{"impersonate"}, "", "users", "Somebody acted as another user: their groups, UID and extra values need impersonate as well, and are not proposed."},
	{[]string{"impersonate"}, "", "serviceaccounts", "Somebody acted as a ServiceAccount: groups, UID and extra values that were sent need impersonate as well, and are not proposed."},
}

// unseen says what the log cannot show, as far as it concerns these calls.
func (c *Collector) unseen(a Advice) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case c.stored != nil:
		out = c.unseenStored(a)
	case a.From.IsZero():
		say("The log has no call.")
	default:
		say("The log goes from %s to %s (%s). What happens less often is not in it: a quarterly job, a restore, break-glass.",
			text.Moment(a.From), text.Moment(a.To), span(a.To.Sub(a.From)))
	}
	if a.Gap != nil {
		say("From %s to %s the log has no call of anybody: events are missing, or nothing ran.", text.Moment(a.Gap.From), text.Moment(a.Gap.To))
	}
	say("What the audit policy leaves out, and events that were lost, are not in it. Neither is what was refused before authorization, because nobody was authenticated or too much was asked at a time.")
	if c.stored == nil && (c.options.Of.Role != "" || c.options.Of.Binding != "") {
		say("The API server names one binding for each call, a ClusterRoleBinding before any other. Calls that another binding allowed as well may be counted there.")
	}
	if bindings, calls := c.others(); calls > 0 {
		say("Other bindings allowed calls of the same people, which do not count here (%d): %s.", calls, text.List(bindings, 5))
	}
	if c.left > 0 {
		say("Calls were left out (%d), because there are more than %d distinct rights.", c.left, c.options.MaxRights)
	}
	said := map[string]bool{}
	for _, used := range a.Rights {
		for _, check := range seconds {
			if used.Group == check.group && used.Resource == check.resource && slices.Contains(check.verbs, used.Verb) && !said[check.says] {
				said[check.says] = true
				out = append(out, check.says)
			}
		}
	}
	return out
}

// span is how long a log is.
func span(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return text.Duration(d.Truncate(time.Second))
}

// others are the bindings that allowed other calls of the same people, most calls
// first, and how many calls.
func (c *Collector) others() (names []string, calls int) {
	all := map[usage.Binding]int{}
	for who, of := range c.elsewhere {
		if _, known := c.people[who]; !known {
			continue
		}
		for binding, n := range of {
			all[binding] += n
			calls += n
		}
	}
	for _, b := range slices.SortedFunc(maps.Keys(all), func(a, b usage.Binding) int {
		return cmp.Or(all[b]-all[a], strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	}) {
		name := b.Kind + " " + b.Name
		if b.Namespace != "" {
			name = b.Kind + " " + b.Namespace + "/" + b.Name
		}
		names = append(names, text.OneLine(name))
	}
	return names, calls
}
