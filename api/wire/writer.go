package wire

import (
	"net/http"
	"strconv"
	"time"
)

// Answer writes a whole response. It ignores errors: they mean that the client has left.
func Answer(w http.ResponseWriter, status int, mediaType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Writer writes to a client that may be slow or have left. Every write has the timeout, or up to a sixteenth
// less: the deadline is not moved each time, which would cost a twentieth of a small write. Only one goroutine
// uses it.
type Writer struct {
	w       http.ResponseWriter
	ctl     *http.ResponseController
	timeout time.Duration
	http2   bool
	armed   time.Time // when the deadline was last set
}

// NewWriter makes a Writer to w, whose controller is ctl. http2 says that w belongs to an HTTP/2 stream.
func NewWriter(w http.ResponseWriter, ctl *http.ResponseController, timeout time.Duration, http2 bool) Writer {
	return Writer{w: w, ctl: ctl, timeout: timeout, http2: http2}
}

// Add gives b to the server, which may buffer some of it until Flush. The Writer does not retain b.
func (o *Writer) Add(b []byte) error {
	if now := time.Now(); o.http2 || now.Sub(o.armed) > o.timeout/16 {
		o.armed = now
		_ = o.ctl.SetWriteDeadline(now.Add(o.timeout))
	}
	_, err := o.w.Write(b)
	return err
}

// Flush sends what the server has buffered.
func (o *Writer) Flush() error {
	err := o.ctl.Flush()
	if o.http2 { // in HTTP/2 a deadline also ends a stream on which nothing is being written
		_ = o.ctl.SetWriteDeadline(time.Time{})
	}
	return err
}

// Send is Add and Flush.
func (o *Writer) Send(b []byte) error {
	if err := o.Add(b); err != nil {
		return err
	}
	return o.Flush()
}

// ChunkSize bounds the bytes of one write, so that its deadline is for a bounded amount.
const ChunkSize = 64 << 10

// chunks is the pool that Chunk takes its buffers from. A waiting stream has none.
var chunks Buffers

// Chunk collects small pieces into writes of at most ChunkSize; a larger piece is a write of its own.
type Chunk struct {
	out *Writer
	buf *[]byte
}

// NewChunk writes to out. Free must be called.
func NewChunk(out *Writer) Chunk { return Chunk{out, chunks.Get()} }

// Free gives the buffer back. The Chunk must not be used any more.
func (c Chunk) Free() { chunks.Put(c.buf) }

// Add copies b into the buffer. If there is no room, it writes the buffer first; a large b it writes directly.
func (c Chunk) Add(b []byte) error {
	if len(*c.buf)+len(b) > ChunkSize {
		if err := c.End(); err != nil {
			return err
		}
	}
	if len(b) > ChunkSize {
		return c.out.Add(b)
	}
	*c.buf = append(*c.buf, b...)
	return nil
}

// End writes what is left. It does not flush.
func (c Chunk) End() error {
	if len(*c.buf) == 0 {
		return nil
	}
	err := c.out.Add(*c.buf)
	*c.buf = (*c.buf)[:0]
	return err
}
