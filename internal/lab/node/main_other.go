//go:build !linux

package node

import "context"

// Main returns what is missing: a node needs Linux.
func Main(func(ctx context.Context) (code int, err error)) (code int, err error) { return 1, Missing() }

func connect() error { return Missing() }
