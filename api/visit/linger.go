package visit

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/culvertmq/culvert/api/wire"
)

// How much of a body is read that nobody wants. It may take as long as one that is wanted.
const (
	lingerBytes   = 256 << 20
	lingerSilence = 5 * time.Second
	lingerDrain   = time.Second // once the server ends
	lingerBuffer  = 8 << 10
	hangUpSilence = time.Second // of a connection that is closed
)

// lingered are lent to discard.
var lingered wire.Buffers

// linger sends the answer of a request whose body was not read to its end, and reads what
// is left of it. A connection that is closed with bytes unread is reset, and the reset may
// reach the client, which is still sending, before it has read the answer (RFC 9112,
// section 9.6). HTTP/2 resets the stream instead, with NO_ERROR. Clients must not drop the
// answer for that (RFC 9113, section 8.1), but curl 7.88 does.
func (v *Visit) linger() {
	defer func() {
		if !v.body.over {
			v.ReadWithin(-time.Second) // net/http would go on
		}
	}()
	// Nothing more comes of a body that has stopped arriving, nor from who waits for
	// "100 Continue" and gets a refusal.
	if v.status == http.StatusRequestTimeout || v.r.ContentLength > 0 && v.r.Header.Get("Expect") != "" {
		return
	}
	v.arm()
	if v.Control.Flush() != nil {
		return // the client is gone
	}
	if time.Since(v.began) >= v.o.BodyTimeout {
		return // net/http has read until then before it sent the answer
	}
	err := v.Discard(v.body, v.ReadWithin, lingerSilence)
	if err != nil && !v.body.over && !errors.Is(err, os.ErrDeadlineExceeded) {
		v.HangUp(false)
	}
}

// Discard reads a body to its end or to the bounds, and only a little more of it once the
// server drains. patience sets how long the next read may take, and ends the reading when
// it is negative.
func (v *Visit) Discard(body io.Reader, patience func(time.Duration), silence time.Duration) error {
	buf := lingered.Get()
	defer lingered.Put(buf)
	*buf = append(*buf, make([]byte, lingerBuffer)...)
	end, draining := time.Now().Add(v.o.BodyTimeout), false
	for left := lingerBytes; left > 0; {
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

// HangUp ends the connection of an answered request whose body cannot be read to its end:
// where its framing is broken nobody knows where the next request begins, and net/http
// itself takes any rest for that after an answer in full duplex. What still comes is
// read for a moment, lest a reset take the answer away. chunked: the answer lacks its last
// chunk. HTTP/2 has a stream for each request.
func (v *Visit) HangUp(chunked bool) {
	if v.r.ProtoMajor != 1 {
		return
	}
	conn, _, err := v.Control.Hijack()
	if err != nil {
		return // a server of another kind, whose business it is
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
