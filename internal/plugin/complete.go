package plugin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/text"
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

func (o *options) completeGlobalFlags(root *cobra.Command) {
	complete(root, "namespace", o.completeNamespaces)
	complete(root, "context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		config, err := o.config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, noFiles
		}
		var names []string
		for name := range config.Contexts {
			names = append(names, name)
		}
		slices.Sort(names)
		return names, noFiles
	})
	for _, free := range []string{"as", "as-group"} {
		complete(root, free, fixed())
	}
}

// lookUp asks the cluster for words to offer, no longer than people wait for Tab.
// An error offers nothing.
func (o *options) lookUp(cmd *cobra.Command, find func(context.Context, *cluster, v1alpha1.UserInfo) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	c, err := o.connect()
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil, noFiles
	}
	me, err := c.me(ctx)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil, noFiles
	}
	found, err := find(ctx, c, me)
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
		return o.lookUp(cmd, func(ctx context.Context, c *cluster, me v1alpha1.UserInfo) ([]string, error) {
			requests, err := c.requests(ctx, false)
			var words []string
			for i := range requests {
				if r := &requests[i]; offer(r, me) {
					words = append(words, described(r.Name, r.Spec.Requester.Username+", "+text.Role(r.Spec.RoleRef)+" in "+text.Scope(r.Namespace, r.Spec.Scope)+", "+phaseOf(r)))
				}
			}
			return words, err
		})
	}
}

// completeRoles offers the roles of the policies that let me ask.
func (o *options) completeRoles(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, noFiles
	}
	return o.lookUp(cmd, func(ctx context.Context, c *cluster, me v1alpha1.UserInfo) ([]string, error) {
		policies, err := c.policies(ctx)
		var words []string
		for _, p := range forMe(policies, me) {
			for _, role := range p.Spec.Roles {
				words = append(words, roleArgument(role))
			}
		}
		return words, err
	})
}

// completePolicies offers the policies that let me ask.
func (o *options) completePolicies(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.lookUp(cmd, func(ctx context.Context, c *cluster, me v1alpha1.UserInfo) ([]string, error) {
		policies, err := c.policies(ctx)
		var words []string
		for _, p := range forMe(policies, me) {
			words = append(words, described(p.Name, offered(&p.Spec)+" in "+covered(&p.Spec)+", at most "+text.Duration(p.Spec.MaxDuration.Duration)))
		}
		return words, err
	})
}

// completeNamespaces offers all namespaces or, to those who may not list them,
// the ones that policies name. In a list it completes the last.
func (o *options) completeNamespaces(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	return o.lookUp(cmd, func(ctx context.Context, c *cluster, me v1alpha1.UserInfo) ([]string, error) {
		var names []string
		list := &corev1.NamespaceList{}
		err := c.List(ctx, list)
		for i := range list.Items {
			names = append(names, before+list.Items[i].Name)
		}
		if err == nil {
			return names, nil
		}
		policies, err := c.policies(ctx)
		for _, p := range forMe(policies, me) {
			if p.Spec.Namespaces != nil {
				for _, name := range p.Spec.Namespaces.Names {
					names = append(names, before+name)
				}
			}
		}
		return names, err
	})
}

// described is a completion with a description, which the shell shows.
func described(word, what string) string { return cobra.CompletionWithDesc(word, clean(what)) }
