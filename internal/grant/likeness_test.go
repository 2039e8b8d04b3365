package grant

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

func TestLikeness(t *testing.T) {
	t.Parallel()
	of := func(change func(*v1alpha1.AccessRequest)) string {
		r := &v1alpha1.AccessRequest{
			ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "nightly", UID: "r1"},
			Spec: v1alpha1.AccessRequestSpec{
				Requester: v1alpha1.UserInfo{Username: "alice", UID: "u1", Groups: []string{"dev"}, Extra: map[string]v1alpha1.ExtraValue{"session": {"1"}}},
				RoleRef:   &v1alpha1.RoleRef{Kind: "ClusterRole", Name: "edit"}, Reason: "nightly clean-up", Ticket: "INC-1",
				Duration: &metav1.Duration{Duration: time.Hour},
			},
		}
		if change != nil {
			change(r)
		}
		return Likeness(r)
	}
	same := of(nil)
	if problems := validation.IsValidLabelValue(same); same == "" || len(problems) > 0 {
		t.Errorf("%q is no label: %v", same, problems)
	}
	for name, change := range map[string]func(*v1alpha1.AccessRequest){
		"another object":  func(r *v1alpha1.AccessRequest) { r.UID, r.ResourceVersion = "r2", "7" },
		"another login":   func(r *v1alpha1.AccessRequest) { r.Spec.Requester.Groups, r.Spec.Requester.Extra = nil, nil },
		"an account anew": func(r *v1alpha1.AccessRequest) { r.Spec.Requester.UID = "u2" },
		"a tool's marks":  func(r *v1alpha1.AccessRequest) { r.Labels = map[string]string{"app.kubernetes.io/instance": "x"} },
		"what became":     func(r *v1alpha1.AccessRequest) { r.Status.Phase = v1alpha1.RequestExpired },
	} {
		if of(change) != same {
			t.Errorf("%s makes a difference", name)
		}
	}
	for name, change := range map[string]func(*v1alpha1.AccessRequest){
		"namespace": func(r *v1alpha1.AccessRequest) { r.Namespace = "billing" },
		"name":      func(r *v1alpha1.AccessRequest) { r.Name = "weekly" },
		"requester": func(r *v1alpha1.AccessRequest) { r.Spec.Requester.Username = "bob" },
		"role":      func(r *v1alpha1.AccessRequest) { r.Spec.RoleRef.Name = "view" },
		"reason":    func(r *v1alpha1.AccessRequest) { r.Spec.Reason = "another" },
		"ticket":    func(r *v1alpha1.AccessRequest) { r.Spec.Ticket = "INC-2" },
		"duration":  func(r *v1alpha1.AccessRequest) { r.Spec.Duration = nil },
		"policy":    func(r *v1alpha1.AccessRequest) { r.Spec.PolicyName = "p" },
		"scope":     func(r *v1alpha1.AccessRequest) { r.Spec.Scope = &v1alpha1.Scope{Cluster: &v1alpha1.ClusterScope{}} },
		"subjects":  func(r *v1alpha1.AccessRequest) { r.Spec.Subjects = []v1alpha1.Subject{{Kind: "User", Name: "bob"}} },
		"start":     func(r *v1alpha1.AccessRequest) { r.Spec.StartTime = &metav1.Time{Time: time.Unix(1e9, 0)} },
	} {
		if of(change) == same {
			t.Errorf("another %s makes no difference", name)
		}
	}
}
