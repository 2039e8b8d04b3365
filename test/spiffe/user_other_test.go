//go:build !linux

package spiffe

import "os/exec"

// asUser does nothing: these tests run on Linux alone.
func asUser(*exec.Cmd, uint32) {}
