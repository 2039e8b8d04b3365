package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/policy"
	"github.com/accessbroker/accessbroker/internal/resolve"
	"github.com/accessbroker/accessbroker/internal/text"
	"github.com/accessbroker/accessbroker/internal/usage"
)

// maxLately bounds each list that expressions see.
const maxLately = 64

// lately is the usage of a grant so far, as expressions see it. It counts events
// before they are stored: a suspicious use is told at once.
type lately struct {
	calls, refused, failed, shared int64
	first, last                    time.Time
	addresses, clients, users      []string
	risks                          map[string]int64
	allCalls, allRefused           minute
}

// minute counts what came in the last minute, to within two seconds.
type minute struct {
	counts [30]int64
	at     int64
}

const slot = 2 * time.Second

func (m *minute) move(to time.Time) {
	now := to.UnixNano() / int64(slot)
	for n := 0; m.at < now && n < len(m.counts); n++ {
		m.at++
		m.counts[int(m.at)%len(m.counts)] = 0
	}
	m.at = max(m.at, now)
}

func (m *minute) add(at time.Time) {
	m.move(at)
	m.counts[int(at.UnixNano()/int64(slot))%len(m.counts)]++
}

func (m *minute) sum(at time.Time) (sum int64) {
	m.move(at)
	for _, n := range m.counts {
		sum += n
	}
	return sum
}

func (l *lately) restore(s *v1alpha1.AccessUsageStatus) {
	l.calls, l.refused, l.failed, l.shared = s.Calls, s.RefusedCalls, s.FailedCalls, s.SharedCalls
	if s.FirstCall != nil {
		l.first = s.FirstCall.Time
	}
	if s.LastCall != nil {
		l.last = s.LastCall.Time
	}
	for _, c := range s.Callers {
		l.addresses, l.clients, l.users = noted(l.addresses, c.Address), noted(l.clients, product(c.UserAgent)), noted(l.users, c.User)
	}
	l.risks = map[string]int64{}
	for _, r := range s.Risks {
		l.risks[r.Kind] = r.Count
	}
}

// add takes an event into account.
func (l *lately) add(e *usage.Event, shared bool) {
	if l.first.IsZero() {
		l.first = e.Received
	}
	l.last = latest(l.last, e.Received)
	l.addresses, l.clients, l.users = noted(l.addresses, address(e)), noted(l.clients, product(e.UserAgent)), noted(l.users, text.Cut(e.User, 256))
	if !e.Allowed {
		l.refused++
		l.allRefused.add(e.Received)
		return
	}
	l.calls++
	l.allCalls.add(e.Received)
	switch {
	case e.Code >= 400:
		l.failed++
	default:
		if l.risks == nil {
			l.risks = map[string]int64{}
		}
		right, _ := usage.RightOf(e)
		for _, kind := range right.Risks() {
			l.risks[kind]++
		}
	}
	if shared {
		l.shared++
	}
}

func noted(list []string, item string) []string {
	if item == "" || len(list) >= maxLately || slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

// values are the variable usage: what came before the event.
func (l *lately) values(e *usage.Event) map[string]any {
	risks := make(map[string]any, len(l.risks))
	for kind, n := range l.risks {
		risks[kind] = n
	}
	return map[string]any{
		"calls": l.calls, "refusedCalls": l.refused, "failedCalls": l.failed, "sharedCalls": l.shared,
		"refusedLately": l.allRefused.sum(e.Received), "callsLately": l.allCalls.sum(e.Received),
		"addresses": anyOf(l.addresses, address(e)), "clients": anyOf(l.clients, ""), "users": anyOf(l.users, ""),
		"risks": risks, "firstCall": timeOrNull(l.first), "lastCall": timeOrNull(l.last),
	}
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func anyOf(list []string, without string) []any {
	out := []any{}
	for _, item := range list {
		if item != without {
			out = append(out, item)
		}
	}
	return out
}

// product is the client in a user agent: kubectl of kubectl/v1.37.2 (linux/amd64).
func product(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, "/")
	return text.Cut(strings.TrimSpace(name), 256)
}

// address is the one that the API server saw.
func address(e *usage.Event) string {
	if len(e.Addresses) == 0 {
		return ""
	}
	return text.Cut(e.Addresses[len(e.Addresses)-1], 256)
}

// eventValues are the variable event.
func eventValues(e *usage.Event, withObject bool) map[string]any {
	claimed := ""
	if len(e.Addresses) > 1 {
		claimed = e.Addresses[0]
	}
	values := map[string]any{
		"user": e.User, "as": e.Impersonated, "groups": anyOf(e.Groups, ""), "verb": e.Verb, "group": e.Group, "resource": e.Resource, "subresource": e.Subresource,
		"namespace": e.Namespace, "name": e.Name, "path": e.Path, "code": int64(e.Code), "allowed": e.Allowed,
		"address": address(e), "claimedAddress": claimed, "userAgent": e.UserAgent, "client": product(e.UserAgent), "time": e.Received, "object": nil,
	}
	if withObject && len(e.Object) > 0 {
		var object map[string]any
		if json.Unmarshal(e.Object, &object) == nil {
			values["object"] = object
		}
	}
	return values
}

// finding is a suspicious use that was seen once.
type finding struct {
	name    string
	action  v1alpha1.SuspiciousAction
	message string
	at      time.Time
}

// suspect evaluates what the policy of a grant calls suspicious, over an event that
// is not in the usage so far.
func (o *Observer) suspect(ctx context.Context, g *v1alpha1.AccessGrant, l *lately, e *usage.Event) (found []finding) {
	uses := o.suspicious(ctx, g)
	if len(uses) == 0 {
		return nil
	}
	body := slices.ContainsFunc(uses, func(u policy.Suspicious) bool { return u.Program.Reads("event", "object") })
	vars := map[string]any{"event": eventValues(e, body), "usage": l.values(e), "known": o.known.values(person(e.Actor(), g.Spec.Requester.Username))}
	object, err := resolve.AsMap(g)
	if err != nil {
		return nil
	}
	vars["grant"] = object
	for _, use := range uses {
		yes, err := use.Program.Eval(ctx, vars)
		if err != nil {
			o.metrics.expressionErrors.Inc()
			logf.FromContext(ctx).V(1).Info("a suspicious use cannot be evaluated", "policy", g.Spec.PolicyRef.Name, "use", use.Name, "error", err.Error())
			continue
		}
		if yes {
			found = append(found, finding{use.Name, use.Action, text.Cut(strings.TrimSpace(use.Message+" ("+call(e)+")"), 1000), e.Received})
		}
	}
	return found
}

// suspicious are the uses that the policy of a grant names.
func (o *Observer) suspicious(ctx context.Context, g *v1alpha1.AccessGrant) []policy.Suspicious {
	object := &v1alpha1.AccessPolicy{}
	if err := o.Cache.Get(ctx, types.NamespacedName{Name: g.Spec.PolicyRef.Name}, object); err != nil || object.UID != g.Spec.PolicyRef.UID {
		return nil
	}
	return o.Policies.Compile(object).Suspicious()
}

// call says in a line what was called.
func call(e *usage.Event) string {
	what := e.Resource
	if e.Subresource != "" {
		what += "/" + e.Subresource
	}
	if e.Name != "" {
		what += " " + e.Name
	}
	if e.Namespace != "" {
		what += " in " + e.Namespace
	}
	if e.Resource == "" {
		what = e.Path
	}
	return text.Visible(text.Cut(fmt.Sprintf("%s: %s %s from %s", e.Actor(), e.Verb, what, address(e)), 512))
}

// known is what earlier usages say of users.
type knownUsers struct {
	mu sync.Mutex
	of map[string]*knownUser
}

type knownUser struct {
	grants             map[string]bool
	clients, addresses []string
}

// maxKnown bounds how many users are remembered.
const maxKnown = 10_000

// person is who a user of a grant is: whoever holds an issued credential counts as its
// requester, because each grant has another one.
func person(user, requester string) string {
	if identity.Issued(user) {
		return requester
	}
	return user
}

func requesterOf(b *book) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.grant == nil {
		return ""
	}
	return b.grant.Spec.Requester.Username
}

// learn takes a usage into account, of a grant of a requester; empty when that is not
// known.
func (k *knownUsers) learn(u *v1alpha1.AccessUsage, requester string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range u.Status.Callers {
		user := c.User
		if c.As != "" {
			user = c.As
		}
		if user = person(user, requester); user == "" {
			continue
		}
		known := k.of[user]
		if known == nil {
			if len(k.of) >= maxKnown {
				continue
			}
			if k.of == nil {
				k.of = map[string]*knownUser{}
			}
			known = &knownUser{grants: map[string]bool{}}
			k.of[user] = known
		}
		if len(known.grants) < maxLately {
			known.grants[u.Name] = true
		}
		known.clients, known.addresses = noted(known.clients, product(c.UserAgent)), noted(known.addresses, c.Address)
	}
}

// values are the variable known for a user. A grant that is observed now is learned
// when it is closed.
func (k *knownUsers) values(user string) map[string]any {
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.of[user]
	if known == nil {
		return map[string]any{"grants": int64(0), "clients": []any{}, "addresses": []any{}}
	}
	return map[string]any{"grants": int64(len(known.grants)), "clients": anyOf(known.clients, ""), "addresses": anyOf(known.addresses, "")}
}
