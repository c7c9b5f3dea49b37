package api

import (
	"context"
	"errors"
	"sync"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/event"
)

// ended is the cause a session's context ends with when it is us who end it: the
// reason its client is told.
type ended string

// Error implements error.
func (e ended) Error() string { return "session ended: " + string(e) }

// sessions are the requests that last: streams, long polls and uploads. Each
// has a context of its own, so that a thousand of them waiting do not contend
// for one channel.
type sessions struct {
	mu       sync.Mutex
	draining bool
	open     map[*session]struct{}
	idle     []chan struct{} // closed when open becomes empty
}

// session is one of them. Its context ends with the request or by end.
type session struct {
	context.Context
	cancel context.CancelCauseFunc
	all    *sessions
	ns     event.Namespace
	who    auth.Identity // whose credentials must go on being good
}

// enter opens a session of a caller, who must leave it.
func (s *sessions) enter(ctx context.Context, ns event.Namespace, who *auth.Identity) *session {
	ctx, cancel := context.WithCancelCause(ctx)
	n := &session{ctx, cancel, s, ns, *who}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*session]struct{})
	}
	s.open[n] = struct{}{}
	if s.draining {
		n.end(reasonDrain)
	}
	return n
}

// end has the session's request finish and tell its client why.
func (n *session) end(reason string) { n.cancel(ended(reason)) }

// reason is why it was ended; empty while it was not, and when the client left.
func (n *session) reason() string {
	var e ended
	if errors.As(context.Cause(n), &e) {
		return string(e)
	}
	return ""
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

// drained reports whether it is the server that ends.
func (n *session) drained() bool { return n.reason() == reasonDrain }

func (s *sessions) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for n := range s.open {
		n.end(reasonDrain)
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

// enter opens a session of the call. Credentials that stopped being good since they
// were looked at end it at once.
func (h *Handler) enter(c *call) *session {
	n := h.sessions.enter(c.r.Context(), c.ns, &c.who)
	if !h.keys.Holds(c.ns, &c.who) {
		n.end(reasonExpired)
	}
	return n
}

// endUnheld ends the sessions whose credentials are not good any more.
func (h *Handler) endUnheld() {
	revoked := h.queue.Revocations() > 0
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	for n := range h.sessions.open {
		if (revoked || n.who.Grant != nil) && !h.keys.Holds(n.ns, &n.who) {
			n.end(reasonExpired)
		}
	}
}
