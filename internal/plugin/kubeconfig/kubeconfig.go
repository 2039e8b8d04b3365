// Package kubeconfig adds contexts of issued credentials to the kubeconfig of a user,
// and takes them out. Such a context holds no secret: its user is an exec plugin that
// fetches the credential with the identity of another context.
package kubeconfig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientauthenticationv1 "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Program is the plugin's binary, which the kubeconfig calls itself: through kubectl
// it would depend on which kubectl is found.
const Program = "kubectl-access"

// kind before a name makes it a request whatever it is called, as kubectl has it.
const kind = "areq/"

// subcommands of `credential`: requests of these names need their kind.
var subcommands = []string{"spiffe"}

const installHint = "kubectl-access is not there any more. Install the kubectl plugin of Access Broker, " +
	"and run 'kubectl access login' once more."

// Login is a context that uses the issued credential of a request.
type Login struct {
	Namespace, Request string
	// Base is the context whose user asked for the credential and fetches it.
	Base string
}

// Context is the name of the context, and of its user.
func (l Login) Context() string { return l.Namespace + "/" + l.Request + "@" + l.Base }

// Exec is how a login gets its credential.
type Exec struct {
	// Command is the plugin's binary.
	Command string
	// Kubeconfig are the files that have the base context.
	Kubeconfig []string
	// Env is set for the command besides.
	Env map[string]string
}

// user of the login. It never prompts: kubectl may have no terminal.
func (l Login) user(e Exec) *clientcmdapi.AuthInfo {
	name := l.Request
	if slices.Contains(subcommands, name) {
		name = kind + name
	}
	env := []clientcmdapi.ExecEnvVar{{Name: clientcmd.RecommendedConfigPathEnvVar, Value: strings.Join(e.Kubeconfig, string(os.PathListSeparator))}}
	for _, variable := range slices.Sorted(maps.Keys(e.Env)) {
		env = append(env, clientcmdapi.ExecEnvVar{Name: variable, Value: e.Env[variable]})
	}
	return &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion:      clientauthenticationv1.SchemeGroupVersion.String(),
		Command:         e.Command,
		Args:            []string{"credential", name, "--namespace", l.Namespace, "--context", l.Base},
		Env:             env,
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		InstallHint:     installHint,
	}}
}

// LoginOf tells whether a context is a login, and which.
func LoginOf(c *clientcmdapi.Config, name string) (Login, bool) {
	context, ok := c.Contexts[name]
	if !ok {
		return Login{}, false
	}
	user, ok := c.AuthInfos[context.AuthInfo]
	if !ok {
		return Login{}, false
	}
	return loginOf(user)
}

func loginOf(user *clientcmdapi.AuthInfo) (Login, bool) {
	if user.Exec == nil {
		return Login{}, false
	}
	program := filepath.Base(strings.ReplaceAll(user.Exec.Command, `\`, "/"))
	args := user.Exec.Args
	if strings.TrimSuffix(program, ".exe") != Program || len(args) != 6 || args[0] != "credential" || args[2] != "--namespace" || args[4] != "--context" {
		return Login{}, false
	}
	return Login{Request: strings.TrimPrefix(args[1], kind), Namespace: args[3], Base: args[5]}, true
}

// FilesOf are the files that a login's command reads.
func FilesOf(c *clientcmdapi.Config, name string) []string {
	if _, ok := LoginOf(c, name); !ok {
		return nil
	}
	for _, env := range c.AuthInfos[c.Contexts[name].AuthInfo].Exec.Env {
		if env.Name == clientcmd.RecommendedConfigPathEnvVar {
			return filepath.SplitList(env.Value)
		}
	}
	return nil
}

// Files are the kubeconfig files that are read: the one of --kubeconfig, or else those
// of KUBECONFIG or the one in the home folder. An empty path in the list, as a colon too
// many makes it, is left out.
func Files(explicit string) []string {
	if explicit != "" {
		return absolute([]string{explicit})
	}
	return absolute(clientcmd.NewDefaultPathOptions().GetLoadingPrecedence())
}

func absolute(paths []string) []string {
	var all []string
	for _, path := range paths {
		if path == "" {
			continue
		}
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		if !slices.Contains(all, path) {
			all = append(all, path)
		}
	}
	return all
}

// target is the file that a new context goes into: as kubectl has it, the first that is
// there, or else the last.
func target(files []string) string {
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return files[len(files)-1]
}

// ErrTaken means that a context or user of the name is there and no login.
var ErrTaken = errors.New("is there already, and is none that 'kubectl access login' made")

// Add writes the context of a login, and returns its file. Another user's or cluster's
// entry is never touched. use makes it the current context.
func Add(ctx context.Context, files []string, merged *clientcmdapi.Config, l Login, e Exec, namespace string, use bool) (string, error) {
	if len(files) == 0 {
		return "", errors.New("there is no kubeconfig to write to")
	}
	name := l.Context()
	file := target(files)
	if context, ok := merged.Contexts[name]; ok {
		if _, ours := LoginOf(merged, name); !ours {
			return "", fmt.Errorf("the context %s %w", name, ErrTaken)
		}
		if slices.Contains(files, context.LocationOfOrigin) {
			file = context.LocationOfOrigin
		}
	}
	if user, ok := merged.AuthInfos[name]; ok {
		if _, ours := loginOf(user); !ours {
			return "", fmt.Errorf("the user %s %w", name, ErrTaken)
		}
	}
	base := merged.Contexts[l.Base]
	err := modify(ctx, file, nil, func(c *clientcmdapi.Config) {
		c.AuthInfos[name] = l.user(e)
		c.Contexts[name] = &clientcmdapi.Context{Cluster: base.Cluster, AuthInfo: name, Namespace: namespace}
	})
	if err == nil && use {
		// The first file that has a current context decides.
		err = modify(ctx, target(files), &name, func(*clientcmdapi.Config) {})
	}
	return file, err
}

// AddTo writes the context of a login into a file that needs no other one. It becomes
// the current context there, unless the file has another or use says so.
func AddTo(ctx context.Context, file string, cluster *clientcmdapi.Cluster, l Login, e Exec, namespace string, use bool) error {
	name := l.Context()
	there, err := load(file)
	if err != nil {
		return err
	}
	if _, ok := there.Contexts[name]; ok {
		if _, ours := LoginOf(there, name); !ours {
			return fmt.Errorf("the context %s %w", name, ErrTaken)
		}
	}
	var current *string
	if use || there.CurrentContext == "" {
		current = &name
	}
	return modify(ctx, file, current, func(c *clientcmdapi.Config) {
		c.Clusters[name] = cluster
		c.AuthInfos[name] = l.user(e)
		c.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name, Namespace: namespace}
	})
}

// Remove takes every login for which is returns true out of files, and tells which these
// were. Where such a login is the current context, its base becomes it. A file of AddTo
// in which nothing else is left is deleted.
func Remove(ctx context.Context, files []string, is func(Login) bool) ([]string, error) {
	logins, base := map[string]Login{}, map[string]bool{}
	for _, file := range files {
		there, err := load(file)
		if err != nil {
			return nil, err
		}
		for name := range there.Contexts {
			base[name] = true
		}
		for _, name := range loginsIn(there, is) {
			logins[name], _ = LoginOf(there, name)
		}
	}
	for _, file := range files {
		if err := removeFrom(ctx, file, logins, base); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(logins)), nil
}

func removeFrom(ctx context.Context, file string, logins map[string]Login, base map[string]bool) error {
	there, err := load(file)
	if err != nil {
		return err
	}
	var current *string
	if l, ok := logins[there.CurrentContext]; ok {
		current = new("")
		if base[l.Base] {
			current = &l.Base
		}
	}
	ours := func(c *clientcmdapi.Config) []string {
		return loginsIn(c, func(l Login) bool { _, ok := logins[l.Context()]; return ok })
	}
	if current == nil && len(ours(there)) == 0 {
		return nil
	}
	empty := false
	err = modify(ctx, file, current, func(c *clientcmdapi.Config) {
		for _, name := range ours(c) {
			delete(c.AuthInfos, c.Contexts[name].AuthInfo)
			delete(c.Contexts, name)
			if _, own := c.Clusters[name]; own {
				delete(c.Clusters, name)
				empty = len(c.AuthInfos)+len(c.Contexts)+len(c.Clusters) == 0
			}
		}
	})
	if err == nil && empty {
		err = os.Remove(file)
	}
	return err
}

func loginsIn(c *clientcmdapi.Config, is func(Login) bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		if l, ok := LoginOf(c, name); ok && is(l) {
			names = append(names, name)
		}
	}
	return names
}

// load a file as it is, with paths relative to it. One that is not there is empty.
func load(file string) (*clientcmdapi.Config, error) {
	c, err := clientcmd.LoadFromFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return clientcmdapi.NewConfig(), nil
	}
	return c, err
}

const (
	// lockPatience is how long another program may write a kubeconfig.
	lockPatience = 10 * time.Second
	lockPause    = 50 * time.Millisecond
)

// modify changes one file under the lock that kubectl takes, too. current becomes the
// current context, unless it is nil. clientcmd.ModifyConfig would write what was read
// before the lock, and empty the file before it writes it: programs that read it at that
// moment would find no context.
func modify(ctx context.Context, file string, current *string, change func(*clientcmdapi.Config)) error {
	unlock, err := lock(ctx, file)
	if err == nil {
		defer unlock()
		err = edit(file, current, change)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("this kubeconfig cannot be written: %w; '--kubeconfig-out FILE' writes another", err)
	}
	return err
}

// lock takes the lock of clientcmd: a file beside the kubeconfig.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the kubeconfig: %w", err)
	}
	until := time.Now().Add(lockPatience)
	for {
		held, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_EXCL, 0)
		switch {
		case err == nil:
			return func() { _ = os.Remove(file + ".lock") }, held.Close()
		case !errors.Is(err, fs.ErrExist):
			return nil, fmt.Errorf("lock the kubeconfig: %w", err)
		case time.Now().After(until):
			return nil, fmt.Errorf("%s.lock is there: another program writes this kubeconfig; if none does, delete it", file)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPause):
		}
	}
}

// edit reads, changes and writes a file whose lock we hold.
func edit(file string, current *string, change func(*clientcmdapi.Config)) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	change(c)
	if current != nil {
		c.CurrentContext = *current
	}
	content, err := clientcmd.Write(*c)
	if err != nil {
		return fmt.Errorf("write the kubeconfig %s: %w", file, err)
	}
	if err := replace(file, content); err != nil {
		return fmt.Errorf("write the kubeconfig: %w", err)
	}
	return nil
}

// replace puts a file in the place of another, so that no reader sees half of it. What
// a link names is replaced, and not the link. Where that cannot be, as with a file that
// is mounted or of another owner, it is written in place.
func replace(file string, content []byte) (err error) {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(file); err == nil {
		if !ownedByUs(info) {
			return os.WriteFile(file, content, mode)
		}
		mode = info.Mode().Perm()
	}
	next, err := os.CreateTemp(filepath.Dir(file), ".kubeconfig-")
	if err != nil {
		return err
	}
	_, err = next.Write(content)
	if err = errors.Join(err, next.Chmod(mode), next.Close()); err == nil {
		if err = os.Rename(next.Name(), file); err == nil {
			return nil
		}
	}
	_ = os.Remove(next.Name())
	return os.WriteFile(file, content, mode)
}

// ClusterOf is the cluster that a client reaches, in a form that needs no other file.
func ClusterOf(config *rest.Config) (*clientcmdapi.Cluster, error) {
	loaded := rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(loaded); err != nil {
		return nil, err
	}
	server, _, err := rest.DefaultServerUrlFor(loaded)
	if err != nil {
		return nil, err
	}
	c := &clientcmdapi.Cluster{
		Server: strings.TrimSuffix(server.String(), "/"), CertificateAuthorityData: loaded.CAData,
		TLSServerName: loaded.ServerName, InsecureSkipTLSVerify: loaded.Insecure, DisableCompression: loaded.DisableCompression,
	}
	if loaded.Proxy != nil {
		proxy, err := loaded.Proxy(&http.Request{URL: &url.URL{Scheme: server.Scheme, Host: server.Host}})
		if err != nil {
			return nil, err
		}
		if proxy != nil {
			c.ProxyURL = proxy.String()
		}
	}
	return c, nil
}

// ClusterID tells clusters apart by all that a client trusts one by. Another cluster at
// the same address, as behind a tunnel, has another certificate authority.
func ClusterID(c *clientcmdapi.Cluster) string {
	sum := sha256.New()
	for _, part := range []string{c.Server, strings.TrimSpace(string(c.CertificateAuthorityData)), c.TLSServerName, fmt.Sprint(c.InsecureSkipTLSVerify)} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
