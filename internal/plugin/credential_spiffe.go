package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/accessbroker/accessbroker/internal/text"
)

// maxSVIDTimeout bounds how long kubectl may hang.
const maxSVIDTimeout = 5 * time.Minute

// svidRequest is what to ask of the Workload API.
type svidRequest struct {
	socket, audience, id string
	timeout              time.Duration
}

func (o *options) newCredentialSPIFFECommand() *cobra.Command {
	var r svidRequest
	cmd := &cobra.Command{
		Use:   "spiffe --audience AUDIENCE",
		Short: "Print a JWT-SVID of this workload, as a credential for kubectl",
		Long: `Print a JWT-SVID of this workload, as a credential for kubectl.

kubectl, kubectl access and other programs on client-go run this when a
kubeconfig names it (users[].user.exec). It fetches a JWT-SVID from the Workload
API, of SPIRE for example, and stores nothing. The API server must know the
issuer: see docs/workloads.md.`,
		Example: `  # The user of a kubeconfig
  kubectl config set-credentials workload --exec-api-version=client.authentication.k8s.io/v1 \
    --exec-interactive-mode=Never --exec-command=kubectl-access \
    --exec-arg=credential --exec-arg=spiffe --exec-arg=--audience=kubernetes

  # What does this workload get?
  kubectl access credential spiffe --audience kubernetes --socket unix:///run/spire/agent.sock`,
		Args: noArgs,
	}
	f := cmd.Flags()
	f.StringVar(&r.audience, "audience", "", "For whom the token is: one of the audiences in the API server's authentication configuration. Required.")
	f.StringVar(&r.socket, "socket", "", "The socket of the Workload API, such as unix:///run/spire/agent.sock; by default $"+workloadapi.SocketEnv)
	f.StringVar(&r.id, "spiffe-id", "", "Which identity, for a workload that has several, such as spiffe://example.org/ns/payments/sa/deployer")
	f.DurationVar(&r.timeout, "timeout", 10*time.Second, "How long to wait for the Workload API")
	complete(cmd, "audience", fixed())
	complete(cmd, "spiffe-id", prefixes("spiffe://"))
	complete(cmd, "socket", prefixes("unix:///", "tcp://"))
	complete(cmd, "timeout", fixed())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := execVersion(os.Getenv(execInfo)); err != nil {
			return err
		}
		if r.audience == "" {
			return usagef(cmd, "name an audience that the API server accepts with --audience")
		}
		if r.timeout <= 0 || r.timeout > maxSVIDTimeout {
			return usagef(cmd, "--timeout must be above 0 and at most %s", text.Duration(maxSVIDTimeout))
		}
		svid, err := r.fetch(cmd.Context())
		if err != nil {
			return err
		}
		return o.printExecCredential(svid.Marshal(), svid.Expiry)
	}
	return cmd
}

// fetch asks the Workload API for the one JWT-SVID that is wanted.
func (r svidRequest) fetch(ctx context.Context) (*jwtsvid.SVID, error) {
	params := jwtsvid.Params{Audience: r.audience}
	if r.id != "" {
		id, err := spiffeid.FromString(r.id)
		if err != nil {
			return nil, fmt.Errorf("--spiffe-id: %q is no SPIFFE ID: %w", r.id, err)
		}
		params.Subject = id
	}
	address, err := r.address()
	if err != nil {
		return nil, err
	}
	deadline, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	svids, err := workloadapi.FetchJWTSVIDs(deadline, params, workloadapi.WithAddr(address))
	switch {
	case ctx.Err() != nil:
		return nil, context.Canceled
	case err != nil:
		return nil, r.explain(err, address)
	}
	return r.only(svids)
}

// address of the Workload API. A path alone is one, too.
func (r svidRequest) address() (string, error) {
	address := cmp.Or(r.socket, os.Getenv(workloadapi.SocketEnv))
	if address == "" {
		return "", hintf("Name it with --socket or $"+workloadapi.SocketEnv+", as in unix:///run/spire/agent.sock: ask whoever runs SPIRE here.",
			"it is not known where the Workload API is")
	}
	if strings.HasPrefix(address, "/") {
		address = "unix://" + address
	}
	if err := workloadapi.ValidateAddress(address); err != nil {
		return "", hintf("Write it as unix:///run/spire/agent.sock.", "%q is no address of the Workload API: %w", address, err)
	}
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		return address, nil
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		reason := err
		if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
			reason = pathError.Err
		}
		return "", hintf("Does the agent run on this node, and is its socket mounted into this container (by the SPIFFE CSI driver, for example)?",
			"there is no Workload API at %s: %w", path, reason)
	case info.Mode()&fs.ModeSocket == 0:
		return "", hintf("Name the socket itself, as in unix:///run/spire/agent.sock.", "%s is no socket", path)
	}
	return address, nil
}

// explain says what the Workload API's refusal means, and what to do.
func (r svidRequest) explain(err error, address string) error {
	switch status.Code(err) {
	case codes.PermissionDenied:
		what := "this workload"
		if r.id != "" {
			what += " as " + r.id
		}
		return hintf("Register it with selectors that fit this process ('spire-server entry create'). A new entry takes a few seconds to reach the agent.",
			"the Workload API does not know %s: %s", what, status.Convert(err).Message())
	case codes.DeadlineExceeded:
		return hintf("Is the agent healthy ('spire-agent healthcheck')? --timeout waits longer.",
			"the Workload API at %s did not answer within %s", address, text.Duration(r.timeout))
	case codes.Unavailable:
		return hintf("Does the agent run on this node, and may this user connect to its socket?",
			"nobody answers at %s: %s", address, status.Convert(err).Message())
	case codes.InvalidArgument:
		return hintf("Is the --audience right?", "the Workload API does not accept this: %s", status.Convert(err).Message())
	}
	if strings.Contains(err.Error(), "token has expired") {
		return hintf("Compare the clock of this machine with that of the agent's.", "the Workload API gave a token that is over by the clock of this machine")
	}
	return fmt.Errorf("the Workload API at %s: %w", address, err)
}

// only is the identity that is wanted. Of several, nobody but the user can say which.
func (r svidRequest) only(svids []*jwtsvid.SVID) (*jwtsvid.SVID, error) {
	ids := make([]string, 0, len(svids))
	for _, svid := range svids {
		if r.id == "" || svid.ID.String() == r.id {
			ids = append(ids, svid.ID.String())
		}
	}
	slices.Sort(ids)
	switch ids = slices.Compact(ids); len(ids) {
	case 0:
		return nil, fmt.Errorf("the Workload API gave another identity than %s", r.id)
	case 1:
		return svids[slices.IndexFunc(svids, func(s *jwtsvid.SVID) bool { return s.ID.String() == ids[0] })], nil
	}
	return nil, hintf("Choose one with --spiffe-id.", "this workload has %d identities: %s", len(ids), strings.Join(ids, ", "))
}
