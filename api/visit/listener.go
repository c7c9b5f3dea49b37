package visit

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
)

// listener gives each connection it accepts a place.
type listener struct {
	net.Listener
	strangers, idle *places
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: inner, strangers: l.strangers, idlers: l.idle}
	c.place = l.strangers.enter(c, inner.RemoteAddr().String())
	return c, nil
}

// connection is one that the listener accepted.
type connection struct {
	net.Conn
	strangers, idlers *places
	framing           framing
	place             *place // among the strangers
	known             atomic.Bool

	resting sync.Mutex
	rest    *place // among the idle connections; nil: it is not idle
	over    bool   // it has ended, and is never idle again
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

// CloseWrite is for net/http, which closes its own side first while the client still sends.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// plain reports whether the connection is one of the system, without TLS.
func (c *connection) plain() bool {
	_, ok := c.Conn.(*net.TCPConn)
	return ok
}

// SyscallConn implements syscall.Conn.
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// introduce marks the connection as one on which good credentials have arrived.
func (c *connection) introduce() {
	if c.known.CompareAndSwap(false, true) {
		c.strangers.leave(c.place)
	}
}

// idle counts the connection as idle, unless no good credentials have arrived on it yet.
func (c *connection) idle() {
	if !c.known.Load() {
		return // it counts as a stranger's
	}
	c.resting.Lock()
	defer c.resting.Unlock()
	if c.rest == nil && !c.over {
		c.rest = c.idlers.enter(c, c.RemoteAddr().String())
	}
}

// work stops counting the connection as idle; over says that the connection has ended.
func (c *connection) work(over bool) {
	c.resting.Lock()
	defer c.resting.Unlock()
	c.over = c.over || over
	if c.rest != nil {
		c.idlers.leave(c.rest)
		c.rest = nil
	}
}

// cutOff implements held. It closes the inner connection, since Close would take the lock that the caller of
// cutOff holds.
func (c *connection) cutOff() (then func()) {
	_ = c.Conn.Close()
	return nil
}

type connectionKey struct{}

// connectionOf returns the connection of a request; nil if the server has no Listener.
func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
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

// withConnection is for http.Server.ConnContext.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*connection); ok {
		return context.WithValue(ctx, connectionKey{}, c)
	}
	return ctx
}
