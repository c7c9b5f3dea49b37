package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/culvertmq/culvert/api/auth"
	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/event"
)

// ended is the cause with which Culvert itself ends a session's context. It is the reason that the client is
// told.
type ended string

// Error implements error.
func (e ended) Error() string { return "session ended: " + string(e) }

// revocations is the part of the registry that says whether credentials were revoked, and when that changes.
type revocations interface {
	Revocations() int
	Changed() <-chan struct{}
}

// sessions are the requests that are held open: streams, long polls, waiting emits and uploads. Each has its
// own context, so that a thousand waiting ones do not contend for one channel.
type sessions struct {
	mu       sync.Mutex
	draining bool
	open     map[*session]struct{}
	idle     []chan struct{} // closed when open becomes empty
}

// session is one such request. Its context ends with the request, or when end is called.
type session struct {
	context.Context
	cancel context.CancelCauseFunc
	all    *sessions
	ns     event.Namespace
	who    auth.Identity // its credentials must stay good
}

// enter opens a session of a caller. The caller must call leave.
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
		n.end(stream.Drain)
	}
	return n
}

// end ends the session: its request finishes and tells its client the reason.
func (n *session) end(reason string) { n.cancel(ended(reason)) }

// Reason returns why end was called; "" if it was not, even when the client has left.
func (n *session) Reason() string {
	var e ended
	if errors.As(context.Cause(n), &e) {
		return string(e)
	}
	return ""
}

// outlive makes the session continue when its request has ended. From now on ended is called, too, when the session
// ends. It must not block.
func (n *session) outlive(ended func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	n.all.mu.Lock()
	defer n.all.mu.Unlock()
	if cause := context.Cause(n); n.Reason() != "" {
		cancel(cause)
	}
	n.cancel(nil)
	n.Context, n.cancel = ctx, func(cause error) {
		cancel(cause)
		ended()
	}
}

// left ends the session because its client has left.
func (n *session) left() { n.cancel(nil) }

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

// drained reports whether the session was ended because the server drains.
func (n *session) drained() bool { return n.Reason() == stream.Drain }

func (s *sessions) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for n := range s.open {
		n.end(stream.Drain)
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

// enter opens a session of the call. If its credentials have become invalid since Identify, the session is
// ended at once.
func (h *Handler) enter(c *call) *session {
	n := h.sessions.enter(c.r.Context(), c.ns, &c.who)
	if !h.keys.Holds(c.ns, &c.who) {
		n.end(stream.Expired)
	}
	return n
}

// recheckEvery is how often the credentials of all sessions are checked although nothing has changed: the old
// secret of a rotated key expires without a change of the registry.
const recheckEvery = 500 * time.Millisecond

// watchCredentials ends sessions whose credentials are no longer good, until ctx ends.
func (h *Handler) watchCredentials(ctx context.Context) {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		changed := h.registry.Changed() // before the check, which may not see later changes
		h.endRevoked()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// endRevoked ends the sessions whose credentials are no longer good.
func (h *Handler) endRevoked() {
	revoked := h.registry.Revocations() > 0
	h.sessions.mu.Lock()
	defer h.sessions.mu.Unlock()
	for n := range h.sessions.open {
		if (revoked || n.who.Grant != nil) && !h.keys.Holds(n.ns, &n.who) {
			n.end(stream.Expired)
		}
	}
}

// jitter returns a random duration between the two, so that clients that are disconnected together do not
// reconnect together.
func (h *Handler) jitter(least, most time.Duration) time.Duration {
	return least + time.Duration(h.random()*float64(most-least))
}
