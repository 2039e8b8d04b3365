package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/keys"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

const (
	// execInfoVariable is where client-go says what it expects.
	execInfoVariable = "KUBERNETES_EXEC_INFO"

	// calling is set while the credential of a request is fetched: an identity that is
	// made of that very credential would call us for ever.
	calling = "KUBECTL_ACCESS_CREDENTIAL"

	// askAgain is how long before its end a credential is asked for again.
	askAgain = 10 * time.Second
)

func (o *options) newCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential NAME",
		Short: "Print the issued credential of a request, for kubectl and other programs",
		Long: `Print the issued credential of a request as an ExecCredential, for kubectl and all
programs that read a kubeconfig. 'kubectl access login' writes a context that runs it.

The request is read with your own identity, and the credential opened with the
key that 'kubectl access request --credential' left on this machine. Nothing is
asked and nothing is stored.

Exit status:
  0    the credential was printed
  1    it could not be read or opened
  3    the request was denied
  4    it lapsed
  5    it failed
  6    there is no credential yet
  7    the access is over`,
		Example: `  kubectl access credential edit-x7k2p -n payments

  # A request that has the name of a subcommand
  kubectl access credential areq/spiffe -n payments`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        oneName("request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := requestName(args[0])
			if outer := os.Getenv(calling); outer != "" {
				return fmt.Errorf("the identity that fetches the credential of %s is made of that credential: name a context of your own with --context", outer)
			}
			if err := os.Setenv(calling, name); err != nil {
				return err
			}
			c, err := cluster.Connect(o.config)
			if err != nil {
				return err
			}
			opened, err := o.openCredential(cmd.Context(), c, name, time.Now())
			if err != nil {
				return err
			}
			return o.printExecCredential(opened.token, askAgainAt(view.CredentialExpiry(opened.request), time.Now()))
		},
		ValidArgsFunction: o.completeRequests(view.MyCredential),
	}
	return cmd
}

// requestName is the name of a request, which may come with its kind.
func requestName(arg string) string {
	for _, kind := range []string{"areq/", "accessrequest/", "accessrequests/", "accessrequest." + v1alpha1.GroupVersion.Group + "/", "accessrequests." + v1alpha1.GroupVersion.Group + "/"} {
		if name, ok := strings.CutPrefix(arg, kind); ok {
			return name
		}
	}
	return arg
}

// askAgainAt is what programs are told of an expiry: a little before it, so that no
// call goes out with a credential that is over when it arrives. It is never past, or
// client-go would ask before every call.
func askAgainAt(expiry, now time.Time) time.Time {
	if early := expiry.Add(-askAgain); early.After(now) {
		return early
	}
	return expiry
}

// opened is an issued credential that was opened.
type opened struct {
	request *v1alpha1.AccessRequest
	kept    *keys.Kept
	token   string
}

// openCredential reads a request and opens its credential.
func (o *options) openCredential(ctx context.Context, c *cluster.Client, name string, now time.Time) (opened, error) {
	r, err := c.Request(ctx, name)
	if apierrors.IsNotFound(err) && !cluster.NotServed(err) {
		return opened{}, &ended{exitOver, fmt.Sprintf("there is no request %s in namespace %s: it was deleted, and its access is over\n"+
			"'kubectl access logout %s -n %s' takes its context away.", name, c.Namespace, name, c.Namespace)}
	}
	if err != nil {
		return opened{}, err
	}
	if err := unusable(r, now); err != nil {
		return opened{}, err
	}
	kept, err := o.keyOf(ctx, c, r)
	if err != nil {
		return opened{}, err
	}
	token, err := open(kept.Key(), r)
	return opened{r, kept, token}, err
}

// unusable says why there is nothing to open, with the exit status for it.
func unusable(r *v1alpha1.AccessRequest, now time.Time) error {
	why, usable := view.Usable(r, now)
	if usable {
		return nil
	}
	over := r.Status.ExpirationTime != nil && !now.Before(r.Status.ExpirationTime.Time)
	switch {
	case r.Spec.CredentialKey == "":
		return hintf("To have one, ask again with --credential, where a policy issues credentials.", "%s", why)
	case r.Status.Phase.Ended():
		return &ended{status: cmp.Or(exitStatuses[r.Status.Phase], exitOver), message: why + "\nAsk again with 'kubectl access request … --credential'."}
	case over:
		return &ended{status: exitOver, message: why + "\nAsk again with 'kubectl access request … --credential'."}
	case r.Status.Credential == nil || r.Status.Credential.Sealed == "":
		return &ended{status: exitTimeout, message: why + "\n'" + view.Command("show", r) + "' says what it waits for."}
	}
	return errors.New(why)
}

// open opens what was sealed for the grant of a request.
func open(key *credential.Key, r *v1alpha1.AccessRequest) (string, error) {
	of := credential.Grant{Name: r.Status.GrantName, UID: r.Status.Credential.GrantUID}
	token, err := credential.Open(key, of, r.Status.Credential.Sealed)
	if err == nil && !plausible(token) {
		err = errors.New("what was sealed is no token")
	}
	if err != nil {
		return "", hintf("Release the request and ask again; if it happens again, tell who runs the broker.", "the credential of %s does not open: %w", r.Name, err)
	}
	return token, nil
}

// plausible: a token goes into a header and into files of one line.
func plausible(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// keyOf is the key of a request, if this machine has it and the request is ours.
func (o *options) keyOf(ctx context.Context, c *cluster.Client, r *v1alpha1.AccessRequest) (*keys.Kept, error) {
	store, err := keys.Open()
	if err != nil {
		return nil, err
	}
	here, err := o.here()
	if err != nil {
		return nil, err
	}
	kept, err := store.Find(here.id, r.Spec.CredentialKey)
	var elsewhere *keys.ElsewhereError
	switch {
	case errors.As(err, &elsewhere):
		return nil, hintf("Use the context with which you asked.", "the credential of %s is not opened: %w, and this is %s", r.Name, err, here.id.Server)
	case errors.Is(err, keys.ErrNone):
		return nil, missing(ctx, c, r, store.Dir())
	case err != nil:
		return nil, err
	case kept.UID != "" && kept.UID != r.UID:
		// Anybody may write the public half of our key into a request of theirs.
		return nil, fmt.Errorf("the credential of %s is not opened: its key was made for the request %s/%s", r.Name, kept.Namespace, kept.Name)
	case kept.UID == "":
		return kept, o.adopt(ctx, c, kept, r)
	}
	return kept, nil
}

// adopt writes down the request of a key, where the process that asked was killed before
// it could.
func (o *options) adopt(ctx context.Context, c *cluster.Client, kept *keys.Kept, r *v1alpha1.AccessRequest) error {
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	if r.Spec.Requester.Username != me.Username || r.Namespace != kept.Namespace {
		return notYours(r)
	}
	kept.Name, kept.UID = r.Name, r.UID
	return kept.Save()
}

func notYours(r *v1alpha1.AccessRequest) error {
	return fmt.Errorf("%s is the request of %s, and only they can open its credential", r.Name, r.Spec.Requester.Username)
}

// missing says why the key is not here.
func missing(ctx context.Context, c *cluster.Client, r *v1alpha1.AccessRequest, dir string) error {
	if me, err := c.Me(ctx); err == nil && me.Username != r.Spec.Requester.Username {
		return notYours(r)
	}
	return hintf("Use it there, or ask again on this one: the key never leaves the machine that made it.",
		"the key of %s is not in %s: it was asked for on another machine or by another account of this one, or 'kubectl access logout' has deleted it", r.Name, dir)
}

// printExecCredential answers the program that runs us, in the version that it asks for.
func (o *options) printExecCredential(token string, expiry time.Time) error {
	answer := clientauthenticationv1.ExecCredential{
		TypeMeta: metav1.TypeMeta{APIVersion: clientauthenticationv1.SchemeGroupVersion.String(), Kind: "ExecCredential"},
		Status:   &clientauthenticationv1.ExecCredentialStatus{Token: token, ExpirationTimestamp: &metav1.Time{Time: expiry}},
	}
	if info := os.Getenv(execInfoVariable); info != "" {
		var asked metav1.TypeMeta
		if err := json.Unmarshal([]byte(info), &asked); err != nil {
			return fmt.Errorf("%s is no ExecCredential: %w", execInfoVariable, err)
		}
		switch asked.APIVersion {
		case answer.APIVersion, "client.authentication.k8s.io/v1beta1": // both have these fields
			answer.APIVersion = asked.APIVersion
		default:
			return fmt.Errorf("the program asks for %q, and this is %s: change the apiVersion in the kubeconfig", asked.APIVersion, answer.APIVersion)
		}
	}
	return json.NewEncoder(o.Out).Encode(answer)
}
