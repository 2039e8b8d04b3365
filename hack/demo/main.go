// Command demo plays the story of Access Broker on a real control plane of its
// own: people ask for access, get it, and lose it again. It ends with an error
// at the first step that does not come out as told.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// timeout is far more than the story takes.
const timeout = 2 * time.Minute

func main() {
	begin := time.Now()
	if err := runUnlessInterrupted(); err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
	fmt.Printf("\nAll came out as told, in %.0f seconds. Everything is stopped and cleaned away.\n", time.Since(begin).Seconds())
}

func runUnlessInterrupted() error {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(interrupted, timeout, fmt.Errorf("not done within %s", timeout))
	defer cancel()

	err := run(ctx)
	if err != nil && interrupted.Err() != nil {
		return errors.New("stopped before the end; everything is cleaned away")
	}
	return err
}

func run(ctx context.Context) (err error) {
	s, broker, err := lab.SetStage(ctx, os.Stdout)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		<-broker.Exited()
		cancel(errors.New("the broker ended")) // no use in waiting for what it will not do
	}()

	for _, act := range story(s) {
		if err := act.play(ctx, s); err != nil {
			return fmt.Errorf("%w\n\nThe end of the broker's log:\n%s", err, broker.LogTail())
		}
	}
	return nil
}

// act is one thing that happens in the story.
type act interface {
	play(ctx context.Context, s *lab.Cluster) error
}

// say tells what is going on.
type say string

func (text say) play(context.Context, *lab.Cluster) error {
	fmt.Printf("\n%s\n", text)
	return nil
}

// do does what no command of the story can.
type do func(ctx context.Context) error

func (f do) play(ctx context.Context, _ *lab.Cluster) error { return f(ctx) }

// types is somebody typing a command.
type types struct {
	who, command string
	// expect is what must have come of it, in words for the reader.
	expect string
	// refused tells that the API server must refuse it.
	refused bool
	// shows are texts that the output must have.
	shows []string
	// lasts is how long the command must take at least.
	lasts time.Duration
}

func (t types) play(ctx context.Context, s *lab.Cluster) error {
	fmt.Printf("\n%s$ %s\n", t.who, t.command)
	begin := time.Now()
	output, err := s.Run(ctx, t.who, t.command)
	took := time.Since(begin)
	if output != "" {
		fmt.Println("  " + strings.ReplaceAll(output, "\n", "\n  "))
	}
	if err := t.check(output, err, took); err != nil {
		fmt.Printf("  ✗ %s: %v\n", t.expect, err)
		return fmt.Errorf("it did not come out that %s: %w", t.expect, err)
	}
	fmt.Printf("  ✓ %s\n", t.expect)
	return nil
}

// check tells a refusal from a command that went wrong in another way.
func (t types) check(output string, err error, took time.Duration) error {
	switch exit := new(exec.ExitError); {
	case err == nil && t.refused:
		return errors.New("the command was allowed")
	case err != nil && (!t.refused || !errors.As(err, &exit)):
		return err
	case took < t.lasts:
		return fmt.Errorf("it took only %s", took.Round(time.Millisecond))
	}
	shows := t.shows
	if t.refused {
		shows = append([]string{"orbidden"}, shows...) // RBAC writes it small, kubectl large
	}
	for _, text := range shows {
		if !strings.Contains(output, text) {
			return fmt.Errorf("the output does not say %q", text)
		}
	}
	return nil
}

// finishJob does what a kubelet would: it ends the Job's Pod.
func finishJob(s *lab.Cluster, namespace, name string) do {
	return func(ctx context.Context) error {
		return s.FinishPod(ctx, namespace, name, corev1.PodSucceeded)
	}
}
