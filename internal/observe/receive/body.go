package receive

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
)

var (
	errTooLarge = errors.New("the body is too large")
	errTwice    = errors.New("the body is compressed twice")
)

// body is what a delivery has in it, uncompressed: at most maxBody of it, however
// small it was sent. It remembers what was wrong, whatever the reader makes of that.
type body struct {
	sent   io.Reader
	zipped bool
	in     io.Reader // nil before the first byte was looked at
	err    error
}

func newBody(sent io.Reader, zipped bool) *body {
	return &body{sent: &bounded{in: sent, left: maxBody}, zipped: zipped}
}

func (b *body) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.in == nil {
		b.in, err = b.open()
	}
	if err == nil {
		n, err = b.in.Read(p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// open undoes the compression, which some shippers do not tell of. The reader of
// events would undo it once more, without the bound.
func (b *body) open() (io.Reader, error) {
	sent := bufio.NewReader(b.sent)
	if magic, err := sent.Peek(2); err != nil && (!errors.Is(err, io.EOF) || len(magic) == 0) {
		return nil, err
	} else if !b.zipped && !isGzip(magic) {
		return sent, nil
	}
	unzipped, err := gzip.NewReader(sent)
	if err != nil {
		return nil, notEOF(err)
	}
	in := bufio.NewReader(&bounded{in: unzipped, left: maxBody})
	if magic, err := in.Peek(2); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	} else if isGzip(magic) {
		return nil, errTwice
	}
	return in, nil
}

func isGzip(magic []byte) bool { return len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b }

// notEOF: a header that is not whole is no end.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// bounded fails where there is more than may be, and does not end there: half a
// delivery must not pass for all of it.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left+1)])
	if int64(n) > b.left {
		return int(b.left), errTooLarge
	}
	b.left -= int64(n)
	return n, err
}
