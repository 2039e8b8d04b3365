package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program is a command that gets an image.
type program struct{ name, title, description string }

var programs = []program{
	{"access-broker", "Access Broker", "Just-in-time access for Kubernetes, with native RBAC and no standing privilege"},
	{"kubectl-access", "kubectl access", "The plugin of Access Broker: ask for, approve and audit just-in-time access"},
}

var platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// linkerFlags and buildFlags are those of `make build`; a test compares them.
func linkerFlags(version string) string { return "-s -w -X main.version=" + version }

func buildFlags(version string) []string {
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", linkerFlags(version)}
}

// buildEnvironment decides what is built, whatever the shell has set.
func buildEnvironment(platform v1.Platform) []string {
	return []string{
		"CGO_ENABLED=0", "GOOS=" + platform.OS, "GOARCH=" + platform.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFLAGS=", "GOWORK=off",
	}
}

// binary is a program, built for a platform.
type binary struct {
	program
	platform v1.Platform
	content  []byte
	info     *buildinfo.BuildInfo
}

func (p program) build(ctx context.Context, root, version string, platform v1.Platform) (*binary, error) {
	folder, err := os.MkdirTemp("", "image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	file := filepath.Join(folder, p.name)
	args := append([]string{"build"}, buildFlags(version)...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", file, "./cmd/"+p.name)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), buildEnvironment(platform)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s for %s: %w\n%s", p.name, platform, err, strings.TrimSpace(string(said)))
	}
	b := &binary{program: p, platform: platform}
	if b.info, err = buildinfo.ReadFile(file); err != nil {
		return nil, err
	}
	b.content, err = os.ReadFile(file)
	return b, err
}
