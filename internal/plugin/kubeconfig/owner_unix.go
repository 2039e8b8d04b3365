//go:build unix

package kubeconfig

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByUs tells whether a file that takes the place of this one has the same owner.
func ownedByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}
