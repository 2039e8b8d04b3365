//go:build !unix

package plugin

import "os"

// passed: a console sends Ctrl-C to all of its processes.
var passed = []os.Signal{os.Interrupt}

func passes(os.Signal, int) bool { return false }

func terminate(command *os.Process) error { return command.Kill() }
