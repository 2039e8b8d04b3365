package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// AdminName is the name under which the cluster's administrator runs commands.
const AdminName = "admin"

// Run runs a command line as somebody who has a kubeconfig here would type it
// in the folder of this module, and returns all that it printed.
func (c *Cluster) Run(ctx context.Context, name, line string) (string, error) {
	// With exec there is no shell between us and the command to outlive it.
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+line)
	cmd.Dir = c.Root
	cmd.Env = c.Kubectl(c.KubeconfigOf(name)).Env
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return strings.TrimRight(output.String(), "\n"), err
}

// MustRun runs commands of the administrator of which none may fail.
func (c *Cluster) MustRun(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if output, err := c.Run(ctx, AdminName, line); err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, output)
		}
	}
	return nil
}
