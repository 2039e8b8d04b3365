package spiffe

import (
	"os/exec"
	"syscall"
)

// asUser has a program run as a user, and end with the test.
func asUser(cmd *exec.Cmd, uid uint32) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Pdeathsig: syscall.SIGKILL}
}
