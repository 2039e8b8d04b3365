package follow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrDamaged says that there is a checkpoint, which holds no position. Whoever reads
// it warns and goes on without one: it does not mend itself.
var ErrDamaged = errors.New("the checkpoint is damaged")

// Checkpoint is a file that holds a position.
type Checkpoint struct{ Path string }

// maxCheckpoint is more than a position is long.
const maxCheckpoint = 128

// Load reads the position; it is zero when there is no checkpoint yet. An empty
// checkpoint is damaged, too: Save leaves none.
func (c Checkpoint) Load() (Position, error) {
	file, err := os.Open(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Position{}, nil
	}
	if err != nil {
		return Position{}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCheckpoint))
	if err != nil {
		return Position{}, err
	}
	// Without the line break, the end may be missing.
	text, whole := strings.CutSuffix(string(content), "\n")
	p, err := ParsePosition(text)
	if err != nil || !whole {
		return Position{}, fmt.Errorf("%w: %s holds %d bytes that are no position", ErrDamaged, c.Path, len(content))
	}
	return p, nil
}

// Save replaces the position. When it fails, the checkpoint holds the earlier one.
func (c Checkpoint) Save(p Position) error {
	// The name is always the same, so that no crash leaves files behind.
	temp := c.Path + ".tmp"
	if err := write(temp, p.String()+"\n"); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	if err := os.Rename(temp, c.Path); err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	return syncFolder(filepath.Dir(c.Path))
}

func write(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.WriteString(text); err == nil {
		// Otherwise a power failure may leave the name without the content.
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncFolder makes the new name last. Some file systems cannot; the rename stands.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	_ = folder.Sync()
	return folder.Close()
}
