package main

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// One program for one platform is the image that is in the whole, under the tag
// that was asked for.
func TestOnlyOne(t *testing.T) {
	folder := t.TempDir()
	args := []string{
		"build", "-version", version, "-tag", "latest", "-program", "access-broker", "-platform", "linux/arm64",
		"-root", filepath.Dir(built.folders[0]), "-out", folder,
	}
	if err := run(t.Context(), args, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	want := []string{"access-broker-latest-linux-arm64.spdx.json", "access-broker-latest.provenance.json", "access-broker-latest.tar"}
	if !slices.Equal(files, want) {
		t.Errorf("it wrote %v, want %v", files, want)
	}
	one, name := imagesIn(t, filepath.Join(folder, "access-broker-latest.tar"))
	whole, _ := imagesIn(t, archiveOf(programs[0]))
	if !strings.HasSuffix(name, "/access-broker:latest") {
		t.Errorf("it is called %s", name)
	}
	if len(one) != 1 || one["linux/arm64"] != whole["linux/arm64"] {
		t.Errorf("it has %v, and the whole has %v", one, whole)
	}
}

// imagesIn are the digests in an archive by platform, and its name.
func imagesIn(t *testing.T, archive string) (digests map[string]v1.Hash, name string) {
	t.Helper()
	digests = map[string]v1.Hash{}
	err := withIndex(archive, func(index *namedIndex) error {
		name = index.name
		manifest, err := index.index.IndexManifest()
		if err != nil {
			return err
		}
		for _, m := range manifest.Manifests {
			digests[m.Platform.String()] = m.Digest
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return digests, name
}

func TestNoSuchOne(t *testing.T) {
	for flag, value := range map[string]string{"-program": "access", "-platform": "linux/riscv64"} {
		err := run(t.Context(), []string{"build", "-version", version, flag, value, "-out", t.TempDir()}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "there is only") {
			t.Errorf("%s %s: %v", flag, value, err)
		}
	}
}
