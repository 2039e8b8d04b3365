package record

import (
	"fmt"
	"slices"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
)

// Journal reports transitions, after the write that made them, so that it never
// reports what did not happen: as Events for people who look now, as JSON lines for
// people who look later.
type Journal struct {
	Recorder events.EventRecorder
	// Audit has a log of its own. Its encoder escapes what users wrote.
	Audit *zap.Logger
}

// request reports a request's transition.
func (j Journal) request(event, note string, r *v1alpha1.AccessRequest) {
	severity := corev1.EventTypeNormal
	if ended := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionEnded); ended != nil && event == string(r.Status.Phase) {
		severity = severityOfEnd(ended.Reason)
	}
	j.event(r, severity, event, "Decide", note)
	policy := ""
	if r.Status.Policy != nil {
		policy = r.Status.Policy.Name
	}
	fields := []zap.Field{
		zap.String("kind", "AccessRequest"), zap.String("namespace", r.Namespace), zap.String("name", r.Name), zap.String("uid", string(r.UID)),
		zap.String("phase", string(r.Status.Phase)), zap.String("note", note),
		zap.String("requester", r.Spec.Requester.Username), zap.Strings("groups", r.Spec.Requester.Groups),
		zap.String("role", text.Role(r.Asked().RoleRef)), zap.String("policy", policy), zap.String("reason", text.Trim(r.Spec.Reason)), zap.String("ticket", text.Trim(r.Spec.Ticket)),
		zap.Strings("decisions", decisions(r.Status.Decisions)), zap.String("grant", r.Status.GrantName),
	}
	if r.Spec.Extends != "" {
		fields = append(fields, zap.String("extends", r.Spec.Extends))
	}
	j.Audit.Info(event, fields...)
}

// grant reports a grant's transition, with all that was granted.
func (j Journal) grant(event, action, note string, g *v1alpha1.AccessGrant) {
	severity := corev1.EventTypeNormal
	switch admission := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAdmissionEnforced); {
	case event == string(v1alpha1.GrantEnded):
		severity = severityOfEnd(string(g.Status.EndReason))
	case slices.Contains(warnings, event):
		severity = corev1.EventTypeWarning
	case event == string(v1alpha1.GrantActive) && admission != nil && admission.Status == metav1.ConditionFalse:
		severity, note = corev1.EventTypeWarning, note+"; "+admission.Message
	}
	j.event(g, severity, event, action, note)
	fields := []zap.Field{
		zap.String("kind", "AccessGrant"), zap.String("name", g.Name), zap.String("uid", string(g.UID)),
		zap.String("phase", string(g.Status.Phase)), zap.String("note", note),
		zap.String("requestNamespace", g.Spec.RequestRef.Namespace), zap.String("requestName", g.Spec.RequestRef.Name), zap.String("requestUID", string(g.Spec.RequestRef.UID)),
		zap.String("requester", g.Spec.Requester.Username), zap.Strings("groups", g.Spec.Requester.Groups),
		zap.String("subjects", g.Spec.Summary.Subjects), zap.String("role", g.Spec.Summary.Role), zap.String("rulesHash", g.Spec.RulesHash),
		zap.String("scope", g.Spec.Summary.Scope), zap.String("policy", g.Spec.PolicyRef.Name),
		zap.String("reason", g.Spec.Reason), zap.String("ticket", g.Spec.Ticket), zap.Strings("decisions", decisions(g.Spec.Decisions)),
		zap.Time("notBefore", g.Spec.NotBefore.Time), zap.Time("expirationTime", g.Spec.ExpirationTime.Time),
	}
	if g.Spec.Extends != nil {
		fields = append(fields, zap.String("extends", g.Spec.Extends.Name))
	}
	if g.Status.EndedTime != nil {
		fields = append(fields, zap.Time("endedTime", g.Status.EndedTime.Time),
			zap.String("endReason", string(g.Status.EndReason)), zap.String("endedBy", g.Status.EndedBy))
	}
	j.Audit.Info(event, fields...)
}

// grantPhase reports that a grant entered its phase.
func (j Journal) grantPhase(g *v1alpha1.AccessGrant) {
	switch g.Status.Phase {
	case v1alpha1.GrantActive:
		j.grant(string(v1alpha1.GrantActive), "Give", fmt.Sprintf("%s in %s for %s until %s",
			g.Spec.Summary.Role, g.Spec.Summary.Scope, g.Spec.Summary.Subjects, text.Moment(g.Spec.ExpirationTime.Time)), g)
	case v1alpha1.GrantEnded:
		why := string(g.Status.EndReason)
		if c := meta.FindStatusCondition(g.Status.Conditions, v1alpha1.ConditionAccessGiven); c != nil {
			why += ": " + c.Message
		}
		j.grant(string(v1alpha1.GrantEnded), "Take", why, g)
	case v1alpha1.GrantPending:
	}
}

// policyWarnings are the reasons of Ready for which somebody has to look at a policy.
var policyWarnings = []string{v1alpha1.ReasonNotConfirmed, v1alpha1.ReasonPolicyReviewOverdue, v1alpha1.ReasonPolicyReviewSoon}

// policy reports that somebody has to look at a policy, or that a second person has
// confirmed it. was is nil for a policy that is new.
func (j Journal) policy(was, is *metav1.Condition, p *v1alpha1.AccessPolicy) {
	event, note, severity := is.Reason, is.Message, corev1.EventTypeWarning
	switch {
	case slices.Contains(policyWarnings, is.Reason):
	case was != nil && was.Reason == v1alpha1.ReasonNotConfirmed && p.Status.Confirmed != nil:
		event, note, severity = "Confirmed", "confirmed by "+p.Status.Confirmed.Username, corev1.EventTypeNormal
	default:
		return
	}
	j.event(p, severity, event, "Review", note)
	j.Audit.Info(event,
		zap.String("kind", "AccessPolicy"), zap.String("name", p.Name), zap.String("uid", string(p.UID)), zap.Int64("generation", p.Generation),
		zap.Strings("changedBy", p.ChangedBy()), zap.String("note", note))
}

// asWanted are the reasons for which a request or a grant ends as people meant
// it to: the time was up, the task was over, nobody used it, or somebody decided so.
var asWanted = []string{
	string(v1alpha1.EndExpired), string(v1alpha1.EndTaskCompleted), string(v1alpha1.EndTaskFailed), string(v1alpha1.EndTaskGone),
	string(v1alpha1.EndReleased), string(v1alpha1.EndRevoked), string(v1alpha1.EndDenied), string(v1alpha1.EndRequestDeleted),
	string(v1alpha1.EndIdle), string(v1alpha1.EndExtended),
	v1alpha1.ReasonWithdrawn,
}

// warnings are what is reported of a grant, besides its phases, for somebody to look.
var warnings = []string{v1alpha1.ReasonRemovalRefused, v1alpha1.ConditionSuspicious, v1alpha1.ConditionLeftBehind, v1alpha1.ConditionSessionsOpen, v1alpha1.ReasonReviewOverdue, v1alpha1.ReasonRequestGone}

// severityOfEnd is the type of the Event of an end: Warning unless people meant it.
func severityOfEnd(reason string) string {
	if slices.Contains(asWanted, reason) {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

func (j Journal) event(regarding runtime.Object, severity, reason, action, note string) {
	j.Recorder.Eventf(regarding, nil, severity, reason, action, "%s", text.Note(note))
}

func decisions(list []v1alpha1.Decision) []string {
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = string(d.Verdict) + " " + d.Username
		if limits := text.AtMost(d); limits != "" {
			out[i] += " (" + limits + ")"
		}
	}
	return out
}
