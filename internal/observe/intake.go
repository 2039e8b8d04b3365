package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/accessbroker/accessbroker/internal/grant"
	"github.com/accessbroker/accessbroker/internal/observe/follow"
	"github.com/accessbroker/accessbroker/internal/usage"
	"github.com/accessbroker/accessbroker/internal/usage/attribution"
)

// part is what one delivery adds to one grant.
type part struct {
	stream string
	// batch tells a delivery that comes again; from and to are positions in a log,
	// zero for a delivery.
	batch    uint64
	from, to follow.Position
	events   []event
	findings []finding
	// done gets nil when it is stored, or why it could not be.
	done chan<- error
}

// event is one that belongs to a grant.
type event struct {
	usage.Event
	identity uint64
	shared   bool
}

// delivery is what came of a stream at a time: a batch, or a piece of a log.
type delivery struct {
	*Observer
	ctx    context.Context
	stream string
	parts  map[string]*part
	seen   []uint64
	// from and to in a log. at is the end of the line that is read, while it may have
	// been counted before.
	from, to, at follow.Position

	first, newest time.Time
}

func (o *Observer) newDelivery(ctx context.Context, stream string) *delivery {
	return &delivery{Observer: o, ctx: ctx, stream: stream, parts: map[string]*part{}}
}

// Deliver counts what a sender delivers. It returns when that is stored, or an error
// when all of it is to be sent again.
func (o *Observer) Deliver(ctx context.Context, stream string, events io.Reader) error {
	select {
	case <-o.ready: // before, not all grants are known, and what is of them would be passed over
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	d := o.newDelivery(ctx, stream)
	end := &tail{from: events}
	lost, err := d.read(end)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	d.newest = latest(d.newest, lastStamp(end.end, o.Clock.Now()))
	// What a sender could not send in time is not known to be lost: silence tells.
	o.streams.heard(stream, d.first, d.newest, o.Clock.Now(), false)
	o.lose(stream, lost)
	return d.settle(d.leave())
}

// read reads events into the parts of their grants, and tells how many were lost.
func (d *delivery) read(events io.Reader) (lost int, err error) {
	_, asks := d.books.current(d.User)
	skipped, err := usage.Read(events, asks, d.event)
	d.metrics.skipped(skipped)
	return skipped.Broken + skipped.TooLong, err
}

// maxAhead is how far the clock of an API server may be ahead.
const maxAhead = time.Hour

var beginning = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// event adds an event to the grants that it belongs to.
func (d *delivery) event(e *usage.Event) error {
	now := d.Clock.Now()
	if e.Received.Before(beginning) || e.Stamped.Before(beginning) || e.Received.After(now.Add(maxAhead)) || e.Stamped.After(now.Add(maxAhead)) {
		d.metrics.lost.Inc()
		return nil
	}
	d.metrics.decoded.Inc()
	d.newest = latest(d.newest, e.Stamped)
	if d.first.IsZero() || e.Stamped.Before(d.first) {
		d.first = e.Stamped
	}
	identity := usage.Identity(e)
	if d.recent.has(identity) {
		d.metrics.duplicates.Inc()
		return nil
	}
	grants := d.grantsFor(e)
	shares := grants.Of(e)
	for _, share := range shares {
		if b := d.books.get(share.Grant); b != nil {
			d.add(b, e, identity, share.Shared)
		}
	}
	if len(shares) > 0 {
		d.metrics.attributed.Inc()
		d.seen = append(d.seen, identity)
	}
	return nil
}

// grantsFor are the grants to attribute an event to, that of its binding among them
// if there is one.
func (d *delivery) grantsFor(e *usage.Event) *attribution.Grants {
	grants, _ := d.books.current(d.User)
	b, ok := e.Binding()
	if ok && grant.IsName(b.Name) && !grants.Has(b.Name) && d.lookUp(d.ctx, b.Name) {
		grants, _ = d.books.current(d.User)
	}
	return grants
}

func (d *delivery) add(b *book, e *usage.Event, identity uint64, shared bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !d.at.IsZero() && countedTo(b.usage, d.stream).Compare(d.at) >= 0 {
		return // before a restart
	}
	p := d.parts[b.name]
	if p == nil {
		p = &part{stream: d.stream}
		d.parts[b.name] = p
	}
	// The sum does not depend on the order.
	p.batch += identity
	kept := event{*e, identity, shared}
	kept.Object, kept.Groups = nil, nil // the one is not valid later, the other is not counted
	p.events = append(p.events, kept)
	p.findings = append(p.findings, d.suspect(d.ctx, b.grant, &b.lately, e)...)
	b.lately.add(e, shared)
}

// append leaves a part to be stored, false when nothing is stored any more.
func (b *book) append(p *part) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.dropped {
		b.pending = append(b.pending, p)
	}
	return !b.dropped
}

// leave leaves the parts to be stored. Those of a log are left in its order.
func (d *delivery) leave() (stored <-chan error) {
	done := make(chan error, len(d.parts))
	urgent := false
	for name, p := range d.parts {
		p.from, p.to, p.done = d.from, d.to, done
		urgent = urgent || len(p.findings) > 0
		if !d.books.get(name).append(p) {
			done <- nil // its grant was deleted meanwhile
		}
	}
	if urgent {
		d.kick()
	}
	return done
}

// settle waits until all parts are stored.
func (d *delivery) settle(stored <-chan error) error {
	var errs []error
	for range d.parts {
		select {
		case err := <-stored:
			errs = append(errs, err)
		case <-d.stopped:
			return errors.New("the observer stops")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	d.recent.add(d.seen)
	return nil
}

// maxChunks is how many pieces of logs are stored at a time.
const maxChunks = 64

// Follow counts what is written into a log, from a checkpoint on, until ctx ends.
func (o *Observer) Follow(ctx context.Context, log *follow.Log, checkpoint follow.Checkpoint, name string) error {
	from := follow.Position{}
	if checkpoint.Path != "" {
		var err error
		if from, err = checkpoint.Load(); err != nil {
			o.failure(err, "read the checkpoint") // what was counted is in the usages, too
			from = follow.Position{}
		}
	}
	if from.IsZero() {
		o.Log.Info("there is no checkpoint: the log is read from its beginning", "log", log.Path)
	}
	places := make(chan struct{}, maxChunks)
	before := make(chan struct{}) // closed when all before is stored
	close(before)
	saver := &saver{checkpoint: checkpoint}
	again := true // what comes may have been counted before the start
	return log.Follow(ctx, from, func(ctx context.Context, chunk follow.Chunk) error {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		again = again && o.counted(name).Compare(chunk.Start) > 0
		d, err := o.chunk(ctx, name, chunk, again)
		if err != nil {
			<-places
			return err
		}
		parts, last, this := d.leave(), before, make(chan struct{})
		before = this
		go func() {
			defer func() { <-places }()
			if d.settle(parts) != nil {
				return // it stops; nothing of a log is given up before
			}
			<-last
			o.failure(saver.save(chunk.To, o.Clock.Now()), "save the checkpoint")
			close(this)
		}()
		return nil
	})
}

// chunk reads a piece of a log, line by line where some of it may have been counted
// before.
func (o *Observer) chunk(ctx context.Context, name string, chunk follow.Chunk, again bool) (*delivery, error) {
	if chunk.Gap {
		o.streams.broke(name)
	}
	d := o.newDelivery(ctx, name)
	d.from, d.to = chunk.Start, chunk.To
	lost := int(chunk.Lost)
	read := func(data []byte) error {
		n, err := d.read(bytes.NewReader(data))
		lost += n
		return err
	}
	var err error
	if again {
		d.at = chunk.Start
		for line := range bytes.Lines(chunk.Data) {
			d.at.Offset += int64(len(line))
			if err = read(line); err != nil {
				break
			}
		}
	} else {
		err = read(chunk.Data)
	}
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	d.newest = latest(d.newest, lastStamp(chunk.Data[max(0, len(chunk.Data)-maxTail):], o.Clock.Now()))
	o.streams.heard(name, d.first, d.newest, o.Clock.Now(), !chunk.Gap)
	o.lose(name, lost)
	return d, nil
}

// counted is the furthest position to which any usage has counted a stream.
func (o *Observer) counted(name string) (furthest follow.Position) {
	for _, b := range o.books.all() {
		b.mu.Lock()
		if at := countedTo(b.usage, name); at.Compare(furthest) > 0 {
			furthest = at
		}
		b.mu.Unlock()
	}
	return furthest
}

// saver saves a checkpoint, at most once a second. A restart finds out by the usages
// what was counted after it.
type saver struct {
	checkpoint follow.Checkpoint
	mu         sync.Mutex
	saved      time.Time
}

func (s *saver) save(to follow.Position, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.saved) < time.Second || s.checkpoint.Path == "" {
		return nil
	}
	s.saved = now
	return s.checkpoint.Save(to)
}
