package node

import (
	"os"
	"path/filepath"
)

// The stages of a program that runs a node: it starts itself again for each.
const (
	stageVariable = "ACCESS_BROKER_NODE_STAGE"
	nameVariable  = "ACCESS_BROKER_NODE_NAME"

	stageCleaner = "cleaner" // outlives the command, and removes what is left
	stageFirst   = "first"   // the first process of the namespaces
	stageInside  = "inside"  // what the program is there for
)

const (
	// doorFD is the listener of the machine in the processes inside.
	doorFD = 3

	// base is where the folder for people outside is.
	base = "/tmp"

	// Everything that the node writes is here, in a file system in memory that
	// ends with the namespaces.
	state = "/run/node"

	// hostname is the node's name.
	hostname = "node"
)

// Inside tells whether this process is in the namespaces of a node.
func Inside() bool { return os.Getenv(stageVariable) == stageInside }

// Name is the name that this node's cgroups and its folder have on the machine.
func Name() string { return os.Getenv(nameVariable) }

// folderOf is the one folder on the machine's own file system: for the
// kubeconfigs of people outside.
func folderOf(name string) string { return filepath.Join(base, name) }
