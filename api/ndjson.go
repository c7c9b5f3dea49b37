package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/stream"
	"github.com/culvertmq/culvert/api/wire"
	"github.com/culvertmq/culvert/event"
)

const (
	// uploadStall is how long an upload may send nothing before it is ended.
	uploadStall = time.Minute
	// uploadSilence is how long the client may send nothing before the rest of its body is given up, after the
	// last result line.
	uploadSilence = time.Second
	// uploadGrace is how long an upload may continue after the server began to drain.
	uploadGrace = 3 * time.Second
)

// uploader is the part of the queue that uploads use.
type uploader interface {
	AppendEach(ctx context.Context, emits []event.Emit) []event.Result
	PublishVolatile(ctx context.Context, emits []event.Emit) error
}

// emitLines serves an NDJSON upload: it reads lines while earlier ones are being stored (ndjsonbuffer.go), and
// answers each with a result line, in order. The status is 200 before any result is known, so problems are in
// the result lines.
func (h *Handler) emitLines(c *call) error {
	release, err := h.limits.Connect(c.ns, &c.who, &c.visit.Account)
	if err != nil {
		return err
	}
	defer release()
	if err := c.visit.Account.Charge(uploadBuffer + c.visit.Buffered()); err != nil {
		return err
	}
	if err := c.ctl.EnableFullDuplex(); err != nil {
		return err // a middleware has replaced net/http's writer
	}
	n := h.enter(c)
	defer n.leave()
	h.metrics.uploads.Inc()
	defer h.metrics.uploads.Dec()

	header := c.w.Header()
	header.Set("Content-Type", wire.MediaLines)
	header.Set("X-Accel-Buffering", "no")
	c.w.WriteHeader(http.StatusOK)

	u := &upload{
		queue: h.queue, limits: h.limits, metrics: h.metrics, log: h.log,
		c: c, out: c.visit.Writer(), body: &watched{visit: c.visit, body: c.r.Body},
	}
	u.ctx = context.WithoutCancel(c.r.Context())
	c.visit.ReadUntil(time.Time{}) // body and run limit the time instead
	g := newLineBuffer()
	read := make(chan struct{})
	go func() {
		defer close(read)
		g.fill(u.lines(g.done), u.waitForTokens)
	}()
	u.run(n, g)
	g.stop()
	c.visit.ForgetBody()
	silence := -time.Second // a deadline in the past wakes the reader
	if u.endedEarly {
		// The client may still be sending: its body is read on, so that it can read the last line (see linger).
		silence = uploadSilence
	}
	u.body.patience(silence)
	<-read
	if u.endedEarly && u.body.ended() == nil {
		_ = c.visit.Discard(u.body, u.body.patience, uploadSilence)
	}
	if !errors.Is(u.body.ended(), io.EOF) {
		c.visit.HangUp(u.endedEarly && c.r.ProtoAtLeast(1, 1)) // half an answer must not look like a whole one
	}
	return nil
}

// upload is one NDJSON request.
type upload struct {
	queue   uploader
	limits  *limits.Limiter
	metrics *metrics
	log     *slog.Logger

	c    *call
	ctx  context.Context // for storing: what a client sent is stored even if it has closed its side
	out  wire.Writer
	body *watched

	endedEarly bool // the answer ended before the body
}

// run stores the lines that were read until the upload ends: with its body, with its token or key, with the
// server, or after an error that the next lines would meet, too.
func (u *upload) run(n *session, g *lineBuffer) {
	drain := n.Done()
	var end <-chan time.Time
	var why *wire.Kind
	if !u.c.who.Expires.IsZero() {
		t := time.NewTimer(time.Until(u.c.who.Expires))
		defer t.Stop()
		end, why = t.C, wire.Unauthorized
	}
	patience := uploadStall
	stall := time.NewTimer(patience)
	defer stall.Stop()
	for {
		select {
		case <-g.ready:
			lines, next, err := g.take()
			if !u.store(lines) {
				return
			}
			if err != nil {
				u.explainEnd(err, next)
				return
			}
		case <-stall.C:
			if left := patience - u.body.waited(); left > 0 {
				stall.Reset(left)
				continue
			}
			end, why = time.After(0), wire.TimedOut
			if n.drained() {
				why = wire.Draining
			}
		case <-drain:
			drain = nil
			switch n.Reason() {
			case stream.Drain:
				patience = time.Second
				stall.Reset(0)
				t := time.NewTimer(uploadGrace)
				defer t.Stop()
				end, why = t.C, wire.Draining
			case stream.Expired:
				end, why = time.After(0), wire.Unauthorized
			default: // the client has left, or only closed its side: the reader soon sees which
				patience = time.Second
				stall.Reset(0)
			}
		case <-end:
			lines, next, _ := g.take()
			if u.store(lines) {
				u.endWith(why, next)
			}
			return
		}
	}
}

// lines returns a reader of the body's lines. It charges the memory for a long line as the line grows.
func (u *upload) lines(stop <-chan struct{}) *lines {
	l := newLines(u.body)
	l.cover = func(n int) error {
		return u.patiently(stop, func() error { return u.c.visit.Account.Cover(n) })
	}
	return l
}

// waitForTokens waits until the limits allow one more event, of this many bytes.
func (u *upload) waitForTokens(bytes int, stop <-chan struct{}) error {
	if err := u.patiently(stop, func() error { return u.limits.TakeEvents(u.c.ns, &u.c.who, 1, 0) }); err != nil {
		return err
	}
	return u.patiently(stop, func() error { return u.c.visit.Account.ChargeBody(bytes) })
}

// patiently repeats try while it fails for a limit, for at most uploadStall, so that a sender that is over a
// limit slows down.
func (u *upload) patiently(stop <-chan struct{}, try func() error) error {
	for end := time.Now().Add(uploadStall); ; {
		err := try()
		var p *wire.Problem
		if !errors.As(err, &p) || time.Now().Add(p.After).After(end) {
			return err
		}
		t := time.NewTimer(p.After)
		select {
		case <-t.C:
			continue
		case <-stop:
		case <-u.c.r.Context().Done():
		}
		t.Stop()
		return err
	}
}

// explainEnd says why the line next was not stored, unless the body ended well.
func (u *upload) explainEnd(err error, next int) {
	var p *wire.Problem
	switch {
	case errors.Is(err, io.EOF):
	case errors.As(err, &p):
		u.endWith(p.Kind, next)
	default:
		u.endWith(wire.Incomplete, next) // the framing or the connection is broken
	}
}

// endWith ends the response with a problem about line and all after it.
func (u *upload) endWith(k *wire.Kind, line int) {
	u.endedEarly = true
	u.metrics.problem(k)
	b := wire.Refuse(k, "", "this line and all after it were not stored").AppendJSON(nil, line)
	_ = u.out.Send(append(b, '\n')) // an error means that the client has left
}

// store appends the lines that are events and answers them in order, up to the first one that failed for a
// reason that may pass: a client that sends again from there must neither store anything twice nor change the
// order. It reports whether the upload can continue.
func (u *upload) store(lines []line) bool {
	if len(lines) == 0 {
		return true
	}
	defer u.release(lines)
	var emits, volatile []event.Emit
	before := 0 // emits before the first volatile event
	for i := range lines {
		l := &lines[i]
		if l.err != nil {
			continue
		}
		var m event.Emit
		if m, l.volatile, l.err = u.parse(l.text); l.err != nil {
			continue
		}
		if !l.volatile {
			emits = append(emits, m)
			continue
		}
		if len(volatile) == 0 {
			before = len(emits)
		}
		volatile = append(volatile, m)
	}
	var failed error
	if len(volatile) > 0 {
		if failed = u.queue.PublishVolatile(u.ctx, volatile); failed == nil {
			u.metrics.volatile.Add(float64(len(volatile)))
		} else if endsUpload(failed) {
			emits = emits[:before] // the answer ends at the first volatile line
		}
	}
	var results []event.Result
	if len(emits) > 0 {
		results = u.queue.AppendEach(u.ctx, emits)
	}
	b, more := u.answer(lines, results, failed)
	return u.out.Send(b) == nil && more
}

// release gives back the memory that waitForTokens charged.
func (u *upload) release(lines []line) {
	n := 0
	for _, l := range lines {
		n += len(l.text)
	}
	u.c.visit.Account.GiveBody(n)
}

// answer makes a result line for each line, up to one that ends the upload. failed is the error of the volatile
// events.
func (u *upload) answer(lines []line, results []event.Result, failed error) (b []byte, more bool) {
	for _, l := range lines {
		err := l.err
		switch {
		case err != nil:
			u.metrics.rejected.Inc()
		case l.volatile:
			if err = failed; err == nil {
				b = append(b, "{}"...)
			}
		default:
			if err = results[0].Err; err == nil {
				b = appendResult(b, results[0])
			}
			u.metrics.count(results[:1])
			results = results[1:]
		}
		if err != nil {
			b = u.fault(l, err).AppendJSON(b, l.number)
		}
		b = append(b, '\n')
		if err != nil && endsUpload(err) {
			u.endedEarly = true
			return b, false
		}
	}
	return b, true
}

// endsUpload reports whether a line failed for a reason that may pass: the client must then send it and all
// after it again.
func endsUpload(err error) bool {
	switch status := wire.FaultOf(err).Status; status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	default:
		return status >= http.StatusInternalServerError
	}
}

func (u *upload) fault(l line, err error) *wire.Problem {
	p := wire.FaultOf(err)
	u.metrics.problem(p.Kind)
	if p.Kind == wire.Internal {
		u.log.Error("upload failed", "request_id", u.c.w.Header().Get(requestIDHeader), "line", l.number, "error", err)
	}
	return p
}

func (u *upload) parse(text []byte) (m event.Emit, volatile bool, err error) {
	if err := wire.CheckJSON(text); err != nil {
		return m, false, err
	}
	return u.c.item(text)
}
