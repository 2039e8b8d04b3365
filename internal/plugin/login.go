package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/keys"
	"github.com/accessbroker/accessbroker/internal/plugin/kubeconfig"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
	"github.com/accessbroker/accessbroker/internal/text"
)

func (o *options) newLoginCommand() *cobra.Command {
	var outFile string
	var use bool
	cmd := &cobra.Command{
		Use:   "login NAME",
		Short: "Add a context that uses the issued credential of a request",
		Long: `Add a context to your kubeconfig that uses the issued credential of a request.

The context has the cluster of your own one, and a user that runs 'kubectl
access credential' whenever a program needs the credential. No token is written
to a file. Your current context stays as it is, unless you say --use. To run it
twice does no harm.`,
		Example: `  kubectl access login edit-x7k2p -n payments
  kubectl --context payments/edit-x7k2p@prod get pods

  # Into a file of its own
  kubectl access login edit-x7k2p -n payments --kubeconfig-out fix.kubeconfig
  kubectl --kubeconfig fix.kubeconfig get pods

  # From now on, for all commands
  kubectl access login edit-x7k2p -n payments --use`,
		Annotations: map[string]string{roleAnnotation: "access-requester"},
		Args:        oneName("request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if flag := lostFlag(cmd); flag != "" {
				return usagef(cmd, "a context cannot keep --%s: make a context that has it, and name that with --context", flag)
			}
			return o.login(cmd.Context(), requestName(args[0]), outFile, use)
		},
		ValidArgsFunction: o.completeRequests(view.MyCredential),
	}
	cmd.Flags().StringVar(&outFile, "kubeconfig-out", "", "Write to this kubeconfig instead of your own.")
	cmd.Flags().BoolVar(&use, "use", false, "Make it the current context.")
	return cmd
}

// lostFlag is a flag of kubectl's on the command line that says who we are or where the
// cluster is, and that a context would not have.
func lostFlag(cmd *cobra.Command) string {
	kept := []string{"namespace", "context", "kubeconfig", "cache-dir", "request-timeout", "disable-compression"}
	lost := ""
	cmd.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && !slices.Contains(kept, f.Name) {
			lost = f.Name
		}
	})
	return lost
}

func (o *options) login(ctx context.Context, name, outFile string, use bool) error {
	c, err := cluster.Connect(o.config)
	if err != nil {
		return err
	}
	merged, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return err
	}
	base := cmp.Or(*o.config.Context, merged.CurrentContext)
	if _, ok := merged.Contexts[base]; !ok {
		return hintf("In a Pod, 'kubectl access run' gives a command the access without a kubeconfig.", "a login needs a context of your own, and there is none in your kubeconfig")
	}
	// What does not open now is no use in a kubeconfig.
	opened, err := o.openCredential(ctx, c, name, time.Now())
	if err != nil {
		return err
	}
	r, kept := opened.request, opened.kept
	l := kubeconfig.Login{Namespace: r.Namespace, Request: r.Name, Base: base}
	file, err := o.addLogin(ctx, &merged, l, view.LoginNamespace(r), outFile, use)
	if err != nil {
		return err
	}
	if !slices.Contains(kept.Kubeconfigs, file) {
		kept.Kubeconfigs = append(kept.Kubeconfigs, file)
		if err := kept.Save(); err != nil {
			return err
		}
	}
	example := "kubectl --context " + view.Typed(l.Context())
	switch {
	case outFile != "":
		example = "kubectl --kubeconfig " + view.Typed(outFile)
		if there, err := clientcmd.LoadFromFile(file); err == nil && there.CurrentContext != l.Context() {
			example += " --context " + view.Typed(l.Context())
		}
	case use:
		example = "kubectl"
	}
	fmt.Fprintln(o.Out, term.Clean(fmt.Sprintf("Context %s is in %s.", l.Context(), file)))
	end := view.CredentialExpiry(r)
	if r.Status.ExpirationTime != nil {
		end = r.Status.ExpirationTime.Time
	}
	fmt.Fprintln(o.ErrOut, term.Clean("Use it with '"+example+" …'; the access ends at "+text.Moment(end)+"."))
	fmt.Fprintln(o.ErrOut, term.Clean("'"+view.Command("release", r)+"' gives it back, and takes the context away."))
	return nil
}

// addLogin writes the context, and returns its file.
func (o *options) addLogin(ctx context.Context, merged *clientcmdapi.Config, l kubeconfig.Login, namespace, outFile string, use bool) (string, error) {
	program, err := ownProgram()
	if err != nil {
		return "", err
	}
	files := kubeconfig.Files(*o.config.KubeConfig)
	e := kubeconfig.Exec{Command: program, Kubeconfig: files}
	if os.Getenv(keys.HomeVariable) != "" {
		store, err := keys.Open()
		if err != nil {
			return "", err
		}
		e.Env = map[string]string{keys.HomeVariable: store.Dir()}
	}
	if outFile == "" {
		return kubeconfig.Add(ctx, files, merged, l, e, namespace, use)
	}
	if outFile, err = filepath.Abs(outFile); err != nil {
		return "", err
	}
	if slices.Contains(files, outFile) {
		return kubeconfig.Add(ctx, []string{outFile}, merged, l, e, namespace, use)
	}
	here, err := o.here()
	if err != nil {
		return "", err
	}
	return outFile, kubeconfig.AddTo(ctx, outFile, here.stanza, l, e, namespace, use)
}

// ownProgram is the path of this program as a kubeconfig may keep it. A path serves
// programs that have another PATH, such as those that no shell started; of the ways to
// us, the one on the PATH outlives updates.
func ownProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	found, err := exec.LookPath(kubeconfig.Program)
	if err != nil {
		return self, nil //nolint:nilerr // then it is not on the PATH
	}
	a, errA := os.Stat(self)
	b, errB := os.Stat(found)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return self, nil
	}
	return filepath.Abs(found)
}

// endpoint is the cluster that the flags name.
type endpoint struct {
	id     keys.Cluster
	stanza *clientcmdapi.Cluster
}

func (o *options) here() (endpoint, error) {
	config, err := o.config.ToRESTConfig()
	if err != nil {
		return endpoint{}, err
	}
	stanza, err := kubeconfig.ClusterOf(config)
	if err != nil {
		return endpoint{}, err
	}
	return endpoint{keys.Cluster{ID: kubeconfig.ClusterID(stanza), Server: stanza.Server}, stanza}, nil
}

func (o *options) newLogoutCommand() *cobra.Command {
	var outFile string
	cmd := &cobra.Command{
		Use:   "logout NAME",
		Short: "Take the context and the key of an issued credential away",
		Long: `Take the context, the user and the key of an issued credential from this machine.

The access itself stays until its end, and nobody can use it any more, because
nobody else has the key. 'kubectl access release' gives it back, and does the
same.`,
		Example: `  kubectl access logout edit-x7k2p -n payments`,
		Args:    oneName("request", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			namespace, _, err := o.config.ToRawKubeConfigLoader().Namespace()
			if err != nil {
				return err
			}
			name := requestName(args[0])
			gone, err := o.forget(cmd.Context(), namespace, name, outFile)
			if err != nil {
				return err
			}
			if len(gone) == 0 {
				return fmt.Errorf("there is neither a context nor a key of %s in namespace %s", name, namespace)
			}
			for _, what := range gone {
				fmt.Fprintln(o.Out, term.Clean("Removed "+what+"."))
			}
			return nil
		},
		ValidArgsFunction: o.completeKept,
	}
	cmd.Flags().StringVar(&outFile, "kubeconfig-out", "", "The kubeconfig that 'login' wrote to, if it was this one.")
	return cmd
}

// forget takes all that this machine has of a request's credential away, at the cluster
// of the present context, and tells what that was. It asks no cluster.
func (o *options) forget(ctx context.Context, namespace, name, outFile string) ([]string, error) {
	store, err := keys.Open()
	if err != nil {
		return nil, err
	}
	all, err := store.All()
	if err != nil {
		return nil, err
	}
	here, err := o.here()
	if err != nil {
		return nil, err
	}
	files := kubeconfig.Files(*o.config.KubeConfig)
	own := view.Keep(all, func(k **keys.Kept) bool {
		return (*k).Namespace == namespace && (*k).Name == name && (*k).Cluster == here.id.ID
	})
	for _, k := range own {
		files = append(files, k.Kubeconfigs...)
	}
	if outFile != "" {
		if outFile, err = filepath.Abs(outFile); err != nil {
			return nil, err
		}
		files = append(files, outFile)
	}
	sameCluster, err := o.sameCluster()
	if err != nil {
		return nil, err
	}
	contexts, err := kubeconfig.Remove(ctx, unique(files), func(l kubeconfig.Login) bool {
		return l.Namespace == namespace && l.Request == name && sameCluster(l.Base)
	})
	if err != nil {
		return nil, err
	}
	gone := view.Each(contexts, func(name string) string { return "the context " + name })
	for _, k := range own {
		if err := k.Remove(); err != nil {
			return gone, err
		}
		gone = append(gone, "the key of "+k.Namespace+"/"+k.Name)
	}
	return gone, nil
}

// unique leaves repetitions out and keeps the order, which decides between kubeconfigs.
func unique(words []string) []string {
	var out []string
	for _, word := range words {
		if !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	return out
}

// sameCluster tells of a context whether it has the cluster of the present one.
func (o *options) sameCluster() (func(context string) bool, error) {
	raw, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, err
	}
	present := cmp.Or(*o.config.Context, raw.CurrentContext)
	return func(name string) bool {
		a, b := raw.Contexts[name], raw.Contexts[present]
		return name == present || a != nil && b != nil && a.Cluster == b.Cluster
	}, nil
}

// useOwnContext makes all commands act as the person, also where the context is a login:
// its identity may do what was granted, and knows no requests.
func (o *options) useOwnContext() error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = *o.config.KubeConfig
	raw, err := rules.Load()
	if err != nil {
		return nil //nolint:nilerr // whoever needs the kubeconfig says what is wrong
	}
	name := cmp.Or(*o.config.Context, raw.CurrentContext)
	l, ok := kubeconfig.LoginOf(raw, name)
	if !ok {
		return nil
	}
	if _, there := raw.Contexts[l.Base]; !there {
		files := kubeconfig.FilesOf(raw, name)
		if len(files) != 1 {
			return hintf("Name a context of your own with --context.", "the context %s is a login, which sees no requests", name)
		}
		*o.config.KubeConfig = files[0]
	}
	*o.config.Context = l.Base
	if *o.config.Namespace == "" {
		*o.config.Namespace = raw.Contexts[name].Namespace
	}
	return nil
}

// completeKept offers the requests whose keys are here.
func (o *options) completeKept(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	store, err := keys.Open()
	if err != nil || len(args) > 0 {
		return nil, noFiles
	}
	all, err := store.All()
	namespace, _, nsErr := o.config.ToRawKubeConfigLoader().Namespace()
	if errors.Join(err, nsErr) != nil {
		return nil, noFiles
	}
	var names []string
	for _, k := range all {
		if k.Namespace == namespace && k.Name != "" {
			names = append(names, k.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), noFiles
}
