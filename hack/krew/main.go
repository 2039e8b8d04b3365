// Command krew builds an archive of kubectl access for each platform in
// .krew.yaml, under the name that the manifest there has for it, and writes the
// manifest with their checksums.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"
)

func main() {
	version := flag.String("version", "", "the release, such as v1.2.3")
	out := flag.String("out", "dist", "folder to write to")
	flag.Parse()
	if err := release(".krew.yaml", *version, *out, goBuild); err != nil {
		fmt.Fprintln(os.Stderr, "krew:", err)
		os.Exit(1)
	}
}

// manifest is what is needed of a Krew manifest.
type manifest struct {
	Metadata struct{ Name string }
	Spec     struct{ Platforms []platform }
}

type platform struct {
	Selector struct {
		MatchLabels struct{ OS, Arch string }
	}
	URI, SHA256, Bin string
}

// builder builds the plugin for a platform as a file.
type builder func(p platform, version, file string) error

// semver is what Krew takes for a version.
var semver = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$`)

func release(source, version, out string, build builder) error {
	if !semver.MatchString(version) {
		return fmt.Errorf("%q is no version for Krew: give one such as v1.2.3", version)
	}
	// Without the checksums, which need the archives, which need the names.
	_, m, err := render(source, version, nil)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil { //nolint:gosec // for everybody to read
		return err
	}
	sums := map[string]string{}
	for _, p := range m.Spec.Platforms {
		name := path.Base(p.URI)
		if sums[p.URI], err = archive(p, version, filepath.Join(out, name), build); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	text, _, err := render(source, version, sums)
	if err != nil {
		return err
	}
	// Without what is said of the template.
	_, text, _ = bytes.Cut(text, []byte("\napiVersion:"))
	text = append([]byte("apiVersion:"), text...)
	return os.WriteFile(filepath.Join(out, m.Metadata.Name+".yaml"), text, 0o644) //nolint:gosec // for everybody to read
}

// render fills the manifest in as krew-release-bot does, with checksums by URI.
func render(source, version string, sums map[string]string) ([]byte, *manifest, error) {
	values := struct{ TagName string }{version}
	funcs := template.FuncMap{"addURIAndSha": func(uri, _ string) (string, error) {
		var out strings.Builder
		nested, err := template.New("uri").Parse(uri)
		if err == nil {
			err = nested.Execute(&out, values)
		}
		return fmt.Sprintf("uri: %s\n      sha256: %q", out.String(), sums[out.String()]), err
	}}
	parsed, err := template.New(filepath.Base(source)).Funcs(funcs).ParseFiles(source)
	if err != nil {
		return nil, nil, err
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, values); err != nil {
		return nil, nil, err
	}
	m := &manifest{}
	if err := yaml.Unmarshal(text.Bytes(), m); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", source, err)
	}
	return text.Bytes(), m, nil
}

// archive writes the archive of a platform and returns its checksum.
func archive(p platform, version, file string, build builder) (string, error) {
	folder, err := os.MkdirTemp("", "krew-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary := filepath.Join(folder, p.Bin)
	if err := build(p, version, binary); err != nil {
		return "", err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return "", err
	}
	// Neither times nor owners: the same source makes the same archive.
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	files := tar.NewWriter(zipped)
	if err := files.WriteHeader(&tar.Header{Name: p.Bin, Mode: 0o755, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
		return "", err
	}
	if _, err := files.Write(content); err != nil {
		return "", err
	}
	if err := files.Close(); err != nil {
		return "", err
	}
	if err := zipped.Close(); err != nil {
		return "", err
	}
	sum := sha256.Sum256(packed.Bytes())
	return hex.EncodeToString(sum[:]), os.WriteFile(file, packed.Bytes(), 0o644) //nolint:gosec // for everybody to read
}

// goBuild builds as `make build` does.
func goBuild(p platform, version, file string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", file, "./cmd/kubectl-access")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.Selector.MatchLabels.OS, "GOARCH="+p.Selector.MatchLabels.Arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
