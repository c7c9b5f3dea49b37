package visit

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/culvertmq/culvert/api/limits"
	"github.com/culvertmq/culvert/api/wire"
)

// Visit is one request from its headers to the last byte of its answer, whatever becomes
// of it and whatever server the handler is mounted in. It gives each a time for its body
// and for what is written, and keeps those in bounds that have shown no credentials. It
// is the writer that everything above it writes to.
type Visit struct {
	http.ResponseWriter // of the server
	// Control is of the server's writer.
	Control *http.ResponseController
	// Account is what the visit is charged for, once it is known who it is from. It is closed with the visit.
	Account limits.Account

	o      *Options
	r      *http.Request
	began  time.Time
	status int
	armed  time.Time // the time for writing counts from here
	body   *timedBody
	broken bool // a write has failed: the client is gone, or does not read
	ended  bool // nothing more is to be read of the body, whatever comes

	places *places // of requests without good credentials
	place  *place  // among them; nil: it has none

	mu   sync.Mutex
	cut  bool // no more time is given
	left bool // the server has its writer back, which must not be used any more
}

// enter gives the body its time, and a request that shows no credentials its place
// among those.
func (v *Visit) enter() {
	if v.r.ContentLength != 0 {
		v.ReadWithin(v.o.BodyTimeout)
		v.body = &timedBody{ReadCloser: v.r.Body}
		r := *v.r // the server's own must keep the body that it knows
		r.Body = v.body
		v.r = &r
	}
	if c := connectionOf(v.r); c != nil && c.framing.twice.Load() {
		// RFC 9112, section 6.1: somebody on the way may have understood the request
		// in another way, and taken part of it for the next one.
		v.Header().Set("Connection", "close")
	}
	if !v.o.AsksCredentials(v.r) {
		v.asAnonymous()
	}
}

// finish sends what the server still keeps of the answer and takes what still comes of
// the body, so that both count as long as they last.
func (v *Visit) finish() {
	if !v.Account.Opened() {
		v.asAnonymous() // refused: it shows no good credentials, or had no place
	}
	if v.r.ProtoMajor >= 2 {
		v.arm()
		_ = v.Control.Flush() // the client's loss
	}
	if v.body != nil && !v.body.over && !v.ended {
		v.linger()
	}
	v.armed = time.Time{}
	v.arm() // net/http writes the end
}

// leave gives up the places.
func (v *Visit) leave() {
	v.mu.Lock()
	v.left = true
	v.mu.Unlock()
	if v.place != nil {
		v.places.leave(v.place)
	}
	v.Account.Close()
}

// asAnonymous has the visit count among those without credentials.
func (v *Visit) asAnonymous() {
	if v.place == nil {
		v.place = v.places.enter(v, v.r.RemoteAddr)
	}
}

// Unwrap is for http.ResponseController.
func (v *Visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (v *Visit) WriteHeader(status int) {
	v.status = status
	v.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter: each piece has the time of one write.
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

// arm sets the deadline for a write. To move it each time would cost more than it is worth.
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

// ReadWithin sets the deadline for what comes of the body.
func (v *Visit) ReadWithin(d time.Duration) { v.ReadUntil(time.Now().Add(d)) }

// ReadUntil is ReadWithin with a time; zero: there is no deadline.
func (v *Visit) ReadUntil(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.cut {
		_ = v.Control.SetReadDeadline(t) // where it is not supported, the server has its own
	}
}

// cutOff implements held. Over HTTP/2 a deadline is told to the goroutine of the connection,
// and waits until that one has time.
func (v *Visit) cutOff() (then func()) { return v.end }

// end ends what the visit reads or writes, now and from now on.
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

// timedBody notes that a body has ended, or that net/http has read it to its end before it
// sent the answer, and closed it.
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

// Introduce takes the connection of the visit from among those of strangers.
func (v *Visit) Introduce() {
	if c := connectionOf(v.r); c != nil {
		c.introduce()
	}
}

// Writer writes a body whose headers are out, such as a stream's. It sets deadlines of its own: use either
// of the two writers from then on.
func (v *Visit) Writer() wire.Writer {
	return wire.NewWriter(v.ResponseWriter, v.Control, v.o.WriteTimeout, v.r.ProtoMajor >= 2)
}

// Broken reports whether a write has failed: the client is gone, or does not read.
func (v *Visit) Broken() bool { return v.broken }

// ForgetBody has nothing more read of the body, whatever comes.
func (v *Visit) ForgetBody() { v.ended = true }

// Buffered is how much of a body the server may keep before it is read, beside the buffer of the connection.
func (v *Visit) Buffered() int {
	if v.r.ProtoMajor >= 2 {
		return receiveBuffer
	}
	return 0
}
