package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// source is what is built.
type source struct {
	commit string
	// dirty: there are changes that the commit does not have.
	dirty bool
	// time stands for now in all that is written, so that the same commit makes
	// the same bytes.
	time time.Time
}

// revision is the commit, marked when it is not the whole truth.
func (s *source) revision() string {
	if s.dirty {
		return s.commit + "-dirty"
	}
	return s.commit
}

// sourceOf asks git, unless the environment says it: REVISION the commit, and
// SOURCE_DATE_EPOCH the time in seconds.
func sourceOf(ctx context.Context, root string, env func(string) string) (*source, error) {
	s := &source{commit: env("REVISION")}
	var gitErr error
	if s.commit == "" {
		s.commit, s.dirty, gitErr = askGit(ctx, root)
	}
	epoch := env("SOURCE_DATE_EPOCH")
	if epoch == "" && gitErr == nil {
		epoch, gitErr = git(ctx, root, "log", "-1", "--format=%ct", s.commit)
	}
	if gitErr != nil {
		return nil, fmt.Errorf("cannot tell which commit this is: build in a clone, or set REVISION to the commit and SOURCE_DATE_EPOCH to its time in seconds: %w", gitErr)
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH is %q, and must be seconds since 1970", epoch)
	}
	s.time = time.Unix(seconds, 0).UTC()
	return s, nil
}

func askGit(ctx context.Context, root string) (commit string, dirty bool, err error) {
	// A source without .git may lie within a clone of something else.
	top, err := git(ctx, root, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", false, err
	}
	if same, err := sameFolder(top, root); err != nil || !same {
		return "", false, errors.Join(fmt.Errorf("%s is no clone, it is a folder in %s", root, top), err)
	}
	if commit, err = git(ctx, root, "rev-parse", "HEAD"); err != nil {
		return "", false, err
	}
	changes, err := git(ctx, root, "status", "--porcelain")
	return commit, changes != "", err
}

func sameFolder(a, b string) (bool, error) {
	first, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second), err
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = filepath.Clean(root)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(said)), nil
}
