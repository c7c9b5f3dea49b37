package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/park"
	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/api/wire"
)

// holding is what a request for events holds. A field is nil until it holds it.
type holding struct {
	release func() // its place among the connections
	session *session
	conn    *park.Conn // for a stream that is going to be parked
	sub     stream.Subscription
}

// end gives everything back, even if a part of it panics.
func (e *holding) end() {
	if e.release != nil {
		defer e.release()
	}
	if e.session != nil {
		defer e.session.leave()
	}
	if e.conn != nil {
		defer e.conn.Drop()
	}
	if e.sub != nil {
		e.sub.Close()
	}
}

// stream serves SSE. It returns when the stream has ended, or when it is parked: then held is empty.
func (h *Handler) stream(c *call, held *holding, q receipt) error {
	header := c.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "private, no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	if held.conn != nil {
		header.Set("Connection", "close") // net/http does not get it back
	}
	c.w.WriteHeader(http.StatusOK)
	h.metrics.streams.Inc()
	parked := false
	defer func() {
		if !parked {
			h.metrics.streams.Dec()
		}
	}()
	o := stream.Options{
		Shared: &h.streams, Session: held.session, Sub: held.sub, Memory: &c.visit.Account, Namespace: c.ns, Who: c.who,
		Reads: q.interest.Rooms, Age: h.age(),
	}
	out := stream.NewWriter(c.visit.Writer())
	if out.Send(h.greeting(c, held.sub, q).Frame()) != nil {
		return nil // the client has left
	}
	if held.conn != nil {
		parked = h.park(c, held, o)
		return nil
	}
	o.Out = out
	s := stream.New(o)
	s.Serve()
	return nil
}

func (h *Handler) greeting(c *call, sub stream.Subscription, q receipt) wire.Hello {
	return wire.Hello{
		Client: c.who.Client, Cursor: sub.Cursor(), Log: h.queue.Head().Log,
		Heartbeat: h.o.Heartbeat, MaxAge: h.o.MaxAge, Settle: min(stream.SettleTime, h.o.Heartbeat), At: time.Now(),
		Retry: h.jitter(time.Second, 3*time.Second), ID: q.interest.After.IsZero(),
	}
}

// age returns how long a stream may last. It varies, so that streams that began together do not end together.
func (h *Handler) age() time.Duration { return h.o.MaxAge - h.jitter(0, h.o.MaxAge/10) }

// parkedStream is a stream without a goroutine: see package park. It holds what its request held, and nothing of
// net/http or Echo.
type parkedStream struct {
	open    prometheus.Gauge // the open streams
	log     *slog.Logger
	conn    *park.Conn
	stream  stream.Stream
	held    holding
	account *limits.Account
	ended   bool
}

// park makes a parked stream of one whose hello frame was sent. It reports whether the stream goes on.
func (h *Handler) park(c *call, held *holding, o stream.Options) bool {
	conn, err := c.visit.TakeOver()
	if err != nil {
		h.log.Error("stream cannot be parked", "error", err)
		return false
	}
	p := &parkedStream{open: h.metrics.streams, log: h.log, conn: held.conn, held: *held, account: o.Memory}
	p.held.conn = nil
	*held = holding{}
	p.held.session.outlive(func() { p.conn.Wake(0) })
	o.Out = p.conn
	p.stream = stream.New(o)
	if err := p.conn.Attach(conn, p); err != nil {
		if !errors.Is(err, net.ErrClosed) { // the Handler is closed
			h.log.Error("stream cannot be parked", "error", err)
		}
		p.conn.Drop()
		p.release()
		return true
	}
	p.conn.Wake(0)
	p.conn.Park()
	return true
}

// Run implements park.Runner.
func (p *parkedStream) Run() park.Verdict {
	defer p.recover()
	switch p.stream.Step(false) {
	case stream.Over:
		p.end()
		return park.Keep
	case stream.Asks:
		go p.ask()
		return park.Keep
	case stream.More:
		p.conn.Wake(0)
	}
	p.conn.Alarm(p.stream.Next())
	return park.Parks
}

// ask reads from Postgres until the stream has caught up. It has a goroutine of its own for that time.
func (p *parkedStream) ask() {
	defer p.recover()
	if p.stream.Step(true) == stream.Over {
		p.end()
		return
	}
	p.conn.Alarm(p.stream.Next())
	p.conn.Park()
}

// Left implements park.Runner.
func (p *parkedStream) Left() { p.held.session.left() }

// recover ends the stream after a panic, as net/http would: without an end of the answer.
func (p *parkedStream) recover() {
	if v := recover(); v != nil {
		p.log.Error("stream failed", "error", fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
		p.end()
	}
}

// end gives back what the stream held, and then closes the connection, for which Pool.Close waits. After a panic in
// it, it is called again and does nothing.
func (p *parkedStream) end() {
	if p.ended {
		return
	}
	p.ended = true
	defer p.conn.Close()
	p.release()
}

// release gives back what the stream held.
func (p *parkedStream) release() {
	defer p.open.Dec()
	defer p.account.Close()
	p.held.end()
}

// placeFor makes a place for a stream that can be parked; nil: it needs a goroutine. It can be parked if nothing of the
// application is between it and the connection, and nothing but its session may end it: HTTP/1.1 without TLS, with the
// Handler as the server's, and its Listener.
func (h *Handler) placeFor(c *call) *park.Conn {
	server, _ := c.r.Context().Value(http.ServerContextKey).(*http.Server)
	if h.o.NoParking || server == nil || server.Handler != http.Handler(h) || server.BaseContext != nil || !c.visit.MayTakeOver() {
		return nil
	}
	return h.parking.Conn(c.ns.String())
}
