package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	// containerd and podman name the image after the first, others after the second.
	containerdName = "io.containerd.image.name"
	refName        = "org.opencontainers.image.ref.name"
)

// writeArchive writes an index as a tar archive of an OCI layout. containerd,
// podman and a Docker that keeps its images in containerd read index.json, which
// has one entry: podman takes no more. A Docker with its older store reads
// manifest.json alone.
func writeArchive(to, name, version string, idx v1.ImageIndex, when time.Time) error {
	folder, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	named, err := reference.ParseNormalizedNamed(name + ":" + version)
	if err != nil {
		return fmt.Errorf("%s:%s is no name of an image: %w", name, version, err)
	}
	written, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	if err := written.AppendIndex(idx, layout.WithAnnotations(map[string]string{containerdName: named.String(), refName: version})); err != nil {
		return err
	}
	legacy, err := dockerManifest(name, version, idx)
	if err != nil {
		return err
	}
	if err := written.WriteFile("manifest.json", legacy, 0o644); err != nil {
		return err
	}
	if _, err := readLayout(folder); err != nil {
		return err
	}
	return packFolder(to, folder, when)
}

// dockerManifest is what Docker's older store reads. It cannot choose by platform:
// the tag itself is the first one's, and each platform has a tag of its own.
func dockerManifest(name, version string, idx v1.ImageIndex) ([]byte, error) {
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	blob := func(h v1.Hash) string { return path.Join("blobs", h.Algorithm, h.Hex) }
	manifest, err := idx.IndexManifest()
	if err != nil {
		return nil, err
	}
	var all []entry
	for i, m := range manifest.Manifests {
		img, err := idx.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		content, err := img.Manifest()
		if err != nil {
			return nil, err
		}
		e := entry{Config: blob(content.Config.Digest), RepoTags: []string{name + ":" + version + "-" + m.Platform.Architecture}}
		if i == 0 {
			e.RepoTags = append(e.RepoTags, name+":"+version)
		}
		for _, l := range content.Layers {
			e.Layers = append(e.Layers, blob(l.Digest))
		}
		all = append(all, e)
	}
	return json.Marshal(all)
}

// namedIndex is the index of an archive.
type namedIndex struct {
	index  v1.ImageIndex
	digest v1.Hash
	// name is how it is called where it is loaded.
	name string
}

// readLayout reads the one index of a layout, and checks every byte of it.
func readLayout(folder string) (*namedIndex, error) {
	read, err := layout.FromPath(folder)
	if err != nil {
		return nil, err
	}
	whole, err := read.ImageIndex()
	if err != nil {
		return nil, err
	}
	if err := validate.Index(whole); err != nil {
		return nil, err
	}
	manifest, err := whole.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 || !manifest.Manifests[0].MediaType.IsIndex() {
		return nil, errors.New("it does not hold exactly one image for several platforms")
	}
	only := manifest.Manifests[0]
	idx, err := whole.ImageIndex(only.Digest)
	return &namedIndex{idx, only.Digest, only.Annotations[containerdName]}, err
}

// withIndex unpacks an archive for as long as do needs it.
func withIndex(archive string, do func(*namedIndex) error) error {
	folder, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if err := unpack(archive, folder); err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	idx, err := readLayout(folder)
	if err != nil {
		return fmt.Errorf("%s is no archive of `make image`: %w", archive, err)
	}
	return do(idx)
}

// packFolder packs a folder, and leaves no half archive behind.
func packFolder(to, folder string, when time.Time) error {
	var files []file
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			files = append(files, file{filepath.ToSlash(relative) + "/", 0o755, nil})
			return nil
		}
		content, err := os.ReadFile(name)
		files = append(files, file{filepath.ToSlash(relative), 0o644, content})
		return err
	})
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	if err := pack(&packed, files, when); err != nil {
		return err
	}
	return writeFile(to, packed.Bytes())
}

func unpack(archive, folder string) error {
	packed, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer packed.Close()
	// Whatever the archive says, nothing is written outside of the folder.
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(packed); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		name := filepath.FromSlash(header.Name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return err
		}
		if err := root.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
}

// writeFile replaces a file at once.
func writeFile(name string, content []byte) error {
	if err := os.WriteFile(name+".part", content, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}
