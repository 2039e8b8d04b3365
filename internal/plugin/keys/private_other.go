//go:build !unix

package keys

import (
	"fmt"
	"io/fs"
	"os"
)

// checkOwner takes what it is given: on Windows, what is in the profile of a user is
// that user's by its access control list, and mode bits mean nothing.
func checkOwner(string, fs.FileInfo, string) error { return nil }

func openPrivate(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	return os.Open(path)
}
