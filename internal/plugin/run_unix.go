//go:build unix

package plugin

import (
	"os"

	"golang.org/x/sys/unix"
)

// passed are the signals that are passed on to a command. What stops and continues
// it, and the size of the terminal, reach it by themselves.
var passed = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}

// passes tells whether a signal has to be passed on. Ctrl-C and Ctrl-\ reach the
// command from the terminal, as part of the same group of processes, and a program
// that gets them twice takes that for impatience.
func passes(s os.Signal, pid int) bool {
	return s != unix.SIGINT && s != unix.SIGQUIT || !sharesTerminal(pid)
}

// sharesTerminal tells whether the terminal sends its signals to both of us.
func sharesTerminal(pid int) bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	foreground, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	if err != nil {
		return false
	}
	group, err := unix.Getpgid(pid)
	return err == nil && foreground == group && group == unix.Getpgrp()
}

func terminate(command *os.Process) error { return command.Signal(unix.SIGTERM) }
