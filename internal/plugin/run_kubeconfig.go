package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfigFor has the flags --kubeconfig, --context and --namespace hold for a
// command: nil when there are none. Context and namespace go into a kubeconfig before
// the others, which says nothing else; nothing secret is written.
func kubeconfigFor(flags *genericclioptions.ConfigFlags) (env []string, cleanup func(), err error) {
	cleanup = func() {}
	if !given(flags.KubeConfig) && !given(flags.Context) && !given(flags.Namespace) {
		return nil, cleanup, nil
	}
	loader := flags.ToRawKubeConfigLoader()
	files := loader.ConfigAccess().GetLoadingPrecedence()
	if given(flags.KubeConfig) {
		files = []string{*flags.KubeConfig}
	}
	for i, file := range files {
		if files[i], err = filepath.Abs(file); err != nil {
			return nil, cleanup, err
		}
	}
	config, err := loader.RawConfig()
	if err != nil {
		return nil, cleanup, err
	}
	name := config.CurrentContext
	if given(flags.Context) {
		name = *flags.Context
	}
	current := config.Contexts[name]
	switch {
	case current == nil && len(config.Contexts) > 0:
		return nil, cleanup, fmt.Errorf("the kubeconfig has no context %q", name)
	case current == nil: // in a Pod, where client-go takes the namespace from here
		return with("POD_NAMESPACE", *flags.Namespace), cleanup, nil
	}
	if given(flags.Context) || given(flags.Namespace) {
		folder, err := os.MkdirTemp("", "kubectl-access-")
		if err != nil {
			return nil, cleanup, err
		}
		cleanup = func() { _ = os.RemoveAll(folder) }
		over := clientcmdapi.NewConfig()
		over.CurrentContext = name
		over.Contexts[name] = &clientcmdapi.Context{Cluster: current.Cluster, AuthInfo: current.AuthInfo, Namespace: current.Namespace}
		if given(flags.Namespace) {
			over.Contexts[name].Namespace = *flags.Namespace
		}
		file := filepath.Join(folder, "kubeconfig")
		if err := clientcmd.WriteToFile(*over, file); err != nil {
			return nil, func() {}, errors.Join(err, os.RemoveAll(folder))
		}
		files = slices.Insert(files, 0, file)
	}
	return with(clientcmd.RecommendedConfigPathEnvVar, strings.Join(files, string(filepath.ListSeparator))), cleanup, nil
}

// with is our environment with another value for a variable.
func with(key, value string) []string { return append(os.Environ(), key+"="+value) }
