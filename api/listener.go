package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// strangerTime is how long a connection may be open without good credentials before it
// may be cut off for another one: much longer than to come and say who one is takes, also
// when thousands come back through one address at once.
const strangerTime = 10 * time.Second

// Listener wraps the listener of a server that ConfigureServer has set up. The connections
// it accepts have bounds until a request with good credentials has come (Limits.Anonymous),
// and are closed after a request with a Content-Length and a Transfer-Encoding (RFC 9112,
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
	c.place = l.h.strangers.enter(c, inner.RemoteAddr().String(), l.h.o.Limits)
	return c, nil
}

// connection is one that Listener accepted.
type connection struct {
	net.Conn
	h       *Handler
	framing framing
	place   *place // among the strangers
	known   atomic.Bool
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

// cutOff implements held.
func (c *connection) cutOff() { _ = c.Conn.Close() }

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
