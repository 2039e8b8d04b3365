//go:build unix

package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// openPrivate opens a file that is ours and nobody else's, and no link.
func openPrivate(path string) (*os.File, error) {
	// Without NONBLOCK, a pipe in its place would keep us waiting.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, and no key", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err == nil {
		err = checkOwner(path, info, "600")
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func checkOwner(path string, info fs.FileInfo, mode string) error {
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("others may read or write %s: 'chmod %s %s' closes it; if somebody may have, delete it and ask again", path, mode, path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user of this machine (%d); set %s to a folder of your own", path, stat.Uid, HomeVariable)
	}
	return nil
}
