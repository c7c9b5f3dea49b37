package visit

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/wire"
)

// Visit is one request from its headers to the last byte of its answer, whatever happens to it and in whatever
// server the handler is mounted. It gives the body and each write a time limit, and counts requests that have
// shown no credentials. Everything above it writes to it as the http.ResponseWriter.
type Visit struct {
	http.ResponseWriter // of the server
	// Control is the controller of the server's own writer.
	Control *http.ResponseController
	// Account is what the visit is charged for, once its sender is known. It is closed with the visit.
	Account limits.Account

	o      *Options
	r      *http.Request
	began  time.Time
	status int
	armed  time.Time // when the deadline for writes was last set
	body   *timedBody
	broken bool // a write has failed: the client has left, or does not read
	ended  bool // the rest of the body must not be read
	taken  bool // the connection was taken over, and the account with it

	places *places // those of requests without good credentials
	place  *place  // in places; nil: it has none

	mu   sync.Mutex
	cut  bool // it was cut off: it gets no more time
	left bool // the server has its writer back: it must not be used any more
}

// Unwrap is for http.ResponseController.
func (v *Visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (v *Visit) WriteHeader(status int) {
	v.status = status
	v.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. It writes in pieces, each of which has its own deadline.
func (v *Visit) Write(b []byte) (written int, err error) {
	for {
		v.arm()
		n, err := v.ResponseWriter.Write(b[:min(len(b), wire.ChunkSize)])
		written += n
		v.broken = v.broken || err != nil
		if b = b[n:]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// arm sets the deadline for writes, but not each time: that would cost more than it is worth.
func (v *Visit) arm() {
	now := time.Now()
	if v.r.ProtoMajor == 1 && now.Sub(v.armed) <= v.o.WriteTimeout/16 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.armed = now; !v.cut {
		_ = v.Control.SetWriteDeadline(now.Add(v.o.WriteTimeout)) // where it is not supported, the server has its own
	}
}

// ReadWithin sets the deadline for the rest of the body.
func (v *Visit) ReadWithin(d time.Duration) { v.ReadUntil(time.Now().Add(d)) }

// ReadUntil is ReadWithin with a time; zero: no deadline.
func (v *Visit) ReadUntil(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.cut {
		_ = v.Control.SetReadDeadline(t) // where it is not supported, the server has its own
	}
}

// cutOff implements held. Setting a deadline in HTTP/2 waits for the goroutine of the connection, so it is done
// later.
func (v *Visit) cutOff() (then func()) { return v.end }

// end ends all reads and writes of the visit, the current one and later ones.
func (v *Visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left {
		return
	}
	v.cut = true
	past := time.Unix(1, 0)
	_ = v.Control.SetReadDeadline(past)
	_ = v.Control.SetWriteDeadline(past)
}

// timedBody notes when a body has ended, or when net/http has read it to its end and closed it before it sent
// the answer.
type timedBody struct {
	io.ReadCloser
	over bool
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.over = b.over || errors.Is(err, io.EOF) || errors.Is(err, http.ErrBodyReadAfterClose)
	return n, err
}

// Introduce marks the connection of the visit as one on which good credentials have arrived.
func (v *Visit) Introduce() {
	if c := connectionOf(v.r); c != nil {
		c.introduce()
	}
}

// Writer returns a writer for a body whose headers have been sent, such as a stream's. It sets its own
// deadlines: from then on use either the Visit or the Writer.
func (v *Visit) Writer() wire.Writer {
	return wire.NewWriter(v.ResponseWriter, v.Control, v.o.WriteTimeout, v.r.ProtoMajor >= 2)
}

// MayTakeOver reports whether the connection of the visit carries nothing else than the bytes of HTTP/1.1.
func (v *Visit) MayTakeOver() bool {
	c := connectionOf(v.r)
	return c != nil && c.plain() && v.r.ProtoMajor == 1 && v.r.ProtoMinor == 1 && v.body == nil
}

// TakeOver takes the connection from the server. The answer continues with chunks that the caller writes. The account
// stays open after the visit: the caller must close it. Errors: that of http.ResponseController.Hijack.
func (v *Visit) TakeOver() (net.Conn, error) {
	conn, _, err := v.Control.Hijack()
	v.taken = err == nil
	return conn, err
}

// Broken reports whether a write has failed: the client has left, or does not read.
func (v *Visit) Broken() bool { return v.broken }

// ForgetBody says that the rest of the body must not be read.
func (v *Visit) ForgetBody() { v.ended = true }

// Buffered returns how many bytes of a body the server may buffer before they are read, apart from the buffer
// of the connection.
func (v *Visit) Buffered() int {
	if v.r.ProtoMajor >= 2 {
		return receiveBuffer
	}
	return 0
}
