package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/accessbroker/accessbroker/api/v1alpha1"
	"github.com/accessbroker/accessbroker/internal/observe/follow"
	"github.com/accessbroker/accessbroker/internal/usage"
)

const (
	// flushEvery is how long parts wait to be stored together.
	flushEvery = 500 * time.Millisecond
	// writers is how many usages are written at a time.
	writers = 8
	// tries is how often a write is tried before the sender is told to send again.
	tries = 5
	// writeTimeout bounds all tries of one write.
	writeTimeout = 20 * time.Second

	// tellEvery is when the window of a usage is moved on that nothing else changes,
	// and tellsEach bounds these writes, in each second, of all usages.
	tellEvery = time.Minute
	tellsEach = 20
	// lookEvery is when an ended grant is read again, to see whether the broker has
	// looked back at it, and keepFor how long its usage is observed at most.
	lookEvery = 10 * time.Second
	keepFor   = 24 * time.Hour

	maxBatches = 256
	maxStreams = 16
)

// flush stores what is pending, until ctx ends.
func (o *Observer) flush(ctx context.Context) {
	ticker := o.Clock.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		case <-o.kicked:
		}
		books := o.books.all()
		every := max(tellEvery, time.Duration(len(books))*time.Second/tellsEach)
		var group errgroup.Group
		group.SetLimit(writers)
		for _, b := range books {
			if now := o.Clock.Now(); o.due(b, now, every) {
				group.Go(func() error {
					o.write(ctx, b)
					return nil
				})
			}
		}
		_ = group.Wait()
	}
}

// kick has the flusher run now.
func (o *Observer) kick() {
	select {
	case o.kicked <- struct{}{}:
	default:
	}
}

func tell(parts []*part, err error) {
	for _, p := range parts {
		p.done <- err
	}
}

// due tells whether a usage is to be written, or its grant to be read again.
func (o *Observer) due(b *book, now time.Time, every time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case len(b.pending) > 0:
		return true
	case !b.looked.IsZero():
		return now.Sub(b.looked) >= lookEvery
	case b.grant.Status.Phase != v1alpha1.GrantActive:
		return false
	}
	return now.Sub(b.wrote) >= every && len(o.streams.all()) > 0
}

// write stores what is pending of a grant, and moves its window on.
func (o *Observer) write(ctx context.Context, b *book) {
	b.writing.Lock()
	defer b.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	gone, done := o.lookAgain(ctx, b)
	b.mu.Lock()
	parts, stored := b.pending, b.usage
	b.pending = nil
	b.mu.Unlock()
	if gone {
		o.books.drop(b)
		tell(parts, nil)
		return
	}
	lost := o.streams.allLost()
	next, err := o.store(ctx, b, stored, parts, lost, done)
	o.failure(err, "store usage")
	b.mu.Lock()
	if err == nil {
		b.usage, b.wrote, b.lost = next, o.Clock.Now(), lost
	} else {
		b.usage = nil // it is read anew
		parts = b.putBack(parts)
	}
	b.mu.Unlock()
	tell(parts, err)
	if err == nil && (next == nil || next.Status.Phase == v1alpha1.UsageClosed) {
		if next != nil {
			o.known.learn(next, requesterOf(b))
		}
		o.books.drop(b)
	}
}

// putBack puts parts of logs back that are not stored, before what came since: what
// is behind a position must be counted before it. The others are sent again.
func (b *book) putBack(parts []*part) (others []*part) {
	var back []*part
	for _, p := range parts {
		if p.to.IsZero() {
			others = append(others, p)
		} else {
			back = append(back, p)
		}
	}
	b.pending = append(back, b.pending...)
	return others
}

// lookAgain reads a grant that has ended: gone when there is none any more, done when
// the broker has told what its access was used for.
func (o *Observer) lookAgain(ctx context.Context, b *book) (gone, done bool) {
	b.mu.Lock()
	g, looked := b.grant, b.looked
	b.mu.Unlock()
	now := o.Clock.Now()
	if looked.IsZero() || now.Sub(looked) < lookEvery {
		return false, false
	}
	read := &v1alpha1.AccessGrant{}
	err := o.Client.Get(ctx, types.NamespacedName{Name: b.name}, read)
	switch {
	case apierrors.IsNotFound(err), err == nil && read.UID != g.UID:
		return true, false
	case err != nil:
		o.failure(err, "read an ended grant")
		return false, false
	}
	o.books.see(read, nil, nil)
	b.mu.Lock()
	b.looked = now
	b.mu.Unlock()
	ended := read.Status.EndedTime
	if ended != nil && read.Status.GrantedTime == nil {
		return true, false // it was never given
	}
	if ended == nil {
		return false, false // it left the cache for another reason, and comes again
	}
	used := meta.FindStatusCondition(read.Status.Conditions, v1alpha1.ConditionUsed)
	return false, used != nil || now.Sub(ended.Time) > keepFor
}

// store writes the usage of a grant with the parts added, and returns it as it is
// then; nil when the grant is gone. What another observer wrote stays.
func (o *Observer) store(ctx context.Context, b *book, stored *v1alpha1.AccessUsage, parts []*part, lost map[string]int64, done bool) (*v1alpha1.AccessUsage, error) {
	b.mu.Lock()
	g, lostBefore := b.grant, b.lost
	b.mu.Unlock()
	var errs []error
	for try := 0; try < tries && ctx.Err() == nil; try++ {
		if stored == nil {
			var err error
			if stored, err = o.read(ctx, g); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		next := stored.DeepCopy()
		o.add(next, g, parts, done)
		for i := range next.Status.Streams {
			st := &next.Status.Streams[i]
			st.Lost += lost[st.Name] - lostBefore[st.Name]
		}
		if equality.Semantic.DeepEqual(stored.Status, next.Status) {
			return stored, nil
		}
		var err error
		if next.UID == "" {
			err = o.Client.Create(ctx, next)
		} else {
			err = o.Client.Update(ctx, next)
		}
		switch {
		case err == nil:
			o.metrics.writes.Inc()
			return next, nil
		case apierrors.IsNotFound(err):
			return nil, nil // deleted with its grant
		}
		stored = nil
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, err)
		}
	}
	return nil, errors.Join(append(errs, fmt.Errorf("the usage of grant %s is not stored", b.name))...)
}

// read reads the usage of a grant, a new one if there is none.
func (o *Observer) read(ctx context.Context, g *v1alpha1.AccessGrant) (*v1alpha1.AccessUsage, error) {
	stored := &v1alpha1.AccessUsage{}
	err := o.Client.Get(ctx, client.ObjectKeyFromObject(g), stored)
	if err == nil && stored.Spec.GrantRef.UID != g.UID {
		err = fmt.Errorf("AccessUsage %s is that of another grant", g.Name)
	}
	if apierrors.IsNotFound(err) {
		stored, err = &v1alpha1.AccessUsage{
			ObjectMeta: metav1.ObjectMeta{
				Name:            g.Name,
				OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "AccessGrant", Name: g.Name, UID: g.UID}},
			},
			Spec:   v1alpha1.AccessUsageSpec{GrantRef: v1alpha1.ObjectRef{Name: g.Name, UID: g.UID}},
			Status: v1alpha1.AccessUsageStatus{Phase: v1alpha1.UsageObserving},
		}, nil
	}
	return stored, err
}

// add adds parts to a usage, unless it has them, and moves its window on.
func (o *Observer) add(u *v1alpha1.AccessUsage, g *v1alpha1.AccessGrant, parts []*part, done bool) {
	s := &u.Status
	if s.Phase == v1alpha1.UsageClosed {
		return
	}
	sum, counted := usage.NewPart(), unpack(s.RecentEvents)
	for _, p := range parts {
		st := streamOf(s, p.stream, g.Spec.NotBefore.Time)
		if st == nil {
			o.metrics.lost.Add(float64(len(p.events)))
			continue
		}
		if isCounted(st, p) {
			continue
		}
		if p.to.IsZero() {
			st.Batches = append(st.Batches, batchName(p.batch))
			st.Batches = st.Batches[max(0, len(st.Batches)-maxBatches):]
		} else {
			st.Position = p.to.String()
		}
		for i := range p.events {
			if e := &p.events[i]; counted.add(e.identity) {
				sum.AddShared(&e.Event, e.shared)
			}
		}
		for _, f := range p.findings {
			s.Suspicious = found(s.Suspicious, f)
		}
	}
	if len(parts) > 0 {
		s.RecentEvents = counted.pack()
		sum.AddTo(s)
	}
	o.window(s, g)
	if done && len(s.Sessions) == 0 || g.Status.EndedTime != nil && o.Clock.Now().Sub(g.Status.EndedTime.Time) > keepFor {
		s.Phase = v1alpha1.UsageClosed
	}
}

func batchName(batch uint64) string { return strconv.FormatUint(batch, 36) }

// isCounted tells whether a part was counted before: sent again, or read again after
// a restart.
func isCounted(st *v1alpha1.UsageStream, p *part) bool {
	if p.to.IsZero() {
		return slices.Contains(st.Batches, batchName(p.batch))
	}
	at, err := follow.ParsePosition(st.Position)
	return err == nil && at.Compare(p.to) >= 0
}

// countedTo is the position to which a usage has counted a stream.
func countedTo(u *v1alpha1.AccessUsage, stream string) follow.Position {
	if u == nil {
		return follow.Position{}
	}
	i := slices.IndexFunc(u.Status.Streams, func(s v1alpha1.UsageStream) bool { return s.Name == stream })
	if i < 0 {
		return follow.Position{}
	}
	at, err := follow.ParsePosition(u.Status.Streams[i].Position)
	if err != nil {
		return follow.Position{}
	}
	return at
}

// streamOf is the entry of a stream, made if there is none; nil when there are too
// many.
func streamOf(s *v1alpha1.AccessUsageStatus, name string, since time.Time) *v1alpha1.UsageStream {
	i := slices.IndexFunc(s.Streams, func(s v1alpha1.UsageStream) bool { return s.Name == name })
	if i < 0 {
		if len(s.Streams) == maxStreams {
			return nil
		}
		i = len(s.Streams)
		s.Streams = append(s.Streams, v1alpha1.UsageStream{Name: name, Since: metav1.NewTime(since), Until: metav1.NewTime(since)})
	}
	return &s.Streams[i]
}

// window moves the window on to what every stream has told, and notes what
// interrupted it.
func (o *Observer) window(s *v1alpha1.AccessUsageStatus, g *v1alpha1.AccessGrant) {
	begin := g.Spec.NotBefore.Time
	for name, heard := range o.streams.all() {
		isNew := !slices.ContainsFunc(s.Streams, func(st v1alpha1.UsageStream) bool { return st.Name == name })
		st := streamOf(s, name, begin)
		if st == nil {
			continue
		}
		if isNew || st.Until.Time.Equal(begin) {
			st.Since = metav1.NewTime(latest(begin, heard.since).Truncate(time.Second))
		} else if heard.since.Sub(st.Until.Time) > silence {
			s.Gaps++
			at := metav1.NewTime(heard.since.Truncate(time.Second))
			s.LastGap = &at
		}
		if heard.newest.After(st.Until.Time) {
			st.Until = metav1.NewTime(heard.newest.Truncate(time.Second))
		}
	}
	slices.SortFunc(s.Streams, func(a, b v1alpha1.UsageStream) int { return strings.Compare(a.Name, b.Name) })
	if len(s.Streams) < o.Streams || len(s.Streams) == 0 {
		return
	}
	since, until := s.Streams[0].Since, s.Streams[0].Until
	for _, st := range s.Streams {
		if st.Since.After(since.Time) {
			since = st.Since
		}
		if st.Until.Time.Before(until.Time) {
			until = st.Until
		}
	}
	if until.Time.Before(since.Time) {
		return
	}
	s.Since, s.Until = &since, &until
}

// found adds a finding.
func found(list []v1alpha1.UsageFinding, f finding) []v1alpha1.UsageFinding {
	at := metav1.NewTime(f.at)
	i := slices.IndexFunc(list, func(known v1alpha1.UsageFinding) bool { return known.Name == f.name })
	if i < 0 {
		if len(list) == 16 {
			return list
		}
		return append(list, v1alpha1.UsageFinding{Name: f.name, Action: f.action, Message: f.message, Times: 1, First: at, Last: at})
	}
	known := &list[i]
	known.Times++
	known.Action = f.action
	if f.at.After(known.Last.Time) {
		known.Last = at
	}
	return list
}
