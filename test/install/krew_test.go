package install

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"
)

// The Krew manifest is a template; filled in as at a release, it is one that
// Krew takes.
func TestKrewManifest(t *testing.T) {
	const releases = "https://github.com/accessbroker/accessbroker/releases/download/v1.2.3/"
	var manifest struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Version, Homepage, ShortDescription, Description, Caveats string
			Platforms                                                 []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	release := struct{ TagName string }{"v1.2.3"}
	fill := template.New(".krew.yaml")
	fill.Funcs(template.FuncMap{"addURIAndSha": func(uri, _ string) (string, error) {
		var out bytes.Buffer
		nested, err := template.New("uri").Parse(uri)
		if err == nil {
			err = nested.Execute(&out, release)
		}
		return "uri: " + out.String() + "\n      sha256: " + strings.Repeat("0", 64), err
	}})
	var out bytes.Buffer
	if _, err := fill.ParseFiles(filepath.Join(root(t), ".krew.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := fill.Execute(&out, release); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(out.Bytes(), &manifest); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if manifest.Kind != "Plugin" || manifest.Metadata.Name != "access" || manifest.Spec.Version != "v1.2.3" || manifest.Spec.ShortDescription == "" {
		t.Errorf("not a plugin: %+v", manifest)
	}
	if !strings.Contains(manifest.Spec.Caveats, "kubectl_complete-access") {
		t.Errorf("who installs it is not told of completion: %q", manifest.Spec.Caveats)
	}
	if len(manifest.Spec.Platforms) == 0 {
		t.Error("no platform")
	}
	for _, p := range manifest.Spec.Platforms {
		system, arch := p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"]
		bin := "kubectl-access"
		if system == "windows" {
			bin += ".exe"
		}
		if want := releases + "kubectl-access_v1.2.3_" + system + "_" + arch + ".tar.gz"; p.URI != want || p.Bin != bin || p.SHA256 == "" {
			t.Errorf("%s/%s: %+v, want %s", system, arch, p, want)
		}
	}
}
