// Package accessclient asks Access Broker for access, waits until it is there, and
// gives it back: for operators and agents that are written in Go, and what kubectl
// access itself is built on.
//
//	c, err := accessclient.New(config)
//	…
//	request := &v1alpha1.AccessRequest{
//		ObjectMeta: metav1.ObjectMeta{Namespace: "payments", GenerateName: "migrate-"},
//		Spec: v1alpha1.AccessRequestSpec{
//			RoleRef: &v1alpha1.RoleRef{Kind: v1alpha1.ClusterRoleKind, Name: "edit"},
//			Reason:  "schema 42",
//		},
//	}
//	err = c.Do(ctx, request, func(ctx context.Context) error {
//		… // with the access; ctx ends with it
//	})
//
// Ask, Wait and Release are the steps of Do. Who asks is who the client signs in as:
// it needs the ClusterRole access-requester in the namespace of the request, and
// nothing else.
//
// A client is made of a rest.Config, which both the users of client-go and those of
// controller-runtime have, and not of their client: that of a manager reads a cache,
// which would need the right to list requests in all namespaces, and cannot watch
// one request. Errors of the API server come as they are, for the functions of
// k8s.io/apimachinery/pkg/api/errors.
package accessclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Client asks as one user. It holds no connection and may be used by several
// goroutines.
type Client struct{ api client.WithWatch }

// New makes a client of what the user signs in with, and asks nothing yet.
func New(config *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	// It knows its kinds and asks the API server for none.
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("AccessRequest"), meta.RESTScopeNamespace)
	mapper.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	api, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, err
	}
	return Of(api), nil
}

// Of makes a client of one that there is already, which knows the kinds
// AccessRequest and SelfSubjectReview and reads from the API server itself.
func Of(api client.WithWatch) *Client { return &Client{api: api} }

// EndedError says that a request is over, and there is no access or none any more.
type EndedError struct {
	// Request in its last state: its phase tells the kind of end.
	Request *v1alpha1.AccessRequest
}

// Error names the request, its phase and why it ended.
func (e *EndedError) Error() string {
	why := "nothing more is known"
	if ended := meta.FindStatusCondition(e.Request.Status.Conditions, v1alpha1.ConditionEnded); ended != nil {
		why = ended.Message
	}
	return fmt.Sprintf("access request %s/%s is %s: %s", e.Request.Namespace, e.Request.Name, e.Request.Status.Phase, why)
}

// Wait waits until the access of a request is there, and returns the request as it
// is then. It errs with an EndedError when the request is over, with ErrDeleted when
// it is gone, and with the cause of the context when that ends; the request stays as
// it is, and Release withdraws it. An API server that does not answer is asked again.
// see, which may be nil, is called with each state, or with why there is none now.
func (c *Client) Wait(ctx context.Context, request *v1alpha1.AccessRequest, see func(*v1alpha1.AccessRequest, error)) (*v1alpha1.AccessRequest, error) {
	return c.until(ctx, request, see, func(r *v1alpha1.AccessRequest) bool { return r.Status.Phase == v1alpha1.RequestActive })
}

// WaitEnd waits until a request is over, and errs as Wait does: with an EndedError
// when all is well.
func (c *Client) WaitEnd(ctx context.Context, request *v1alpha1.AccessRequest) error {
	_, err := c.until(ctx, request, nil, func(*v1alpha1.AccessRequest) bool { return false })
	return err
}

func (c *Client) until(ctx context.Context, request *v1alpha1.AccessRequest, see func(*v1alpha1.AccessRequest, error), there func(*v1alpha1.AccessRequest) bool) (*v1alpha1.AccessRequest, error) {
	if see == nil {
		see = func(*v1alpha1.AccessRequest, error) {}
	}
	last := request
	err := c.Follow(ctx, request, func(current *v1alpha1.AccessRequest) bool {
		last = current
		see(current, nil)
		return there(current) || current.Status.Phase.Ended()
	}, func(err error) { see(nil, err) })
	if err == nil && last.Status.Phase.Ended() {
		err = &EndedError{Request: last}
	}
	return last, err
}

// Release gives the access back or, before it is given, withdraws the request. It is
// no error when the request is over or gone already.
func (c *Client) Release(ctx context.Context, request *v1alpha1.AccessRequest, comment string) error {
	me, err := c.Me(ctx)
	if err != nil {
		return err
	}
	current := &v1alpha1.AccessRequest{}
	for {
		err := c.api.Get(ctx, client.ObjectKeyFromObject(request), current)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err != nil || request.UID != "" && current.UID != request.UID || current.Status.Phase.Ended() {
			return nil
		}
		_, _, err = c.Decide(ctx, current, me, v1alpha1.VerdictRelease, comment)
		if err == nil {
			return nil
		}
		// It may have ended at this moment, and then nobody may decide any more.
		seen := current.ResourceVersion
		if again := c.api.Get(ctx, client.ObjectKeyFromObject(request), current); again == nil && current.ResourceVersion == seen {
			return err
		}
	}
}

// releaseWithin bounds how long Do tries to give access back. The deadline ends it
// all the same.
const releaseWithin = 30 * time.Second

// Do asks, waits, works, and gives the access back when the work is done, whatever
// way. The context of work ends when the access does, with an EndedError as its
// cause. Where the waiting ends before there is access, the request is withdrawn.
func (c *Client) Do(ctx context.Context, request *v1alpha1.AccessRequest, work func(context.Context) error) (err error) {
	generated := request.Name == ""
	if generated { // by us, so that it is known when the answer does not arrive
		request.Name, request.GenerateName = request.GenerateName+utilrand.String(8), ""
	}
	err = c.Ask(ctx, request)
	var answer apierrors.APIStatus
	if err != nil && (!generated || errors.As(err, &answer)) {
		return err
	}
	defer func() {
		giving, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
		defer cancel()
		err = errors.Join(err, c.Release(giving, request, "the work is done"))
	}()
	if err != nil {
		return err
	}
	if _, err := c.Wait(ctx, request, nil); err != nil {
		return err
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(c.WaitEnd(working, request)) }()
	return work(working)
}
