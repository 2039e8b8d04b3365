package plugin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/utils/ptr"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// completionTimeout: somebody has pressed Tab and waits.
const completionTimeout = 3 * time.Second

const noFiles = cobra.ShellCompDirectiveNoFileComp

// complete has a flag of a command completed.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	utilruntime.Must(cmd.RegisterFlagCompletionFunc(flag, f))
}

// fixed offers always the same; even nothing is better than file names.
func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, noFiles)
}

// prefixes offers beginnings of words.
func prefixes(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, noFiles|cobra.ShellCompDirectiveNoSpace)
}

// list offers words in a list with commas, those that it does not have yet.
func list(words []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		var left []string
		for _, word := range words {
			if !slices.Contains(strings.Split(before, ","), word) {
				left = append(left, before+word)
			}
		}
		return left, noFiles
	}
}

func (o *options) completeGlobalFlags(root *cobra.Command) {
	complete(root, "namespace", o.completeNamespaces)
	complete(root, "context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		config, err := o.config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, noFiles
		}
		return slices.Sorted(maps.Keys(config.Contexts)), noFiles
	})
	for _, free := range []string{"as", "as-group"} {
		complete(root, free, fixed())
	}
}

// lookUp asks the cluster for words to offer, no longer than people wait for Tab.
// An error offers nothing.
func (o *options) lookUp(cmd *cobra.Command, find func(context.Context, *cluster.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var found []string
	err := o.useOwnContext()
	if err != nil {
		return nil, noFiles
	}
	c, err := cluster.Connect(o.config)
	if err == nil {
		found, err = find(ctx, c)
	}
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	slices.Sort(found)
	return slices.Compact(found), noFiles
}

// completeRequests offers the requests of the namespace, with a description each.
func (o *options) completeRequests(offer func(*v1alpha1.AccessRequest, v1alpha1.UserInfo) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return o.lookUp(cmd, func(ctx context.Context, c *cluster.Client) ([]string, error) {
			me, err := c.Me(ctx)
			if err != nil {
				return nil, err
			}
			requests, err := c.Requests(ctx, c.Namespace)
			open := view.Keep(requests, func(r *v1alpha1.AccessRequest) bool { return offer(r, me) })
			return view.Each(open, func(r v1alpha1.AccessRequest) string {
				return described(r.Name, view.RequestLine(&r))
			}), err
		})
	}
}

// completeRoles offers the roles of the policies that let me ask.
func (o *options) completeRoles(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return o.lookUp(cmd, func(ctx context.Context, c *cluster.Client) ([]string, error) {
		policies, err := c.PoliciesForMe(ctx)
		roles := view.Each(policies, func(p v1alpha1.AccessPolicy) []string { return view.Each(p.Spec.Roles, view.RoleArgument) })
		return slices.Concat(roles...), err
	})
}

// completePolicies offers the policies that let me ask.
func (o *options) completePolicies(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.lookUp(cmd, func(ctx context.Context, c *cluster.Client) ([]string, error) {
		policies, err := c.PoliciesForMe(ctx)
		return view.Each(policies, func(p v1alpha1.AccessPolicy) string {
			return described(p.Name, view.PolicyLine(&p))
		}), err
	})
}

// completeNamespaces offers all namespaces or, to those who may not list them,
// the ones that policies name. In a list it completes the last.
func (o *options) completeNamespaces(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	return o.lookUp(cmd, func(ctx context.Context, c *cluster.Client) ([]string, error) {
		if namespaces, err := c.Namespaces(ctx); err == nil {
			return view.Each(namespaces, func(ns corev1.Namespace) string { return before + ns.Name }), nil
		}
		policies, err := c.PoliciesForMe(ctx)
		named := view.Each(policies, func(p v1alpha1.AccessPolicy) []string {
			return ptr.Deref(p.Spec.Namespaces, v1alpha1.PolicyNamespaces{}).Names
		})
		return view.Each(slices.Concat(named...), func(name string) string { return before + name }), err
	})
}

// described is a completion with a description, which the shell shows.
func described(word, what string) string { return cobra.CompletionWithDesc(word, term.Clean(what)) }
