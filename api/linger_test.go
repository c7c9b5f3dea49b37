package api

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/culvertmq/culvert/api/visit"
)

// dial opens a connection to the site with a deadline of a minute.
func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// TestARefusalIsReadAfterALargeBody: a simple client reads the answer only after it has sent all of its 64 MiB.
// A reset would destroy the answer.
func TestARefusalIsReadAfterALargeBody(t *testing.T) {
	s := newSite(t)
	const size = 64 << 20
	block := []byte(strings.Repeat("x", 1<<20))
	for _, c := range []struct {
		name, header string
		key          string
		status       int
		times        int
	}{
		{"length", fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d", size), testKey, 413, 20},
		{"chunked", "Content-Type: application/json\r\nTransfer-Encoding: chunked", testKey, 413, 20},
		{"bad key", fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d", size), "bad", 401, 3},
		{"other type", "Content-Type: text/plain\r\nTransfer-Encoding: chunked", testKey, 415, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.times {
				conn := s.dial()
				_, err := fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", c.key, c.header)
				chunked := strings.Contains(c.header, "chunked")
				for range size / len(block) {
					if chunked && err == nil {
						_, err = fmt.Fprintf(conn, "%x\r\n", len(block))
					}
					if err == nil {
						_, err = conn.Write(block)
					}
					if chunked && err == nil {
						_, err = io.WriteString(conn, "\r\n")
					}
				}
				if chunked && err == nil {
					_, err = io.WriteString(conn, "0\r\n\r\n")
				}
				if err != nil {
					t.Fatalf("time %d: sending: %v", i, err)
				}
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || res.StatusCode != c.status {
					t.Fatalf("time %d: %v %v, want %d", i, res, err, c.status)
				}
				if b, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"status":%d`, c.status)) {
					t.Fatalf("time %d: %q %v", i, b, err)
				}
				_ = conn.Close()
			}
		})
	}
}

// TestLingeringIsBounded: the server does not read an unwanted body for ever.
func TestLingeringIsBounded(t *testing.T) {
	s := newSite(t)
	conn := s.dial()
	fmt.Fprintf(conn, "POST /v1/default/emit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", testKey, 1<<40)
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != 413 {
		t.Fatal(res, err)
	}
	sent := 0
	block := []byte(strings.Repeat("x", 1<<20))
	for ; sent < 2*visit.LingerBytes; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
	t.Errorf("%d MiB were read", sent>>20)
}

// Types and flags of HTTP/2's frames (RFC 9113, section 6).
const (
	dataFrame, headersFrame, resetFrame, settingsFrame, pingFrame = 0, 1, 3, 4, 6
	endStream, endHeaders, ack                                    = 1, 4, 1
)

// stream2 is one request over HTTP/2, frame by frame.
type stream2 struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	got  string // what has arrived of the answer's body
}

// post2 sends the headers of a POST. length is the announced length of its body, "" for none.
func (s *site) post2(t *testing.T, path, mediaType, token, length string) *stream2 {
	t.Helper()
	conn := s.dial()
	st := &stream2{t: t, conn: conn, r: bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	st.send(settingsFrame, 0, 0, "")
	// Fields and names of the static table (RFC 7541, appendix A): POST, http, :authority,
	// :path, content-type, authorization, content-length.
	text := func(v string) string {
		if len(v) < 127 {
			return string([]byte{byte(len(v))}) + v //nolint:gosec // below 127
		}
		rest := len(v) - 127                                                  // RFC 7541, section 5.1
		return string([]byte{127, byte(rest&127 | 128), byte(rest >> 7)}) + v //nolint:gosec // a token has less than 2^14
	}
	fields := "\x83\x86\x01" + text("x") + "\x04" + text(path) + "\x0f\x10" + text(mediaType) + "\x0f\x08" + text("Bearer "+token)
	if length != "" {
		fields += "\x0f\x0d" + text(length)
	}
	st.send(headersFrame, endHeaders, 1, fields)
	return st
}

func (st *stream2) send(kind, flags byte, stream uint32, payload string) {
	st.t.Helper()
	frame := append([]byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...) //nolint:gosec // payloads here are short
	if _, err := st.conn.Write(append(frame, payload...)); err != nil {
		st.t.Fatal(err)
	}
}

// data sends a piece of the body.
func (st *stream2) data(flags byte, payload string) {
	st.t.Helper()
	st.send(dataFrame, flags, 1, payload)
}

// read reads until the answer's body contains text; "" means until its end. The server must not end the stream
// before, and must never reset it.
func (st *stream2) read(text string) {
	st.t.Helper()
	for text == "" || !strings.Contains(st.got, text) {
		kind, flags := st.frame()
		if ended := (kind == dataFrame || kind == headersFrame) && flags&endStream != 0; ended && text == "" {
			st.ping() // a reset would arrive before the answer to the ping
			return
		} else if ended {
			st.t.Fatalf("the server ended the stream after %q", st.got)
		}
	}
}

// ping checks that the server has not ended the stream so far.
func (st *stream2) ping() {
	st.t.Helper()
	st.send(pingFrame, 0, 0, "12345678")
	for {
		switch kind, flags := st.frame(); {
		case kind == pingFrame && flags&ack != 0:
			return
		case (kind == dataFrame || kind == headersFrame) && flags&endStream != 0:
			st.t.Fatalf("the server ended the stream after %q", st.got)
		}
	}
}

func (st *stream2) frame() (kind, flags byte) {
	st.t.Helper()
	var head [9]byte
	if _, err := io.ReadFull(st.r, head[:]); err != nil {
		st.t.Fatalf("%v after %q", err, st.got)
	}
	payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(st.r, payload); err != nil {
		st.t.Fatal(err)
	}
	switch kind, flags = head[3], head[4]; kind {
	case dataFrame:
		st.got += string(payload)
	case resetFrame:
		st.t.Fatalf("the server reset the stream after %q", st.got)
	}
	return kind, flags
}

// TestARefusalOverHTTP2IsNotReset: some clients drop an answer whose stream is reset, even with NO_ERROR. So
// the server ends its side of a stream only after the client has ended its own.
func TestARefusalOverHTTP2IsNotReset(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ path, mediaType, key, status string }{
		{"/v1/default/emit", "application/json", "bad", `"status":401`},
		{"/v1/default/emit", "text/plain", testKey, `"status":415`},
		{"/nothing", "application/json", testKey, `"status":404`},
	} {
		t.Run(c.status, func(t *testing.T) {
			st := s.post2(t, c.path, c.mediaType, c.key, "")
			st.data(0, "{")
			st.read(c.status)
			st.ping()
			st.data(endStream, "")
			st.read("")
		})
	}
}
