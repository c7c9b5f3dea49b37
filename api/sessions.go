package api

import (
	"context"
	"errors"
	"sync"
)

// errDrain is the cause a session's context ends with when the server drains.
var errDrain = errors.New("draining")

// sessions are the requests that last: streams, long polls and uploads. Each
// has a context of its own, so that a thousand of them waiting do not contend
// for one channel.
type sessions struct {
	mu       sync.Mutex
	draining bool
	open     map[*session]struct{}
	idle     []chan struct{} // closed when open becomes empty
}

// session is one of them. Its context ends with the request or with errDrain.
type session struct {
	context.Context
	cancel context.CancelCauseFunc
	all    *sessions
}

// enter opens a session; the caller must leave it.
func (s *sessions) enter(ctx context.Context) *session {
	ctx, cancel := context.WithCancelCause(ctx)
	n := &session{ctx, cancel, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*session]struct{})
	}
	s.open[n] = struct{}{}
	if s.draining {
		cancel(errDrain)
	}
	return n
}

func (n *session) leave() {
	n.cancel(nil)
	s := n.all
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, n)
	if len(s.open) == 0 {
		for _, c := range s.idle {
			close(c)
		}
		s.idle = nil
	}
}

// drained tells the two ends of the session's context apart.
func (n *session) drained() bool { return errors.Is(context.Cause(n), errDrain) }

func (s *sessions) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for n := range s.open {
		n.cancel(errDrain)
	}
}

func (s *sessions) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *sessions) wait(ctx context.Context) error {
	s.mu.Lock()
	if len(s.open) == 0 {
		s.mu.Unlock()
		return nil
	}
	c := make(chan struct{})
	s.idle = append(s.idle, c)
	s.mu.Unlock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
