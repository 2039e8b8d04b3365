package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const version = "v1.2.3"

// The module's root, from which the command is run.
func TestMain(m *testing.M) {
	if err := os.Chdir(filepath.Join("..", "..")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// unpack is the one file of an archive.
func unpack(t *testing.T, file string) (name string, mode int64, content []byte) {
	t.Helper()
	packed, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	zipped, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(zipped)
	header, err := files.Next()
	if err != nil {
		t.Fatal(err)
	}
	if content, err = io.ReadAll(files); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Next(); err != io.EOF {
		t.Errorf("%s holds more than %s: %v", file, header.Name, err)
	}
	return header.Name, header.Mode, content
}

// What the manifest names is what is there, with the checksum that it has. The
// plugin is built for this platform alone; the others cost minutes.
func TestRelease(t *testing.T) {
	out := t.TempDir()
	built := 0
	err := release(".krew.yaml", version, out, func(p platform, version, file string) error {
		built++
		if l := p.Selector.MatchLabels; l.OS == runtime.GOOS && l.Arch == runtime.GOARCH {
			return goBuild(p, version, file)
		}
		return os.WriteFile(file, []byte(p.URI), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "access.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m := &manifest{}
	if err := yaml.Unmarshal(text, m); err != nil {
		t.Fatal(err)
	}
	if len(m.Spec.Platforms) != built || built < 5 {
		t.Errorf("%d platforms in the manifest, %d built", len(m.Spec.Platforms), built)
	}
	for _, p := range m.Spec.Platforms {
		file := filepath.Join(out, path.Base(p.URI))
		packed, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s is not there: %v", p.URI, err)
			continue
		}
		if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != p.SHA256 {
			t.Errorf("%s has another checksum than %s", p.URI, p.SHA256)
		}
		name, mode, content := unpack(t, file)
		if name != p.Bin || mode != 0o755 {
			t.Errorf("%s holds %s with mode %o, want %s", p.URI, name, mode, p.Bin)
		}
		l := p.Selector.MatchLabels
		if !strings.HasSuffix(p.URI, "/kubectl-access_"+version+"_"+l.OS+"_"+l.Arch+".tar.gz") {
			t.Errorf("%s is named %s", l, p.URI)
		}
		if l.OS != runtime.GOOS || l.Arch != runtime.GOARCH {
			continue
		}
		plugin := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(plugin, content, 0o700); err != nil {
			t.Fatal(err)
		}
		if said, err := exec.Command(plugin, "--version").CombinedOutput(); err != nil || !strings.Contains(string(said), version) {
			t.Errorf("it says %s, %v", said, err)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, bad := range []string{"", "dev", "1.2.3", "v1.2", "v1.2.3 "} {
		if err := release(".krew.yaml", bad, t.TempDir(), goBuild); err == nil || !strings.Contains(err.Error(), "v1.2.3") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
