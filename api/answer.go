package api

import (
	"net/http"
	"strconv"
	"time"
)

// answer writes a whole response. The deadline is for a client that does not
// read; its error is the client's loss alone.
func answer(w http.ResponseWriter, timeout time.Duration, status int, mediaType string, body []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// reply answers a call with JSON.
func (h *Handler) reply(c *call, status int, body []byte) error {
	answer(c.w, h.o.WriteTimeout, status, "application/json", body)
	return nil
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

// outlet is for a body whose headers are out: below Echo's writer, which only counts.
func (h *Handler) outlet(c *call) outlet {
	w := c.w
	if outer, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = outer.Unwrap()
	}
	return outlet{w: w, ctl: c.ctl, timeout: h.o.WriteTimeout, http2: c.r.ProtoMajor >= 2}
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
