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

// chunkSize bounds what one write, and so its deadline, is about.
const chunkSize = 64 << 10

// chunks are lent to chunk. A waiting stream holds none.
var chunks buffers

// chunk puts small pieces together to writes of at most chunkSize; a larger
// piece is a write of its own.
type chunk struct {
	out *outlet
	buf *[]byte
}

func newChunk(out *outlet) chunk { return chunk{out, chunks.get()} }

func (c chunk) free() { chunks.put(c.buf) }

func (c chunk) add(b []byte) error {
	if len(*c.buf)+len(b) > chunkSize {
		if err := c.end(); err != nil {
			return err
		}
	}
	if len(b) > chunkSize {
		return c.out.write(b)
	}
	*c.buf = append(*c.buf, b...)
	return nil
}

// end writes what is left.
func (c chunk) end() error {
	if len(*c.buf) == 0 {
		return nil
	}
	err := c.out.write(*c.buf)
	*c.buf = (*c.buf)[:0]
	return err
}

// newOutlet writes to w, whose controller is ctl. http2: it is that of a stream of HTTP/2.
func newOutlet(w http.ResponseWriter, ctl *http.ResponseController, timeout time.Duration, http2 bool) outlet {
	return outlet{w: w, ctl: ctl, timeout: timeout, http2: http2}
}
