package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

// runFolder begins the names of the folders for the commands that run.
const runFolder = "kubectl-access-run-"

// issuedRun gives one command the issued credential of one request. The key is in
// memory only, and what the command reads is in a folder that goes at the end: a
// kubeconfig, and the token that it names, which follows each renewal. The token is
// neither in the environment nor on a command line.
type issuedRun struct {
	cluster *cluster.Client
	stanza  *clientcmdapi.Cluster
	key     *credential.Key
	// lost is told why the credential could not be renewed.
	lost func(error)
}

// issuedEnvironment is that of a command with an issued credential.
func (r *runner) issuedEnvironment(ctx context.Context, request *v1alpha1.AccessRequest) (env []string, cleanup func(), err error) {
	here, err := r.here()
	if err != nil {
		return nil, nil, err
	}
	issued := &issuedRun{cluster: r.cluster, stanza: here.stanza, key: r.key, lost: func(err error) {
		fmt.Fprintln(r.ErrOut, "kubectl access: "+term.Clean(err.Error()))
	}}
	return issued.prepare(ctx, request, os.Environ())
}

// prepare makes what a command needs, and returns its environment and what takes all
// of that away. The request has its credential by then.
func (i *issuedRun) prepare(ctx context.Context, r *v1alpha1.AccessRequest, env []string) (_ []string, cleanup func(), err error) {
	if err := unusable(r, time.Now()); err != nil {
		return nil, nil, err
	}
	token, err := open(i.key, r)
	if err != nil {
		return nil, nil, err
	}
	home := runHome()
	removeLeft(home, time.Now())
	dir, err := os.MkdirTemp(home, runFolder) // 0700
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for the credential: %w", err)
	}
	alive, err := stayAlive(dir)
	defer func() {
		if err != nil {
			alive()
			_ = os.RemoveAll(dir)
		}
	}()
	if err != nil {
		return nil, nil, fmt.Errorf("lock the folder for the credential: %w", err)
	}
	file := filepath.Join(dir, "token")
	if err := replaceToken(file, token); err != nil {
		return nil, nil, err
	}
	name := r.Namespace + "/" + r.Name
	path := filepath.Join(dir, "config")
	err = clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: i.stanza},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {TokenFile: file}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name, Namespace: view.LoginNamespace(r)}},
		CurrentContext: name,
	}, path) // 0600
	if err != nil {
		return nil, nil, fmt.Errorf("write the kubeconfig of the command: %w", err)
	}
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() { i.follow(following, r, file) })
	cleanup = func() {
		stop()
		renewing.Wait()
		alive()
		if err := os.RemoveAll(dir); err != nil {
			i.lost(fmt.Errorf("take the credential away: %w", err))
		}
	}
	return withVariable(env, clientcmd.RecommendedConfigPathEnvVar, path), cleanup, nil
}

// follow writes each new token, until the request is over.
func (i *issuedRun) follow(ctx context.Context, r *v1alpha1.AccessRequest, file string) {
	written := r.Status.Credential.Sealed
	err := i.cluster.Follow(ctx, r, func(current *v1alpha1.AccessRequest) bool {
		c := current.Status.Credential
		if c == nil || c.Sealed == "" || c.Sealed == written {
			return current.Status.Phase.Ended()
		}
		token, err := open(i.key, current)
		if err == nil {
			err = replaceToken(file, token)
		}
		if err != nil {
			i.lost(fmt.Errorf("renew the credential: %w", err))
			return current.Status.Phase.Ended()
		}
		written = c.Sealed
		return current.Status.Phase.Ended()
	}, func(error) {}) // it tries again, and the present token may be good for long
	if err != nil && ctx.Err() == nil {
		i.lost(fmt.Errorf("renew the credential: %w", err))
	}
}

// lockName is a file that is locked for as long as the process lives.
const lockName = "lock"

// removeLeft removes the folders of processes that were killed before they could. One
// without a lock is just being made.
func removeLeft(home string, now time.Time) {
	folders, err := os.ReadDir(home)
	if err != nil {
		return
	}
	for _, folder := range folders {
		dir := filepath.Join(home, folder.Name())
		info, err := folder.Info()
		if err != nil || !strings.HasPrefix(folder.Name(), runFolder) || !folder.IsDir() || now.Sub(info.ModTime()) < time.Minute {
			continue
		}
		if abandoned(filepath.Join(dir, lockName)) {
			_ = os.RemoveAll(dir)
		}
	}
}

// replaceToken writes the token so that no reader sees half of it.
func replaceToken(path, token string) error {
	next, err := os.CreateTemp(filepath.Dir(path), ".token-") // 0600
	if err != nil {
		return fmt.Errorf("write the credential: %w", err)
	}
	_, err = next.WriteString(token)
	if err = errors.Join(err, next.Close()); err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write the credential: %w", errors.Join(err, os.Remove(next.Name())))
	}
	return nil
}

// runHome is where the folder of a command goes: where there is one, the folder of the
// session, which is in memory and goes with the session.
func runHome() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if info, err := os.Stat(dir); dir != "" && err == nil && info.IsDir() && filepath.IsAbs(dir) {
		if probe, err := os.MkdirTemp(dir, runFolder); err == nil {
			_ = os.Remove(probe)
			return dir
		}
	}
	return os.TempDir()
}

// withVariable sets a variable of an environment, once.
func withVariable(env []string, name, value string) []string {
	others := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, name+"=") })
	return append(others, name+"="+value)
}
