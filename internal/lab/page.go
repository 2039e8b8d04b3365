package lab

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Page is a running `kubectl access ui` of somebody.
type Page struct {
	// Address opens it, once.
	Address string
	cmd     *exec.Cmd
	said    *bytes.Buffer
}

// OpenPage runs `kubectl access ui` as the user of a kubeconfig, opens no browser, and
// returns when it has printed its address.
func (c *Cluster) OpenPage(kubeconfig string, args ...string) (*Page, error) {
	return StartPage(c.Kubectl(kubeconfig, append([]string{"access", "ui", "--no-browser"}, args...)...))
}

// StartPage is OpenPage for a command that is ready to run.
func StartPage(cmd *exec.Cmd) (*Page, error) {
	p := &Page{cmd: cmd, said: &bytes.Buffer{}}
	cmd.Stderr = p.said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("kubectl access ui printed no address: %w", errors.Join(err, p.Close()))
	}
	p.Address = strings.TrimSpace(line)
	return p, nil
}

// Close ends it as Ctrl-C does, once. It is an error when it does not end by itself, or
// with another status than 0.
func (p *Page) Close() error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	late := time.AfterFunc(Patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("kubectl access ui: %w: %s", err, p.said)
	}
	return nil
}
