// Package keys keeps the private keys of issued credentials: one file a request, on
// the machine where it was asked for, which nobody but its owner may read.
package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/accessbroker/accessbroker/internal/credential"
)

// HomeVariable names the folder of the keys, where it is another than
// kubectl-access in the folder for the configuration of the user.
const HomeVariable = "KUBECTL_ACCESS_HOME"

const (
	// unfinished files begin so; what is older than this was left by a process that
	// was killed.
	unfinished      = ".new-"
	unfinishedAfter = time.Hour

	suffix = ".json"
	// maxSize of a file; a larger one is none of ours.
	maxSize = 64 << 10
)

// ErrNone means that the key is not on this machine.
var ErrNone = errors.New("the key is not on this machine")

// ElsewhereError means that the key is here, but for another cluster. It is not used
// then: a cluster that repeats the request of another one must not be handed a
// credential of that one.
type ElsewhereError struct{ Server string }

func (e *ElsewhereError) Error() string {
	return "the key was made for the cluster at " + e.Server
}

// Cluster is where a request was made.
type Cluster struct {
	// ID tells clusters apart by what the user trusts them by.
	ID string
	// Server is its address, for people.
	Server string
}

// Store is a folder of keys. It is made when the first key comes.
type Store struct{ dir string }

// Open is the store of this user. It reads and makes nothing.
func Open() (*Store, error) {
	dir := os.Getenv(HomeVariable)
	if dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("there is no folder for keys: %w; name one in %s", err, HomeVariable)
		}
		dir = filepath.Join(config, "kubectl-access")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Store{dir}, nil
}

// Dir is where the keys are.
func (s *Store) Dir() string { return s.dir }

// Kept is a key in its file, and what is known of its request.
type Kept struct {
	Cluster   string    `json:"cluster"`
	Server    string    `json:"server"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name,omitempty"`
	UID       types.UID `json:"uid,omitempty"`
	Created   time.Time `json:"created"`
	// Kubeconfigs that have a context for it.
	Kubeconfigs []string `json:"kubeconfigs,omitempty"`
	Secret      string   `json:"key"`

	path string
	key  *credential.Key
}

// Key opens what was sealed to it.
func (k *Kept) Key() *credential.Key { return k.key }

// Public is the key in the request.
func (k *Kept) Public() string { return k.key.Public() }

// Add writes a key to a file of its own. The file is whole or not there.
func (s *Store) Add(of Cluster, namespace string, key *credential.Key, now time.Time) (*Kept, error) {
	secret, err := key.Secret()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for keys: %w; %s names another", err, HomeVariable)
	}
	if err := checkFolder(s.dir); err != nil {
		return nil, err
	}
	s.removeUnfinished(now)
	k := &Kept{Cluster: of.ID, Server: of.Server, Namespace: namespace, Created: now.UTC(), Secret: secret, path: s.pathOf(of.ID, key.Public()), key: key}
	if err := k.Save(); err != nil {
		return nil, err
	}
	return k, nil
}

// pathOf a key, by its cluster and by the public half that its request carries. So the
// key of a request is found even when the process that asked was killed before it knew
// the name of its request.
func (s *Store) pathOf(cluster, public string) string {
	return filepath.Join(s.dir, short(cluster)+"-"+short(public)+suffix)
}

func short(of string) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:12])
}

// Save writes what is known of the request into the file: another file takes the place
// of the one that is there, so that no reader sees half of it.
func (k *Kept) Save() (err error) {
	content, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	// CreateTemp makes files that nobody else may read.
	file, err := os.CreateTemp(filepath.Dir(k.path), unfinished)
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
			err = fmt.Errorf("write the key: %w", err)
		}
	}()
	_, err = file.Write(append(content, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), k.path)
}

// Remove deletes the key.
func (k *Kept) Remove() error {
	if err := os.Remove(k.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete the key: %w", err)
	}
	return nil
}

// Find is the key of a request, by the public half that the request carries.
func (s *Store) Find(of Cluster, public string) (*Kept, error) {
	if err := checkFolder(s.dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNone
		}
		return nil, err
	}
	k, err := read(s.pathOf(of.ID, public))
	switch {
	case err == nil && k.Public() == public && k.Cluster == of.ID:
		return k, nil
	case err == nil:
		return nil, fmt.Errorf("%s holds another key", s.pathOf(of.ID, public))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), "-"+short(public)+suffix) {
			if k, err = read(filepath.Join(s.dir, entry.Name())); err != nil {
				return nil, err
			}
			return nil, &ElsewhereError{k.Server}
		}
	}
	return nil, ErrNone
}

// All keys that are here. One that cannot be read is left out.
func (s *Store) All() ([]*Kept, error) {
	if err := checkFolder(s.dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var all []*Kept
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), suffix) {
			continue
		}
		if k, err := read(filepath.Join(s.dir, entry.Name())); err == nil {
			all = append(all, k)
		}
	}
	return all, nil
}

// read a file that is ours alone.
func read(path string) (*Kept, error) {
	file, err := openPrivate(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSize))
	if err != nil {
		return nil, err
	}
	k := &Kept{path: path}
	if err := json.Unmarshal(content, k); err != nil {
		return nil, fmt.Errorf("%s is no key of kubectl access: %w", path, err)
	}
	if k.key, err = credential.ParseKey(k.Secret); err != nil {
		return nil, fmt.Errorf("%s is no key of kubectl access: %w", path, err)
	}
	return k, nil
}

// removeUnfinished removes files of processes that were killed while they wrote.
func (s *Store) removeUnfinished(now time.Time) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && strings.HasPrefix(entry.Name(), unfinished) && now.Sub(info.ModTime()) > unfinishedAfter {
			_ = os.Remove(filepath.Join(s.dir, entry.Name()))
		}
	}
}
