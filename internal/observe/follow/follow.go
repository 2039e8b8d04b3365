// Package follow follows the audit log of an API server through rotation: each line
// is handed on once and in order, also over a restart, and what is missing is told.
//
// A file is known by the stamp of its first event, not by its name or inode: names
// move on at each rotation, inodes are used again, and while nobody was looking
// files may have been copied or compressed. The stamp stays.
package follow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

const (
	// poll is how often it looks for more: inotify is not on every file system.
	poll = 200 * time.Millisecond
	// settled is how long the last line of a file may take to become whole once
	// the next file is written to.
	settled = 2 * time.Second
	// patience is how long a file that cannot be read is waited for, when others can.
	patience = time.Minute
	// late is how long after a rotation the first event of the next file may be
	// stamped. API servers rotate in order to write it.
	late = time.Second
	// quiet is how long before that the last event of the file may have been written.
	quiet = 5 * time.Second
	// tries is how often reading an open file may fail before it is opened again.
	tries = 5
)

// Chunk is whole lines of one file.
type Chunk struct {
	// Data is valid until the chunk was handled.
	Data []byte
	// Start is where Data begins, To where it ends, and where to go on after it.
	Start, To Position
	// Gap tells that something before it was not seen: a file is gone, or was cut
	// while it was read.
	Gap bool
	// Lost is how many lines before it were skipped: longer than usage.MaxEvent, or
	// never ended.
	Lost int64
}

// Log is an audit log. Path is the name of the file that is written to.
type Log struct {
	Path  string
	Clock clock.WithTicker
	Log   logr.Logger
}

// Follow hands on what follows a position, chunk by chunk, until ctx is over; that is
// no error. The zero position is the beginning of what is there. Errors of handle end
// it; others are logged, and it tries again.
//
// What handle returned nil for is not handed on again, if the next Follow goes on
// from its To.
func (l *Log) Follow(ctx context.Context, from Position, handle func(context.Context, Chunk) error) error {
	f := newFollower(l, from, handle)
	defer f.shut()
	for ctx.Err() == nil {
		more, err := f.step(ctx)
		var failed *handleError
		if errors.As(err, &failed) {
			return failed.error
		}
		f.say(err)
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-l.Clock.After(poll):
		}
	}
	return nil
}

// handleError is an error of handle.
type handleError struct{ error }

// errSettling says that the last line of a file may still become whole.
var errSettling = errors.New("the last line is not whole yet")

// trouble is since when a file cannot be read, and whether that was told as a gap.
type trouble struct {
	since time.Time
	told  bool
}

// follower is one Follow.
type follower struct {
	*Log
	handle func(context.Context, Chunk) error
	// at is how far chunks were handled.
	at Position
	// cur is the file that is being read.
	cur *reader
	// passed are the files before cur.
	passed map[string]bool
	// known are the files as they were last seen, by path.
	known map[string]file
	// unreadable are files that cannot be read, by path; current is why the current
	// one cannot.
	unreadable map[string]trouble
	current    error
	// numbers are those in the names of the files, also of empty ones.
	numbers map[int]bool
	// gap and lost are for the next chunk, with what cur lost.
	gap  bool
	lost int64
	// halfSince is when cur was seen to end in half a line, with a next file there.
	halfSince time.Time
	// left: cur is behind the file of the position, which was read to its end.
	left bool
	// failures counts how often reading cur failed, since when is broken.
	failures int
	broken   time.Time
	told     map[string]bool
	said     string
}

func newFollower(l *Log, from Position, handle func(context.Context, Chunk) error) *follower {
	return &follower{Log: l, handle: handle, at: from, passed: map[string]bool{}, told: map[string]bool{}}
}

func (f *follower) shut() {
	if f.cur != nil {
		f.cur.close()
		f.cur = nil
	}
}

// say logs an error, unless it is still the same.
func (f *follower) say(err error) {
	switch {
	case errors.Is(err, errSettling):
	case err == nil:
		f.said = ""
	case err.Error() != f.said:
		f.said = err.Error()
		f.Log.Log.Error(err, "Cannot read the audit log; trying again", "log", f.Path)
	}
}

// once logs something about a file.
func (f *follower) once(message, key, value string) {
	if len(f.told) > 1000 {
		clear(f.told)
	}
	if !f.told[message+value] {
		f.told[message+value] = true
		f.Log.Log.Info(message, "log", f.Path, key, value)
	}
}

// step does one thing; more tells that there may be more to do at once.
func (f *follower) step(ctx context.Context) (more bool, err error) {
	if f.cur == nil {
		if err := f.begin(); err != nil || f.cur == nil {
			return false, err
		}
	}
	more, err = f.read(ctx)
	switch {
	case errors.Is(err, errCut):
		f.missed("The log was cut while being read", f.cur.path)
		f.shut()
		f.known = nil
		return true, nil
	case err != nil:
		return false, f.failed(err)
	case more:
		return true, nil
	}
	return f.leave(ctx)
}

// missed notes a gap.
func (f *follower) missed(why, path string) {
	f.gap = true
	f.Log.Log.Info(why+"; events may be missing", "log", f.Path, "file", path, "position", f.at.String())
}

// begin opens the file in which the position is, or what came after it.
func (f *follower) begin() error {
	files, err := f.readable()
	if err != nil {
		return err
	}
	i, found := f.find(files)
	if i < 0 {
		return f.current
	}
	offset := int64(0)
	gap := !f.at.IsZero() && !found && !f.left
	if found {
		offset = f.at.Offset
		if !files[i].holds(offset) {
			offset, gap = files[i].info.Size(), true
		}
	}
	if opened, err := f.open(files[i], offset); !opened {
		return err
	}
	for _, before := range files[:i] {
		f.passed[before.id()] = true
	}
	if gap && !f.gap {
		f.missed("The file that was read last is gone", files[i].path)
	}
	return nil
}

// find finds the file in which the position is, or the first one after it.
func (f *follower) find(files []file) (i int, found bool) {
	first := -1
	for i := range files {
		switch file := &files[i]; {
		case f.passed[file.id()]:
		case file.key.Equal(f.at.File):
			if !found {
				first, found = i, true
			}
		case !found && first < 0 && (file.key.After(f.at.File) || file.current):
			first = i
		}
	}
	return first, found
}

// readable are the files that can be read. One that cannot, and that matters, is an
// error for a while; then it counts as lost.
func (f *follower) readable() (files []file, err error) {
	all, err := f.list()
	if err != nil {
		return nil, err
	}
	f.current, f.numbers = nil, map[int]bool{}
	waiting := map[string]trouble{}
	for _, file := range all {
		f.numbers[file.number] = true
		half := file.err == nil && file.half && !file.current
		switch {
		case file.ready(), half && f.passed[file.id()], half && f.cur != nil && os.SameFile(file.info, f.cur.info):
			files = append(files, file)
			continue
		case file.err == nil && !half:
			continue // empty
		case file.current:
			// It comes last: nothing is passed over while others are read.
			f.current = file.err
			continue
		case f.cur != nil && os.SameFile(file.info, f.cur.info), file.end().Before(f.at.File):
			continue // it is open; or it ended before what was read began
		}
		t, known := f.unreadable[file.path]
		if !known {
			t.since = f.Clock.Now()
		}
		waiting[file.path] = t
		switch since := f.Clock.Since(t.since); {
		case half && since < settled:
			err = errSettling
		case half:
			files = append(files, file)
		case since < patience:
			err = file.err
		case !t.told:
			f.missed("A file of the log cannot be read", file.path)
			waiting[file.path] = trouble{t.since, true}
		}
	}
	f.unreadable = waiting
	return files, err
}

// open makes a file the one that is read. When it is not opened without an error,
// the files have changed.
func (f *follower) open(file file, offset int64) (opened bool, err error) {
	r, err := openReader(file, offset)
	switch {
	case errors.Is(err, errCut), errors.Is(err, fs.ErrNotExist):
		f.known = nil
		return false, nil
	case err != nil:
		return false, f.giveUp(&file, err)
	}
	f.shut()
	f.cur, f.halfSince, f.failures = r, time.Time{}, 0
	return true, nil
}

// giveUp passes over a file that is broken for good. Only the current one is waited
// for as long as it takes.
func (f *follower) giveUp(file *file, err error) error {
	err = fmt.Errorf("read %s: %w", file.path, err)
	if f.broken.IsZero() {
		f.broken = f.Clock.Now()
	}
	if file.current || f.Clock.Since(f.broken) < patience {
		return err
	}
	f.missed("A file of the log cannot be read to its end", file.path)
	f.passed[file.id()] = true
	f.broken = time.Time{}
	f.shut()
	return err
}

// read hands on one chunk, if there is one.
func (f *follower) read(ctx context.Context) (more bool, err error) {
	lines, err := f.cur.lines()
	if err != nil || len(lines) == 0 {
		return false, err
	}
	f.failures, f.broken = 0, time.Time{}
	start := Position{Turn: f.at.Turn, File: f.cur.key, Offset: f.cur.offset}
	if start.Compare(f.at) < 0 {
		start.Turn++
	}
	to := start
	to.Offset += int64(len(lines))
	if err := f.handle(ctx, Chunk{Data: lines, Start: start, To: to, Gap: f.gap, Lost: f.lost + f.cur.lost}); err != nil {
		return false, &handleError{err}
	}
	f.at, f.gap, f.lost, f.left = to, false, 0, false
	f.cur.lost = 0
	f.cur.drop(len(lines))
	return true, nil
}

// failed deals with an error of reading: try again, then open it again, which helps
// where a network file system lost the file.
func (f *follower) failed(err error) error {
	var failed *handleError
	if errors.As(err, &failed) {
		return err
	}
	cur := f.cur
	if f.failures++; f.failures >= tries {
		f.shut()
	}
	return f.giveUp(&cur.file, err)
}

// leave goes on to the next file, when this one is read to its end for good.
func (f *follower) leave(ctx context.Context) (more bool, err error) {
	if !f.cur.zipped {
		info, err := os.Stat(f.Path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if err == nil && os.SameFile(info, f.cur.info) {
			f.halfSince = time.Time{}
			return false, nil
		}
	}
	files, err := f.readable()
	if err != nil {
		return false, err
	}
	next, here := f.next(files)
	if next == nil {
		return false, f.current
	}
	// The next file is written to, so this one is not any more. Only now its end is
	// its end.
	if more, err := f.read(ctx); more || err != nil {
		return more, err
	}
	if f.cur.half() {
		if f.halfSince.IsZero() {
			f.halfSince = f.Clock.Now()
		}
		if f.Clock.Since(f.halfSince) < settled {
			return false, nil
		}
	}
	cur := f.cur
	if info, err := cur.in.Stat(); err == nil {
		cur.info = info
	}
	if opened, err := f.open(*next, 0); !opened {
		return false, err
	}
	f.lost += cur.lost
	if cur.half() {
		f.lost++
	}
	if f.between(&cur.file, here, next) {
		f.missed("A file of the log is gone", cur.path)
	}
	f.passed[cur.id()], f.left = true, true
	return true, nil
}

// next is the file after cur; here is cur as it is in the folder now, unless it is
// gone.
func (f *follower) next(files []file) (next, here *file) {
	f.forget(files)
	at, current := -1, -1
	for i := range files {
		if files[i].id() == f.cur.id() {
			at, here = i, &files[i]
		}
		if files[i].current {
			current = i
		}
	}
	back := current >= 0 && files[current].key.Add(late).Before(f.cur.key)
	for i := range files {
		file := &files[i]
		if i == at || f.passed[file.id()] {
			continue
		}
		after := i > at
		if here == nil {
			after = !file.key.Add(late).Before(f.cur.key)
		}
		// What turns up before cur was put there by somebody, unless the clock went
		// back.
		if after || back && !file.key.After(files[current].key) {
			return file, here
		}
	}
	return nil, here
}

// forget forgets files that are not there any more.
func (f *follower) forget(files []file) {
	listed := map[string]bool{}
	for i := range files {
		listed[files[i].id()] = true
	}
	for id := range f.passed {
		if !listed[id] {
			delete(f.passed, id)
		}
	}
}

// between tells whether a file is missing between two that follow each other.
func (f *follower) between(cur, here, next *file) bool {
	switch {
	case cur.stamp.IsZero() || next.stamp.IsZero():
		return false
	case here == nil:
		// It is gone, and perhaps some after it. Its last line was written just
		// before the first one of the next.
		return next.key.After(cur.info.ModTime().Add(late))
	case !here.rotated.IsZero():
		return next.key.After(here.rotated.Add(late))
	case next.current || next.number > 0:
		for n := next.number + 1; n < here.number; n++ {
			if !f.numbers[n] {
				return true
			}
		}
	}
	return false
}
