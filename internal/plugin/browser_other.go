//go:build !unix

package plugin

import "os/exec"

// detach has nothing to do: the browser is started by the system.
func detach(*exec.Cmd) {}
