package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// order is what to build.
type order struct {
	root, folder string // to read from, and to write to
	version      string // what the programs say
	tag          string // of the images, and in the names of the files
	programs     []program
	platforms    []v1.Platform
}

// build writes the archive, the SBOMs and the provenance of every program.
func build(ctx context.Context, o order, out, warn io.Writer) error {
	if o.version == "" {
		return errors.New("-version is missing: give one such as v1.2.3")
	}
	if o.tag == "" {
		o.tag = o.version
	}
	if !isTag(o.tag) {
		return fmt.Errorf("version %q can be no tag of an image: letters, digits, dots, dashes and underscores, at most 128", o.tag)
	}
	from, err := sourceOf(ctx, o.root, os.Getenv)
	if err != nil {
		return err
	}
	if from.dirty {
		fmt.Fprintf(warn, "image: there are changes that no commit has; the images say so: revision %s\n", from.revision())
	}
	if err := os.MkdirAll(o.folder, 0o755); err != nil {
		return err
	}
	for _, p := range o.programs {
		if err := buildProgram(ctx, p, o, from, out); err != nil {
			return err
		}
	}
	return nil
}

func isTag(version string) bool {
	named, err := reference.ParseNormalizedNamed("image:" + version)
	return err == nil && !reference.IsNameOnly(named)
}

func buildProgram(ctx context.Context, p program, o order, from *source, out io.Writer) error {
	var binaries []*binary
	for _, platform := range o.platforms {
		b, err := p.build(ctx, o.root, o.version, platform)
		if err != nil {
			return err
		}
		binaries = append(binaries, b)
	}
	idx, err := index(binaries, o.version, from)
	if err != nil {
		return err
	}
	stem := filepath.Join(o.folder, p.name+"-"+o.tag)
	if err := writeArchive(stem+".tar", p.name, o.tag, idx, from.time); err != nil {
		return err
	}

	whole, err := idx.Digest()
	if err != nil {
		return err
	}
	manifest, err := idx.IndexManifest()
	if err != nil {
		return err
	}
	archive, err := os.ReadFile(stem + ".tar")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(archive)
	subjects := []subject{{filepath.Base(stem) + ".tar", hex.EncodeToString(sum[:])}, {p.name + ":" + o.tag, whole.Hex}}
	for i, b := range binaries {
		img := manifest.Manifests[i].Digest
		text, err := sbom(b, o.version, from, whole, img)
		if err != nil {
			return err
		}
		if err := writeFile(fmt.Sprintf("%s-%s-%s.spdx.json", stem, b.platform.OS, b.platform.Architecture), text); err != nil {
			return err
		}
		sum := sha256.Sum256(b.content)
		subjects = append(subjects, subject{fmt.Sprintf("%s:%s %s", p.name, o.tag, b.platform), img.Hex},
			subject{fmt.Sprintf("/%s in %s:%s %s", p.name, p.name, o.tag, b.platform), hex.EncodeToString(sum[:])})
	}
	text, err := provenanceOf(binaries, o.version, from, subjects)
	if err != nil {
		return err
	}
	if err := writeFile(stem+".provenance.json", text); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s.tar: %s:%s, %s\n", stem, p.name, o.tag, whole)
	return err
}
