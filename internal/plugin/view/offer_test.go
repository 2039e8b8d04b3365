package view

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestOfferOf(t *testing.T) {
	alice := v1alpha1.UserInfo{Username: "alice", Groups: []string{"dev"}}
	plain := Offer{
		Name: "p", Roles: []string{"edit"}, Where: []string{"namespace payments"}, AtMost: "4h", Default: "1h",
		Approvals: "1 approval", From: []string{"bob"},
	}
	for name, tc := range map[string]struct {
		policy v1alpha1.AccessPolicy
		want   func(*Offer)
	}{
		"plain": {aPolicy("p"), func(*Offer) {}},
		"rules, everywhere, by a label": {
			aPolicy("p", byLabel, byOwners, func(s *v1alpha1.AccessPolicySpec) {
				s.Roles, s.Rules = nil, []v1alpha1.PolicyRule{{Verbs: []string{"get"}}}
				s.ClusterScope, s.DefaultDuration = v1alpha1.ClusterScopeAllowed, nil
			}),
			func(o *Offer) {
				o.Roles, o.Rules, o.Where = nil, true, []string{"namespaces with team=pay", "the whole cluster"}
				o.Default, o.From = "4h", []string{"group:team-<label team>"}
			},
		},
		"what else it wants": {
			aPolicy("p", func(s *v1alpha1.AccessPolicySpec) {
				s.Requesters[0].Until = ptr.To(metav1.NewTime(noon.Add(time.Hour)))
				s.Requesters = append(s.Requesters, v1alpha1.PolicyRequester{PolicySubject: v1alpha1.PolicySubject{Kind: v1alpha1.GroupKind, Name: "others"}})
				s.Task, s.Credential, s.ReviewWithin = v1alpha1.TaskRequired, v1alpha1.CredentialIssued, &metav1.Duration{Duration: 24 * time.Hour}
				s.Conditions = []v1alpha1.PolicyCondition{{Name: "office", Message: "in the week"}}
			}),
			func(o *Offer) {
				o.Rest = []string{
					"You may use it until 2026-05-04T13:00:00Z.", "It wants a task, with which the access ends.",
					"It gives a credential of its own, which opens on this machine alone.", "Somebody looks back at it within 24h.", "Condition office: in the week",
				}
			},
		},
		"no longer limited by one of two": {
			aPolicy("p", func(s *v1alpha1.AccessPolicySpec) {
				s.Requesters[0].Until = ptr.To(metav1.NewTime(noon.Add(time.Hour)))
				s.Requesters = append(s.Requesters, v1alpha1.PolicyRequester{PolicySubject: v1alpha1.PolicySubject{Kind: v1alpha1.GroupKind, Name: "dev"}})
			}), func(*Offer) {},
		},
		"not ready": {
			func() v1alpha1.AccessPolicy {
				p := aPolicy("p", func(s *v1alpha1.AccessPolicySpec) { s.Approvals = []v1alpha1.ApprovalStage{} })
				p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Message: "no such role"}}
				return p
			}(), func(o *Offer) { o.NotReady, o.Approvals, o.From = "no such role", "no approval", nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := plain
			tc.want(&want)
			if diff := cmp.Diff(want, OfferOf(&tc.policy, alice, noon)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
