package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/identity"
	"github.com/accessbroker/accessbroker/internal/text"
)

// deciding is a verdict, and what its command differs in.
type deciding struct {
	verdict v1alpha1.Verdict
	done    string
	// review: the request is shown first, and an approval is confirmed.
	review bool
	// open tells which requests to offer in completion.
	open                       func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool
	role, short, long, example string
}

var verdicts = []deciding{
	{
		verdict: v1alpha1.VerdictApprove, done: "approved", review: true, open: waitsForMe, role: "access-approver",
		short: "Approve a request",
		long: `Approve a request after you have seen it.

You approve what is shown: if the role or the request has changed by the time
the approval arrives, the approval does not count. On a terminal you are asked
to confirm; a script, whose input is not a terminal, is not asked.`,
		example: `  kubectl access approve edit-x7k2p -n payments -m "go ahead"

  # Without the question
  kubectl access approve edit-x7k2p -n payments --yes`,
	},
	{
		verdict: v1alpha1.VerdictDeny, done: "denied", review: true, open: deniable, role: "access-approver",
		short:   "Deny a request",
		long:    "Deny a request. One Deny ends it, no matter who has approved.",
		example: `  kubectl access deny edit-x7k2p -n payments -m "use the read-only role"`,
	},
	{
		verdict: v1alpha1.VerdictRevoke, done: "revoked", open: revocable, role: "access-approver",
		short:   "Take access away, as an approver",
		example: `  kubectl access revoke edit-x7k2p -n payments -m "the incident is over"`,
	},
	{
		verdict: v1alpha1.VerdictRelease, done: "released", open: mine, role: "access-requester",
		short:   "Give access back, or withdraw a request",
		example: `  kubectl access release edit-x7k2p -n payments`,
	},
}

func (o *options) newDecideCommand(d deciding) *cobra.Command {
	var comment string
	var yes bool
	var out *output
	cmd := &cobra.Command{
		Use:         strings.ToLower(string(d.verdict)) + " NAME",
		Short:       d.short,
		Long:        d.long,
		Example:     d.example,
		Annotations: map[string]string{roleAnnotation: d.role},
		Args:        oneName("request", 1),
		ValidArgsFunction: o.completeRequests(func(r *v1alpha1.AccessRequest, me v1alpha1.UserInfo) bool {
			return !r.Status.Phase.Ended() && d.open(r, me)
		}),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if err := checkLine("--comment", comment, maxComment); err != nil {
			return usagef(cmd, "%w", err)
		}
		c, err := o.connect()
		if err != nil {
			return err
		}
		request, err := c.request(ctx, args[0])
		if err != nil {
			return err
		}
		if request.Status.Phase.Ended() {
			return fmt.Errorf("%s is over: %s", request.Name, progress(request, time.Now()))
		}
		if d.review {
			if err := o.review(ctx, request, d.verdict, yes, out.printer != nil); err != nil {
				return err
			}
		}
		me, err := c.me(ctx)
		if err != nil {
			return err
		}
		decided, already, err := c.decide(ctx, request, me, d.verdict, comment)
		if err != nil {
			return err
		}
		if out.printer != nil {
			return out.printer.PrintObj(decided, o.Out)
		}
		done := d.done
		if already {
			done = "already " + done + " by you"
		}
		fmt.Fprintf(o.Out, "accessrequest.%s/%s %s\n", v1alpha1.GroupVersion.Group, request.Name, done)
		return nil
	}
	out = newOutput(cmd, d.done)
	cmd.Flags().StringVarP(&comment, "comment", "m", "", "A comment for the record.")
	complete(cmd, "comment", fixed())
	if d.review {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Do not ask for confirmation.")
	}
	return cmd
}

// review shows a request and, on a terminal, asks to confirm an approval. With
// -o the page goes to standard error.
func (o *options) review(ctx context.Context, request *v1alpha1.AccessRequest, verdict v1alpha1.Verdict, yes, quiet bool) error {
	out := o.Out
	if quiet {
		out = o.ErrOut
	}
	now := time.Now()
	fmt.Fprintln(out, page(request, now, styleOf(out)))
	if yes || verdict != v1alpha1.VerdictApprove || !printers.IsTerminal(o.In) {
		return nil
	}
	fmt.Fprint(o.ErrOut, clean(confirmation(request, now))+" [y/N] ")
	answer, err := readLine(ctx, o.In)
	if err != nil {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("not approved; nothing was changed")
	}
	return nil
}

// confirmation repeats what matters most of a request: the page above it may be
// longer than the screen.
func confirmation(r *v1alpha1.AccessRequest, now time.Time) string {
	risks := "with no known risk, which does not mean that there is none"
	if kinds := each(knownRisks(r), func(risk v1alpha1.Risk) string { return risk.Kind }); len(kinds) > 0 {
		risks = "with these risks: " + text.List(kinds, maxConfirmed)
	}
	return fmt.Sprintf("Approve %s in %s for %s, %s, %s?", text.Role(r.Spec.RoleRef), whereOf(r),
		strings.Join(text.Subjects(identity.Subjects(&r.Spec)), ", "), howLong(r, now), risks)
}

// maxConfirmed is how many risks the question names, the most dangerous first.
const maxConfirmed = 5

// readLine ends with the context; a read from a terminal by itself does not.
func readLine(ctx context.Context, in io.Reader) (string, error) {
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n') // end of file is an empty answer
		answers <- line
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line := <-answers:
		return line, nil
	}
}

// decide adds my decision on the request as it was shown to the decisions of
// others. It returns the request with the decision, and whether the decision was
// there already.
func (c *cluster) decide(ctx context.Context, shown *v1alpha1.AccessRequest, me v1alpha1.UserInfo, verdict v1alpha1.Verdict, comment string) (*v1alpha1.AccessRequest, bool, error) {
	decision := v1alpha1.Decision{
		Username: me.Username, Verdict: verdict, Comment: comment,
		RequestUID: shown.UID, RulesHash: shown.Status.RulesHash,
	}
	current := shown
	for {
		// Stamped from 1.36 on, whatever is written here; before that, checked.
		decision.Groups, decision.OmittedGroups = identity.StoredGroups(me.Groups, verdict, current.Status.Approvers, current.Spec.Subjects)
		patch, err := decisionPatch(current, decision)
		if err != nil {
			return nil, false, err
		}
		if patch == nil {
			return current, true, nil
		}
		decided := &v1alpha1.AccessRequest{}
		decided.Namespace, decided.Name = shown.Namespace, shown.Name
		err = c.Status().Patch(ctx, decided, client.RawPatch(types.JSONPatchType, patch))
		if !apierrors.IsConflict(err) {
			return decided, false, err
		}
		// Somebody else wrote at the same moment: look again.
		if current, err = c.request(ctx, shown.Name); err != nil {
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
