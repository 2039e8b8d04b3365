package accessclient

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
)

// Limit is what an approver allows at most; see AtMost and Until.
type Limit func(*v1alpha1.Decision)

// AtMost approves access for no longer than this, in whole seconds.
func AtMost(d time.Duration) Limit {
	return func(decision *v1alpha1.Decision) {
		decision.MaxDuration = &metav1.Duration{Duration: d.Truncate(time.Second)}
	}
}

// Until approves access that ends no later than this, in whole seconds.
func Until(t time.Time) Limit {
	return func(decision *v1alpha1.Decision) {
		decision.NotAfter = &metav1.Time{Time: t.UTC().Truncate(time.Second)}
	}
}

// Decide adds my decision on the request as it was shown to the decisions of
// others. It returns the request with the decision, and whether the decision was
// there already: with the limits that it had, because a decision is never changed.
// Limits go with an approval, and the API server refuses them with anything else.
func (c *Client) Decide(ctx context.Context, shown *v1alpha1.AccessRequest, me v1alpha1.UserInfo, verdict v1alpha1.Verdict, comment string, limits ...Limit) (*v1alpha1.AccessRequest, bool, error) {
	decision := v1alpha1.Decision{
		Username: me.Username, Verdict: verdict, Comment: comment,
		RequestUID: shown.UID, RulesHash: shown.Status.RulesHash,
	}
	for _, limit := range limits {
		limit(&decision)
	}
	current := shown
	for {
		// Stamped from 1.36 on, whatever is written here; before that, checked.
		decision.Groups, decision.OmittedGroups = identity.StoredGroups(me.Groups, verdict, current.Status.Approvers(), current.Asked().Subjects)
		patch, err := decisionPatch(current, decision)
		if err != nil {
			return nil, false, err
		}
		if patch == nil {
			return current, true, nil
		}
		decided := &v1alpha1.AccessRequest{}
		decided.Namespace, decided.Name = shown.Namespace, shown.Name
		err = c.api.Status().Patch(ctx, decided, client.RawPatch(types.JSONPatchType, patch))
		if !apierrors.IsConflict(err) {
			return decided, false, err
		}
		// Somebody else wrote at the same moment: look again.
		current = &v1alpha1.AccessRequest{}
		if err := c.api.Get(ctx, client.ObjectKeyFromObject(shown), current); err != nil {
			return nil, false, err
		}
		if current.UID != shown.UID || verdict == v1alpha1.VerdictApprove && current.Status.RulesHash != shown.Status.RulesHash {
			return nil, false, fmt.Errorf("%s has changed since you saw it, and nothing was decided: look at it again", shown.Name)
		}
	}
}

// jsonPatch is an operation of RFC 6902.
type jsonPatch struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// decisionPatch adds a decision and touches no other: what other people wrote
// stays as it is, byte for byte. It is nil when the decision is there already.
// The resourceVersion makes it a conflict when the request has changed meanwhile.
func decisionPatch(current *v1alpha1.AccessRequest, d v1alpha1.Decision) ([]byte, error) {
	patch := []jsonPatch{{"replace", "/metadata/resourceVersion", current.ResourceVersion}}
	old := current.Status.Decisions
	at := slices.IndexFunc(old, func(o v1alpha1.Decision) bool { return o.Username == d.Username && o.Verdict == d.Verdict })
	switch {
	case at >= 0 && (d.Verdict != v1alpha1.VerdictApprove || old[at].RulesHash == d.RulesHash):
		return nil, nil
	case at >= 0: // an approval from before the role changed, renewed
		patch = append(patch, jsonPatch{"replace", fmt.Sprintf("/status/decisions/%d", at), d})
	case len(old) > 0:
		patch = append(patch, jsonPatch{"add", "/status/decisions/-", d})
	case reflect.DeepEqual(current.Status, v1alpha1.AccessRequestStatus{}):
		patch = append(patch, jsonPatch{"add", "/status", map[string]any{"decisions": []v1alpha1.Decision{d}}})
	default:
		patch = append(patch, jsonPatch{"add", "/status/decisions", []v1alpha1.Decision{d}})
	}
	return json.Marshal(patch)
}
