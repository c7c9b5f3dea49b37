package api

import (
	"io"
	"net/http"
	"time"
)

// How much of a body is read that nobody wants. It may take as long as one that is wanted.
const (
	lingerBytes   = 256 << 20
	lingerSilence = 5 * time.Second
	lingerBuffer  = 8 << 10
)

// linger sends the answer of a request whose body was not read to its end, and reads what
// is left of it. A connection that is closed with bytes unread is reset, and the reset may
// reach the client, which is still sending, before it has read the answer (RFC 9112,
// section 9.6). HTTP/2 resets the stream instead, with NO_ERROR. Clients must not drop the
// answer for that (RFC 9113, section 8.1), but curl 7.88 does.
func (h *Handler) linger(v *visit) {
	defer func() {
		if !v.body.over {
			v.readWithin(-time.Second) // net/http would go on
		}
	}()
	// Nothing more comes of a body that has stopped arriving, nor from who waits for
	// "100 Continue" and gets a refusal.
	if v.status == http.StatusRequestTimeout || v.r.ContentLength > 0 && v.r.Header.Get("Expect") != "" {
		return
	}
	v.arm()
	if v.ctl.Flush() != nil {
		return // the client is gone
	}
	if time.Since(v.began) >= h.o.bodyTimeout {
		return // net/http has read until then before it sent the answer
	}
	h.discard(v.body, v.readWithin, lingerSilence)
}

// discard reads a body to its end or to the bounds, and no longer than the server
// lasts. patience sets how long the next read may take, and ends the reading when it is
// negative.
func (h *Handler) discard(body io.Reader, patience func(time.Duration), silence time.Duration) {
	buf := chunks.get()
	defer chunks.put(buf)
	*buf = append(*buf, make([]byte, lingerBuffer)...)
	end := time.Now().Add(h.o.bodyTimeout)
	for left := lingerBytes; left > 0 && !h.sessions.isDraining() && time.Now().Before(end); {
		patience(min(silence, time.Until(end)))
		n, err := body.Read(*buf)
		if left -= n; err != nil {
			return
		}
	}
}
