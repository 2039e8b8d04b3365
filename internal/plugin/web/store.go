package web

import (
	"context"
	"sync"

	"k8s.io/client-go/tools/cache"
)

// store keeps the objects of a kind as they come and go, from the moment on that a page
// first needs them: who opens the page to decide on one request reads no record of ten
// thousand grants.
type store[T any] struct {
	// ctx is the life of the page, not of a call.
	ctx      context.Context
	informer cache.SharedIndexInformer
	// changes beats whenever something has changed.
	changes *pulse

	once sync.Once
	mu   sync.Mutex
	err  error
}

func newStore[T any](ctx context.Context, informer cache.SharedIndexInformer, changes *pulse) *store[T] {
	return &store[T]{ctx: ctx, informer: informer, changes: changes}
}

// start begins to read, once.
func (s *store[T]) start() {
	s.once.Do(func() {
		// Both err only once the informer runs.
		_ = s.informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			s.fail(err)
		})
		_, _ = s.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { s.fail(nil) },
			UpdateFunc: func(any, any) { s.fail(nil) },
			DeleteFunc: func(any) { s.fail(nil) },
		})
		go s.informer.RunWithContext(s.ctx)
		go func() {
			if cache.WaitForCacheSync(s.ctx.Done(), s.informer.HasSynced) {
				s.changes.beat()
			}
		}()
	})
}

// fail keeps why nothing comes, or that something came.
func (s *store[T]) fail(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	s.changes.beat()
}

// all are the objects that are there by now; nobody may change them. whole tells that
// these are all that there are.
func (s *store[T]) all() (objects []*T, whole bool) {
	s.start()
	whole = s.informer.HasSynced()
	for _, object := range s.informer.GetStore().List() {
		if of, ok := object.(*T); ok {
			objects = append(objects, of)
		}
	}
	return objects, whole
}

// wait waits until all are there, why they do not come is known, or the context ends.
func (s *store[T]) wait(ctx context.Context) error {
	s.start()
	for {
		changed := s.changes.next()
		if s.informer.HasSynced() {
			return nil
		}
		if err := s.why(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-changed:
		}
	}
}

// why is the reason why nothing comes, nil when all is well.
func (s *store[T]) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// pulse tells all who wait for it that something has changed.
type pulse struct {
	mu   sync.Mutex
	wake chan struct{}
}

// next is closed at the next beat.
func (p *pulse) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	return p.wake
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}
