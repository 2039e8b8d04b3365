// Package foureyes holds the admission policies of four eyes for policies as they are
// installed, so that the broker can tell whether they are in force.
package foureyes

import "embed"

// Files are the manifests of this component.
//
//go:embed *.yaml
var Files embed.FS
