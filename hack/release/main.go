// Command release does what `make release` needs besides what other targets make:
// it checks the version before anything is built, packs the chart, and at the end
// writes the notes and the checksums.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

func main() {
	r := release{root: ".", log: os.Stdout}
	flag.StringVar(&r.version, "version", "", "the release, such as v1.2.3")
	flag.StringVar(&r.out, "out", "dist", "folder that the files are in")
	flag.StringVar(&r.repository, "repository", "", "repository of the broker's image, such as registry.example.com/team/access-broker")
	flag.Parse()
	if err := r.run(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

type release struct {
	root, version, out, repository string
	log                            io.Writer
}

func (r release) run(step string) error {
	if err := r.check(); err != nil {
		return err
	}
	switch step {
	case "check":
		return nil
	case "chart":
		return r.chart()
	case "finish":
		if err := r.notes(); err != nil {
			return err
		}
		return r.sums()
	}
	return fmt.Errorf("%q is no step: check, chart or finish", step)
}

// repositoryName is a registry and a path, without tag and digest.
var repositoryName = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+$`)

func (r release) check() error {
	// Without build metadata: a tag of an image can have no plus sign.
	if !semver.IsValid(r.version) || semver.Canonical(r.version) != r.version {
		return fmt.Errorf("VERSION is %q, and must be a semantic version such as v1.2.3 or v1.2.3-rc.1", r.version)
	}
	if r.repository != "" && !repositoryName.MatchString(r.repository) {
		return fmt.Errorf("REPO is %q, and must be a registry and a path without a tag, such as registry.example.com/team/access-broker", r.repository)
	}
	head, err := r.git("rev-parse", "HEAD")
	if err != nil {
		return fmt.Errorf("a release is made in a clone, for its notes: %w", err)
	}
	if tagged, err := r.git("rev-parse", "--quiet", "--verify", "refs/tags/"+r.version+"^{commit}"); err == nil && tagged != head {
		return fmt.Errorf("tag %s is commit %s, and this is %s: check out the tag, or choose another version", r.version, tagged, head)
	}
	return nil
}

// chart packs a copy of the chart: with the version, and with the repository if
// there is one.
func (r release) chart() error {
	folder, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	chart := filepath.Join(folder, "access-broker")
	// The chart has links into config/.
	if said, err := exec.Command("cp", "-RL", filepath.Join(r.root, "charts", "access-broker"), chart).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the chart: %w: %s", err, said)
	}
	if r.repository != "" {
		values := filepath.Join(chart, "values.yaml")
		text, err := os.ReadFile(values)
		if err != nil {
			return err
		}
		const line = "\n  repository: access-broker\n"
		if bytes.Count(text, []byte(line)) != 1 {
			return errors.New("values.yaml of the chart has no image.repository to replace")
		}
		text = bytes.Replace(text, []byte(line), []byte("\n  repository: "+r.repository+"\n"), 1)
		if err := os.WriteFile(values, text, 0o644); err != nil {
			return err
		}
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		if epoch, err = r.git("log", "-1", "--format=%ct"); err != nil {
			return err
		}
	}
	out, err := filepath.Abs(r.out)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "tool", "-modfile=hack/helm/go.mod", "helm", "package", chart,
		"--version", strings.TrimPrefix(r.version, "v"), "--app-version", r.version, "--destination", out)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch)
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("helm package: %w: %s", err, said)
	}
	fmt.Fprintln(r.log, filepath.Join(r.out, r.chartName()))
	return nil
}

func (r release) chartName() string {
	return "access-broker-" + strings.TrimPrefix(r.version, "v") + ".tgz"
}

var programs = []string{"access-broker", "kubectl-access"}

// notes are the images with their digests, and what has changed since the release
// before.
func (r release) notes() error {
	var text strings.Builder
	fmt.Fprintf(&text, "# Access Broker %s\n\n## Images\n\n", r.version)
	for _, program := range programs {
		digest, err := r.digest(program)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "- `%s:%s` is `sha256:%s`\n", program, r.version, digest)
	}
	changes := []string{"log", "--no-merges", "--format=- %s"}
	before, err := r.git("describe", "--tags", "--abbrev=0", "--match=v*", "--exclude="+r.version)
	if err == nil {
		fmt.Fprintf(&text, "\n## Changes since %s\n\n", before)
		changes = append(changes, before+"..HEAD")
	} else {
		text.WriteString("\n## Changes\n\nThis is the first release.\n\n")
	}
	lines, err := r.git(changes...)
	if err != nil {
		return err
	}
	if lines == "" {
		lines = "None."
	}
	fmt.Fprintln(&text, lines)
	return os.WriteFile(filepath.Join(r.out, "NOTES.md"), []byte(text.String()), 0o644)
}

// digest is what a registry calls the image of a program.
func (r release) digest(program string) (string, error) {
	text, err := os.ReadFile(filepath.Join(r.out, program+"-"+r.version+".provenance.json"))
	if err != nil {
		return "", err
	}
	var statement struct {
		Subject []struct {
			Name   string
			Digest map[string]string
		}
	}
	if err := json.Unmarshal(text, &statement); err != nil {
		return "", err
	}
	for _, s := range statement.Subject {
		if s.Name == program+":"+r.version {
			return s.Digest["sha256"], nil
		}
	}
	return "", fmt.Errorf("the provenance of %s has no digest of its image", program)
}

// files are the names of all that a release has.
func (r release) files() ([]string, error) {
	names := []string{"NOTES.md", "install.yaml", "install-no-mutating-admission.yaml", "access.yaml", r.chartName()}
	for _, program := range programs {
		for _, end := range []string{".tar", ".provenance.json", "-linux-amd64.spdx.json", "-linux-arm64.spdx.json"} {
			names = append(names, program+"-"+r.version+end)
		}
	}
	krew, err := os.ReadFile(filepath.Join(r.out, "access.yaml"))
	if err != nil {
		return nil, err
	}
	for _, uri := range regexp.MustCompile(`(?m)uri: (\S+)$`).FindAllStringSubmatch(string(krew), -1) {
		names = append(names, uri[1][strings.LastIndex(uri[1], "/")+1:])
	}
	slices.Sort(names)
	return names, nil
}

// sums writes the checksums of the files of the release, and of no others that may
// be there.
func (r release) sums() error {
	names, err := r.files()
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		fmt.Fprintf(&text, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	if err := os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	there, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	for _, file := range there {
		if name := file.Name(); name != "SHA256SUMS" && !slices.Contains(names, name) {
			fmt.Fprintf(r.log, "%s is no part of this release\n", filepath.Join(r.out, name))
		}
	}
	fmt.Fprintf(r.log, "%s: %s, %d files\n", filepath.Join(r.out, "SHA256SUMS"), r.version, len(names))
	return nil
}

func (r release) git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(said)), nil
}
