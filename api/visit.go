package api

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// visit is one request from its headers to the last byte of its answer, whatever becomes
// of it and whatever server the handler is mounted in. It gives each a time for its body
// and for what is written, and keeps those in bounds that have shown no credentials. It
// is the writer that everything above it writes to.
type visit struct {
	http.ResponseWriter // of the server
	guard               *guard
	r                   *http.Request
	ctl                 *http.ResponseController
	began               time.Time
	status              int
	armed               time.Time // the time for writing counts from here
	body                *timedBody
	broken              bool // a write has failed: the client is gone, or does not read
	ended               bool // nothing more is to be read of the body, whatever comes
	account             account

	mu        sync.Mutex
	cut       bool   // no more time is given
	left      bool   // the server has its writer back, which must not be used any more
	anonymous *place // nil: it has none
}

// enter gives the body its time, and a request that shows no credentials its place
// among those.
func (v *visit) enter() {
	if v.r.ContentLength != 0 {
		v.readWithin(v.guard.o.BodyTimeout)
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
	if !v.guard.o.AsksCredentials(v.r) {
		v.asAnonymous()
	}
}

// finish sends what the server still keeps of the answer and takes what still comes of
// the body, so that both count as long as they last.
func (v *visit) finish() {
	if !v.account.opened() {
		v.asAnonymous() // refused: it shows no good credentials, or had no place
	}
	if v.r.ProtoMajor >= 2 {
		v.arm()
		_ = v.ctl.Flush() // the client's loss
	}
	if v.body != nil && !v.body.over && !v.ended {
		v.linger()
	}
	v.armed = time.Time{}
	v.arm() // net/http writes the end
}

// leave gives up the places.
func (v *visit) leave() {
	v.mu.Lock()
	v.left = true
	v.mu.Unlock()
	if v.anonymous != nil {
		v.guard.anonymous.leave(v.anonymous)
	}
	v.account.close()
}

// asAnonymous has the visit count among those without credentials.
func (v *visit) asAnonymous() {
	if v.anonymous == nil {
		v.anonymous = v.guard.anonymous.enter(v, v.r.RemoteAddr)
	}
}

// Unwrap is for http.ResponseController.
func (v *visit) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (v *visit) WriteHeader(status int) {
	v.status = status
	v.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter: each piece has the time of one write.
func (v *visit) Write(b []byte) (written int, err error) {
	for {
		v.arm()
		n, err := v.ResponseWriter.Write(b[:min(len(b), chunkSize)])
		written += n
		v.broken = v.broken || err != nil
		if b = b[n:]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// arm sets the deadline for a write. To move it each time would cost more than it is worth.
func (v *visit) arm() {
	now := time.Now()
	if v.r.ProtoMajor == 1 && now.Sub(v.armed) <= v.guard.o.WriteTimeout/16 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.armed = now; !v.cut {
		_ = v.ctl.SetWriteDeadline(now.Add(v.guard.o.WriteTimeout)) // where it is not supported, the server has its own
	}
}

// readWithin sets the deadline for what comes of the body.
func (v *visit) readWithin(d time.Duration) { v.readUntil(time.Now().Add(d)) }

// readUntil is readWithin with a time; zero: there is no deadline.
func (v *visit) readUntil(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.cut {
		_ = v.ctl.SetReadDeadline(t) // where it is not supported, the server has its own
	}
}

// cutOff implements held. Over HTTP/2 a deadline is told to the goroutine of the connection,
// and waits until that one has time.
func (v *visit) cutOff() (then func()) { return v.end }

// end ends what the visit reads or writes, now and from now on.
func (v *visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.left {
		return
	}
	v.cut = true
	past := time.Unix(1, 0)
	_ = v.ctl.SetReadDeadline(past)
	_ = v.ctl.SetWriteDeadline(past)
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

// introduce takes the connection of the visit from among those of strangers.
func (v *visit) introduce() {
	if c := connectionOf(v.r); c != nil {
		c.introduce()
	}
}

// outlet is for a body whose headers are out: below this writer, which has deadlines of its own.
func (v *visit) outlet() outlet {
	return newOutlet(v.ResponseWriter, v.ctl, v.guard.o.WriteTimeout, v.r.ProtoMajor >= 2)
}

// isBroken reports whether a write has failed: the client is gone, or does not read.
func (v *visit) isBroken() bool { return v.broken }

// forgetBody has nothing more read of the body, whatever comes.
func (v *visit) forgetBody() { v.ended = true }

// buffered is how much of a body the server may keep before it is read, beside the buffer of the connection.
func (v *visit) buffered() int {
	if v.r.ProtoMajor >= 2 {
		return receiveBuffer
	}
	return 0
}
