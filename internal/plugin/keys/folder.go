package keys

import (
	"fmt"
	"io/fs"
	"os"
)

// checkFolder refuses a folder that others may look into, that is not ours, or that is
// only a link.
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
	return checkOwner(dir, info, "700")
}
