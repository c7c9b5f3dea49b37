package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// strangerTime is how long a connection may be open without good credentials before it
// may be cut off for another one: much longer than to come and say who one is takes, also
// when thousands come back through one address at once.
const strangerTime = 10 * time.Second

// idleTime is how long a connection may have no request under way before it may be cut off
// for another one: much longer than clients take that poll again, or emit again, all at once
// after one event. One that is cut off while a request is on its way fails that request.
const idleTime = 10 * time.Second

// Listener wraps the listener of a server that ConfigureServer has set up. The connections
// it accepts have bounds until a request with good credentials has come, and while they are
// idle after it (Limits.Anonymous), and are closed after a request with a Content-Length and a Transfer-Encoding (RFC 9112,
// section 6.1). Without it neither is so, and everything else is.
func (h *Handler) Listener(l net.Listener) net.Listener { return &listener{l, h} }

type listener struct {
	net.Listener
	h *Handler
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: inner, h: l.h}
	c.place = l.h.strangers.enter(c, inner.RemoteAddr().String(), *l.h.o.Limits)
	return c, nil
}

// connection is one that Listener accepted.
type connection struct {
	net.Conn
	h       *Handler
	framing framing
	place   *place // among the strangers
	known   atomic.Bool

	resting sync.Mutex
	rest    *place // among the idle ones; nil: it is none of them
	over    bool   // it is none for ever
}

// Read implements net.Conn.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.framing.look(b[:n])
	return n, err
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.introduce()
	c.work(true)
	return c.Conn.Close()
}

// CloseWrite is for net/http, which ends its side first where the other still sends.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// introduce takes the connection from among the strangers.
func (c *connection) introduce() {
	if c.known.CompareAndSwap(false, true) {
		c.h.strangers.leave(c.place)
	}
}

// idle has the connection count as idle, once it is none of a stranger's.
func (c *connection) idle() {
	if !c.known.Load() {
		return // it counts already
	}
	c.resting.Lock()
	defer c.resting.Unlock()
	if c.rest == nil && !c.over {
		c.rest = c.h.idle.enter(c, c.RemoteAddr().String(), *c.h.o.Limits)
	}
}

// work ends that; for ever, when the connection ends.
func (c *connection) work(over bool) {
	c.resting.Lock()
	defer c.resting.Unlock()
	c.over = c.over || over
	if c.rest != nil {
		c.h.idle.leave(c.rest)
		c.rest = nil
	}
}

// watchIdle is for http.Server.ConnState.
func watchIdle(c net.Conn, state http.ConnState) {
	own, ok := c.(*connection)
	switch {
	case !ok || state == http.StateNew:
	case state == http.StateIdle:
		own.idle()
	default:
		own.work(state != http.StateActive)
	}
}

// cutOff implements held. It does not go by Close, which comes from elsewhere then.
func (c *connection) cutOff() (then func()) {
	_ = c.Conn.Close()
	return nil
}

type connectionKey struct{}

// withConnection is for http.Server.ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*connection); ok {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}

// connectionOf is the connection of a request; nil where the server has no Listener.
func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}
