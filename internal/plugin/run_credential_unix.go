//go:build unix

package plugin

import (
	"os"
	"path/filepath"
	"syscall"
)

// stayAlive locks a folder until the process ends or the function is called.
func stayAlive(dir string) (end func(), err error) {
	file, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}, err
	}
	end = func() { _ = file.Close() }
	return end, syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a file descriptor is a small number
}

// abandoned tells whether the process that locked a file is gone. A file of somebody
// else's cannot be opened.
func abandoned(lock string) bool {
	file, err := os.OpenFile(lock, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil //nolint:gosec // a file descriptor is a small number
}
