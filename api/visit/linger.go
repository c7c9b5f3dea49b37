package visit

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/culvertmq/culvert/api/wire"
)

// LingerBytes is the most that is read of the rest of a body that its handler did not read to the end. That rest has
// the same time limit as a whole body.
const LingerBytes = 256 << 20

// Other bounds on reading such a body.
const (
	lingerSilence = 5 * time.Second
	lingerDrain   = time.Second // when the server is shutting down
	lingerBuffer  = 8 << 10
	hangUpSilence = time.Second // before a connection is closed
)

// lingered is the pool of buffers for Discard.
var lingered wire.Buffers

// linger sends the answer of a request whose body was not read to its end, and reads the rest of the body. If a
// connection is closed with bytes unread, TCP resets it, and the client, which is still sending, may get the
// reset before it has read the answer (RFC 9112, section 9.6). HTTP/2 resets the stream instead, with NO_ERROR.
// Clients must then keep the answer (RFC 9113, section 8.1), but curl 7.88 drops it.
func (v *Visit) linger() {
	defer func() {
		if !v.body.over {
			v.ReadWithin(-time.Second) // otherwise net/http would keep reading
		}
	}()
	// The rest of a body that has stopped arriving does not come. Nor does the body of a client that waits for
	// "100 Continue" and is refused.
	if v.status == http.StatusRequestTimeout || v.r.ContentLength > 0 && v.r.Header.Get("Expect") != "" {
		return
	}
	v.arm()
	if v.Control.Flush() != nil {
		return // the client has left
	}
	if time.Since(v.began) >= v.o.BodyTimeout {
		return // net/http itself has read that long before it sent the answer
	}
	err := v.Discard(v.body, v.ReadWithin, lingerSilence)
	if err != nil && !v.body.over && !errors.Is(err, os.ErrDeadlineExceeded) {
		v.HangUp(false)
	}
}

// Discard reads a body to its end or to the bounds, and only a little more of it once the server drains. It
// calls patience to set how long the next read may take; a negative time ends the reading.
func (v *Visit) Discard(body io.Reader, patience func(time.Duration), silence time.Duration) error {
	buf := lingered.Get()
	defer lingered.Put(buf)
	*buf = append(*buf, make([]byte, lingerBuffer)...)
	end, draining := time.Now().Add(v.o.BodyTimeout), false
	for left := LingerBytes; left > 0; {
		if !draining && v.o.Draining() {
			draining = true
			end = time.Now().Add(min(lingerDrain, time.Until(end)))
		}
		patience(min(silence, time.Until(end)))
		n, err := body.Read(*buf)
		if left -= n; err != nil {
			return err
		}
	}
	return nil
}

// HangUp closes the connection of an answered request whose body cannot be read to its end. If its framing is
// broken, nobody knows where the next request begins; and after an answer in full duplex net/http itself would
// take the rest of the body for the next request. What still arrives is read for a moment, so that a reset does
// not destroy the answer. chunked says that the answer lacks its last chunk. HTTP/2 needs none of this: each
// request has its own stream.
func (v *Visit) HangUp(chunked bool) {
	if v.r.ProtoMajor != 1 {
		return
	}
	conn, _, err := v.Control.Hijack()
	if err != nil {
		return // a server of another kind: it must do this itself
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(v.o.WriteTimeout))
	if chunked {
		_, _ = io.WriteString(conn, "0\r\n\r\n")
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = v.Discard(conn, func(d time.Duration) { _ = conn.SetReadDeadline(time.Now().Add(d)) }, hangUpSilence)
}
