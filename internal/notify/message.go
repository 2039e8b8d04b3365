package notify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/rules"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Data is the data of a CloudEvent. What is not known yet in a phase is left out.
type Data struct {
	// Phase that was entered; of usage, the condition that is True, or Idle; of a review
	// Waiting, Overdue or Done.
	Phase string `json:"phase"`
	// Message says why, for people.
	Message string `json:"message,omitempty"`
	// Request that it is about, also when the event is a grant's.
	Request Ref `json:"request"`
	// Grant is the name of the AccessGrant.
	Grant string `json:"grant,omitempty"`
	// Requester who asked, and Subjects who get the access.
	Requester string `json:"requester"`
	Subjects  string `json:"subjects"`
	// Role such as ClusterRole/edit, or "rules" with the Rules.
	Role  string                `json:"role"`
	Rules []v1alpha1.PolicyRule `json:"rules,omitempty"`
	// Scope is the namespaces, the selector, or * for the cluster.
	Scope string `json:"scope"`
	// Extends is the request or, in an event of a grant, the grant that this one gives
	// more time to.
	Extends string `json:"extends,omitempty"`
	// Duration and StartTime that were asked for.
	Duration  string       `json:"duration,omitempty"`
	StartTime *metav1.Time `json:"startTime,omitempty"`
	Reason    string       `json:"reason"`
	Ticket    string       `json:"ticket,omitempty"`
	Policy    string       `json:"policy,omitempty"`
	// Approvals that are needed, stage by stage; Approvers are all whom to ask, and
	// RequiredApprovals how many in all, once a policy is matched.
	Approvals         []Stage  `json:"approvals,omitempty"`
	Approvers         []string `json:"approvers,omitempty"`
	RequiredApprovals *int     `json:"requiredApprovals,omitempty"`
	// Risks: what the holder could do beyond the role.
	Risks []string `json:"risks,omitempty"`
	// Decisions so far.
	Decisions []Decision `json:"decisions,omitempty"`
	// ExpirationTime is when the access ends at the latest.
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`
	// EndReason is why it ended, in one word, and EndedBy who ended it, if anybody.
	EndReason string `json:"endReason,omitempty"`
	EndedBy   string `json:"endedBy,omitempty"`
	// Command opens the page at the request, where somebody has something to do there.
	Command string `json:"command,omitempty"`
}

// Ref names a request.
type Ref struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Stage is one of the approvals that a request needs.
type Stage struct {
	Name string `json:"name"`
	// From whom Count approvals are needed, and who has Approved.
	From     []string `json:"from"`
	Count    int32    `json:"count"`
	Approved []string `json:"approved,omitempty"`
}

// Decision is who said what.
type Decision struct {
	Verdict  string `json:"verdict"`
	Username string `json:"username"`
	Comment  string `json:"comment,omitempty"`
	// MaxDuration and NotAfter are what an approval allows at most.
	MaxDuration string       `json:"maxDuration,omitempty"`
	NotAfter    *metav1.Time `json:"notAfter,omitempty"`
}

// dataOf is the data of one transition of an object.
func dataOf(o client.Object, t transition) Data {
	var d Data
	switch o := o.(type) {
	case *v1alpha1.AccessGrant:
		d = grantData(o, t)
	case *v1alpha1.AccessRequest:
		d = requestData(o, t)
	}
	if hasWork(o, t) {
		// Nothing in it is free text: the API server checks the names.
		d.Command = fmt.Sprintf("kubectl access ui areq/%s -n %s", d.Request.Name, d.Request.Namespace)
	}
	return d
}

// hasWork tells whether somebody has something to do at the request after a transition:
// to decide, to ask for more time, to revoke or to look back.
func hasWork(o client.Object, t transition) bool {
	switch o := o.(type) {
	case *v1alpha1.AccessRequest:
		return t.eventType == requestType(v1alpha1.RequestPending) && o.Status.Policy != nil && o.Status.Required() > 0
	case *v1alpha1.AccessGrant:
		if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionReviewed); c != nil && c.Reason == v1alpha1.ReasonRequestGone {
			return false
		}
		return slices.Contains([]string{
			grantType(expiring), usageType(v1alpha1.ConditionSuspicious), reviewType(v1alpha1.ReviewWaiting), reviewType(v1alpha1.ReviewOverdue),
		}, t.eventType)
	}
	return false
}

func requestData(r *v1alpha1.AccessRequest, t transition) Data {
	d := Data{
		Phase:     t.phase,
		Request:   Ref{Namespace: r.Namespace, Name: r.Name, UID: string(r.UID)},
		Requester: r.Spec.Requester.Username,
		Subjects:  strings.Join(text.Subjects(identity.Subjects(r.Asked())), ","),
		Role:      text.Role(r.Asked().RoleRef),
		Rules:     r.Asked().Rules,
		Scope:     text.Scope(r.Namespace, r.Asked().Scope),
		Extends:   r.Spec.Extends,
		StartTime: r.Spec.StartTime,
		Reason:    text.Trim(r.Spec.Reason), Ticket: text.Trim(r.Spec.Ticket),
		Policy:    ptr.Deref(r.Status.Policy, v1alpha1.PolicyRef{}).Name,
		Decisions: decisionsOf(r.Status.Decisions),
	}
	if r.Status.Policy != nil {
		d.RequiredApprovals = ptr.To(r.Status.Required())
	}
	if r.Spec.Duration != nil {
		d.Duration = text.Duration(r.Spec.Duration.Duration)
	}
	say := func(kind string, status metav1.ConditionStatus) (reason string) {
		if c := meta.FindStatusCondition(r.Status.Conditions, kind); c != nil && c.Status == status {
			d.Message, reason = c.Message, c.Reason
		}
		return reason
	}
	switch v1alpha1.RequestPhase(t.phase) {
	case v1alpha1.RequestPending:
		say(v1alpha1.ConditionApproved, metav1.ConditionFalse)
		for _, stage := range r.Status.Approvals {
			from := text.Subjects(identity.Deciders(stage.From, r.Spec.Requester.Username, identity.Subjects(r.Asked())))
			d.Approvals = append(d.Approvals, Stage{Name: stage.Name, From: from, Count: ptr.Deref(stage.Count, 1), Approved: stage.Approved})
			d.Approvers = append(d.Approvers, from...)
		}
		for _, risk := range r.Status.Risks {
			d.Risks = append(d.Risks, risk.Message)
		}
		return d
	case v1alpha1.RequestApproved:
		say(v1alpha1.ConditionApproved, metav1.ConditionTrue)
		return d
	case v1alpha1.RequestActive:
		say(v1alpha1.ConditionGranted, metav1.ConditionTrue)
	default:
		d.EndReason = say(v1alpha1.ConditionEnded, metav1.ConditionTrue)
	}
	d.Grant, d.ExpirationTime = r.Status.GrantName, r.Status.ExpirationTime
	return d
}

func grantData(g *v1alpha1.AccessGrant, t transition) Data {
	d := Data{
		Phase:     t.phase,
		Request:   Ref{Namespace: g.Spec.RequestRef.Namespace, Name: g.Spec.RequestRef.Name, UID: string(g.Spec.RequestRef.UID)},
		Grant:     g.Name,
		Requester: g.Spec.Requester.Username,
		Subjects:  g.Spec.Summary.Subjects, Role: g.Spec.Summary.Role, Scope: g.Spec.Summary.Scope,
		Reason: text.Trim(g.Spec.Reason), Ticket: text.Trim(g.Spec.Ticket), Policy: g.Spec.PolicyRef.Name,
		Decisions:      decisionsOf(g.Spec.Decisions),
		ExpirationTime: &g.Spec.ExpirationTime,
	}
	if g.Spec.RoleRef == nil {
		d.Rules = g.Spec.Rules
	}
	if g.Spec.Extends != nil {
		d.Extends = g.Spec.Extends.Name
	}
	says := t.phase
	switch t.phase {
	case string(v1alpha1.GrantActive):
		return d
	case string(expiring):
		says = v1alpha1.ConditionExpiresSoon
	case string(v1alpha1.GrantEnded), string(v1alpha1.EndIdle):
		says = v1alpha1.ConditionAccessGiven
	case string(v1alpha1.ReviewWaiting), string(v1alpha1.ReviewOverdue), string(v1alpha1.ReviewDone):
		says = v1alpha1.ConditionReviewed
	}
	if says != v1alpha1.ConditionSuspicious && says != v1alpha1.ConditionExpiresSoon { // that comes before the end
		d.EndReason, d.EndedBy = string(g.Status.EndReason), g.Status.EndedBy
	}
	d.Message = ptr.Deref(meta.FindStatusCondition(g.Status.Conditions, says), metav1.Condition{}).Message
	return d
}

func decisionsOf(list []v1alpha1.Decision) []Decision {
	var out []Decision
	for _, d := range list {
		said := Decision{Verdict: string(d.Verdict), Username: d.Username, Comment: text.Trim(d.Comment), NotAfter: d.NotAfter}
		if d.MaxDuration != nil {
			said.MaxDuration = text.Duration(d.MaxDuration.Duration)
		}
		out = append(out, said)
	}
	return out
}

// cloudEvent is a transition as a CloudEvent in structured mode.
func cloudEvent(source string, o client.Object, t transition) ([]byte, error) {
	e := event.New()
	e.SetID(t.id)
	e.SetSource(source)
	e.SetType(t.eventType)
	e.SetSubject(subject(o))
	e.SetTime(t.at)
	if err := e.SetData(event.ApplicationJSON, dataOf(o, t)); err != nil {
		return nil, err
	}
	return json.Marshal(e)
}

// subject is the object's path in the API, after the group.
func subject(o client.Object) string {
	if _, ok := o.(*v1alpha1.AccessGrant); ok {
		return "accessgrants/" + o.GetName()
	}
	return "namespaces/" + o.GetNamespace() + "/accessrequests/" + o.GetName()
}

// slackMessage is a transition as the body of a Slack webhook.
func slackMessage(o client.Object, t transition) ([]byte, error) {
	return json.Marshal(map[string]string{"text": slackText(o, t)})
}

// maxRisks and maxRules keep a message readable.
const (
	maxRisks = 5
	maxRules = 5
)

func slackText(o client.Object, t transition) string {
	d := dataOf(o, t)
	var lines []string
	line := func(format string, values ...any) {
		for i, v := range values {
			if s, ok := v.(string); ok {
				values[i] = text.Slack(s)
			}
		}
		lines = append(lines, fmt.Sprintf(format, values...))
	}
	who, what := d.Requester, d.Role+rulesText(d.Rules)
	if d.Subjects != who {
		who += " for " + d.Subjects
	}
	pending := t.eventType == requestType(v1alpha1.RequestPending)
	switch {
	case pending && d.Extends != "":
		line("*%s* asks for more time of *%s* in *%s*%s", who, what, d.Scope, howLong(d))
	case pending:
		line("*%s* asks for *%s* in *%s*%s", who, what, d.Scope, howLong(d))
	case t.eventType == grantType(v1alpha1.GrantActive):
		line("*Access given*: %s has %s in %s until %s", who, what, d.Scope, text.Moment(d.ExpirationTime.Time))
	case t.eventType == grantType(expiring):
		line("*Access ends soon*: %s, %s in %s", who, what, d.Scope)
	case t.eventType == usageType(v1alpha1.ConditionSuspicious):
		line("*Suspicious use* of %s in %s by %s", what, d.Scope, who)
	case t.eventType == usageType(v1alpha1.ConditionLeftBehind):
		line("*Left behind* by %s, %s in %s", who, what, d.Scope)
	case t.eventType == usageType(v1alpha1.ConditionSessionsOpen):
		line("*Sessions outlive the access* of %s, %s in %s", who, what, d.Scope)
	case t.eventType == usageType(string(v1alpha1.EndIdle)):
		line("*Access was idle*: %s, %s in %s", who, what, d.Scope)
	case t.eventType == reviewType(v1alpha1.ReviewWaiting):
		line("*To be reviewed*: %s had %s in %s", who, what, d.Scope)
	case t.eventType == reviewType(v1alpha1.ReviewOverdue):
		line("*Review overdue*: %s had %s in %s", who, what, d.Scope)
	case t.eventType == reviewType(v1alpha1.ReviewDone):
		line("*Reviewed*: %s had %s in %s", who, what, d.Scope)
	case t.eventType == grantType(v1alpha1.GrantEnded):
		line("*Access ended* (%s): %s, %s in %s", d.EndReason, who, what, d.Scope)
	default:
		line("*Request %s*: %s, %s in %s", d.Phase, who, what, d.Scope)
	}
	line("> %s%s", d.Reason, parenthesis(d.Ticket))
	if d.Message != "" {
		line("%s", d.Message)
	}
	for i, risk := range d.Risks {
		if i == maxRisks {
			line("and %d more risks", len(d.Risks)-maxRisks)
			break
		}
		if risk == rules.NoneKnown.Message {
			line("no risk is known, which does not mean that there is none")
			continue
		}
		line("risk: %s", risk)
	}
	if d.Command != "" {
		line("To look at it, and to act: `%s`", d.Command)
	}
	if pending && d.RequiredApprovals != nil && *d.RequiredApprovals > 0 {
		line("Policy %s needs %s. To approve:", d.Policy, strings.Join(needs(d.Approvals), "; "))
		line("```%s```", approveCommand(d.Request))
	}
	return strings.Join(lines, "\n")
}

// needs says from whom approvals are needed, stage by stage.
func needs(stages []Stage) []string {
	var out []string
	for _, stage := range stages {
		if stage.Count > 0 {
			out = append(out, fmt.Sprintf("%d of %s (%s)", stage.Count, strings.Join(stage.From, ", "), stage.Name))
		}
	}
	return out
}

// approveCommand approves the request that the message is about and no other
// of its name. Nothing in it is free text: names and the UID are checked by the
// API server.
func approveCommand(ref Ref) string {
	return fmt.Sprintf(`kubectl patch areq %s -n %s --subresource=status --type=merge -p '{"status":{"decisions":[{"verdict":"Approve","requestUID":%q}]}}'`,
		ref.Name, ref.Namespace, ref.UID)
}

func howLong(d Data) string {
	var out string
	if d.Duration != "" {
		out += " for " + d.Duration
	}
	if d.StartTime != nil {
		out += " from " + text.Moment(d.StartTime.Time)
	}
	return out
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func rulesText(asked []v1alpha1.PolicyRule) string {
	shown := rules.Show(v1alpha1.RBACRules(asked), rules.Limit{Lines: maxRules, Bytes: maxRules * rules.MaxLine})
	out := shown.Lines
	if shown.Left > 0 {
		out = append(out, fmt.Sprintf("and %d more permissions", shown.Left))
	}
	return parenthesis(strings.Join(out, "; "))
}
