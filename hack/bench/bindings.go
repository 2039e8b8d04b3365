package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
)

// Labels that tell a plain client's bindings from the broker's.
const (
	plainLabel = "bench/plain"
	grantLabel = v1alpha1.LabelGrant
)

// lastOf watches bindings with a label from now on. The function that it
// returns waits until n of them were added or deleted, and says when the last was.
func (s *scene) lastOf(ctx context.Context, n int, change watch.EventType, label string) (func() (time.Time, error), error) {
	bindings := s.Clientset.RbacV1().RoleBindings("")
	now, err := bindings.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("too long"))
	watching, err := bindings.Watch(ctx, metav1.ListOptions{LabelSelector: label, ResourceVersion: now.ResourceVersion})
	if err != nil {
		cancel()
		return nil, err
	}
	type outcome struct {
		at  time.Time
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		defer cancel()
		defer watching.Stop()
		seen := 0
		for event := range watching.ResultChan() {
			if event.Type != change {
				continue
			}
			if seen++; seen == n {
				done <- outcome{at: time.Now()}
				return
			}
		}
		done <- outcome{err: fmt.Errorf("only %d of %d bindings were %s: %w", seen, n, change, context.Cause(ctx))}
	}()
	return func() (time.Time, error) {
		o := <-done
		return o.at, o.err
	}, nil
}

// plainWorkers is the floor of what is done to many: how long they take to
// create so many bindings, and to delete them.
func (s *scene) plainWorkers(ctx context.Context, n int) (created, deleted time.Duration, err error) {
	name := func(i int) string { return fmt.Sprintf("plain-%05d", i) }
	created, err = s.timed(ctx, n, watch.Added, func(ctx context.Context, i int) error {
		who, namespace := s.pair(i)
		return s.Admin.Create(ctx, plainBinding(namespace.Name, name(i), who.name))
	})
	if err != nil {
		return 0, 0, err
	}
	deleted, err = s.timed(ctx, n, watch.Deleted, func(ctx context.Context, i int) error {
		_, namespace := s.pair(i)
		return s.Admin.Delete(ctx, plainBinding(namespace.Name, name(i), ""))
	})
	return created, deleted, err
}

// timed does something to n plain bindings and tells how long it took until
// the last of them was seen to have changed.
func (s *scene) timed(ctx context.Context, n int, change watch.EventType, do func(context.Context, int) error) (time.Duration, error) {
	last, err := s.lastOf(ctx, n, change, plainLabel)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := each(ctx, workers, n, do); err != nil {
		return 0, err
	}
	at, err := last()
	return at.Sub(begin), err
}
