package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/expression"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Request is all of an AccessRequest that a policy decides on.
type Request struct {
	// Object is the request as conditions see it.
	Object map[string]any
	// Namespace that the request lies in.
	Namespace  string
	Requester  v1alpha1.UserInfo
	Subjects   []v1alpha1.Subject
	RoleRef    *v1alpha1.RoleRef
	Rules      []v1alpha1.PolicyRule
	Namespaces []Namespace
	Cluster    bool
	// Duration asked for; nil for the policy's default.
	Duration *time.Duration
	// PolicyName picks one policy, if set.
	PolicyName string
	// HasTask is true when the request names a task, whether or not it is there.
	HasTask bool
	// Issued is true when the request asks for a credential of its own.
	Issued bool
	// Task as conditions see it; nil while it is not there.
	Task map[string]any
	// Version of the cluster, if a condition reads it.
	Version Version
	// Extends is set when the request asks for more time of access that is held.
	Extends *Extension
}

// Extension of access that is held.
type Extension struct {
	// Policy that decided on that access: it alone decides on more time.
	Policy types.UID
	// Number of extensions that there would be with this one.
	Number int32
	// From is the deadline of that access: what is asked for begins there.
	From time.Time
}

// Namespace is a namespace that access is asked in.
type Namespace struct {
	Name   string
	Labels map[string]string
	// Object is the namespace as conditions see it.
	Object map[string]any
}

// Answer is what the policies say to a request.
type Answer string

const (
	// Allowed: Match.Policy decides the request.
	Allowed Answer = "Allowed"
	// NotAllowed: no policy allows it.
	NotAllowed Answer = "NotAllowed"
	// Unknown: a policy that might allow it cannot be used at the moment.
	Unknown Answer = "Unknown"
)

// Match is the outcome of matching a request to the policies.
type Match struct {
	Answer Answer
	// Policy that decides, when Allowed.
	Policy *Policy
	// Duration of the access, when Allowed.
	Duration time.Duration
	// Stages of its approvals for this request, when Allowed.
	Stages []v1alpha1.StageApproval
	// Latest moment at which the access can begin, when Allowed: the requester may use
	// the policy for no longer. Zero when nothing limits it.
	Latest time.Time
	// About is true, when NotAllowed, if there is a policy about this request, or the
	// one that it names: the request is not refused because a policy is missing.
	About bool
	// Message for the requester.
	Message string
}

// Find matches a request to the policies: of those that allow it, and whose
// approvals can be given for this request, the most careful one decides (most
// approvals, ties by name). now is the moment at which the access would begin.
func Find(ctx context.Context, policies []*Policy, r Request, now time.Time) Match {
	var (
		allowing []Match
		nearest  *miss
		unknown  []string
	)
	for _, p := range policies {
		if r.PolicyName != "" && p.Name != r.PolicyName {
			continue
		}
		m := p.check(ctx, r, now)
		if len(m.why) == 0 && m.unknown == nil {
			m.unknown = p.closed(now)
		}
		if len(m.why) == 0 && p.notReady == nil {
			stages, why := p.stagesFor(r)
			if why == "" {
				why = unmeetable(stages, r.Requester.Username, r.Subjects)
			}
			if why == "" {
				why = p.unreviewable(stages, r)
			}
			if why != "" {
				m.why, m.unknown = []string{why}, nil
			}
			m.stages = stages
		}
		switch {
		case m.unknown != nil:
			unknown = append(unknown, fmt.Sprintf("policy %q cannot be used: %v", p.Name, m.unknown))
		case len(m.why) == 0:
			allowing = append(allowing, Match{
				Answer: Allowed, Policy: p, Duration: p.duration(r), Stages: m.stages, Latest: p.latest(r), Message: fmt.Sprintf("policy %q allows it", p.Name),
			})
		case nearest == nil || m.before(nearest):
			nearest = m
		}
	}
	if len(allowing) > 0 {
		return slices.MinFunc(allowing, func(a, b Match) int {
			return cmp.Or(-cmp.Compare(v1alpha1.RequiredBy(a.Stages), v1alpha1.RequiredBy(b.Stages)), strings.Compare(a.Policy.Name, b.Policy.Name))
		})
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return Match{Answer: Unknown, Message: strings.Join(unknown, "; ")}
	}
	return Match{Answer: NotAllowed, About: nearest != nil && (r.PolicyName != "" || nearest.about()), Message: refusal(r, nearest)}
}

// Allows tells whether a policy allows a request, and if not, why not. It is asked
// again when the policy of an active grant changes; an error means that the answer
// is not known now. A policy that gives nothing more, because its review is overdue or
// nobody has confirmed it, still allows what it allows.
func (p *Policy) Allows(ctx context.Context, r Request, now time.Time) (bool, string, error) {
	m := p.check(ctx, r, now)
	if m.unknown != nil {
		return false, "", m.unknown
	}
	return len(m.why) == 0, strings.Join(m.why, " and "), nil
}

// Depends tells whether what the policy allows depends on the content of namespaces,
// and not only on their names.
func (p *Policy) Depends() bool { return p.namespaces != nil || p.ConditionsRead("namespaceObject") }

// ConditionsRead tells whether any condition reads a variable.
func (p *Policy) ConditionsRead(variable string) bool {
	return slices.ContainsFunc(p.conditions, func(c condition) bool { return c.program.Reads(variable) })
}

// Without is the policy without those of its conditions that read one of the variables,
// and their names: for whoever cannot see what they read.
func (p *Policy) Without(variables ...string) (*Policy, []string) {
	rest := *p
	rest.conditions = nil
	var left []string
	for _, c := range p.conditions {
		if slices.ContainsFunc(variables, func(v string) bool { return c.program.Reads(v) }) {
			left = append(left, c.Name)
			continue
		}
		rest.conditions = append(rest.conditions, c)
	}
	return &rest, left
}

// StillAllows tells whether a policy that has not changed since it allowed a request
// still allows it with the namespaces as they are now. It checks only what depends
// on them. It checks a condition that also reads the task, which changes by itself,
// only when a namespace has changed. It returns what Allows returns.
func (p *Policy) StillAllows(ctx context.Context, r Request, now time.Time, changed bool) (bool, string, error) {
	var why []string
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	p.checkScope(r, add)
	if len(why) == 0 {
		if err := p.checkConditions(ctx, r, now, add, func(c condition) bool {
			return c.program.Reads("namespaceObject") && (changed || !c.program.Reads("task"))
		}); err != nil {
			return false, "", err
		}
	}
	return len(why) == 0, strings.Join(why, " and "), nil
}

// miss is how far a policy is from allowing a request.
type miss struct {
	policy *Policy
	// stranger is true when the requester is not among the policy's requesters,
	// as far as is known.
	stranger bool
	// elsewhere counts those of role, scope and subjects that the policy is not about.
	elsewhere int
	// outside is how many of the namespaces it does not cover.
	outside int
	// otherRole is false when it allows a role of that name.
	otherRole bool
	// over is by how much the duration is longer than the policy allows.
	over time.Duration
	// why in words that go after "which", none when the policy allows it.
	why     []string
	unknown error
	// stages of the approvals, when the policy allows it.
	stages []v1alpha1.StageApproval
}

// about tells whether the policy is about such a request: who asks for what,
// where and for whom fits.
func (m *miss) about() bool { return !m.stranger && m.elsewhere == 0 }

// before tells whether m misses less than other: a policy for the requester comes
// first, then one about what is asked, then the one with fewer misses, and of two
// with as many the one that falls short by less.
func (m *miss) before(other *miss) bool {
	return cmp.Or(
		isLess(m.stranger, other.stranger),
		cmp.Compare(m.elsewhere, other.elsewhere),
		cmp.Compare(len(m.why), len(other.why)),
		isLess(m.otherRole, other.otherRole),
		cmp.Compare(m.outside, other.outside),
		cmp.Compare(m.over, other.over),
		strings.Compare(m.policy.Name, other.policy.Name),
	) < 0
}

// isLess orders false before true.
func isLess(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// check compares a request with every part of a policy. Conditions come last and
// only when all else fits: they are the only part that can fail to give an answer,
// and a policy that is not for this request is no reason to wait.
func (p *Policy) check(ctx context.Context, r Request, now time.Time) *miss {
	m := &miss{policy: p}
	add := func(format string, args ...any) { m.why = append(m.why, fmt.Sprintf(format, args...)) }

	p.checkRequester(m, r, now, add)
	known := len(m.why)
	p.checkRole(r, add)
	p.checkScope(r, add)
	p.checkSubjects(r, add)
	m.elsewhere = len(m.why) - known
	m.outside, m.otherRole = len(p.outside(r)), !p.names(r.RoleRef)
	if d := p.duration(r); d > p.Spec.MaxDuration.Duration {
		m.over = max(m.over, d-p.Spec.MaxDuration.Duration)
		add("allows at most %s", text.Duration(p.Spec.MaxDuration.Duration))
	}
	if p.Spec.Task == v1alpha1.TaskRequired && !r.HasTask {
		add("requires a task")
	}
	p.checkCredential(r, add)
	p.checkExtension(r, add)
	if len(m.why) > 0 {
		return m
	}
	if p.notReady != nil {
		m.unknown = p.notReady
		return m
	}
	m.unknown = p.checkConditions(ctx, r, now, add, func(condition) bool { return true })
	return m
}

type addFunc func(format string, args ...any)

func (p *Policy) checkRole(r Request, add addFunc) {
	if r.RoleRef != nil {
		if slices.Contains(p.Spec.Roles, *r.RoleRef) {
			return
		}
		names := make([]string, len(p.Spec.Roles))
		for i, role := range p.Spec.Roles {
			names[i] = role.Name
			if role.Kind != r.RoleRef.Kind {
				names[i] = role.Kind + " " + role.Name
			}
		}
		if len(names) == 0 {
			add("allows rules only, no role")
			return
		}
		add("allows %s", strings.Join(names, ", "))
		return
	}
	if ok, _ := rules.Covers(v1alpha1.RBACRules(p.Spec.Rules), v1alpha1.RBACRules(r.Rules)); !ok {
		add("does not cover all of the rules")
	}
}

func (p *Policy) checkScope(r Request, add addFunc) {
	if r.Cluster {
		if p.Spec.ClusterScope != v1alpha1.ClusterScopeAllowed {
			add("forbids cluster-wide access")
		}
		return
	}
	if outside := p.outside(r); len(outside) > 0 {
		add("does not cover namespace %s", strings.Join(outside, ", "))
	}
}

// outside are the namespaces of a request that the policy does not cover.
func (p *Policy) outside(r Request) []string {
	var outside []string
	for _, ns := range r.Namespaces {
		if !p.covers(ns) {
			outside = append(outside, ns.Name)
		}
	}
	return outside
}

// names tells whether the policy allows a role of that name, of either kind.
func (p *Policy) names(ref *v1alpha1.RoleRef) bool {
	return ref == nil || slices.ContainsFunc(p.Spec.Roles, func(role v1alpha1.RoleRef) bool { return role.Name == ref.Name })
}

func (p *Policy) covers(ns Namespace) bool {
	if p.Spec.Namespaces == nil {
		return false
	}
	return slices.Contains(p.Spec.Namespaces.Names, ns.Name) ||
		(p.namespaces != nil && p.namespaces.Matches(labels.Set(ns.Labels)))
}

func (p *Policy) checkSubjects(r Request, add addFunc) {
	self := identity.SubjectOf(r.Requester)
	for _, s := range r.Subjects {
		switch {
		case s == self, p.Spec.Subjects == v1alpha1.SubjectsAny:
		case p.Spec.Subjects == v1alpha1.SubjectsServiceAccounts:
			if s.Kind != v1alpha1.ServiceAccountKind || s.Namespace != r.Namespace {
				add("allows other subjects only when they are ServiceAccounts of namespace %s, which %s is not", r.Namespace, text.Subject(s))
				return
			}
		default:
			add("allows access for the requester only, not for %s", text.Subject(s))
			return
		}
	}
}

// checkCredential compares as whom the access is to be used.
func (p *Policy) checkCredential(r Request, add addFunc) {
	switch issues := p.Spec.Credential == v1alpha1.CredentialIssued; {
	case issues && !r.Issued:
		add("issues a credential: ask with --credential")
	case !issues && r.Issued:
		add("gives the access to the requester's own identity: ask without --credential")
	}
}

// checkExtension compares how often access was extended with what the policy allows.
func (p *Policy) checkExtension(r Request, add addFunc) {
	most := p.Spec.MaxExtensions
	switch e := r.Extends; {
	case e == nil:
	case e.Policy != p.UID:
		add("is not the policy that gave the access, only one of its name")
	case most == 0:
		add("allows no extensions: ask for new access")
	case e.Number > most:
		add("has maxExtensions %d, and this would be extension number %d: ask for new access", most, e.Number)
	}
}

// checkConditions evaluates the CEL conditions that the function which selects, for
// each namespace. One that is plainly false is an answer, even if others fail.
func (p *Policy) checkConditions(ctx context.Context, r Request, now time.Time, add addFunc, which func(condition) bool) error {
	namespaces := r.Namespaces
	if r.Cluster {
		namespaces = []Namespace{{}}
	}
	var failed error
	refused := false
	for _, c := range p.conditions {
		if !which(c) {
			continue
		}
		if what := unseen(c.program, r.Requester); what != "" {
			refused = true
			add("has the condition %q, which reads %s", c.Name, what)
			continue
		}
		if c.program.Reads("cluster") && !r.Version.known() {
			failed = cmp.Or(failed, fmt.Errorf("condition %q: the version of the cluster is not known: %w", c.Name, r.Version.Err))
			continue
		}
		for _, ns := range namespaces {
			holds, err := c.program.Eval(ctx, map[string]any{
				"request":         r.Object,
				"namespaceObject": nullable(ns.Object),
				"task":            nullable(r.Task),
				"now":             now,
				"cluster":         r.Version.seen(),
			})
			if err != nil {
				failed = cmp.Or(failed, fmt.Errorf("condition %q: %w", c.Name, err))
				continue
			}
			if !holds {
				refused = true
				why := text.Trim(c.Message)
				if why == "" {
					why = c.Expression
				}
				add("has the condition %q (%s), which does not hold", c.Name, why)
				break
			}
		}
	}
	if refused {
		return nil
	}
	return failed
}

// leftOut says that a requester may be in a group that the policy names after all,
// because the stored copy has only some of their groups.
func leftOut(requesters []v1alpha1.PolicySubject, user v1alpha1.UserInfo) string {
	named := slices.ContainsFunc(requesters, func(s v1alpha1.PolicySubject) bool { return s.Kind == v1alpha1.GroupKind })
	if !named || user.OmittedGroups == 0 {
		return ""
	}
	return fmt.Sprintf(", and %s is in none of these groups, as far as is known (a request keeps %d of their %d groups): name the user instead, or a group of less than 2,049 characters that comes sooner",
		user.Username, len(user.Groups), len(user.Groups)+int(user.OmittedGroups))
}

// unseen names what a condition reads of the requester and the stored copy leaves
// out: a condition such as !('contractors' in groups) must not hold for that reason.
func unseen(condition *expression.Program, user v1alpha1.UserInfo) string {
	if user.OmittedGroups > 0 && condition.Reads("request", "spec", "requester", "groups") {
		return fmt.Sprintf("the requester's groups, of which a request does not keep %d: they are too many or too long", user.OmittedGroups)
	}
	for _, key := range user.OmittedExtra {
		if condition.Reads("request", "spec", "requester", "extra", key) {
			return fmt.Sprintf("%q of the requester's extra, which requests do not keep: an administrator can add it to keptExtra", key)
		}
	}
	return ""
}

func nullable(object map[string]any) any {
	if object == nil {
		return nil
	}
	return object
}

func (p *Policy) duration(r Request) time.Duration {
	switch {
	case r.Duration != nil:
		return *r.Duration
	case p.Spec.DefaultDuration != nil:
		return p.Spec.DefaultDuration.Duration
	}
	return p.Spec.MaxDuration.Duration
}

func refusal(r Request, nearest *miss) string {
	what := "these rules"
	if r.RoleRef != nil {
		what = r.RoleRef.Kind + " " + r.RoleRef.Name
	}
	if nearest == nil {
		if r.PolicyName != "" {
			return fmt.Sprintf("there is no policy %q", r.PolicyName)
		}
		return fmt.Sprintf("no policy lets %s request %s: there are no policies yet", text.Person(r.Requester.Username, r.Requester.Groups, maxShown), what)
	}
	if r.PolicyName != "" {
		return fmt.Sprintf("policy %q does not let %s request %s%s: it %s", r.PolicyName, text.Person(r.Requester.Username, r.Requester.Groups, maxShown), what, where(r), strings.Join(nearest.why, " and "))
	}
	return fmt.Sprintf("no policy lets %s request %s%s; closest is %q, which %s", text.Person(r.Requester.Username, r.Requester.Groups, maxShown), what, where(r), nearest.policy.Name, strings.Join(nearest.why, " and "))
}

// maxShown is how many groups and namespaces a refusal names.
const maxShown = 8

func where(r Request) string {
	if r.Cluster {
		return " in the whole cluster"
	}
	names := make([]string, len(r.Namespaces))
	for i, ns := range r.Namespaces {
		names[i] = ns.Name
	}
	return " in " + text.List(names, maxShown)
}
