package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// How much of a body is read that nobody wants, and for how long.
const (
	lingerBytes   = 256 << 20
	lingerTime    = 30 * time.Second
	lingerSilence = 5 * time.Second
	lingerDrain   = time.Second // once the server ends
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
	patience := func(d time.Duration) { _ = ctl.SetReadDeadline(time.Now().Add(d)) }
	if err := h.discard(r.Body, patience, lingerSilence); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		h.hangUp(r, ctl, false)
	}
}

// discard reads a body to its end or to the bounds, and only a little more of it once the
// server drains. patience sets how long the next read may take.
func (h *Handler) discard(body io.Reader, patience func(time.Duration), silence time.Duration) error {
	buf := chunks.get()
	defer chunks.put(buf)
	*buf = append(*buf, make([]byte, 32<<10)...)
	end, draining := time.Now().Add(lingerTime), false
	for left := lingerBytes; left > 0; {
		if !draining && h.sessions.isDraining() {
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

// hangUp ends the connection of an answered request whose body cannot be read to its end:
// where its framing is broken nobody knows where the next request begins, and net/http
// itself takes any rest for that after an answer in full duplex. What still comes is
// read for a moment, lest a reset take the answer away. chunked: the answer lacks its last
// chunk. HTTP/2 has a stream for each request.
func (h *Handler) hangUp(r *http.Request, ctl *http.ResponseController, chunked bool) {
	if r.ProtoMajor != 1 {
		return
	}
	conn, _, err := ctl.Hijack()
	if err != nil {
		return // a server of another kind, whose business it is
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(h.o.WriteTimeout))
	if chunked {
		_, _ = io.WriteString(conn, "0\r\n\r\n")
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = h.discard(conn, func(d time.Duration) { _ = conn.SetReadDeadline(time.Now().Add(d)) }, uploadSilence)
}
