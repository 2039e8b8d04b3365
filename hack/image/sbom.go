package main

import (
	"bytes"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// sbom says what is in the image of a program for a platform: the program, the
// modules that the compiler wrote into it, the Go it was built with, and the
// module that the certificates are from. Neither image is named by a tag alone:
// the digests are those of the image itself and of the index that it is in.
func sbom(b *binary, version string, from *source, idx, img v1.Hash) ([]byte, error) {
	roots, err := rootsModule()
	if err != nil {
		return nil, err
	}
	doc := &spdx.Document{
		SPDXVersion:       spdx.Version,
		DataLicense:       spdx.DataLicense,
		SPDXIdentifier:    "DOCUMENT",
		DocumentName:      fmt.Sprintf("%s %s for %s", b.name, version, b.platform),
		DocumentNamespace: fmt.Sprintf("%s/spdx/%s/%s", repository, b.name, img.Hex),
		CreationInfo: &spdx.CreationInfo{
			Created:  from.time.Format("2006-01-02T15:04:05Z"),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "access-broker-hack-image"}},
		},
	}
	relate := func(a common.ElementID, how string, b common.ElementID) {
		doc.Relationships = append(doc.Relationships, &spdx.Relationship{
			RefA: common.DocElementID{ElementRefID: a}, Relationship: how, RefB: common.DocElementID{ElementRefID: b},
		})
	}
	add := func(p *spdx.Package, purl *packageurl.PackageURL) common.ElementID {
		p.PackageDownloadLocation = "NOASSERTION"
		p.PackageExternalReferences = []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl.ToString(),
		}}
		doc.Packages = append(doc.Packages, p)
		return p.PackageSPDXIdentifier
	}

	whole := add(imagePackage("Index", b.name+" for every platform", version, idx), imageURL(b.name, version, idx, nil))
	one := add(imagePackage("Image", b.name+" for "+b.platform.String(), version, img), imageURL(b.name, version, img, &b.platform))
	relate("DOCUMENT", common.TypeRelationshipDescribe, one)
	relate(one, common.TypeRelationshipVariantOf, whole)

	main := b.info.Main
	main.Version = version
	program := add(modulePackage(&main, "APPLICATION"), moduleURL(&main))
	relate(one, common.TypeRelationshipContains, program)
	goes := &debug.Module{Path: "stdlib", Version: strings.TrimPrefix(b.info.GoVersion, "go")}
	relate(program, common.TypeRelationshipDependsOn, add(modulePackage(goes, "LIBRARY"), moduleURL(goes)))
	for _, m := range b.info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		relate(program, common.TypeRelationshipDependsOn, add(modulePackage(m, "LIBRARY"), moduleURL(m)))
	}
	relate(one, common.TypeRelationshipContains, add(modulePackage(roots, "OTHER"), moduleURL(roots)))

	var text bytes.Buffer
	err = spdxjson.Write(doc, &text, spdxjson.Indent("  "), spdxjson.EscapeHTML(false))
	return text.Bytes(), err
}

func imagePackage(id, name, version string, digest v1.Hash) *spdx.Package {
	return &spdx.Package{
		PackageSPDXIdentifier: common.ElementID("Package-" + id),
		PackageName:           name,
		PackageVersion:        version,
		PackageChecksums:      []common.Checksum{{Algorithm: common.SHA256, Value: digest.Hex}},
		PrimaryPackagePurpose: "CONTAINER",
	}
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// modulePackage is a module. Its checksum stands in words: go.sum has the hash of
// a list of the module's files, which no file has that somebody could download.
func modulePackage(m *debug.Module, purpose string) *spdx.Package {
	p := &spdx.Package{
		PackageSPDXIdentifier: common.ElementID("Package-Go-" + notInID.ReplaceAllString(m.Path+"-"+m.Version, "-")),
		PackageName:           m.Path,
		PackageVersion:        m.Version,
		PrimaryPackagePurpose: purpose,
	}
	if m.Sum != "" {
		p.PackageSourceInfo = "go.sum: " + m.Sum
	}
	return p
}

func moduleURL(m *debug.Module) *packageurl.PackageURL {
	namespace, name := "", m.Path
	if slash := strings.LastIndex(m.Path, "/"); slash >= 0 {
		namespace, name = m.Path[:slash], m.Path[slash+1:]
	}
	return packageurl.NewPackageURL(packageurl.TypeGolang, namespace, name, m.Version, nil, "")
}

func imageURL(name, version string, digest v1.Hash, platform *v1.Platform) *packageurl.PackageURL {
	more := map[string]string{"tag": version}
	if platform != nil {
		more["os"], more["arch"] = platform.OS, platform.Architecture
	}
	qualifiers := packageurl.QualifiersFromMap(more)
	slices.SortFunc(qualifiers, func(a, b packageurl.Qualifier) int { return strings.Compare(a.Key, b.Key) })
	return packageurl.NewPackageURL(packageurl.TypeOCI, "", name, digest.String(), qualifiers, "")
}
