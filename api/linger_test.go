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
)

// dial opens a connection to the site that must be done within a minute.
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

// TestARefusalIsReadAfterALargeBody is a client that looks for the answer only when it
// has sent all of its 64 MiB, as simple ones do. A reset would take the answer away.
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

// TestLingeringIsBounded: nobody is read for ever.
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
	for ; sent < 2*lingerBytes; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
	t.Errorf("%d MiB were read", sent>>20)
}

// TestARefusalOverHTTP2IsNotReset: some clients drop an answer whose stream is reset, even
// with NO_ERROR. So the server ends its side of a stream only when the client has.
func TestARefusalOverHTTP2IsNotReset(t *testing.T) {
	const (
		data, headers, reset, settings = 0, 1, 3, 4 // types of frames
		endStream, endHeaders          = 1, 4       // flags
	)
	s := newSite(t)
	for _, c := range []struct{ path, mediaType, key, status string }{
		{"/v1/default/emit", "application/json", "bad", `"status":401`},
		{"/v1/default/emit", "text/plain", testKey, `"status":415`},
		{"/nothing", "application/json", testKey, `"status":404`},
	} {
		t.Run(c.status, func(t *testing.T) {
			conn := s.dial()
			send := func(kind, flags byte, stream uint32, payload string) {
				t.Helper()
				frame := append([]byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...) //nolint:gosec // payloads here are short
				if _, err := conn.Write(append(frame, payload...)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			send(settings, 0, 0, "")
			// Fields and names of the static table (RFC 7541, appendix A): POST, http, :authority,
			// :path, content-type, authorization.
			text := func(v string) string { return string(rune(len(v))) + v } //nolint:gosec // so are texts
			send(headers, endHeaders, 1, "\x83\x86\x01"+text("x")+"\x04"+text(c.path)+
				"\x0f\x10"+text(c.mediaType)+"\x0f\x08"+text("Bearer "+c.key))
			send(data, 0, 1, "{")

			answer, sent := "", false
			for r := bufio.NewReader(conn); ; {
				var head [9]byte
				if _, err := io.ReadFull(r, head[:]); err != nil {
					t.Fatalf("%v after %q", err, answer)
				}
				payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
				if _, err := io.ReadFull(r, payload); err != nil {
					t.Fatal(err)
				}
				kind, flags := head[3], head[4]
				if kind == data {
					answer += string(payload)
				}
				switch ended := (kind == data || kind == headers) && flags&endStream != 0; {
				case kind == reset, ended && !sent:
					t.Fatalf("the server ended the stream before the client, after %q", answer)
				case ended:
					return
				case !sent && strings.Contains(answer, c.status):
					send(data, endStream, 1, "")
					sent = true
				}
			}
		})
	}
}
