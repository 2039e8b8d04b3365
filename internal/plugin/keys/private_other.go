//go:build !unix

package keys

import (
	"fmt"
	"io/fs"
	"os"
)

// checkFolder refuses a link. On Windows, what is in the profile of a user is that
// user's by its access control list, and mode bits mean nothing.
func checkFolder(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("look at the folder of the keys: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; keys go into a folder of your own: set %s", dir, HomeVariable)
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	}
	return nil
}

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
