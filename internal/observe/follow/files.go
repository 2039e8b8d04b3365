package follow

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// file is one file of a log.
type file struct {
	path   string
	info   fs.FileInfo
	zipped bool
	// current is the one that the log's own name leads to.
	current bool
	beginning
	// key orders the files. It is the stamp, or stands in for it.
	key time.Time
	// rotated is when it was renamed, as its name tells; number is its place behind
	// the log's own name. One or both may be zero.
	rotated time.Time
	number  int
	err     error
}

// id is the same for copies of a file, plain or compressed.
func (f *file) id() string { return f.stamp.String() + f.mark }

// ready tells whether it can be read: its events have begun, or none come.
func (f *file) ready() bool {
	return f.err == nil && f.mark != "" && (!f.stamp.IsZero() || !f.current && !f.half || f.givenUp)
}

// end is about when it was last written to.
func (f *file) end() time.Time {
	if !f.rotated.IsZero() {
		return f.rotated
	}
	return f.info.ModTime()
}

// holds tells whether it reaches as far as an offset.
func (f *file) holds(offset int64) bool { return f.zipped || f.info.Size() >= offset }

// better tells which of two copies to read: the one that is written to; then the one
// with more in it; and the compressed one only when it is alone, for until then it
// may not be whole.
func (f *file) better(other *file) bool {
	if f.current != other.current {
		return f.current
	}
	if f.zipped != other.zipped {
		return !f.zipped
	}
	return f.info.Size() > other.info.Size()
}

// rotatedAt is how kube-apiserver names what it rotates.
const rotatedAt = "2006-01-02T15-04-05.000"

// names are those that the files of a log may have once it was rotated:
//
//	audit-2026-11-26T14-08-01.123.log     kube-apiserver
//	audit.log.1, audit.log-20261126       logrotate
//	audit-20261126.log                    logrotate with extension
//	audit.log.20261126-140801             kubelet
//
// each with .gz, and what kube-apiserver rotated with a number of logrotate behind.
// Other logs in the folder have other names, such as audit-policy.yaml.
func names(base string) *regexp.Regexp {
	ext := filepath.Ext(base)
	stem, ext := regexp.QuoteMeta(strings.TrimSuffix(base, ext)), regexp.QuoteMeta(ext)
	const date = `\d{8}[0-9TZ.:_+-]*`
	return regexp.MustCompile(`^(?:` +
		stem + `-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})` + ext + `(?:\.\d+)?|` +
		stem + ext + `(?:\.(\d{1,6})|[.-]` + date + `)?|` +
		stem + `[.-]` + date + ext + `)(?:\.gz)?$`)
}

// list finds the files of a log, in the order in which they were written. It looks
// until nothing changes meanwhile: a file that is just being renamed or compressed
// would be missing otherwise.
func (f *follower) list() ([]file, error) {
	for range 10 {
		files, changed, err := f.stat()
		if err != nil {
			return nil, err
		}
		for i := range files {
			f.identify(&files[i])
		}
		again, changedAgain, err := f.stat()
		if err != nil {
			return nil, err
		}
		same := func(a, b file) bool { return a.path == b.path && os.SameFile(a.info, b.info) }
		if !slices.EqualFunc(files, again, same) || !slices.EqualFunc(changed, changedAgain, time.Time.Equal) {
			continue
		}
		f.known = map[string]file{}
		for _, file := range files {
			f.known[file.path] = file
		}
		return order(merge(files)), nil
	}
	return nil, errors.New("the files of the log change all the time")
}

// identify reads the beginning of a file, unless it is known and nobody wrote to it.
func (f *follower) identify(file *file) {
	known, ok := f.known[file.path]
	if ok && known.err == nil && known.mark != "" && os.SameFile(known.info, file.info) &&
		known.info.Size() == file.info.Size() && known.info.ModTime().Equal(file.info.ModTime()) {
		file.beginning, file.key = known.beginning, known.key
		return
	}
	in, err := openFile(file.path)
	if err != nil {
		file.err = err
		return
	}
	defer in.Close()
	if file.zipped {
		unzip, err := gzip.NewReader(in)
		if err != nil {
			file.err = fmt.Errorf("read %s: %w", file.path, err)
			return
		}
		file.beginning, file.err = begin(unzip)
	} else {
		file.beginning, file.err = begin(in)
	}
	file.key = file.stamp
	if file.err == nil && file.mark != "" && !file.current && file.stamp.IsZero() || file.givenUp {
		file.key = file.info.ModTime().UTC()
		f.once("The file begins with no audit event; its modification time stands in for the time of that", "file", file.path)
	}
}

// stat finds the files by their names, next to the log and, where the log is a link,
// next to what it leads to. changed is when names in those folders last changed; on
// many file systems, that is coarse.
func (f *follower) stat() (all []file, changed []time.Time, err error) {
	add := func(path string, current bool, match []string) error {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !current && !info.Mode().IsRegular() {
			return nil
		}
		if len(all) > 0 && all[0].current && os.SameFile(all[0].info, info) {
			return nil
		}
		one := file{path: path, info: info, current: current, zipped: !current && strings.HasSuffix(path, ".gz")}
		if match != nil {
			one.rotated, _ = time.Parse(rotatedAt, match[1])
			one.number, _ = strconv.Atoi(match[2])
		}
		all = append(all, one)
		return nil
	}
	if err := add(f.Path, true, nil); err != nil {
		return nil, nil, err
	}
	paths := []string{f.Path}
	if target, err := filepath.EvalSymlinks(f.Path); err == nil && target != filepath.Clean(f.Path) {
		paths = append(paths, target)
	}
	for _, path := range paths {
		folder, pattern := filepath.Dir(path), names(filepath.Base(path))
		info, err := os.Stat(folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		changed = append(changed, info.ModTime())
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		for _, entry := range entries {
			match := pattern.FindStringSubmatch(entry.Name())
			if match == nil {
				continue
			}
			if err := add(filepath.Join(folder, entry.Name()), false, match); err != nil {
				return nil, nil, err
			}
		}
	}
	return all, changed, nil
}

// merge leaves one of the copies of a file. What cannot be read, or has nothing in
// it, stays out of that.
func merge(files []file) (merged []file) {
	at, paths := map[string]int{}, map[string]bool{}
	for _, f := range files {
		paths[f.path] = true
	}
	for _, f := range files {
		if f.zipped && f.err != nil && paths[strings.TrimSuffix(f.path, ".gz")] {
			continue // it is being compressed
		}
		if !f.ready() {
			merged = append(merged, f)
			continue
		}
		i, ok := at[f.id()]
		if !ok {
			at[f.id()] = len(merged)
			merged = append(merged, f)
			continue
		}
		if f.better(&merged[i]) {
			merged[i] = f
		}
	}
	return merged
}

// order sorts the files as they were written, the current one last: by when they
// were rotated, if all names tell, and otherwise by their keys. Keys of files that
// were filled within moments may be the wrong way round, for events are not written
// in the order of their stamps.
func order(files []file) []file {
	named := !slices.ContainsFunc(files, func(f file) bool { return f.mark != "" && !f.current && f.rotated.IsZero() })
	slices.SortStableFunc(files, func(a, b file) int {
		byTime := a.key.Compare(b.key)
		if named {
			byTime = cmp.Or(a.rotated.Compare(b.rotated), byTime)
		}
		return cmp.Or(compareBool(a.current, b.current), byTime)
	})
	if clockWentBack(files) {
		chain(files)
	}
	return files
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// clockWentBack tells whether a file ended before it began, or began long before one
// that is older.
func clockWentBack(files []file) bool {
	for i, f := range files {
		if f.ready() && (f.end().Add(late).Before(f.key) || i > 0 && f.key.Add(late).Before(files[i-1].key)) {
			return true
		}
	}
	return false
}

// chain orders files whose keys do not tell the order, from the last one on: before
// each stands the one that ended when it began, if there is one.
func chain(files []file) {
	for last := len(files) - 1; last > 0; last-- {
		begun, best := files[last].key, -1
		if !files[last].ready() {
			begun = files[last].info.ModTime()
		}
		for i, f := range files[:last] {
			// API servers write all the time, and rotate when they write.
			if end := f.end(); end.After(begun.Add(late)) || end.Before(begun.Add(-quiet)) {
				continue
			}
			if best < 0 || !f.end().Before(files[best].end()) {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		before := files[best]
		copy(files[best:], files[best+1:last])
		files[last-1] = before
	}
}
