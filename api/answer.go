package api

import (
	"net/http"
	"strconv"
	"time"
)

// answer writes a whole response. An error is the client's loss alone.
func answer(w http.ResponseWriter, status int, mediaType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// reply answers a call with JSON.
func (h *Handler) reply(c *call, status int, body []byte) error {
	if err := c.holdAnswer(len(body)); err != nil {
		return err
	}
	answer(c.w, status, "application/json", body)
	return nil
}

// holdAnswer charges what an answer takes until it is written.
func (c *call) holdAnswer(n int) error {
	if n <= freeBytes {
		return nil
	}
	return c.visit.account.take(n)
}

// outlet writes to a client that may be slow or gone. Every write has the timeout, or up
// to a sixteenth less: to move the deadline each time costs a twentieth of a small write.
// One goroutine uses it.
type outlet struct {
	w       http.ResponseWriter
	ctl     *http.ResponseController
	timeout time.Duration
	http2   bool
	armed   time.Time // the deadline counts from here
}

// outlet is for a body whose headers are out: below the visit's writer, which has
// deadlines of its own.
func (h *Handler) outlet(c *call) outlet {
	return outlet{w: c.visit.ResponseWriter, ctl: c.ctl, timeout: h.o.WriteTimeout, http2: c.r.ProtoMajor >= 2}
}

// write hands b to the server, which may keep some of it until flush.
func (o *outlet) write(b []byte) error {
	if now := time.Now(); o.http2 || now.Sub(o.armed) > o.timeout/16 {
		o.armed = now
		_ = o.ctl.SetWriteDeadline(now.Add(o.timeout))
	}
	_, err := o.w.Write(b)
	return err
}

// flush sends what the server kept.
func (o *outlet) flush() error {
	err := o.ctl.Flush()
	if o.http2 { // there a deadline also ends a stream that is merely quiet
		_ = o.ctl.SetWriteDeadline(time.Time{})
	}
	return err
}

// send is write and flush.
func (o *outlet) send(b []byte) error {
	if err := o.write(b); err != nil {
		return err
	}
	return o.flush()
}
