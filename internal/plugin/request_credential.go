package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/credential"
	"github.com/accessbroker/accessbroker/internal/plugin/cluster"
	"github.com/accessbroker/accessbroker/internal/plugin/keys"
	"github.com/accessbroker/accessbroker/internal/plugin/term"
	"github.com/accessbroker/accessbroker/internal/plugin/view"
)

const (
	// lookTimeout is how long to look, after an error or an interruption, whether the
	// request was made, and for keys that are over.
	lookTimeout = 5 * time.Second

	// unclaimed is how old a key is of which it is not known whether there is a request
	// for it, until it is thrown away if there is none.
	unclaimed = time.Hour

	// maxTidied keys are looked at after a request was made.
	maxTidied = 20
)

// askWithKey asks for an issued credential. The key is on disk before the request is
// made, so that there is never a request that nobody can use: the file is found by the
// public half that the request carries. It is deleted when there is no request for it.
func (o *options) askWithKey(ctx context.Context, c *cluster.Client, request *v1alpha1.AccessRequest) error {
	store, err := keys.Open()
	if err != nil {
		return err
	}
	here, err := o.here()
	if err != nil {
		return err
	}
	key, err := credential.NewKey()
	if err != nil {
		return err
	}
	kept, err := store.Add(here.id, request.Namespace, key, time.Now())
	if err != nil {
		return fmt.Errorf("nothing was asked for: %w", err)
	}
	request.Spec.CredentialKey = key.Public()
	if err := c.Ask(ctx, request); err != nil {
		made, sure := wasMade(ctx, c, request, err)
		switch {
		case made != nil:
			made.DeepCopyInto(request)
		case sure:
			return errors.Join(err, kept.Remove())
		default:
			return hintf("Look with 'kubectl access list': if the request was made all the same, its key is here.", "%w", err)
		}
	}
	kept.Name, kept.UID = request.Name, request.UID
	// The key is on disk anyway, and found by what is in the request.
	_ = kept.Save()
	o.tidy(ctx, c, store, here.id, kept)
	return nil
}

// wasMade tells after an error whether the request was made all the same: its answer
// may have been lost on the way. It is not sure when the cluster cannot be asked.
func wasMade(ctx context.Context, c *cluster.Client, request *v1alpha1.AccessRequest, failed error) (made *v1alpha1.AccessRequest, sure bool) {
	if !mayBeDone(failed) {
		return nil, true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	return withKey(ctx, c, request.Namespace, request.Spec.CredentialKey)
}

// withKey finds the request that carries a key.
func withKey(ctx context.Context, c *cluster.Client, namespace, public string) (found *v1alpha1.AccessRequest, sure bool) {
	all, err := c.Requests(ctx, namespace)
	at := slices.IndexFunc(all, func(r v1alpha1.AccessRequest) bool { return r.Spec.CredentialKey == public })
	if at < 0 {
		return nil, err == nil
	}
	return &all[at], true
}

// mayBeDone tells of an error whether the API server may have done what it was asked:
// the call went out, and no answer said no.
func mayBeDone(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Code >= 500 || apierrors.IsTimeout(err) || status.Status().Code == 0
	}
	var network net.Error
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || utilnet.IsProbableEOF(err) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || utilnet.IsHTTP2ConnectionLost(err)
}

// tidy forgets keys and contexts that open nothing any more: those of requests that are
// over or gone. What cannot be told now is told another time.
func (o *options) tidy(ctx context.Context, c *cluster.Client, store *keys.Store, here keys.Cluster, but *keys.Kept) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	all, err := store.All()
	if err != nil {
		return
	}
	others := view.Keep(all, func(k **keys.Kept) bool { return (*k).Cluster == here.ID && (*k).Public() != but.Public() })
	for _, k := range others[:min(len(others), maxTidied)] {
		switch {
		case !over(ctx, c, k, time.Now()):
		case k.Name == "", named(all, k) > 1: // its context is that of another request now
			_ = k.Remove()
		default:
			_, _ = o.forget(ctx, k.Namespace, k.Name, "")
		}
	}
}

// named counts the keys of requests that are called as that of k, which may have been
// deleted and made again.
func named(all []*keys.Kept, k *keys.Kept) int {
	return len(view.Keep(all, func(other **keys.Kept) bool { return (*other).Namespace == k.Namespace && (*other).Name == k.Name }))
}

// over tells whether a key opens nothing any more. An error is no answer.
func over(ctx context.Context, c *cluster.Client, k *keys.Kept, now time.Time) bool {
	there := *c
	there.Namespace = k.Namespace
	if k.Name == "" {
		if now.Sub(k.Created) < unclaimed {
			return false
		}
		found, sure := withKey(ctx, &there, k.Namespace, k.Public())
		return sure && found == nil
	}
	r, err := there.Request(ctx, k.Name)
	if err != nil {
		return apierrors.IsNotFound(err) && !cluster.NotServed(err)
	}
	return r.UID != k.UID || r.Status.Phase.Ended()
}

// sayHowToUse tells what to do with an issued credential that is there.
func (o *options) sayHowToUse(r *v1alpha1.AccessRequest) {
	fmt.Fprintln(o.ErrOut, term.Clean("'"+view.Command("login", r)+"' adds a context that uses it."))
}
