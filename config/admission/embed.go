// Package admission holds the admission policies as they are installed, so that
// the broker can tell whether they are in force.
package admission

import (
	"bufio"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

//go:embed *.yaml
var files embed.FS

// Validating returns the validating policies and their bindings, and those in the
// manifests of components that are installed too. The mutating ones are a convenience
// that older clusters do without.
func Validating(components ...fs.FS) ([]admissionregistrationv1.ValidatingAdmissionPolicy, []admissionregistrationv1.ValidatingAdmissionPolicyBinding, error) {
	policies, bindings, err := validatingIn(files)
	for _, component := range components {
		if err != nil {
			break
		}
		var more []admissionregistrationv1.ValidatingAdmissionPolicy
		var moreBindings []admissionregistrationv1.ValidatingAdmissionPolicyBinding
		more, moreBindings, err = validatingIn(component)
		policies, bindings = append(policies, more...), append(bindings, moreBindings...)
	}
	return policies, bindings, err
}

func validatingIn(folder fs.FS) ([]admissionregistrationv1.ValidatingAdmissionPolicy, []admissionregistrationv1.ValidatingAdmissionPolicyBinding, error) {
	var (
		policies []admissionregistrationv1.ValidatingAdmissionPolicy
		bindings []admissionregistrationv1.ValidatingAdmissionPolicyBinding
	)
	entries, err := fs.ReadDir(folder, ".")
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		content, err := fs.ReadFile(folder, entry.Name())
		if err != nil {
			return nil, nil, err
		}
		decoder := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
		for {
			document, err := decoder.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", entry.Name(), err)
			}
			var kind struct{ Kind string }
			if err := yaml.Unmarshal(document, &kind); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", entry.Name(), err)
			}
			switch kind.Kind {
			case "ValidatingAdmissionPolicy":
				var p admissionregistrationv1.ValidatingAdmissionPolicy
				if err := yaml.UnmarshalStrict(document, &p); err != nil {
					return nil, nil, fmt.Errorf("%s: %w", entry.Name(), err)
				}
				policies = append(policies, p)
			case "ValidatingAdmissionPolicyBinding":
				var b admissionregistrationv1.ValidatingAdmissionPolicyBinding
				if err := yaml.UnmarshalStrict(document, &b); err != nil {
					return nil, nil, fmt.Errorf("%s: %w", entry.Name(), err)
				}
				bindings = append(bindings, b)
			}
		}
	}
	return policies, bindings, nil
}
