package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// authorizers are the flags that say who decides what somebody may do.
func (c *ControlPlane) authorizers() ([]string, error) {
	modes := []string{"RBAC"}
	if c.node != "" {
		modes = []string{"Node", "RBAC"}
	}
	if c.outsider == "" {
		return []string{"--authorization-mode=" + strings.Join(modes, ",")}, nil
	}
	everything, err := json.Marshal(map[string]any{
		"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy",
		"spec": map[string]string{"user": c.outsider, "namespace": "*", "resource": "*", "apiGroup": "*", "nonResourcePath": "*"},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(c.dir, "authorization.jsonl")
	if err := os.WriteFile(file, append(everything, '\n'), 0o600); err != nil {
		return nil, err
	}
	return []string{"--authorization-mode=" + strings.Join(append(modes, "ABAC"), ","), "--authorization-policy-file=" + file}, nil
}
