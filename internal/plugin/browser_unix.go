//go:build unix

package plugin

import (
	"os/exec"
	"syscall"
)

// detach gives a command a session of its own: Ctrl-C at the terminal ends the page, and
// not a browser that was started for it.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
