package main

import (
	"context"
	"errors"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// may asks the API server, as the user, for what edit allows.
func may(ctx context.Context, c client.Client, namespace string) (bool, error) {
	return lab.Can(ctx, c, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "update", Group: "apps", Resource: "deployments"})
}

// betweenQuestions is the pause after an answer that is not the one waited for.
// Without any, the questions take one of two cores from what they wait for.
const betweenQuestions = time.Millisecond

// answered asks until the answer is the one that is wanted, and returns when it
// came.
func answered(ctx context.Context, c client.Client, namespace string, want bool) (time.Time, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the access did not change"))
	defer cancel()
	for {
		allowed, err := may(ctx, c, namespace)
		if err != nil {
			return time.Time{}, errors.Join(err, context.Cause(ctx))
		}
		if allowed == want {
			return time.Now(), nil
		}
		if err := pause(ctx, betweenQuestions); err != nil {
			return time.Time{}, err
		}
	}
}

// floorOnce is the floor: a plain client gives alice the role and takes it away.
func (s *scene) floorOnce(ctx context.Context, l *life) error {
	who := s.alice
	binding := plainBinding(floorNamespace, "floor", who.name)
	begin := time.Now()
	if err := s.Admin.Create(ctx, binding); err != nil {
		return err
	}
	at, err := answered(ctx, who, floorNamespace, true)
	if err != nil {
		return err
	}
	l.floorGiven = append(l.floorGiven, at.Sub(begin))
	begin = time.Now()
	if err := s.Admin.Delete(ctx, binding); err != nil {
		return err
	}
	if at, err = answered(ctx, who, floorNamespace, false); err != nil {
		return err
	}
	l.floorTaken = append(l.floorTaken, at.Sub(begin))
	return nil
}

func plainBinding(namespace, name, user string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{plainLabel: "true"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
}
