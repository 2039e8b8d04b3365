package lab

import (
	"os/exec"
	"syscall"
)

// bindLifetime makes the child die with the thread that starts it, and keeps
// a Ctrl-C in the terminal from reaching it: we stop children in order.
func bindLifetime(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true,
	}
}
