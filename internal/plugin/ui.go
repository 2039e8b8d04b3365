package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/netutil"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/web"
	"github.com/accessbroker/accessbroker/internal/text"
)

// What a connection to the page may cost: every user of the machine can make some.
// There is no limit on the time of an answer, because streams have no end.
const (
	uiConnections = 256
	uiHeader      = 64 << 10
	uiHeaderTime  = 10 * time.Second
	uiReadTime    = 30 * time.Second
	uiIdleTime    = 2 * time.Minute
	// uiEndTime is how long an answer may take when the page ends.
	uiEndTime = 2 * time.Second
)

// uiOptions are the flags of ui, and where the page opens.
type uiOptions struct {
	target              string
	readOnly, noBrowser bool
	port                uint16
}

func (o *options) newUICommand() *cobra.Command {
	var ui uiOptions
	cmd := &cobra.Command{
		Use:   "ui [areq/NAME | agrant/NAME]",
		Short: "Open a page in your browser: what you hold, what waits for you, who had what",
		Long: `Open a page in your browser: what you hold, what waits for you, who had what.

The page is served on this machine alone, for as long as the command runs. It acts
as you, with your kubeconfig, and can do nothing that the other commands could not.
Ctrl-C ends it.

It opens by an address that is good for one browser, within ten minutes. The address
is all that the command writes to its standard output.`,
		Example: `  kubectl access ui

  # At a request or a grant
  kubectl access ui areq/edit-x7k2p -n payments
  kubectl access ui agrant/edit-x7k2p-93a9a96315c30a04

  # For a screen in the room: nothing can be asked for or decided
  kubectl access ui --read-only

  # On a machine that you reach by ssh -L 8080:127.0.0.1:8080
  kubectl access ui --no-browser --port 8080`,
		Annotations: map[string]string{roleAnnotation: "access-requester, or access-approver to decide,"},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := oneName("request or grant", 0)(cmd, args); err != nil || len(args) == 0 {
				return err
			}
			ui.target = args[0]
			if _, err := pagePath(ui.target, "any"); err != nil {
				return usagef(cmd, "%w", err)
			}
			return nil
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.ui(cmd.Context(), ui) },
		ValidArgsFunction: o.completePages,
	}
	cmd.Flags().BoolVar(&ui.readOnly, "read-only", false, "Show, and let nobody ask or decide.")
	cmd.Flags().BoolVar(&ui.noBrowser, "no-browser", false, "Print the address, and open no browser.")
	cmd.Flags().Uint16Var(&ui.port, "port", 0, "Listen on this port instead of a free one.")
	complete(cmd, "port", fixed())
	return cmd
}

// completePages offers the requests of the namespace, as ui takes them.
func (o *options) completePages(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	all := func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool { return true }
	names, directive := o.completeRequests(all)(cmd, args, typed)
	for i := range names {
		names[i] = "areq/" + names[i]
	}
	return names, directive
}

// pagePath is where the page of a request or a grant is, which may come with its kind;
// "" is the first page.
func pagePath(word, namespace string) (string, error) {
	kind, name, found := strings.Cut(word, "/")
	if !found {
		kind, name = "areq", word
	}
	page := ""
	switch strings.TrimSuffix(kind, "."+v1alpha1.GroupVersion.Group) {
	case "areq", "accessrequest", "accessrequests":
		page = "requests/" + namespace + "/"
	case "agrant", "accessgrant", "accessgrants":
		page = "grants/"
	default:
		return "", fmt.Errorf("%q is neither a request, areq/NAME, nor a grant, agrant/NAME", word)
	}
	if validation.IsDNS1123Subdomain(name) != nil {
		return "", fmt.Errorf("%q is no name of a request or a grant", name)
	}
	return page + name, nil
}

// ui serves the page until the context ends.
func (o *options) ui(ctx context.Context, ui uiOptions) error {
	c, err := cluster.Connect(o.config)
	if err != nil {
		return err
	}
	path := ""
	if ui.target != "" {
		if path, err = pagePath(ui.target, c.Namespace); err != nil {
			return err
		}
	}
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	raw, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return err
	}
	contextName := cmp.Or(*o.config.Context, raw.CurrentContext)
	listener, err := listenHere(ui.port)
	if err != nil {
		return err
	}
	defer listener.Close()
	door := web.NewDoor(listener.Addr().String())
	page, err := web.New(ctx, web.Options{
		Cluster: c, Me: me, Context: contextName, Root: door.Root(), ReadOnly: ui.readOnly, Explain: explain,
		AskWithKey: func(ctx context.Context, request *v1alpha1.AccessRequest) error { return o.askWithKey(ctx, c, request) },
		Kinds:      o.config.ToRESTMapper,
	})
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: door.Guard(page), MaxHeaderBytes: uiHeader,
		ReadHeaderTimeout: uiHeaderTime, ReadTimeout: uiReadTime, IdleTimeout: uiIdleTime,
		// Else the server would answer OPTIONS * itself, without the door.
		DisableGeneralOptionsHandler: true,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(netutil.LimitListener(listener, uiConnections)) }()

	address := door.Address(path)
	as := "The page acts as " + text.Person(me.Username, me.Groups, 3)
	if contextName != "" {
		as += ", in the context " + contextName
	}
	fmt.Fprintln(o.ErrOut, term.Clean(as+". It ends with Ctrl-C."))
	noBrowser := make(chan error, 1)
	if ui.noBrowser {
		fmt.Fprintln(o.ErrOut, "This address opens it, once and within ten minutes:")
	} else {
		browser, err := newBrowser(address)
		if err == nil {
			defer browser.forget()
			go browser.forgetAfter(ctx, door.Entered())
			go func() { noBrowser <- browser.open(ctx) }()
			fmt.Fprintln(o.ErrOut, "If no browser opens it, this address does, once and within ten minutes:")
		} else {
			fmt.Fprintln(o.ErrOut, term.Clean("No browser was opened: "+err.Error()+". This address opens it, once and within ten minutes:"))
		}
	}
	fmt.Fprintln(o.Out, address)

	for {
		select {
		case err := <-failed:
			return err
		case err := <-noBrowser:
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(o.ErrOut, term.Clean("No browser was opened: "+err.Error()+"."))
			}
			noBrowser = nil
		case <-ctx.Done():
			return shutDown(server)
		}
	}
}

// shutDown ends a server. What was sent to the API server is answered still.
func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), uiEndTime)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

// listenHere listens where only this machine can connect.
func listenHere(port uint16) (net.Listener, error) {
	loopback := "127.0.0.1"
	if free, err := net.Listen("tcp", net.JoinHostPort(loopback, "0")); err == nil {
		if port == 0 {
			return free, nil
		}
		if err := free.Close(); err != nil {
			return nil, err
		}
	} else {
		loopback = "::1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(int(port))))
	if err != nil && port != 0 {
		return nil, hintf("Name another --port, or leave it out for a free one.", "cannot listen on port %d: %w", port, err)
	}
	return listener, err
}
