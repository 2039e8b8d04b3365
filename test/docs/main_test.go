// Package docs holds the documents to what they say: commands are run, samples
// applied, queries compared with the metrics of the running broker, links
// followed.
package docs

import (
	"fmt"
	"os"
	"testing"

	"github.com/accessbroker/accessbroker/internal/lab"
)

// root is the folder of this module.
var root string

func TestMain(m *testing.M) {
	var err error
	if root, err = lab.ModuleRoot(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := stopInstalled(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
