package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"google.golang.org/protobuf/encoding/protojson"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const version = "v1.2.3"

// built is what `image build` makes of the working tree, committed in a folder
// of its own: twice, in two folders.
var built struct {
	folders [2]string
	commit  string
}

var when = time.Date(2026, 5, 4, 10, 20, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	// The commit says what these would.
	for _, name := range []string{"REVISION", "SOURCE_DATE_EPOCH"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	code, err := 0, error(nil)
	func() {
		var temp string
		if temp, err = os.MkdirTemp("", "image-test-"); err != nil {
			return
		}
		defer func() { _ = os.RemoveAll(temp) }()
		one, another := filepath.Join(temp, "one"), filepath.Join(temp, "another")
		if built.commit, err = commitTree(one); err != nil {
			return
		}
		if err = exec.Command("git", "clone", "-q", one, another).Run(); err != nil {
			return
		}
		for i, clone := range []string{one, another} {
			built.folders[i] = filepath.Join(clone, "dist")
			if err = run(context.Background(), []string{"build", "-version", version, "-root", clone, "-out", built.folders[i]}, io.Discard, os.Stderr); err != nil {
				return
			}
		}
		code = m.Run()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// commitTree copies what git knows of the working tree, and commits it at a time
// of its own.
func commitTree(to string) (string, error) {
	script := `set -e
cd ../..
mkdir -p "$0"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do if [ -e "$f" ] || [ -L "$f" ]; then printf '%s\0' "$f"; fi; done | tar -c --null -T - | tar -x -C "$0"
cd "$0"
git init -q
git add -A
git -c user.name=somebody -c user.email=somebody@example.com commit -q -m all
git rev-parse HEAD`
	cmd := exec.Command("bash", "-c", script, to)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+when.Format(time.RFC3339), "GIT_COMMITTER_DATE="+when.Format(time.RFC3339))
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	return strings.TrimSpace(string(said)), err
}

func archiveOf(p program) string {
	return filepath.Join(built.folders[0], p.name+"-"+version+".tar")
}

// The same commit makes the same bytes, wherever it lies.
func TestReproducible(t *testing.T) {
	var names []string
	for _, p := range programs {
		names = append(names, p.name+"-"+version+".tar", p.name+"-"+version+".provenance.json")
		for _, platform := range platforms {
			names = append(names, p.name+"-"+version+"-linux-"+platform.Architecture+".spdx.json")
		}
	}
	slices.Sort(names)
	for i, folder := range built.folders {
		files, err := filepath.Glob(filepath.Join(folder, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for j := range files {
			files[j] = filepath.Base(files[j])
		}
		if !slices.Equal(files, names) {
			t.Errorf("folder %d has %v, want %v", i, files, names)
		}
	}
	for _, name := range names {
		if one, another := read(t, built.folders[0], name), read(t, built.folders[1], name); !bytes.Equal(one, another) {
			t.Errorf("%s is another in another folder", name)
		}
	}
}

// A runtime that reads index.json, and one that reads manifest.json alone, find
// the same images.
func TestArchive(t *testing.T) {
	for _, p := range programs {
		files := untar(t, bytes.NewReader(read(t, archiveOf(p))))
		if names := slices.Collect(maps.Keys(files)); !slices.Contains(names, "oci-layout") {
			t.Errorf("%s is no OCI layout: %v", p.name, names)
		}
		var top v1.IndexManifest
		if err := json.Unmarshal(files["index.json"].content, &top); err != nil {
			t.Fatal(err)
		}
		if len(top.Manifests) != 1 {
			t.Fatalf("%d entries in index.json; podman takes one", len(top.Manifests))
		}
		said := top.Manifests[0].Annotations
		if !strings.HasSuffix(said[containerdName], "/library/"+p.name+":"+version) || said[refName] != version {
			t.Errorf("its names are %v", said)
		}
		var legacy []struct {
			Config   string
			RepoTags []string
			Layers   []string
		}
		if err := json.Unmarshal(files["manifest.json"].content, &legacy); err != nil {
			t.Fatal(err)
		}
		tags := [][]string{{p.name + ":" + version + "-amd64", p.name + ":" + version}, {p.name + ":" + version + "-arm64"}}
		if len(legacy) != len(tags) {
			t.Fatalf("manifest.json has %d images", len(legacy))
		}
		for i, entry := range legacy {
			if !slices.Equal(entry.RepoTags, tags[i]) {
				t.Errorf("tags %v, want %v", entry.RepoTags, tags[i])
			}
			var config v1.ConfigFile
			if err := json.Unmarshal(files[entry.Config].content, &config); err != nil || config.Architecture != platforms[i].Architecture {
				t.Errorf("%s is for %q: %v", entry.Config, config.Architecture, err)
			}
			for _, l := range entry.Layers {
				if len(files[l].content) == 0 {
					t.Errorf("layer %s is not there", l)
				}
			}
		}
	}
}

// An image holds what is listed here and nothing else.
func TestImage(t *testing.T) {
	for _, p := range programs {
		eachImage(t, p, func(t *testing.T, platform v1.Platform, img v1.Image) {
			want := map[string]int64{
				"etc/": 0o755, "etc/ssl/": 0o755, "etc/ssl/certs/": 0o755,
				"etc/ssl/certs/ca-certificates.crt": 0o644, "etc/passwd": 0o644, "etc/group": 0o644,
				p.name: 0o755,
			}
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := img.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			if config.OS != platform.OS || config.Architecture != platform.Architecture || !config.Created.Equal(when) {
				t.Errorf("it is for %s/%s, of %s", config.OS, config.Architecture, config.Created)
			}
			if c := config.Config; c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/" + p.name}) || len(c.Cmd) > 0 || len(c.Env) > 0 || c.WorkingDir != "/" {
				t.Errorf("it runs as %+v", c)
			}
			for where, said := range map[string]map[string]string{"labels": config.Config.Labels, "annotations": manifest.Annotations} {
				checkLabels(t, p, where, said)
			}

			got := map[string]entry{}
			layers, err := img.Layers()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range layers {
				content, err := l.Uncompressed()
				if err != nil {
					t.Fatal(err)
				}
				files := untar(t, content)
				if names := slices.Sorted(maps.Keys(files)); len(names) == 0 {
					t.Error("an empty layer")
				}
				maps.Copy(got, files)
			}
			for name, f := range got {
				mode, wanted := want[name]
				h := f.header
				switch {
				case !wanted:
					t.Errorf("%s is in it", name)
				case h.Mode != mode || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(when):
					t.Errorf("%s: %+v", name, h)
				case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
					t.Errorf("%s is a link or a device", name)
				}
				delete(want, name)
			}
			if len(want) > 0 {
				t.Errorf("it lacks %v", want)
			}
			if passwd := string(got["etc/passwd"].content); !strings.Contains(passwd, "\nnonroot:x:65532:65532:") {
				t.Errorf("no entry for its user: %s", passwd)
			}
			checkRoots(t, got["etc/ssl/certs/ca-certificates.crt"].content)
			checkProgram(t, platform, got[p.name].content)
		})
	}
}

func checkLabels(t *testing.T, p program, where string, said map[string]string) {
	t.Helper()
	for label, want := range map[string]string{
		"title": p.title, "description": p.description, "version": version, "revision": built.commit,
		"source": repository, "created": when.Format(time.RFC3339), "licenses": license,
	} {
		if got := said["org.opencontainers.image."+label]; got != want {
			t.Errorf("%s: %s is %q, want %q", where, label, got, want)
		}
	}
	_, err := os.Stat(filepath.Join("..", "..", "LICENSE"))
	if there := err == nil; there != (license != "") {
		t.Errorf("LICENSE is there: %t, but the images say %q: set license in image.go", there, license)
	}
}

func checkRoots(t *testing.T, text []byte) {
	t.Helper()
	count := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !c.IsCA {
			t.Errorf("%v is no CA: %v", c, err)
		}
		count++
	}
	if count < 100 {
		t.Errorf("%d certificates", count)
	}
}

// checkProgram says that a binary is static and, where it can run, that it runs.
func checkProgram(t *testing.T, platform v1.Platform, content []byte) {
	t.Helper()
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["GOARCH"] != platform.Architecture || settings["-trimpath"] != "true" {
		t.Errorf("it was built with %v", settings)
	}
	if platform.OS != runtime.GOOS || platform.Architecture != runtime.GOARCH {
		return
	}
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, content, 0o700); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(file, "--version").CombinedOutput(); err != nil || !strings.Contains(string(said), version) {
		t.Errorf("it says %s, %v", said, err)
	}
}

// The flags are those of `make build`.
func TestFlags(t *testing.T) {
	makes := exec.Command("make", "-n", "build", "VERSION="+version)
	makes.Dir = filepath.Join("..", "..")
	said, err := makes.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	want := "go build -trimpath -buildvcs=false -ldflags '" + linkerFlags(version) + "' "
	if !strings.Contains(string(said), want) || strings.Join(buildFlags(version)[:3], " ") != "-trimpath -buildvcs=false -ldflags" {
		t.Errorf("make build does %s, want %s", said, want)
	}
}

// An SBOM has every module of the binary, with version, sum and purl, and the
// fields that SPDX asks for.
func TestSBOM(t *testing.T) {
	for _, p := range programs {
		whole := digestOf(t, p)
		eachImage(t, p, func(t *testing.T, platform v1.Platform, img v1.Image) {
			text := read(t, built.folders[0], p.name+"-"+version+"-linux-"+platform.Architecture+".spdx.json")
			doc, err := spdxjson.Read(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			checkRequired(t, text)
			if doc.CreationInfo.Created != "2026-05-04T10:20:00Z" {
				t.Errorf("it is of %s", doc.CreationInfo.Created)
			}
			digest, err := img.Digest()
			if err != nil {
				t.Fatal(err)
			}
			sums, found := map[string]bool{}, map[string]string{}
			for _, pkg := range doc.Packages {
				for _, sum := range pkg.PackageChecksums {
					sums[sum.Value] = true
				}
				for _, ref := range pkg.PackageExternalReferences {
					purl, err := packageurl.FromString(ref.Locator)
					if err != nil {
						t.Errorf("%s: %v", ref.Locator, err)
					}
					if purl.Type == packageurl.TypeGolang && (purl.Version != pkg.PackageVersion || !strings.EqualFold(strings.TrimPrefix(purl.Namespace+"/"+purl.Name, "/"), pkg.PackageName)) {
						t.Errorf("%s is of %s %s", ref.Locator, pkg.PackageName, pkg.PackageVersion)
					}
					found[pkg.PackageName+" "+pkg.PackageVersion] = pkg.PackageSourceInfo
				}
			}
			if !sums[digest.Hex] || !sums[whole.Hex] {
				t.Errorf("it has neither %s nor %s", digest, whole)
			}
			info, err := buildinfo.Read(bytes.NewReader(programOf(t, p, img)))
			if err != nil {
				t.Fatal(err)
			}
			if len(info.Deps) < 20 {
				t.Errorf("%d modules", len(info.Deps))
			}
			for _, m := range info.Deps {
				if said, there := found[m.Path+" "+m.Version]; !there || said != "go.sum: "+m.Sum {
					t.Errorf("%s %s: %t, %q", m.Path, m.Version, there, said)
				}
			}
			for _, also := range []string{info.Main.Path + " " + version, "stdlib " + strings.TrimPrefix(info.GoVersion, "go")} {
				if _, there := found[also]; !there {
					t.Errorf("it lacks %s", also)
				}
			}
		})
	}
}

// checkRequired looks for what SPDX 2.3 demands, and for elements that nothing
// relates to or that are named twice.
func checkRequired(t *testing.T, text []byte) {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if doc["spdxVersion"] != "SPDX-2.3" || doc["dataLicense"] != "CC0-1.0" || doc["SPDXID"] != "SPDXRef-DOCUMENT" {
		t.Errorf("it is %v, %v, %v", doc["spdxVersion"], doc["dataLicense"], doc["SPDXID"])
	}
	for _, field := range []string{"name", "documentNamespace"} {
		if said, _ := doc[field].(string); said == "" {
			t.Errorf("no %s", field)
		}
	}
	creation := doc["creationInfo"].(map[string]any)
	if creators, _ := creation["creators"].([]any); creation["created"] == "" || len(creators) == 0 {
		t.Errorf("creationInfo is %v", creation)
	}
	related := map[any]bool{"SPDXRef-DOCUMENT": false}
	for _, p := range doc["packages"].([]any) {
		pkg := p.(map[string]any)
		id := pkg["SPDXID"].(string)
		if _, twice := related[id]; twice || strings.Trim(strings.TrimPrefix(id, "SPDXRef-"), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" || !strings.HasPrefix(id, "SPDXRef-") {
			t.Errorf("the SPDXID %s is there twice, or is none", id)
		}
		related[id] = false
		if pkg["name"] == "" || pkg["downloadLocation"] != "NOASSERTION" || pkg["filesAnalyzed"] != false {
			t.Errorf("%v lacks a field", pkg)
		}
	}
	for _, r := range doc["relationships"].([]any) {
		relation := r.(map[string]any)
		for _, end := range []string{"spdxElementId", "relatedSpdxElement"} {
			if _, known := related[relation[end]]; !known || relation["relationshipType"] == "" {
				t.Errorf("%v names what is not there", relation)
			}
			related[relation[end]] = true
		}
	}
	for id, is := range related {
		if !is {
			t.Errorf("nothing relates to %s", id)
		}
	}
}

// The provenance names everything by digest, and the commit.
func TestProvenance(t *testing.T) {
	for _, p := range programs {
		statement := &intoto.Statement{}
		if err := protojson.Unmarshal(read(t, built.folders[0], p.name+"-"+version+".provenance.json"), statement); err != nil {
			t.Fatal(err)
		}
		predicate := &provenance.Provenance{}
		if body, err := protojson.Marshal(statement.Predicate); err != nil || protojson.Unmarshal(body, predicate) != nil {
			t.Fatalf("no SLSA provenance: %v", err)
		}
		if err := errors.Join(statement.Validate(), predicate.Validate()); err != nil {
			t.Error(err)
		}
		if statement.PredicateType != "https://slsa.dev/provenance/v1" {
			t.Errorf("it is %s", statement.PredicateType)
		}
		named := map[string]bool{}
		for _, s := range statement.Subject {
			named[s.Digest["sha256"]] = true
		}
		archive := sha256.Sum256(read(t, archiveOf(p)))
		want := map[string]string{"the archive": hex.EncodeToString(archive[:]), "the index": digestOf(t, p).Hex}
		eachImage(t, p, func(t *testing.T, platform v1.Platform, img v1.Image) {
			digest, err := img.Digest()
			if err != nil {
				t.Fatal(err)
			}
			program := sha256.Sum256(programOf(t, p, img))
			want["the image for "+platform.String()], want["the binary for "+platform.String()] = digest.Hex, hex.EncodeToString(program[:])
		})
		for what, sum := range want {
			if !named[sum] {
				t.Errorf("%s, %s, is not in it", what, sum)
			}
		}
		definition := predicate.BuildDefinition
		if got := definition.ResolvedDependencies[0]; got.Digest["gitCommit"] != built.commit || got.Annotations.AsMap()["uncommittedChanges"] != false {
			t.Errorf("the source is %v", got)
		}
		if inside := definition.InternalParameters.AsMap(); inside["go"] != runtime.Version() || inside["ldflags"] != linkerFlags(version) {
			t.Errorf("it was built with %v", inside)
		}
	}
}

type entry struct {
	header  *tar.Header
	content []byte
}

// untar reads an archive whose names are in order.
func untar(t *testing.T, from io.Reader) map[string]entry {
	t.Helper()
	files, last := map[string]entry{}, ""
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name <= last {
			t.Errorf("%s comes after %s", header.Name, last)
		}
		last = header.Name
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[last] = entry{header, content}
	}
}

func eachImage(t *testing.T, p program, do func(*testing.T, v1.Platform, v1.Image)) {
	t.Helper()
	err := withIndex(archiveOf(p), func(idx *namedIndex) error {
		manifest, err := idx.index.IndexManifest()
		if err != nil {
			return err
		}
		checkLabels(t, p, "annotations of the index", manifest.Annotations)
		if len(manifest.Manifests) != len(platforms) {
			t.Fatalf("%d images", len(manifest.Manifests))
		}
		for i, m := range manifest.Manifests {
			if !m.Platform.Equals(platforms[i]) {
				t.Errorf("image %d is for %s", i, m.Platform)
			}
			img, err := idx.index.Image(m.Digest)
			if err != nil {
				return err
			}
			t.Run(p.name+" "+m.Platform.String(), func(t *testing.T) { do(t, *m.Platform, img) })
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func programOf(t *testing.T, p program, img v1.Image) []byte {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	return untar(t, content)[p.name].content
}

func digestOf(t *testing.T, p program) v1.Hash {
	t.Helper()
	var said bytes.Buffer
	if err := run(t.Context(), []string{"digest", archiveOf(p)}, &said, io.Discard); err != nil {
		t.Fatal(err)
	}
	digest, err := v1.NewHash(strings.TrimSpace(said.String()))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func read(t *testing.T, elements ...string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}
