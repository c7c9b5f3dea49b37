package wire

import (
	"net/http"
	"strconv"
	"time"
)

// Answer writes a whole response. An error is the client's loss alone.
func Answer(w http.ResponseWriter, status int, mediaType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// Writer writes to a client that may be slow or gone. Every write has the timeout, or up
// to a sixteenth less: to move the deadline each time costs a twentieth of a small write.
// One goroutine uses it.
type Writer struct {
	w       http.ResponseWriter
	ctl     *http.ResponseController
	timeout time.Duration
	http2   bool
	armed   time.Time // the deadline counts from here
}

// NewWriter writes to w, whose controller is ctl. http2: it is that of a stream of HTTP/2.
func NewWriter(w http.ResponseWriter, ctl *http.ResponseController, timeout time.Duration, http2 bool) Writer {
	return Writer{w: w, ctl: ctl, timeout: timeout, http2: http2}
}

// Add hands b to the server, which may keep some of it until Flush. It does not keep b.
func (o *Writer) Add(b []byte) error {
	if now := time.Now(); o.http2 || now.Sub(o.armed) > o.timeout/16 {
		o.armed = now
		_ = o.ctl.SetWriteDeadline(now.Add(o.timeout))
	}
	_, err := o.w.Write(b)
	return err
}

// Flush sends what the server kept.
func (o *Writer) Flush() error {
	err := o.ctl.Flush()
	if o.http2 { // there a deadline also ends a stream that is merely quiet
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

// ChunkSize bounds what one write, and so its deadline, is about.
const ChunkSize = 64 << 10

// chunks are lent to Chunk. A waiting stream holds none.
var chunks Buffers

// Chunk puts small pieces together to writes of at most ChunkSize; a larger
// piece is a write of its own.
type Chunk struct {
	out *Writer
	buf *[]byte
}

// NewChunk writes to out. Free must be called.
func NewChunk(out *Writer) Chunk { return Chunk{out, chunks.Get()} }

// Free gives up the memory of the chunk, which must not be used any more.
func (c Chunk) Free() { chunks.Put(c.buf) }

// Add writes what was added before when there is no room for b, and keeps a copy of b, or writes it.
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
