package api

import (
	"io"
	"net/http"
	"time"
)

// How much of a body is read that nobody wants, and for how long.
const (
	lingerBytes   = 256 << 20
	lingerTime    = 30 * time.Second
	lingerSilence = 5 * time.Second
)

// linger sends the answer of a refused request and reads what is left of its body. A
// connection that is closed with bytes unread is reset, and the reset may reach the
// client, which is still sending, before it has read the answer (RFC 9112, section
// 9.6). HTTP/2 resets the stream instead, with NO_ERROR. Clients must not drop the answer
// for that (RFC 9113, section 8.1), but curl 7.88 does.
func (h *Handler) linger(r *http.Request, w http.ResponseWriter, status int) {
	// Nothing more comes of a body that has stopped arriving, nor from who waits for
	// "100 Continue" and gets a refusal.
	if status == http.StatusRequestTimeout || r.ContentLength == 0 || r.ContentLength > 0 && r.Header.Get("Expect") != "" {
		return
	}
	ctl := http.NewResponseController(w)
	if ctl.Flush() != nil {
		return // the client is gone
	}
	h.discard(r.Body, func(d time.Duration) { _ = ctl.SetReadDeadline(time.Now().Add(d)) }, lingerSilence)
}

// discard reads a body to its end or to the bounds, and no longer than the server
// lasts. patience sets how long the next read may take.
func (h *Handler) discard(body io.Reader, patience func(time.Duration), silence time.Duration) {
	buf := chunks.get()
	defer chunks.put(buf)
	*buf = append(*buf, make([]byte, 32<<10)...)
	end := time.Now().Add(lingerTime)
	for left := lingerBytes; left > 0 && !h.sessions.isDraining(); {
		patience(min(silence, time.Until(end)))
		n, err := body.Read(*buf)
		if left -= n; err != nil {
			return
		}
	}
}
