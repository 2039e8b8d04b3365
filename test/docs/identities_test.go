package docs

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

const awsRole = "arn:aws:sts::111122223333:assumed-role/"

// onePerson plays docs/identities.md, one engineer with two roles of AWS, when
// TestSamples has applied the policy.
func onePerson(t *testing.T, e *installed) {
	ns := e.NewNamespace(t, map[string]string{"team": "payments"})
	operator := func(session string) client.Client { return e.Person(t, awsRole+"Operator/"+session, "aws-operators") }
	lead := func(session string) client.Client { return e.Person(t, awsRole+"Lead/"+session, "aws-operators") }
	for _, a := range []ask{
		{name: "two others", approve: []client.Client{operator("bob"), operator("carol")}, want: v1alpha1.RequestActive},
		{name: "one other", approve: []client.Client{operator("bob")}, want: v1alpha1.RequestPending, says: "1 of 2 approvals"},
		{name: "oneself", approve: []client.Client{operator("alice")}, want: v1alpha1.RequestDenied, says: "one of the approvers is the requester under another role"},
		{name: "oneself, written in another way", approve: []client.Client{operator("Alice")}, want: v1alpha1.RequestDenied, says: "the requester under another role"},
		{name: "another one twice", approve: []client.Client{operator("bob"), lead("bob")}, want: v1alpha1.RequestDenied, says: "one person approved twice, under two roles"},
		{name: "the session of another role", approve: []client.Client{operator("bob"), lead("carol")}, want: v1alpha1.RequestActive},
	} {
		a.who, a.groups, a.ns = awsRole+"Developer/alice", []string{"aws-developers"}, ns
		a.edit = func(s *v1alpha1.AccessRequestSpec) { s.PolicyName = "one-person" }
		t.Run(a.name, func(t *testing.T) { a.run(t, e) })
	}
}

// TestIdentitiesPage runs the commands of docs/identities.md.
func TestIdentitiesPage(t *testing.T) {
	e := running(t)
	commandsOf(t, e, "docs/identities.md")
}
