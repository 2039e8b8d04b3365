// Command pause holds the namespaces of a Pod: it waits to be told to end, and
// takes in processes that have lost their parents.
//
// It is a workload, too, for tests that need one: `pause work 5s 3` ends with
// code 3 after five seconds, and says that it lives until then. With a port, it
// says so to everybody who connects, too.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	if len(os.Args) >= 4 && os.Args[1] == "work" {
		os.Exit(work(os.Args[2], os.Args[3], os.Args[4:], end))
	}
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	for {
		select {
		case <-end:
			return
		case <-orphans:
			reap()
		}
	}
}

// reap takes in all that have ended: one signal may stand for many.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 || err != nil {
			return
		}
	}
}

func work(duration, code string, ports []string, end <-chan os.Signal) int {
	lasts, err := time.ParseDuration(duration)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	exit, err := strconv.Atoi(code)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for _, port := range ports {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		go serve(listener)
	}
	done := time.After(lasts)
	for {
		select {
		case <-done:
			return exit
		case <-end:
			return 143
		case now := <-time.After(100 * time.Millisecond):
			_ = say(os.Stdout, now)
		}
	}
}

func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			for now := range time.Tick(100 * time.Millisecond) {
				if say(connection, now) != nil {
					return
				}
			}
		}()
	}
}

func say(to io.Writer, now time.Time) error {
	_, err := fmt.Fprintln(to, now.Format(time.RFC3339Nano))
	return err
}
