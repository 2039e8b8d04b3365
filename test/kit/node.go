package kit

import (
	"fmt"
	"os"

	"github.com/accessbroker/accessbroker/internal/lab/node"
)

// NeedsNode ends a package's TestMain where no node can run, and says what was
// not run and how to get it. It does so, too, where nobody asked for a node: it
// takes root, which an ordinary run must not use.
func NeedsNode(what string) {
	wanted := os.Getenv("TEST_NODE")
	if wanted == "" {
		fmt.Fprintf(os.Stderr, "%s: NOT RUN: it needs a node; run `make test-node` as root on Linux\n", what)
		os.Exit(0)
	}
	err := node.Missing()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: NOT RUN: %v\n", what, err)
	if wanted == "must" {
		os.Exit(1)
	}
	os.Exit(0)
}
