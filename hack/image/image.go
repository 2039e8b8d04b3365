package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	repository = "https://github.com/accessbroker/accessbroker"
	// license is the SPDX expression of the file LICENSE, once there is one.
	license = ""
)

// labels are what a scanner or a registry shows of an image.
func labels(p program, version string, from *source) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.title":       p.title,
		"org.opencontainers.image.description": p.description,
		"org.opencontainers.image.version":     version,
		"org.opencontainers.image.revision":    from.revision(),
		"org.opencontainers.image.source":      repository,
		"org.opencontainers.image.created":     from.time.Format(time.RFC3339),
	}
	if license != "" {
		all["org.opencontainers.image.licenses"] = license
	}
	return all
}

// image is a program on an empty base.
func image(b *binary, base v1.Layer, version string, from *source) (v1.Image, error) {
	own, err := layer([]file{{b.name, 0o755, b.content}}, from.time)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: from.time}
	img, err := mutate.Append(
		mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		mutate.Addendum{Layer: base, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "CA certificates, user"}},
		mutate.Addendum{Layer: own, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "go build ./cmd/" + b.name}},
	)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = created
	config.OS, config.Architecture = b.platform.OS, b.platform.Architecture
	config.Config = v1.Config{
		User:       user,
		Entrypoint: []string{"/" + b.name},
		WorkingDir: "/",
		Labels:     labels(b.program, version, from),
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(img, labels(b.program, version, from)).(v1.Image)
	if !ok {
		return nil, errors.New("an annotated image is no image")
	}
	return annotated, nil
}

// index is the image of a program for every platform.
func index(binaries []*binary, version string, from *source) (v1.ImageIndex, error) {
	files, err := baseFiles()
	if err != nil {
		return nil, err
	}
	base, err := layer(files, from.time)
	if err != nil {
		return nil, err
	}
	all := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range binaries {
		img, err := image(b, base, version, from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.platform, err)
		}
		all = mutate.AppendManifests(all, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &b.platform}})
	}
	annotated, ok := mutate.Annotations(all, labels(binaries[0].program, version, from)).(v1.ImageIndex)
	if !ok {
		return nil, errors.New("an annotated index is no index")
	}
	return annotated, nil
}

// rootsModule is the module that the certificates come from.
func rootsModule() (*debug.Module, error) {
	if own, ok := debug.ReadBuildInfo(); ok {
		for _, m := range own.Deps {
			if m.Path == "golang.org/x/crypto/x509roots/fallback" {
				return m, nil
			}
		}
	}
	return nil, errors.New("this program does not know the version of its certificates")
}
