package follow

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/accessbroker/accessbroker/internal/usage"
)

var began = time.Date(2026, 11, 26, 14, 0, 0, 0, time.UTC)

// writer writes a log as an API server does, with a clock of its own.
type writer struct {
	t    testing.TB
	path string
	now  time.Time
	n    int
	want []string
	out  *os.File
}

func newWriter(t testing.TB) *writer {
	w := &writer{t: t, path: filepath.Join(t.TempDir(), "audit.log"), now: began}
	t.Cleanup(func() {
		if w.out != nil {
			_ = w.out.Close()
		}
	})
	return w
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// event is one line, with as many bytes more as asked.
func (w *writer) event(more int) string {
	w.n++
	w.now = w.now.Add(time.Millisecond)
	at := w.now.Format("2006-01-02T15:04:05.000000Z")
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"%08d","stage":"ResponseComplete","requestURI":"/api","verb":"get","user":{"username":"alice"},"userAgent":"%s","requestObject":{"stageTimestamp":"2001-01-01T00:00:00Z"},"requestReceivedTimestamp":"%s","stageTimestamp":"%s"}`+"\n",
		w.n, strings.Repeat("x", more), at, at)
}

// open opens the log as the API server does at its start: a log that is there goes on.
func (w *writer) open() {
	if w.out == nil {
		ok(w.t, os.MkdirAll(filepath.Dir(w.path), 0o755))
		flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if _, err := os.Stat(w.path); err == nil {
			flags = os.O_WRONLY | os.O_APPEND
		}
		w.out = must[*os.File](w.t)(os.OpenFile(w.path, flags, 0o600))
	}
}

func (w *writer) close() {
	if w.out != nil {
		ok(w.t, w.out.Close())
		w.out = nil
	}
}

// raw writes what is no whole line.
func (w *writer) raw(text string) {
	w.open()
	must[int](w.t)(w.out.WriteString(text))
}

func (w *writer) line(line string) {
	w.raw(line)
	w.want = append(w.want, line)
}

func (w *writer) write(events int) {
	for range events {
		w.line(w.event(0))
	}
}

// rotate closes, renames and opens the log as kube-apiserver does before it writes.
func (w *writer) rotate() (backup string) {
	w.close()
	w.now = w.now.Add(time.Millisecond)
	backup = strings.TrimSuffix(w.path, ".log") + "-" + w.now.Format(rotatedAt) + ".log"
	ok(w.t, os.Rename(w.path, backup))
	ok(w.t, os.Chtimes(backup, w.now, w.now))
	w.out = must[*os.File](w.t)(os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600))
	return backup
}

// compress does it as kube-apiserver does: the plain file goes when the other is whole.
func (w *writer) compress(path string) (zipped string) {
	zipped = path + ".gz"
	in := must[*os.File](w.t)(os.Open(path))
	out := must[*os.File](w.t)(os.Create(zipped))
	z := gzip.NewWriter(out)
	must[int64](w.t)(io.Copy(z, in))
	ok(w.t, errors.Join(z.Close(), out.Close(), in.Close(), os.Remove(path)))
	return zipped
}

// reading follows a log, step by step.
type reading struct {
	t     testing.TB
	log   *Log
	clock *clocktesting.FakeClock
	f     *follower
	// from is where the next follower begins.
	from   Position
	got    []string
	chunks []Chunk
	gaps   int
	lost   int64
	said   *strings.Builder
}

func newReading(t testing.TB, path string) *reading {
	r := &reading{t: t, clock: clocktesting.NewFakeClock(began), said: &strings.Builder{}}
	r.log = &Log{Path: path, Clock: r.clock, Log: funcr.New(func(_, args string) { fmt.Fprintln(r.said, args) }, funcr.Options{})}
	t.Cleanup(r.stop)
	return r
}

func (r *reading) handle(_ context.Context, c Chunk) error {
	if r.from.Compare(c.To) >= 0 || r.from.Compare(c.Start) > 0 {
		r.t.Errorf("%s after %s", c.To, r.from)
	}
	if c.Start.File != c.To.File || c.Start.Turn != c.To.Turn || c.Start.Offset+int64(len(c.Data)) != c.To.Offset {
		r.t.Errorf("from %s to %s are not %d bytes", c.Start, c.To, len(c.Data))
	}
	lines := strings.SplitAfter(string(c.Data), "\n")
	if last := lines[len(lines)-1]; last != "" {
		r.t.Errorf("half a line: %.80q", last)
	}
	lines = lines[:len(lines)-1]
	if len(lines) > 1 && len(c.Data) > chunkSize {
		r.t.Errorf("%d lines with %d bytes", len(lines), len(c.Data))
	}
	r.got, r.from, r.lost = append(r.got, lines...), c.To, r.lost+c.Lost
	if c.Gap {
		r.gaps++
	}
	c.Data = nil
	r.chunks = append(r.chunks, c)
	return nil
}

// step is one step; between polls, time passes.
func (r *reading) step() bool {
	if r.f == nil {
		r.f = newFollower(r.log, r.from, r.handle)
	}
	more, err := r.f.step(r.t.Context())
	r.f.say(err)
	if !more {
		r.clock.Step(poll)
	}
	return more
}

// run reads what there is, and looks once more.
func (r *reading) run() {
	for range 2 {
		for r.step() {
		}
	}
}

func (r *reading) stop() {
	if r.f != nil {
		r.f.shut()
		r.f = nil
	}
}

// wait lets time pass.
func (r *reading) wait(d time.Duration) {
	for end := r.clock.Now().Add(d); r.clock.Now().Before(end); {
		r.run()
	}
}

// expect reads on, and expects each line exactly once and in order.
func (r *reading) expect(want []string, gaps int, lost int64) {
	r.t.Helper()
	r.run()
	if !slices.Equal(r.got, want) {
		at := 0
		for at < min(len(r.got), len(want)) && r.got[at] == want[at] {
			at++
		}
		r.t.Errorf("%d lines, want %d; they differ from %d on: %.160q, want %.160q\nlog: %s", len(r.got), len(want), at,
			strings.Join(r.got[at:min(at+1, len(r.got))], ""), strings.Join(want[at:min(at+1, len(want))], ""), r.said)
	}
	if r.gaps != gaps || r.lost != lost {
		r.t.Errorf("%d gaps and %d lost, want %d and %d\nlog: %s", r.gaps, r.lost, gaps, lost, r.said)
	}
}

func setUp(t testing.TB) (*writer, *reading) {
	w := newWriter(t)
	return w, newReading(t, w.path)
}

func TestFollowsWhatIsWritten(t *testing.T) {
	w, r := setUp(t)
	w.path = filepath.Join(filepath.Dir(w.path), "later", "audit.log")
	r.log.Path = w.path
	r.expect(nil, 0, 0)
	w.raw("")
	r.expect(nil, 0, 0)
	w.write(3)
	r.expect(w.want, 0, 0)
	w.write(3000)
	r.expect(w.want, 0, 0)
	if r.said.Len() > 0 {
		t.Errorf("logged: %s", r.said)
	}
}

func TestHalfLineIsHandedOnWhenItIsWhole(t *testing.T) {
	w, r := setUp(t)
	line := w.event(0)
	w.raw(line[:30])
	r.expect(nil, 0, 0)
	w.line(line[30:])
	w.want = []string{line}
	r.expect(w.want, 0, 0)
	line = w.event(0)
	w.raw(line[:len(line)-1])
	r.wait(time.Minute)
	r.expect(w.want, 0, 0)
	r.stop()
	r.run()
	w.raw("\n")
	r.expect(append(w.want, line), 0, 0)
}

func TestRotation(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	w.write(2)
	w.rotate()
	r.run()
	w.write(2)
	r.expect(w.want, 0, 0)
	for range 3 {
		w.write(1)
		w.rotate()
	}
	w.write(1)
	r.expect(w.want, 0, 0)
}

func TestRotationWhileDown(t *testing.T) {
	for _, zip := range []bool{false, true} {
		w, r := setUp(t)
		w.write(5)
		r.run()
		r.stop()
		w.write(5)
		for range 4 {
			backup := w.rotate()
			w.write(5)
			if zip {
				w.compress(backup)
			}
		}
		r.expect(w.want, 0, 0)
		r.stop()
		r.expect(w.want, 0, 0)
	}
}

// The file is compressed while it is read; the position stays the same.
func TestCompressedBetweenTwoStarts(t *testing.T) {
	w, r := setUp(t)
	w.write(2000) // more than a chunk
	r.step()
	r.step()
	if len(r.got) == 0 || len(r.got) == len(w.want) {
		t.Fatalf("%d of %d lines were read", len(r.got), len(w.want))
	}
	r.stop()
	w.compress(w.rotate())
	w.write(1)
	r.expect(w.want, 0, 0)
}

// kube-apiserver writes the compressed copy next to the plain one.
func TestHalfCompressed(t *testing.T) {
	for _, size := range []int{0, 5, 30, 10_000} {
		w, r := setUp(t)
		w.write(2000)
		backup := w.rotate()
		w.write(1)
		zipped := must[[]byte](t)(os.ReadFile(w.compress(backup)))
		ok(t, os.WriteFile(backup, []byte(strings.Join(w.want[:2000], "")), 0o600))
		ok(t, os.WriteFile(backup+".gz", zipped[:size], 0o600))
		r.expect(w.want, 0, 0)
		if r.said.Len() > 0 {
			t.Errorf("logged: %s", r.said)
		}
	}
}

func TestLastLineIsCompletedAfterTheRename(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	line := w.event(0)
	w.raw(line[:100])
	r.run()
	old := w.out
	w.out = nil
	ok(t, os.Rename(w.path, w.path+".1"))
	r.run()
	begun := w.want
	w.write(2)
	r.run() // the next file is there, this one has half a line
	if len(r.got) != 2 {
		t.Fatal("went on before the line was whole")
	}
	must[int](t)(old.WriteString(line[100:]))
	ok(t, old.Close())
	r.expect(append(append(slices.Clone(begun), line), w.want[2:]...), 0, 0)
}

// The same, where it is the first line, too: until it is whole, nobody knows when the
// file began.
func TestOnlyLineIsCompletedAfterTheRename(t *testing.T) {
	w, r := setUp(t)
	w.write(1)
	r.run()
	r.stop()
	w.rotate()
	line := w.event(0)
	w.raw(line[:100])
	old := w.out
	w.out = nil
	ok(t, os.Rename(w.path, w.path+".1"))
	w.write(1)
	r.run()
	must[int](t)(old.WriteString(line[100:]))
	ok(t, old.Close())
	r.expect([]string{w.want[0], line, w.want[1]}, 0, 0)
	// And where it never becomes whole, it is lost.
	w.rotate()
	w.raw(line[:100])
	w.close()
	ok(t, os.Rename(w.path, w.path+".1"))
	ok(t, os.Chtimes(w.path+".1", w.now, w.now))
	w.write(1)
	r.run()
	r.wait(3 * settled)
	r.expect([]string{w.want[0], line, w.want[1], w.want[2]}, 0, 1)
}

func TestLastLineNeverEnds(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	w.raw(w.event(0)[:100])
	w.rotate()
	w.write(2)
	r.run()
	r.wait(settled)
	r.expect(w.want, 0, 1)
}

func TestLogrotateCopyTruncate(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint("down: ", down), func(t *testing.T) {
			w, r := setUp(t)
			w.write(2)
			w.close() // open appending, as after a restart of the API server
			w.write(2)
			r.run()
			w.write(2)
			if down {
				r.stop()
			}
			ok(t, os.WriteFile(w.path+".1", must[[]byte](t)(os.ReadFile(w.path)), 0o600))
			if !down {
				r.step() // between the copy and the cut
			}
			w.write(1) // after the copy: seen only by who looked in time
			if down {
				w.want = w.want[:len(w.want)-1]
			} else {
				r.run()
			}
			ok(t, os.Truncate(w.path, 0))
			w.write(3)
			gaps := 1
			if down {
				gaps = 0 // nothing tells it from a rename
			}
			r.expect(w.want, gaps, 0)
		})
	}
}

// An API server that began the file writes on where it was: the file begins with
// zeros, and is at once longer than before (kubo-deployment#370).
func TestCutWithZerosBefore(t *testing.T) {
	w, r := setUp(t)
	w.write(5)
	r.run()
	w.write(5)
	copied := must[[]byte](t)(os.ReadFile(w.path))
	ok(t, os.WriteFile(w.path+".1", copied, 0o600))
	ok(t, os.Truncate(w.path, 0))
	w.write(5)
	if info := must[os.FileInfo](t)(os.Stat(w.path)); info.Size() < int64(len(copied)) {
		t.Fatal("there are no zeros")
	}
	r.expect(w.want, 1, 0)
	r.stop()
	w.write(5)
	r.expect(w.want, 1, 0)
	// And again, so that zeros stand where zeros stood.
	w.write(1)
	r.run()
	ok(t, os.Truncate(w.path, 0))
	w.write(1)
	r.expect(w.want, 2, 0)
}

// A file that is cut in the middle keeps its beginning, and a writer that does not
// append leaves zeros: more of them than a line may be long.
func TestCutInTheMiddle(t *testing.T) {
	w, r := setUp(t)
	w.write(5)
	r.run()
	ok(t, os.Truncate(w.path, int64(2*len(w.want[0]))))
	r.run()
	must[int64](t)(w.out.Seek(2*usage.MaxEvent, io.SeekStart))
	w.write(2)
	r.expect(w.want, 1, 0)
	r.stop()
	w.write(1)
	r.expect(w.want, 1, 0)
}

// Somebody copies the log, and does not cut it.
func TestCopied(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	r.stop()
	ok(t, os.WriteFile(w.path+".1", must[[]byte](t)(os.ReadFile(w.path)), 0o600))
	r.run()
	w.write(2)
	r.expect(w.want, 0, 0)
}

// Between looking and opening, logrotate may move the names on.
func TestNamesMoveOn(t *testing.T) {
	for _, zipped := range []bool{false, true} {
		w, r := setUp(t)
		for range 2 {
			w.write(2)
			w.logrotate()
			w.close()
		}
		one, two := w.path+".1", w.path+".2"
		if zipped {
			one, two = w.compress(one), w.compress(two)
		}
		f := newFollower(r.log, Position{}, r.handle)
		files := must[[]file](t)(f.list())
		if len(files) != 3 || files[1].path != one && files[0].path != two {
			t.Fatalf("listed %d files", len(files))
		}
		ok(t, os.Rename(one, two))
		for _, file := range files[:2] {
			if opened, err := f.open(file, 0); opened || err != nil {
				t.Errorf("%s: opened %v, %v", file.path, opened, err)
			}
		}
	}
}

// A file that is written anew looks as before to who only asks for its size and time.
func TestSameSizeAndTime(t *testing.T) {
	w, r := setUp(t)
	w.write(3)
	r.run()
	r.f.shut() // to be opened again
	time := must[os.FileInfo](t)(os.Stat(w.path)).ModTime()
	var anew []string
	for range w.want {
		anew = append(anew, w.event(0))
	}
	must[int](t)(w.out.WriteAt([]byte(strings.Join(anew, "")), 0))
	ok(t, os.Chtimes(w.path, time, time))
	r.expect(append(slices.Clone(w.want), anew...), 1, 0)
}

// Opening a file again is no gap.
func TestOpenedAgain(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	w.rotate()
	w.write(2)
	for !r.f.left {
		r.step()
	}
	r.f.shut()
	r.expect(w.want, 0, 0)
}

func TestLogrotateWithoutReopening(t *testing.T) {
	// kube-apiserver knows nothing of logrotate: it writes on into audit.log.1 until
	// its own limit, and then takes the empty file away (kubernetes#52865).
	w, r := setUp(t)
	w.write(2)
	r.run()
	ok(t, os.Rename(w.path, w.path+".1"))
	ok(t, os.WriteFile(w.path, nil, 0o600))
	r.run()
	w.write(2)
	r.expect(w.want, 0, 0)
	r.stop()
	w.write(2)
	r.run()
	w.rotate()
	w.write(2)
	r.expect(w.want, 0, 0)
}

func TestLogrotateOverRotatedFiles(t *testing.T) {
	// audit-….log.1.gz, as in kubernetes#64760.
	w, r := setUp(t)
	w.write(2)
	r.run()
	r.stop()
	for i := range 3 {
		backup := w.rotate()
		w.write(2)
		ok(t, os.Rename(backup, backup+".1"))
		if i > 0 {
			w.compress(backup + ".1")
		}
	}
	r.expect(w.want, 0, 0)
}

func TestFileIsDeletedUnderTheWriter(t *testing.T) {
	// kubernetes#111208: the API server writes on into the file that has no name.
	w, r := setUp(t)
	w.write(2)
	r.run()
	ok(t, os.Remove(w.path))
	w.write(2)
	r.expect(w.want, 0, 0)
	w.close()
	w.write(2)
	r.expect(w.want, 0, 0)
}

func TestInodeIsUsedAgain(t *testing.T) {
	// fluent-bit#1875, beats#1341: as long as before, under the same name and inode.
	w, r := setUp(t)
	w.write(3)
	r.run()
	r.stop()
	w.close()
	content := w.want
	w.want = nil
	ok(t, os.Remove(w.path))
	for range content {
		w.line(w.event(0))
	}
	r.expect(append(slices.Clone(content), w.want...), 1, 0)
}

func TestWrittenAnewInPlace(t *testing.T) {
	// The same file, the same length, other content.
	w, r := setUp(t)
	w.write(3)
	r.run()
	var anew []string
	for range w.want {
		anew = append(anew, w.event(0))
	}
	must[int](t)(w.out.WriteAt([]byte(strings.Join(anew, "")), 0))
	r.expect(append(slices.Clone(w.want), anew...), 1, 0)
}

func TestDeletedWhileDown(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	r.stop()
	read := w.want
	backup := w.rotate()
	w.want = nil
	w.write(2)
	ok(t, os.Remove(backup))
	r.expect(append(slices.Clone(read), w.want...), 1, 0)
}

// maxbackup took a file that nobody had read.
func TestDeletedBetweenTwo(t *testing.T) {
	for _, tc := range []string{"the one after it", "this one and the one after it"} {
		t.Run(tc, func(t *testing.T) {
			w, r := setUp(t)
			w.write(2)
			r.run()
			first := w.rotate()
			w.now = w.now.Add(time.Minute)
			w.line(w.event(0))
			w.want = w.want[:2]
			second := w.rotate()
			w.now = w.now.Add(time.Minute)
			w.write(2)
			ok(t, os.Remove(second))
			if tc != "the one after it" {
				ok(t, os.Chtimes(first, w.now.Add(-2*time.Minute), w.now.Add(-2*time.Minute)))
				ok(t, os.Remove(first))
			}
			r.expect(w.want, 1, 0)
		})
	}
}

func TestDeletedNumber(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	w.close()
	ok(t, os.Rename(w.path, w.path+".2"))
	w.write(1) // would be audit.log.1
	w.close()
	w.want = w.want[:2]
	ok(t, os.Remove(w.path))
	w.write(2)
	r.expect(w.want, 1, 0)
}

func TestSymlink(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	// The file becomes a link into another folder, where it is rotated.
	w.close()
	elsewhere := filepath.Join(t.TempDir(), "k3s", "server-audit.log")
	ok(t, os.MkdirAll(filepath.Dir(elsewhere), 0o755))
	ok(t, os.Rename(w.path, elsewhere))
	ok(t, os.Symlink(elsewhere, w.path))
	r.run()
	link := w.path
	w.path = elsewhere
	w.write(2)
	r.expect(w.want, 0, 0)
	r.stop()
	w.rotate()
	w.write(2)
	w.compress(w.rotate())
	w.write(2)
	r.expect(w.want, 0, 0)
	// The link goes over to a new file, and the old one is not there any more.
	w.close()
	w.path = filepath.Join(t.TempDir(), "other.log")
	w.write(2)
	ok(t, os.Remove(link))
	ok(t, os.Symlink(w.path, link))
	r.expect(w.want, 0, 0)
}

func TestLinesOfAllLengths(t *testing.T) {
	w, r := setUp(t)
	long := func(total int) string {
		plain := len(w.event(0))
		return w.event(total - plain)
	}
	w.write(1)
	w.line(long(chunkSize + 1))
	w.write(2)
	w.line(long(chunkSize))
	w.line(long(usage.MaxEvent + 1)) // with its line break
	w.write(1)
	w.raw(long(usage.MaxEvent + 2))
	w.write(2)
	r.expect(w.want, 0, 1)
	w.raw(long(3 * usage.MaxEvent))
	w.raw(long(3 * usage.MaxEvent))
	w.write(1)
	r.expect(w.want, 0, 3)
	if c := cap(r.f.cur.buf); c != chunkSize {
		t.Errorf("%d bytes are kept", c)
	}
	r.stop()
	r.expect(w.want, 0, 3)
}

// A line that is too long is given up before it ends.
func TestTooLongIsNotHeld(t *testing.T) {
	w, r := setUp(t)
	w.write(1)
	for range 40 {
		w.raw(strings.Repeat("x", 1<<20))
		r.run()
		if n := cap(r.f.cur.buf); n > usage.MaxEvent+chunkSize {
			t.Fatalf("%d bytes are held", n)
		}
	}
	w.rotate()
	w.write(1)
	r.run()
	r.wait(settled)
	r.expect(w.want, 0, 1)
}

func TestFirstLineIsNoEvent(t *testing.T) {
	w, r := setUp(t)
	w.line("half of what was written before a crash\"}\n")
	r.expect(nil, 0, 0)
	w.write(1)
	r.expect(w.want, 0, 0)
	r.stop()
	w.rotate()
	w.line("\n")
	w.line(`{"kind":"Event","apiVersion":"audit.k8s.io/v1"}` + "\n")
	w.write(1)
	r.expect(w.want, 0, 0)
}

// An event too long to be read stands first.
func TestFirstLineIsTooLong(t *testing.T) {
	w, r := setUp(t)
	w.raw(w.event(usage.MaxEvent + 10))
	w.write(1)
	r.expect(w.want, 0, 1)
	r.stop()
	w.write(1)
	r.expect(w.want, 0, 1)
}

func TestNoEventsAtAll(t *testing.T) {
	w, r := setUp(t)
	for range 2 * maxBeginning / 1000 {
		w.line(strings.Repeat("-", 999) + "\n")
	}
	r.expect(w.want, 0, 0)
	if !strings.Contains(r.said.String(), "modification time") {
		t.Errorf("nothing told: %s", r.said)
	}
	w.line("more\n")
	w.rotate()
	w.write(1)
	r.expect(w.want, 0, 0)
}

// The user's objects say nothing about when a file began.
func TestStampIsOfTheEvent(t *testing.T) {
	w, r := setUp(t)
	w.write(1)
	r.expect(w.want, 0, 0)
	if !r.from.File.Equal(w.now) {
		t.Errorf("%s, want %s", r.from, w.now)
	}
}

// Where lines are skipped before a restart, they count once.
func TestTooLongCountsOnce(t *testing.T) {
	w, r := setUp(t)
	w.write(1)
	r.run()
	w.raw(w.event(usage.MaxEvent))
	r.run()
	r.stop()
	r.run()
	r.f.shut() // as after errors of reading
	w.write(1)
	r.expect(w.want, 0, 1)
	// One at the end of a file counts, too.
	w.raw(w.event(usage.MaxEvent))
	r.run()
	w.rotate()
	w.write(1)
	r.expect(w.want, 0, 2)
}

// Two files may begin with the same event but for what the API server wrote: who
// calls chooses the audit ID and all else.
func TestFilesThatLookTheSame(t *testing.T) {
	w, r := setUp(t)
	same := func() string {
		w.n = 0
		return w.event(chunkSize / 2)
	}
	w.line(same())
	w.rotate()
	w.line(same())
	w.rotate()
	w.line(same())
	r.expect(w.want, 0, 0)
	ok(t, os.Truncate(w.path, 0))
	w.close()
	w.line(same())
	r.expect(w.want, 1, 0)
}

func TestOtherFilesInTheFolder(t *testing.T) {
	w, r := setUp(t)
	w.write(1)
	foreign := w.event(0)
	for _, name := range []string{
		"audit-policy.yaml", "audit-2.log", "audit.log.lock", "audit.log.1.zst", "audit.log.tmp", "audit.logs", "audit-webhook.log",
		"xaudit.log", "audit-2026-11-26T14-08-01.123.txt", "audit.log.gz.1", "audit",
	} {
		ok(t, os.WriteFile(filepath.Join(filepath.Dir(w.path), name), []byte(foreign), 0o600))
	}
	ok(t, os.Mkdir(w.path+".3", 0o755))
	w.write(1)
	r.expect(w.want, 0, 0)
}

func TestNamesOfRotatedFiles(t *testing.T) {
	for _, name := range []string{
		"audit-2026-11-26T14-08-01.123.log", "audit-2026-11-26T14-08-01.123.log.gz", "audit-2026-11-26T14-08-01.123.log.1.gz",
		"audit.log.1", "audit.log.12.gz", "audit.log-20261126", "audit.log-20261126-1400.gz", "audit-20261126.log", "audit-20261126.log.gz",
		"audit.log.20261126-140801", "audit.log.20261126-140801.gz", "audit.log.gz",
	} {
		t.Run(name, func(t *testing.T) {
			w, r := setUp(t)
			w.write(2)
			w.close()
			rotated := filepath.Join(filepath.Dir(w.path), strings.TrimSuffix(name, ".gz"))
			ok(t, os.Rename(w.path, rotated))
			if strings.HasSuffix(name, ".gz") {
				if rotated == w.path {
					ok(t, os.Rename(w.path, w.path+".gz")) // would be itself
					zip(t, w.path+".gz")
				} else {
					w.compress(rotated)
				}
			}
			w.write(2)
			r.run()
			if !slices.Equal(r.got, w.want) {
				t.Errorf("%d lines of %d", len(r.got), len(w.want))
			}
		})
	}
}

// zip compresses a file under its own name.
func zip(t testing.TB, path string) {
	content := must[[]byte](t)(os.ReadFile(path))
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	must[int](t)(z.Write(content))
	ok(t, z.Close())
	ok(t, os.WriteFile(path, out.Bytes(), 0o600))
}

// An old log that somebody unpacks in the folder was read long ago.
func TestOldLogIsPutThere(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	old := strings.Join(w.want, "")
	w.close()
	ok(t, os.Remove(w.path))
	w.want = nil
	w.write(2)
	r.run()
	ok(t, os.WriteFile(w.path+".9", []byte(old), 0o600))
	w.rotate()
	w.write(2)
	r.expect(w.want, 0, 0)
	r.stop()
	w.rotate()
	w.write(1)
	r.expect(w.want, 0, 0)
	// Also when the file that is being read is gone by then.
	w.now = w.now.Add(time.Minute)
	w.rotate()
	w.write(1)
	r.run()
	old = strings.Join(w.want[:1], "")
	ok(t, os.WriteFile(w.path+".8", []byte(strings.Replace(old, "alice", "bob", 1)), 0o600))
	ok(t, os.Remove(w.rotate()))
	w.write(1)
	r.run()
	if !slices.Equal(r.got, w.want) {
		t.Errorf("%d lines, want %d", len(r.got), len(w.want))
	}
}

// The clock goes back within a file: stamps do not tell the order any more.
func TestClockGoesBack(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint("down: ", down), func(t *testing.T) {
			w, r := setUp(t)
			for range 6 { // an hour of files
				for range 10 {
					w.write(1)
					w.now = w.now.Add(time.Minute - time.Millisecond)
				}
				w.rotate()
			}
			w.write(2)
			r.expect(w.want, 0, 0)
			if down {
				r.stop()
			}
			w.now = w.now.Add(-45*time.Minute - 17*time.Second)
			w.write(2)
			for range 3 {
				w.rotate()
				for range 10 {
					w.write(1)
					w.now = w.now.Add(time.Second)
				}
			}
			r.expect(w.want, 0, 0)
			r.stop()
			w.write(1)
			w.rotate()
			w.write(1)
			r.expect(w.want, 0, 0)
		})
	}
}

// Where nothing was written for a while, nothing tells which file came before which:
// what was not there yet came later.
func TestClockGoesBackInAQuietCluster(t *testing.T) {
	w, r := setUp(t)
	w.write(2)
	r.run()
	w.now = w.now.Add(-45 * time.Minute)
	w.write(1)
	for range 2 {
		ok(t, os.Chtimes(w.path, w.now, w.now))
		w.logrotate()
		w.close()
		w.now = w.now.Add(time.Minute)
		w.write(1)
	}
	r.expect(w.want, 0, 0)
}

// Small files, filled within moments: events are not written in the order of their
// stamps. The names tell when each file was full.
func TestStampsOutOfOrder(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint("down: ", down), func(t *testing.T) {
			w, r := setUp(t)
			w.write(1)
			r.run()
			if down {
				r.stop()
			}
			for range 9 {
				w.rotate()
				w.now = w.now.Add(-20 * time.Millisecond)
				w.write(1)
				w.now = w.now.Add(25 * time.Millisecond)
				if down {
					continue
				}
				r.step()
				if rand.IntN(2) == 0 {
					r.run()
				}
			}
			w.rotate()
			w.write(1)
			r.expect(w.want, 0, 0)
			// From the middle.
			r.stop()
			r.from, r.got = r.chunks[4].To, nil
			r.expect(w.want[5:], 0, 0)
		})
	}
}

func TestOrder(t *testing.T) {
	at := func(minutes float64) time.Time { return began.Add(time.Duration(minutes * float64(time.Minute))) }
	// From when to when a file was written.
	kubernetes := func(name string, from, to float64) file {
		return file{path: name, key: at(from), beginning: beginning{stamp: at(from), mark: name}, rotated: at(to), info: info{at(to)}}
	}
	logrotate := func(name string, from, to float64) file {
		f := kubernetes(name, from, to)
		f.rotated = time.Time{}
		return f
	}
	current := func(name string, from, to float64) file {
		f := logrotate(name, from, to)
		f.current = true
		return f
	}
	for name, files := range map[string][]file{
		"as usual":                                {kubernetes("a", 0, 10), kubernetes("b", 10, 20), kubernetes("c", 20, 30), current("d", 30, 31)},
		"no current one":                          {logrotate("a", 0, 10), logrotate("b", 10, 20), logrotate("c", 20, 30)},
		"times of files that do not fit":          {logrotate("a", 0, -500), logrotate("b", 10, 500), logrotate("c", 20, -3), current("d", 30, 31)},
		"the clock went back in the current file": {kubernetes("a", 0, 10), kubernetes("b", 10, 20), current("c", 20, 11)},
		"the clock went back in a file": {
			kubernetes("a", 0, 10), kubernetes("b", 10, 20), kubernetes("c", 20, 30), logrotate("d", 30, 3), kubernetes("e", 3, 8),
			logrotate("f", 8, 13), kubernetes("g", 13, 18), current("h", 18, 19),
		},
		"the clock went back twice": {
			kubernetes("a", 0, 10), kubernetes("b", 10, 5), kubernetes("c", 5, 7), kubernetes("d", 7, 1), kubernetes("e", 1, 3), current("f", 3, 4),
		},
		"stamps out of order": {kubernetes("a", 0, 0.004), kubernetes("b", 0.005, 0.006), kubernetes("c", 0.001, 0.007), current("d", 0.002, 0.008)},
	} {
		t.Run(name, func(t *testing.T) {
			var want string
			for _, f := range files {
				want += f.path
			}
			for range 50 {
				rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
				var got string
				for _, f := range order(files) {
					got += f.path
				}
				if got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		})
	}
}

// info is of a file that is only thought of.
type info struct{ at time.Time }

func (info) Name() string         { return "" }
func (info) Size() int64          { return 0 }
func (info) Mode() os.FileMode    { return 0 }
func (i info) ModTime() time.Time { return i.at }
func (info) IsDir() bool          { return false }
func (info) Sys() any             { return nil }

// What is broken and mended: reading /proc/self/mem from its beginning is an error of
// input and output, as of a disk.
func TestReadErrorGoesAway(t *testing.T) {
	const broken = "/proc/self/mem"
	if _, err := os.Stat(broken); err != nil {
		t.Skip(err)
	}
	t.Run("of the current file", func(t *testing.T) {
		w, r := setUp(t)
		ok(t, os.Symlink(broken, w.path))
		r.wait(2 * patience)
		if strings.Count(r.said.String(), "trying again") != 1 {
			t.Errorf("logged: %s", r.said)
		}
		ok(t, os.Remove(w.path))
		w.write(2)
		r.expect(w.want, 0, 0)
	})
	t.Run("of a file that was read long ago", func(t *testing.T) {
		w, r := setUp(t)
		w.write(1)
		r.run()
		ok(t, os.Symlink(broken, filepath.Join(filepath.Dir(w.path), "audit-2026-11-26T13-00-00.000.log")))
		r.stop()
		w.write(1)
		r.expect(w.want, 0, 0)
	})
	for _, mended := range []bool{true, false} {
		t.Run(fmt.Sprint("of a rotated file, mended: ", mended), func(t *testing.T) {
			w, r := setUp(t)
			w.write(2)
			r.run()
			r.stop()
			w.rotate()
			w.write(2)
			backup := w.rotate()
			w.write(2)
			aside := backup + ".aside"
			ok(t, os.Rename(backup, aside))
			ok(t, os.Symlink(broken, backup))
			r.wait(patience - time.Second)
			if len(r.got) != 2 {
				t.Fatalf("%d lines", len(r.got))
			}
			if mended {
				ok(t, os.Remove(backup))
				ok(t, os.Rename(aside, backup))
				r.expect(w.want, 0, 0)
				return
			}
			r.wait(2 * time.Second)
			r.expect(append(w.want[:2:2], w.want[4:]...), 1, 0)
			// The last one before an empty file is not told each time.
			backup = w.rotate()
			ok(t, os.Remove(backup))
			ok(t, os.Symlink(broken, backup))
			r.stop()
			r.wait(2 * patience)
			if n := strings.Count(r.said.String(), "cannot be read"); n != 2 {
				t.Errorf("told %d times: %s", n, r.said)
			}
		})
	}
}

func TestCompressedFileIsBroken(t *testing.T) {
	w, r := setUp(t)
	for range 50_000 {
		w.line(w.event(rand.IntN(50)))
	}
	zipped := w.compress(w.rotate())
	size := must[os.FileInfo](t)(os.Stat(zipped)).Size()
	w.write(3)
	ok(t, os.Truncate(zipped, size/2))
	r.run()
	n := len(r.got)
	if n == 0 || n > 49_000 {
		t.Fatalf("%d lines", n)
	}
	r.wait(patience + time.Second)
	r.expect(append(w.want[:n:n], w.want[50_000:]...), 1, 0)
}

func TestHandleFails(t *testing.T) {
	w := newWriter(t)
	w.write(1)
	clock := clocktesting.NewFakeClock(began)
	failed := errors.New("no")
	log := &Log{Path: w.path, Clock: clock, Log: logr.Discard()}
	if err := log.Follow(t.Context(), Position{}, func(context.Context, Chunk) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := log.Follow(ctx, Position{}, func(context.Context, Chunk) error { cancel(); return nil }); err != nil {
		t.Errorf("got %v", err)
	}
}
