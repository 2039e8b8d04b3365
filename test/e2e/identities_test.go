package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/config/admission"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/lab"
	"github.com/accessbroker/accessbroker/test/kit"
)

// whoami is all that the API server knows of a user.
func whoami(t *testing.T, c client.Client) v1alpha1.UserInfo {
	t.Helper()
	review := &authenticationv1.SelfSubjectReview{}
	kit.Create(t, c, review)
	user := review.Status.UserInfo
	me := v1alpha1.UserInfo{Username: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string]v1alpha1.ExtraValue{}}
	for key, values := range user.Extra {
		me.Extra[key] = v1alpha1.ExtraValue(values)
	}
	return me
}

// numbered are so many groups, beginning with some that matter.
func numbered(n int, format string, first ...string) []string {
	for i := range n {
		first = append(first, fmt.Sprintf(format, i))
	}
	return first
}

// assertion is what GKE puts into extra: a credential of 1,160 characters.
var assertion = strings.Repeat("AK8TC8Lh", 145)

// Identities as clouds, proxies and directories make them.
var identities = map[string]rest.ImpersonationConfig{
	"plain": {UserName: "ann", Groups: []string{"dev", "sre"}},
	"GKE": {UserName: "ann@example.com", Groups: []string{"dev", "sre"}, Extra: map[string][]string{
		"iam.gke.io/user-assertion": {assertion}, "user-assertion.cloud.google.com": {assertion},
	}},
	"EKS": {UserName: "arn:aws:sts::111122223333:assumed-role/dev/ann", UID: "aws-iam-authenticator:111122223333:AROAEXAMPLE", Groups: []string{"dev", "sre"}, Extra: map[string][]string{
		"accesskeyid": {"ASIAEXAMPLE"}, "arn": {"arn:aws:sts::111122223333:assumed-role/dev/ann"},
		"canonicalarn": {"arn:aws:iam::111122223333:role/dev"}, "principalid": {"AROAEXAMPLE"}, "sessionname": {"ann"}, "sigs.k8s.io/aws-iam-authenticator/principalid": {"AROAEXAMPLE"},
	}},
	"AKS":       {UserName: "ann@example.com", Groups: []string{"dev", "sre"}, Extra: map[string][]string{"oid": {"11111111-2222-3333-4444-555555555555"}}},
	"OpenShift": {UserName: "ann", Groups: []string{"dev", "sre"}, Extra: map[string][]string{"scopes.authorization.openshift.io": {"user:info", "user:check-access"}}},
	"Rancher":   {UserName: "u-abcde", Groups: []string{"dev", "sre"}, Extra: map[string][]string{"principalid": {"local://u-abcde"}, "username": {"ann"}, "requesttokenid": {"token-12345"}}},
	"Pod": {UserName: "system:serviceaccount:default:ci", Groups: []string{"dev", "sre"}, Extra: map[string][]string{
		"authentication.kubernetes.io/pod-name": {"build-1"}, "authentication.kubernetes.io/pod-uid": {"u"}, "authentication.kubernetes.io/credential-id": {"JTI=1"},
	}},
	"a kept value that is too long": {UserName: "ann", Groups: []string{"dev", "sre"}, Extra: map[string][]string{"oid": {strings.Repeat("o", 1025)}, "arn": {strings.Repeat("ü", 1024)}}},
	"a kept key with many values":   {UserName: "ann", Groups: []string{"dev", "sre"}, Extra: map[string][]string{"oid": numbered(65, "%d"), "arn": numbered(64, "%d")}},
	"70 keys":                       {UserName: "ann", Groups: []string{"dev", "sre"}, Extra: keys(70)},
	"513 groups":                    {UserName: "ann", Groups: numbered(511, "team-%d", "dev", "sre")},
	"1,200 groups":                  {UserName: "ann", Groups: numbered(1198, "team-%d", "dev", "sre")},
	"5,000 groups":                  {UserName: "ann", Groups: numbered(4998, "team-%d", "dev", "sre")},
	"long groups, all in all": {
		UserName: "ann", Groups: numbered(900, "CN=team-%d,"+strings.Repeat("OU=ü,", 52)+"DC=example,DC=com", "dev", "sre"),
	},
	"groups that are too long": {UserName: "ann", Groups: []string{"dev", strings.Repeat("g", 2048), strings.Repeat("h", 2049), "sre"}},
	"a DN of 281 characters":   {UserName: "ann", Groups: []string{"dev", "CN=" + strings.Repeat("x", 278), "sre"}},
	"exactly as many groups":   {UserName: "ann", Groups: numbered(1022, "team-%d", "dev", "sre")},
	"a SPIFFE ID":              {UserName: "spiffe://example.org/" + strings.Repeat("p", 2027), Groups: []string{"dev", "sre"}},
	"a uid that is too long":   {UserName: "ann", UID: strings.Repeat("u", 1025), Groups: []string{"dev", "sre"}},
}

func keys(n int) map[string][]string {
	out := map[string][]string{}
	for i := range n {
		out[fmt.Sprintf("example.com/key-%02d", i)] = []string{"v"}
	}
	return out
}

// What is stored of an identity is the same whoever cuts it: the stamp in CEL,
// or the plugin in Go where nothing stamps. Either is accepted.
func TestStoredIdentity(t *testing.T) {
	t.Parallel()
	kept, err := admission.KeptExtra()
	if err != nil {
		t.Fatal(err)
	}
	ns := e.NewNamespace(t, nil)
	e.NewPolicy(t, ns, func(s *v1alpha1.AccessPolicySpec) {
		s.Approvals[0].From = append(s.Approvals[0].From, v1alpha1.PolicySubject{Kind: "Group", Name: "dev"}, v1alpha1.PolicySubject{Kind: "User", Name: "zoe"})
	})
	request := e.WaitMatched(t, e.Ask(t, dave, ns, nil))
	for name, user := range identities {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := e.Somebody(t, user)
			me := whoami(t, c)
			want := identity.Stored(me, kept)

			stamped := lab.NewRequest(ns, nil)
			if err := c.Create(t.Context(), stamped, client.DryRunAll); err != nil {
				t.Fatalf("cannot ask: %v", err)
			}
			if !equality.Semantic.DeepEqual(stamped.Spec.Requester, want) {
				t.Errorf("stamped as\n%+v, cut as\n%+v", stamped.Spec.Requester, want)
			}
			written := lab.NewRequest(ns, func(s *v1alpha1.AccessRequestSpec) { s.Requester = want })
			if err := c.Create(t.Context(), written, client.DryRunAll); err != nil {
				t.Errorf("the cut copy is refused: %v", err)
			}
			text := fmt.Sprintf("%+v", stamped.Spec.Requester)
			if strings.Contains(text, "AK8TC8Lh") || strings.Contains(text, "ASIAEXAMPLE") || strings.Contains(text, "JTI=") {
				t.Errorf("a credential is stored: %s", text)
			}

			for _, verdict := range []v1alpha1.Verdict{v1alpha1.VerdictApprove, v1alpha1.VerdictDeny} {
				groups, omitted := identity.StoredGroups(me.Groups, verdict, request.Status.Approvers(), request.Spec.Subjects)
				decided := request.DeepCopy()
				body := fmt.Sprintf(`{"status":{"decisions":[{"verdict":%q}]}}`, verdict)
				if err := c.Status().Patch(t.Context(), decided, client.RawPatch(types.MergePatchType, []byte(body)), client.DryRunAll); err != nil {
					t.Fatalf("%s: %v", verdict, err)
				}
				d := decided.Status.Decisions[0]
				if d.Username != me.Username || !slices.Equal(d.Groups, groups) || d.OmittedGroups != omitted {
					t.Errorf("%s is stamped with %d groups %.200q and %d left out, cut to %d %.200q and %d", verdict, len(d.Groups), d.Groups, d.OmittedGroups, len(groups), groups, omitted)
				}
			}
		})
	}
}

// Whoever an approver is, they can take access away.
func TestAnybodyTakesAway(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"GKE", "513 groups", "5,000 groups", "a DN of 281 characters", "a SPIFFE ID", "long groups, all in all"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := e.NewNamespace(t, nil)
			e.NewPolicy(t, ns, nil)
			who := e.Somebody(t, identities[name])

			request := e.Ask(t, alice, ns, nil)
			e.Approved(t, bob, request)
			kit.MustDecide(t, who, request, v1alpha1.VerdictRevoke)
			g := e.WaitEnded(t, e.GrantOf(t, request).Name, v1alpha1.EndRevoked)
			if g.Status.EndedBy != identities[name].UserName {
				t.Errorf("ended by %q", g.Status.EndedBy)
			}

			// And they ask, are approved and give back like everybody.
			mine := e.Ask(t, who, ns, nil)
			e.Approved(t, bob, mine)
			if !kit.Can(t, who, ns) {
				t.Error("no access")
			}
			kit.MustDecide(t, who, mine, v1alpha1.VerdictRelease)
			e.WaitEnded(t, e.GrantOf(t, mine).Name, v1alpha1.EndReleased)
			if kit.Can(t, who, ns) {
				t.Error("access after its end")
			}
		})
	}
}
