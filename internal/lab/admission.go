package lab

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// admissionPlugins are the flags that switch the plugins on, with a file for
// what they are to do.
func (c *ControlPlane) admissionPlugins() ([]string, error) {
	if len(c.plugins) == 0 {
		return nil, nil
	}
	type plugin struct {
		Name          string          `json:"name"`
		Configuration json.RawMessage `json:"configuration"`
	}
	names := slices.Sorted(maps.Keys(c.plugins))
	var configured []plugin
	for _, name := range names {
		if c.plugins[name] == "" {
			continue
		}
		configuration, err := yaml.YAMLToJSON([]byte(c.plugins[name]))
		if err != nil {
			return nil, err
		}
		configured = append(configured, plugin{Name: name, Configuration: configuration})
	}
	content, err := json.Marshal(map[string]any{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": configured,
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.dir, "admission.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return nil, err
	}
	return []string{"--enable-admission-plugins=" + strings.Join(names, ","), "--admission-control-config-file=" + file}, nil
}
